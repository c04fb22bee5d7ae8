"""`clue-bench doctor`: exit codes, one JSON object, and nothing but results on stdout and stderr."""

import json
import sys

import pytest

from clue_bench.cli import main

from .conftest import change


def run(capfd, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["clue-bench", "doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capfd.readouterr()
    return exited.value.code or 0, out, err


def test_a_healthy_checkpoint_is_exit_code_0_and_says_what_to_type_next(capfd, monkeypatch, trained_bert):
    code, out, err = run(capfd, monkeypatch, trained_bert)
    assert code == 0
    assert err.splitlines() == [f"next: clue-bench finetune --task tnews --model {trained_bert} --data DATA"]
    assert out.splitlines()[0].endswith("nothing is wrong.")
    assert "京" in out


def test_gpt2_is_continued(capfd, monkeypatch, trained_gpt2):
    code, out, _ = run(capfd, monkeypatch, trained_gpt2)
    assert code == 0
    assert "continued greedily" in out


def test_something_wrong_is_exit_code_1_with_the_report_on_stdout(capfd, monkeypatch, bert):
    change(bert, model_type="roberta")
    code, out, err = run(capfd, monkeypatch, bert, "--json", "--text", "他是一[MASK]老师。")
    assert code == 1
    assert err == ""
    report = json.loads(out)
    assert report["healthy"] is False
    assert {"verdict", "findings", "filled", "parameters", "bytes_on_disk"} <= report.keys()
    assert report["filled"][-1]["text"] == "他是一[MASK]老师。"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("clue/no-such-model", "no folder here, and the Hugging Face hub is switched off by HF_HUB_OFFLINE"),
        ("./no-such-folder", "no such folder, expected a checkpoint folder"),
    ],
)
def test_what_is_no_checkpoint_is_one_clear_error(model, message, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capfd, monkeypatch, model)
    assert code == 1
    assert out == ""
    assert message in err.splitlines()[0]
    assert err.splitlines()[1].startswith("hint: ")
