"""The model that comes with the package: opened by its name, by us and by transformers, and good for something."""

import json
import re
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
import transformers

import clue_bench as cb
from clue_bench.api import SHIPPED
from clue_bench.api.quickstart import quickstart
from clue_bench.cli import main
from clue_bench.doors.checkpoint import read_checkpoint, weights_sha256
from clue_bench.doors.model_folders import find_folder, shipped_models

MEGABYTE = 1_000_000
SENTENCES = {  # with the character that was taken out
    "中国的首都是北[MASK]。": "京",
    "我们在学[MASK]里上课。": "校",
    "这部电[MASK]非常好看。": "影",
    "他生病了，要去医[MASK]看病。": "院",
    "请问火车[MASK]怎么走？": "站",
    "太阳从东[MASK]升起来。": "方",
    "他是一名中学老[MASK]。": "师",
    "今天的天[MASK]很好。": "气",
}


def test_its_name_opens_it_unless_a_folder_here_has_that_name(tmp_path: Path, monkeypatch: Any) -> None:
    folder = find_folder(SHIPPED)
    assert folder == shipped_models()[SHIPPED]
    copy = tmp_path / SHIPPED
    shutil.copytree(folder, copy)
    monkeypatch.chdir(tmp_path)
    assert find_folder(SHIPPED).resolve() == copy


def test_its_weights_are_small_and_those_that_its_provenance_speaks_of() -> None:
    folder = find_folder(SHIPPED)
    assert (folder / "model.safetensors").stat().st_size < 16 * MEGABYTE
    checkpoint = read_checkpoint(folder)
    assert checkpoint.provenance["weights_sha256"] == weights_sha256(folder)
    assert checkpoint.provenance["recipe"]["name"] == SHIPPED
    assert not checkpoint.notes


def test_transformers_opens_it_and_it_fills_in_what_is_missing() -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(find_folder(SHIPPED)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(find_folder(SHIPPED))
    assert model.dtype == torch.float32
    given = tokenizer(list(SENTENCES), return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**given).logits[given["input_ids"] == tokenizer.mask_token_id]
    best = [tokenizer.convert_ids_to_tokens(row) for row in logits.topk(5).indices.tolist()]
    found = sum(right in five for right, five in zip(SENTENCES.values(), best, strict=True))
    assert found >= 4


def test_finetuning_starts_from_it_where_no_model_is_named(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{text},{label}" for label, texts in (("好", "很好 真好"), ("差", "很差 太差")) for text in texts.split()]
    (tmp_path / "mine.csv").write_text("\n".join(["text,label", *lines * 6]), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["clue-bench", "finetune", "--data", "mine.csv", "--steps", "2", "--out", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capfd.readouterr().err
    (run,) = cb.load_runs(tmp_path / "run")
    assert run.record.model.name == SHIPPED
    provenance = json.loads((tmp_path / "run" / "checkpoint" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["started_from_sha256"] == weights_sha256(find_folder(SHIPPED))


@pytest.mark.slow
def test_a_quickstart_with_it_pretrains_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("clue_bench.api.quickstart.FINETUNE", {"steps": 1})
    done = quickstart(pretrained=True, out=tmp_path / "quick", progress=False)
    assert {run.record.kind for run in done.runs} == {"finetune"}
    assert not (tmp_path / "quick" / "pretrain").exists()
    assert SHIPPED in str(done)
    with pytest.raises(cb.ClueBenchError, match="of a pretraining"):
        quickstart(pretrained=True, steps=3, out=tmp_path / "other")


def test_the_scores_of_its_card_are_those_of_the_records() -> None:
    root = Path(__file__).parent.parent
    card = (find_folder(SHIPPED) / "README.md").read_text(encoding="utf-8")
    runs = [run.record for run in cb.load_runs(root / "leaderboards" / "records") if run.record.kind != "pretrain"]
    lines = re.findall(
        r"^\| ([\w']+)(?:, with `([^`]+)`)? \| \**([\d.]+) % ± ([\d.]+)\** \| [\d.]+ \| (\d+) "
        r"\| ([\d.]+) % \| ([\d.]+) % \|$",
        card,
        re.MULTILINE,
    )
    assert len(lines) == 8
    for task, given, *shown in lines:
        asked = {key: float(value) for key, value in (each.split("=") for each in given.split())}
        found = {name: [] for name in (SHIPPED, "floor-tfidf", "floor-majority")}
        for record in runs:
            if record.kind == "speed" or record.task.name != task.lower().strip("'") or record.model.name not in found:
                continue
            if record.model.name != SHIPPED or (record.asked.get("settings") or {}) == asked:
                found[record.model.name].append(100 * record.results.dev.accuracy)
        mine, floor, majority = (fmean(values) for values in found.values())
        seeds = found[SHIPPED]
        assert shown == [f"{mine:.2f}", f"{stdev(seeds):.2f}", str(len(seeds)), f"{floor:.2f}", f"{majority:.2f}"]
