"""Each verb ends with what to type next, on stderr, and finetune says which settings it chose."""

import io
import json
import shlex
import sys

import numpy as np
import pytest
from rich.console import Console

from clue_bench.api import progress
from clue_bench.api.progress import Progress
from clue_bench.cli import main
from clue_bench.cli.terminal import suggest, typed
from clue_bench.doors.records import read_records
from clue_bench.layout import text_width


@pytest.fixture
def run(capfd, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        out, err = capfd.readouterr()
        return exited.value.code or 0, out, err

    return run


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "data" / "afqmc").mkdir(parents=True)
    for split, count in (("train", 32), ("dev", 16)):
        rows = [
            {"sentence1": "".join(generator.choice(list("的一是在了有"), 5)), "sentence2": "大国", "label": str(n % 2)}
            for n in range(count)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / "data" / "afqmc" / f"{split}.json").write_text(text, encoding="utf-8")
    return tmp_path / "data"


def test_finetune_says_its_settings_its_folder_and_what_to_type_next(run, data, checkpoint_folder, tmp_path):
    arguments = ["finetune", "--task", "afqmc", "--model", checkpoint_folder, "--data", data, "--name", "mine"]
    code, out, err = run(*arguments, "--out", tmp_path / "run", "--steps", 1, "--set", "learning_rate=2e-4")
    assert code == 0
    assert "settings: learning_rate=2e-4 epochs=" in err
    assert "r_drop_alpha" not in err  # off
    assert "clue-bench floor" not in err  # its leaderboard and README have them
    assert str(tmp_path / "run") in out
    assert f"next: clue-bench predict --model {tmp_path / 'run'} --text TEXT" in err
    assert f"      clue-bench serve --model {tmp_path / 'run'}" in err
    assert f"      clue-bench analyse {tmp_path / 'run'} --data {data}" in err
    assert f"      clue-bench bench --model {checkpoint_folder} --task afqmc --name mine --data {data}" in err
    (record,) = read_records(tmp_path / "run")
    assert record.model.name == "mine"


def test_json_has_nothing_beside_it(run, corpus_folder, text_file, vocabulary_file, tmp_path):
    code, out, err = run("corpus", "build", text_file, "--vocab", vocabulary_file, "--out", tmp_path / "c", "--json")
    assert (code, "next:" in err) == (0, False)
    assert json.loads(out)
    _, _, err = run("corpus", "build", text_file, "--vocab", vocabulary_file, "--out", tmp_path / "c")
    assert f"clue-bench pretrain RECIPE --corpus {tmp_path / 'c'} --out runs/NAME" in err


def test_a_path_with_a_blank_is_quoted():
    assert typed("clue-bench", "runs", "show", "my runs/a") == "clue-bench runs show 'my runs/a'"


def test_a_run_on_rows_of_ones_own_leads_on_with_their_columns(run, checkpoint_folder, tmp_path):
    rows = "".join(f"{text},{text}在,{'好坏'[n % 2]}\n" for n, text in enumerate("的一是在了有和人这中大为上个国我"))
    (tmp_path / "评价.csv").write_text("问,答,标签\n" + rows, encoding="utf-8")
    given = ["--data", tmp_path / "评价.csv", "--text", "问", "--text2", "答", "--label", "标签"]
    arguments = ["--model", checkpoint_folder, "--out", tmp_path / "run", "--steps", 1, "--name", "我的模型"]
    code, _, err = run("finetune", *arguments, *given)
    assert code == 0
    assert "clue-bench predict --model" in err
    assert "--text-pair TEXT" in err
    assert f"next: clue-bench floor --text 问 --text2 答 --label 标签 --data {tmp_path}/评价.csv  # without" in err
    assert err.count("# without") == 1
    expected = f"--name 我的模型 --text 问 --text2 答 --label 标签 --data {tmp_path}/评价.csv"
    assert shlex.split(expected) == shlex.split(err.rsplit(str(checkpoint_folder), 1)[1].splitlines()[0])
    (record,) = read_records(tmp_path / "run")
    assert record.run_id.startswith("finetune-评价-我的模型-")
    code, _, err = run("finetune", *arguments[:-1], "a b", *given)
    assert (code, "expected at most 60 letters" in err) == (1, True)


def test_a_pretraining_run_can_be_named(run, recipe_file, corpus_folder, tmp_path):
    arguments = ["pretrain", recipe_file, "--corpus", corpus_folder, "--out", tmp_path / "run", "--name", "我的模型"]
    code, _, err = run(*arguments, "--steps", 2)
    assert code == 0
    (record,) = read_records(tmp_path / "run")
    assert record.model.name == "我的模型"
    assert record.run_id.startswith("pretrain-我的模型-")
    assert f"next: clue-bench finetune --task tnews --model {tmp_path / 'run'} --data DATA" in err


class Terminal(io.StringIO):
    """A terminal that keeps what it shows."""

    def isatty(self):
        return True


def test_on_a_terminal_notes_break_between_words_and_commands_stay_whole(monkeypatch):
    monkeypatch.setattr(progress, "stderr", Console(file=Terminal(), width=40, highlight=False))
    Progress(True).note("held out: 116 of 194 rows are left aside, since they hold text that is also trained on")
    suggest("clue-bench predict --model runs/finetune-tnews --text 股市今天大涨")
    *note, command = progress.stderr.file.getvalue().splitlines()
    assert [line for line in note if text_width(line) > 40] == []
    assert " ".join(note).endswith("text that is also trained on")
    assert command == "next: clue-bench predict --model runs/finetune-tnews --text 股市今天大涨"


def test_a_continued_model_is_to_be_compared_with_what_it_began_from(run, checkpoint_folder, corpus_folder, tmp_path):
    out = tmp_path / "more"
    given = ["--corpus", corpus_folder, "--out", out, "--steps", 2, "--set", "global_batch=2", "--tracker", "none"]
    code, _, err = run("pretrain", "--from", checkpoint_folder, *given)
    assert code == 0, err
    assert f"clue-bench bench --model {checkpoint_folder} --model {out} --task tnews --data DATA" in err


@pytest.mark.parametrize("verb", [["runs", "list"], ["leaderboard"]])
def test_where_nothing_has_run_the_next_step_is_a_run(run, tmp_path, verb):
    code, _, err = run(*verb, "--records", tmp_path)
    assert code == 0
    assert "next: clue-bench finetune --task tnews" in err
    code, out, err = run(*verb, "--records", tmp_path, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)


def test_verifying_no_data_is_no_success(run, tmp_path):
    code, _, err = run("data", "verify", "--data", tmp_path)
    assert code == 1
    assert "data of no task" in err
    assert "clue-bench data fetch" in err
