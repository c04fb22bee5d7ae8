"""Bad inputs of every command: exit code 1 or 2, one message that names the thing, a hint, and nothing is written."""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from samples import ROWS, card_text

from clue_bench.cli import main

DEEP = b"[" * 100_000
KINDS = {
    "missing": None,
    "folder": Path.mkdir,
    "empty": b"",
    "fifo": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
    "bytes": bytes(range(128, 256)) * 40,
    "page": b"<!DOCTYPE html><html><body>404</body></html>\n",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zeros": bytes(2000),
    "deep": DEEP,
    "zip": b"PK\x03\x04cut",
    "长" * 90: None,  # longer than a name may be
}
"""What stands at a path in place of what a command expects there."""

SLOTS = {
    "vocab train {F}.txt --out new.txt": "page deep",  # which are text like any other
    "vocab prune {F}.txt --out new.txt": "",
    "vocab stats {F}.txt": "",
    "corpus build {F}.txt --vocab vocab.txt --out new --workers 1": "page deep",
    "corpus build {F}.jsonl --vocab vocab.txt --out new --workers 1": "",
    "corpus show {F}": "",
    "pretrain {F}.toml --corpus corpus --out new": "",
    "pretrain recipe.toml --corpus {F} --out new": "",
    "tasks check {F}.toml": "",
    "recipes check {F}.toml": "",
    "data verify --task {F}.toml --data .": "",
    "tasks show {F}.toml": "",
    "runs show {F}": "",
    "runs show {F}.record.json": "",
    "runs list --records {F}": "folder",  # has no runs, and says so
    "leaderboard --records {F}": "folder",
    "tasks new {F}.csv --text text --label label": "",
    "tasks new {F}.jsonl --text text --label label": "",
}
WITH_TORCH = {
    "corpus build text.txt --vocab {F}.txt --out new --workers 1": "",
    "finetune --data {F}.csv --text text --label label --out new": "",
    "finetune --data {F}.xlsx --text text --label label --out new": "",
    "finetune --data {F}.parquet --text text --label label --out new": "",
    "finetune --data rows.csv --text text --label label --model {F} --out new": "",
    "floor --data {F}.json --text text --label label --out new": "",
    "bench --data {F}.tsv --text text --label label --model tiny --out new": "",
    "predict --model {F} --text 好": "",
    "convert {F} new --from hf": "",
    "convert {F} new --from uer": "",
    "convert {F} new --from tf": "",
    "convert {F} new --from paddle": "",
    "doctor {F}": "",
    "generate --model {F} --prompt 好": "",
    "serve --model {F} --port 0": "",
    "submit {F}": "",
    "submit --check {F}.zip": "",
    "score --predictions {F}.jsonl --task own.toml --data tasks": "",
    "vocab extend {F} --token 好 --out new": "",
    "vocab exchange tiny --vocab {F}.txt --out new": "",
    "pretrain --from {F} --corpus corpus --out new": "",
    "compare {F} tiny": "",
    "analyse {F}": "",
    "speed --model {F}": "",
}
"""Commands with a place {F} for a path, and the kinds that are no bad input there."""

