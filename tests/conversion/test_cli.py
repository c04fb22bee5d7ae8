"""`clue-bench convert` prints what was kept and dropped, and its errors are one line."""

import json
import sys

import pytest

from clue_bench.cli import main


@pytest.fixture
def command(uer, tmp_path, capfd, monkeypatch):
    checkpoint = uer("bert-mlm")
    options = ["--from", "uer", "--config", checkpoint.config_file, "--vocab", checkpoint.vocabulary]

    def run(*more, weights=checkpoint.weights, out=tmp_path / "out"):
        monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, ("convert", weights, out, *options, *more))])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capfd.readouterr()

    return run


def test_the_table_says_what_was_kept_and_dropped(command, tmp_path):
    code, out, err = command()
    assert code == 0, err
    lines = {line[:30].split("  ")[0]: line.split() for line in out.splitlines()}
    assert out.startswith("BertForMaskedLM")
    assert "dropped: second copy of a tied tensor" in out
    assert "5,760" in out  # 90 tokens, width 64
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert lines["written"][3] == f"{size:,}"
    assert "note: no pooler in the file" in err


def test_json_is_one_object_and_an_error_one_line_with_a_hint(command):
    _, out, _ = command("--json")
    report = json.loads(out)
    assert report["architecture"] == "BertForMaskedLM"
    assert report["kept"] == report["written"]
    code, out, err = command("--json")
    assert (code, out) == (1, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"]


def test_a_conversion_to_uer_ends_with_what_to_type_there_and_back(command, tmp_path, capfd, monkeypatch):
    assert command()[0] == 0
    out = tmp_path / "back"
    arguments = ["convert", str(tmp_path / "out"), str(out), "--from", "hf", "--to", "uer"]
    monkeypatch.setattr(sys, "argv", ["clue-bench", *arguments])
    with pytest.raises(SystemExit):
        main()
    err = capfd.readouterr().err
    assert f"next: python3 finetune/run_classifier.py --pretrained_model_path {out / 'model.bin'}" in err
    assert f"clue-bench convert {out} {out}-hf --from uer" in err
    monkeypatch.setattr(sys, "argv", ["clue-bench", "convert", str(out), f"{out}-hf", "--from", "uer"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
