"""The plain script on questions that speed is measured against: it reads and answers what ours does."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import transformers

from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import FileFacts
from clue_bench.finetuning.encode import bert_tokeniser, encode_windows
from clue_bench.tasks.answers import NOWHERE, Answer
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import Task, load_task

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
CHARACTERS = list("的一是在了有和人这中大为上个国我以要他时来用们")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        spec = importlib.util.spec_from_file_location("questions", BENCHMARKS / "questions.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    texts, answers = [], []
    for length in (9, 40, 70, 25):
        context = "".join(draw.choice(CHARACTERS, length))
        texts.append((context, "他在大国"))
        answers.append((Answer("没有", NOWHERE), Answer(context[length // 2 : length // 2 + 3], length // 2)))
    facts = FileFacts(rows=4, md5="", expected_rows=None, expected_md5=None)
    return Rows(texts, np.zeros(4, np.int64), [0, 1, 2, 3], facts, answers=tuple(answers))


def test_both_sides_have_the_same_windows_labels_and_best_answers(script, rows, checkpoint_folder):
    checkpoint = read_checkpoint(checkpoint_folder)
    task = Task.model_validate({**load_task("cmrc2018").model_dump(), "stride": 8})
    ours = encode_windows(rows, bert_tokeniser(checkpoint.vocabulary), max_length=32, task=task)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint.folder)
    peers = script.Windows(rows, tokenizer, max_length=32, stride=8, is_training=True)
    assert len(peers) == len(ours) > len(rows)
    assert peers.owners == ours.windows.row_W.tolist()
    logits = np.random.default_rng(1).normal(size=(len(ours.ids), 2)).astype(np.float32)
    sides = np.full((2, len(ours), 32), -99.0, np.float32)
    for number in range(len(ours)):
        tokens = slice(ours.offsets[number], ours.offsets[number + 1])
        kept = [i for i, keep in zip(peers[number]["input_ids"], peers[number]["attention_mask"], strict=True) if keep]
        assert kept == ours.ids[tokens].tolist()
        assert [peers[number][f"{side}_positions"] for side in ("start", "end")] == ours.labels[number].tolist()
        sides[:, number, : len(kept)] = logits[tokens].T
    best = [found[0].text for found in ours.windows.best_answers(logits, ours.offsets)]
    assert peers.answers(*sides, max_answer=task.max_answer) == best
    assert script.part(rows, 2, seed=1).texts == [rows.texts[n] for n in script.part(rows, 2, seed=1).ids]