CARD = card_text("own")
CSV = "text,label\n" + "一二,甲\n三四,乙\n" * 20
TASKS = "tasks new {F}.csv"
TRAIN = "vocab train text.txt --out new.txt"
BUILD = "corpus build text.txt --vocab vocab.txt --out new --workers 1"
PRETRAIN = "pretrain recipe.toml --corpus corpus --out new"
OTHERS: list[tuple[str, str | None, str]] = [
    # cards
    *[
        ("tasks check {F}.toml", CARD.replace(old, new), named)
        for old, new, named in (
            ('name = "own"', 'name = "../own"', "name"),
            ('name = "own"', "name = 1", "name"),
            ('name = "own"', "", "name"),
            ('name = "own"', 'name = "own"\nname = "own"', "TOML"),
            ('name = "own"', 'name = "own"\nunknown = 1', "unknown"),
            ('column = "T"', 'colum = "T"', "colum"),
            ('["text"]', "[]", "text_fields"),
            ('["text"]', '["a", "b", "c"]', "text_fields"),
            ('["text"]', '"text"', "text_fields"),
            ('labels = ["a", "b"]', 'labels = ["a", "a"]', "labels"),
            ('labels = ["a", "b"]', 'labels = ["a"]', "label"),
            ('labels = ["a", "b"]', "labels = []", "labels"),
            ('["甲", "乙"]', '["甲"]', "label_descriptions"),
            ('"accuracy"', '"accurate"', "metric"),
            ("max_length = 16", "max_length = 0", "max_length"),
            ("max_length = 16", "max_length = -1", "max_length"),
            ("max_length = 16", "max_length = 1e99", "max_length"),
            ("max_length = 16", "max_length = nan", "max_length"),
            ("max_length = 16", 'max_length = "16"', "max_length"),
            ("rows = 2", "rows = -2", "rows"),
            ("[splits.dev]", "[splits.Dev/x]", "."),
            ('file = "dev.jsonl"', "file = 3", "file"),
            ('file = "dev.jsonl"', 'file = "../dev.jsonl"', "file"),
            ('file = "dev.jsonl"', 'file = "/etc/passwd"', "file"),
        )
    ],
    ("tasks check {F}.toml", "a = " + "[" * 5_000, "TOML"),
    ("tasks check {F}.toml", "a." * 5_000 + "b = 1", "."),
    ("tasks check {F}.toml", "a = '\x00'", "TOML"),
    # recipes and settings
    *[
        (f"{PRETRAIN} --set {setting}", None, named)
        for setting, named in (
            ("layers=0", "layers"),
            ("layers=-1", "layers"),
            ("layers=two", "layers"),
            ("layers=1e30", "layers"),
            ("layer=2", "layers"),
            ("hidden_size=33", "hidden_size|heads"),
            ("heads=5", "heads"),
            ("mask_rate=2", "mask_rate"),
            ("mask_rate=nan", "mask_rate"),
            ("dropout=1.5", "dropout"),
            ("dropout=-inf", "dropout"),
            ("learning_rate=nan", "learning_rate"),
            ("learning_rate=inf", "learning_rate"),
            ("learning_rate=-1", "learning_rate"),
            ("steps=0", "steps"),
            ("steps=1.5", "steps"),
            ("precision=fp8", "precision"),
            ("optimizer=sgd", "optimizer"),
            ("seed=x", "seed"),
            ("save_every=3", "save_every"),
            ("log_every=0", "log_every"),
            ("max_length=1", "max_length"),
            ("max_length=100000", "max_length|max_positions"),
            ("vocab_size=7", "vocab_size|vocabulary"),
            ("=", "--set"),
            ("layers", "--set"),
            ("stage3.steps=1", "stage3"),
            ("stage1.=1", "stage1"),
        )
    ],
    # options
    *[
        (words, None, named)
        for words, named in (
            ("nonsense", "nonsense"),
            ("vocab nonsense", "nonsense"),
            ("predict", "--model"),
            (f"{TRAIN} --size 0", "--size"),
            (f"{TRAIN} --size -5", "--size"),
            (f"{TRAIN} --size many", "--size"),
            (f"{TRAIN} --size 99999999999999999999999", "size"),
            (f"{TRAIN} --kind bpe", "--kind"),
            (f"{TRAIN} --sentences 3", "--sentences"),
            ("vocab train text.txt --out new.model", "new.model"),
            ("vocab train text.txt --out corpus", "corpus"),
            ("vocab train text.txt", "--out"),
            (f"{BUILD} --workers 0", "--workers"),
            (f"{BUILD} --words jieba2", "--words"),
            (f"{BUILD} --drop-repeats all", "--drop-repeats"),
            ("corpus build text.txt --vocab vocab.txt --out text.txt", "text.txt"),
            ("corpus build text.txt --vocab vocab.txt --out tasks", "tasks"),
            ("corpus build --vocab vocab.txt --out new", "TEXT"),
            (f"{PRETRAIN} --steps 0", "--steps"),
            (f"{PRETRAIN} --steps x", "--steps"),
            (f"{PRETRAIN} --epochs nan", "--epochs|epochs"),
            (f"{PRETRAIN} --freeze -1", "--freeze"),
            (f"{PRETRAIN} --freeze 1", "freeze"),
            (f"{PRETRAIN} --tracker wandb", "--tracker"),
            (f"{PRETRAIN} --name ../x", "name"),
            (f"{PRETRAIN} --pairs corpus2", "corpus2"),
            ("pretrain recipe.toml --corpus corpus --out text.txt", "text.txt"),
            ("pretrain recipe.toml --corpus corpus --out text.txt/new", "text.txt"),
            ("pretrain --corpus corpus --out new", "RECIPE|--from"),
            ("runs list --records ~/nowhere", "nowhere"),
            ("runs show ''", "."),
            ("tasks show tnew", "tnews"),
            ("recipes show debugg", "debug"),
            ("recipes copy debug recipe.toml", "recipe.toml"),
            ("recipes copy debug text", "text"),
            ("tasks copy afqmc nowhere/../../x/y", "."),
            ("data verify --task afqmc --data nowhere", "nowhere|afqmc"),
            ("data fetch --task own.toml --data new", "source"),
            ("data fetch --task afqmc --data new --mirror ftp://x", "ftp"),
            ("data fetch --task afqmc --data new --mirror file:///etc", "file:"),
            ("leaderboard --records corpus --lang fr", "--lang"),
            ("compare", "."),
            ("serve --model x --port 99999", "--port"),
            ("serve --model x --max-batch 0", "--max-batch"),
            ("serve --model x --rate -1", "--rate"),
            ("generate --model x --prompt 好 --temperature nan", "temperature"),
            ("finetune --data rows.csv --text nowhere --label label --out new", "nowhere"),
            ("finetune --data rows.csv --text2 label --out new", "--text2"),
            ("finetune --data rows.csv --text text --label label --seed -1 --out new", "--seed"),
        )
    ],
    # rows
    *[
        (f"{TASKS} {options}", content, named)
        for options, content, named in (
            ("--text nowhere --label label", CSV, "nowhere"),
            ("--text text --label nowhere", CSV, "nowhere"),
            ("--text text --label label", "text,label\n", "bad"),
            ("--text text --label label", "text,text,label\n一,二,甲\n", "text"),
            ("--text text --label label", "text,label\n" + "".join(f"{number},甲\n" for number in range(20)), "label"),
            ("--text text --label label", CSV + "一,二,三,四\n", "line 42"),
        )
    ],
    *[
        ("tasks new {F}.jsonl --text text --label label", content, named)
        for content, named in (
            ("[1]\n", "bad"),
            ("1\n", "bad"),
            ('{"text": "一"}\n', "label"),
            ('{"text": 1, "label": {}}\n', "bad"),
            ('{"text": NaN, "label": "a"}\n', "bad"),
            ('{"text": "\\ud800", "label": "a"}\n', "bad"),
            ('{"text": "一", "label": "a"\n', "line 1"),
            ('{"a":' * 3_000, "bad"),
        )
    ],
    # vocabularies
    *[
        ("vocab stats {F}.txt", content, named)
        for content, named in (
            ("[PAD]\n[UNK]\n", r"\[CLS\]|\[SEP\]|\[MASK\]"),
            ("好\n" * 3, "bad"),
        )
    ],
    # records
    *[
        ("runs show {F}.record.json", content, "bad")
        for content in (
            "{}",
            "[]",
            "null",
            '{"kind": "pretrain"}',
            '{"kind": "x"}',
            '{"kind": ["pretrain"]}',
            '{"format_version": 2}',
            '{"a":' * 3_000,
            '{"kind": "speed", "kind": "finetune"}',
            "NaN",
        )
    ],
]
"""Commands, what is in the file that stands at {F} (None: there is none), and what the answer must name."""


@pytest.fixture
def folder(tmp_path, monkeypatch, text_file, vocabulary_file, corpus_folder, recipe_file):
    """The current folder, with a sound input of every kind but models."""
    folder = tmp_path / "here"
    (folder / "tasks" / "own").mkdir(parents=True)
    for source, name in ((text_file, "text.txt"), (vocabulary_file, "vocab.txt"), (recipe_file, "recipe.toml")):
        shutil.copy(source, folder / name)
    shutil.copytree(corpus_folder, folder / "corpus")
    (folder / "own.toml").write_text(CARD, encoding="utf-8")
    for split in ("train", "dev"):
        (folder / "tasks" / "own" / f"{split}.jsonl").write_text(ROWS, encoding="utf-8")
    rows = "".join(f"{'的一是在'[number % 4 :]}{number},{'好坏'[number % 2]}\n" for number in range(40))
    (folder / "rows.csv").write_text("text,label\n" + rows, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # main() is not alone in this process
    return folder


def listing():
    return {str(path): path.lstat().st_size for path in Path().rglob("*") if path.name != ".lock"}


def faults(words, named, capfd, monkeypatch):
    """Type a command with a bad input; return what is wrong with its answer."""
    before = listing()
    monkeypatch.setattr(sys, "argv", ["clue-bench", *words])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capfd.readouterr()
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    hints = [line for line in lines if line.startswith("hint:")]
    found = {
        f"exit code {exited.value.code}": exited.value.code not in (1, 2),
        "a traceback": "Traceback" in err,
        f"{len(errors)} errors, {len(hints)} hints": (len(errors), len(hints)) != (1, 1),
        f"does not name '{named}'": not re.search(named, "\n".join(lines)),
        "stdout": out != "",
        f"written: {sorted(listing().keys() - before.keys())}": listing() != before,
    }
    return [f"{' '.join(words)}: {what}: {err[-600:]}" for what, is_so in found.items() if is_so]


def try_all(slot, sound, capfd, monkeypatch):
    wrong = []
    for kind, what in KINDS.items():
        if kind in sound.split():
            continue
        words = slot.replace("{F}", f"bad-{kind}").split()
        path = Path(next(word for word in words if word.startswith("bad-")))
        if isinstance(what, bytes):
            path.write_bytes(what)
        elif what is not None:
            what(path)
        named = "no text to train" if slot.startswith("vocab train") and kind in ("empty", "zeros") else f"bad-{kind}"
        wrong += faults(words, named, capfd, monkeypatch)
    assert wrong == []


@pytest.mark.parametrize("slot", SLOTS)
def test_whatever_stands_at_a_path_is_named(slot, folder, capfd, monkeypatch):
    try_all(slot, SLOTS[slot], capfd, monkeypatch)


@pytest.mark.parametrize("words", sorted({words for words, _, _ in OTHERS}))
def test_what_is_wrong_is_said(words, folder, capfd, monkeypatch):
    wrong = []
    for content, named in ((content, named) for other, content, named in OTHERS if other == words):
        typed = [word.replace("{F}", "bad") for word in words.split()]
        for word in typed:
            if content is not None and word.startswith("bad"):
                Path(word).write_text(content, encoding="utf-8")
        wrong += faults(typed, named, capfd, monkeypatch)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("slot", WITH_TORCH)
def test_whatever_stands_at_the_path_of_a_model_or_of_rows_is_named(
    slot, folder, capfd, monkeypatch, checkpoint_folder
):
    shutil.copytree(checkpoint_folder, folder / "tiny")
    try_all(slot, WITH_TORCH[slot], capfd, monkeypatch)
