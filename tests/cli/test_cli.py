"""The command line: exit codes, one JSON object on stdout, no heavy imports for help, and the quickstart."""

import importlib
import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from clue_bench.cli import app, main

VERBS = [
    ["quickstart"],
    ["bench"],
    ["floor"],
    ["compare"],
    ["analyse"],
    ["predict"],
    ["submit"],
    ["serve"],
    ["data", "fetch"],
    ["data", "audit"],
    ["pretrain"],
    ["finetune"],
    ["leaderboard"],
    ["tasks", "list"],
    ["recipes", "show"],
    ["data", "verify"],
    ["vocab", "train"],
    ["vocab", "stats"],
    ["vocab", "prune"],
    ["corpus", "build"],
    ["corpus", "pairs"],
    ["convert"],
    ["doctor"],
    ["corpus", "show"],
    ["runs", "list"],
    ["runs", "show"],
]


def run(capfd, monkeypatch, *arguments):
    """Return exit code, stdout and stderr of `clue-bench arguments`, in this process."""
    monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capfd.readouterr()
    return exited.value.code or 0, out, err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_and_json(verb):
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
    assert not re.search(r"<(list|str|int|float|path|bool)\b", result.output)  # what to type, not types


@pytest.mark.parametrize("arguments", [["--help"], ["tasks", "list"], ["recipes", "check"], ["pretrain", "--help"]])
def test_help_and_cards_load_neither_torch_nor_pandas(arguments):
    code = (
        "import sys\n"
        "from clue_bench.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "loaded = {'torch', 'transformers', 'pandas', 'sklearn', 'datasets'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "module", ["clue_bench.leaderboards.leaderboard", "clue_bench.cards", "clue_bench.doors.records"]
)
def test_board_catalog_and_records_never_load_torch(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_error_of_the_user_is_two_lines_and_exit_code_1(capfd, monkeypatch):
    code, out, err = run(capfd, monkeypatch, "tasks", "show", "tnew")
    assert code == 1
    assert out == ""
    assert err.splitlines() == [
        "error: no task is called 'tnew': did you mean 'tnews'?",
        "hint: run clue-bench tasks list",
    ]


def test_wrong_usage_is_exit_code_2(capfd, monkeypatch):
    assert run(capfd, monkeypatch, "predict")[0] == 2
    assert run(capfd, monkeypatch, "no-such-verb")[0] == 2


@pytest.mark.parametrize("words", [[], ["--lang", "zh"]])
def test_without_a_verb_there_is_help_and_exit_code_2(words, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["clue-bench", *words])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 2
    assert "finetune" in capfd.readouterr().err


def test_a_bug_of_ours_is_exit_code_3_with_a_traceback(capfd, monkeypatch):

    def broken(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr("clue_bench.api.data.card_paths", broken)
    code, _, err = run(capfd, monkeypatch, "tasks", "list")
    assert code == 3
    assert "boom" in err
    assert "bug in clue-bench" in err


def test_broken_cards_are_listed_with_their_error(capfd, monkeypatch, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "broken.toml").write_text("name = ", encoding="utf-8")
    monkeypatch.setenv("CLUE_BENCH_PATH", str(tmp_path))
    code, out, _ = run(capfd, monkeypatch, "tasks", "list", "--json")
    errors = {card["name"]: card["error"] for card in json.loads(out)["tasks"]}
    assert code == 0
    assert "not valid TOML" in errors["broken"]
    assert errors["afqmc"] is None


def test_copying_a_card_refuses_to_overwrite(capfd, monkeypatch, tmp_path):
    target = tmp_path / "mine.toml"
    assert run(capfd, monkeypatch, "recipes", "copy", "debug", target)[0] == 0
    assert run(capfd, monkeypatch, "recipes", "check", target)[0] == 0
    code, _, err = run(capfd, monkeypatch, "recipes", "copy", "debug", target)
    assert code == 1
    assert "exists already" in err


def test_set_and_steps_together_may_not_both_give_steps(capfd, monkeypatch, tmp_path):
    arguments = ["pretrain", "debug", "--corpus", tmp_path, "--out", tmp_path, "--steps", 3, "--set", "steps=4"]
    code, _, err = run(capfd, monkeypatch, *arguments)
    assert code == 1
    assert "--set steps and --steps are both given" in err


def test_pretrain_prints_one_json_object_and_says_when_it_is_done(
    capfd, monkeypatch, recipe_file, corpus_folder, tmp_path
):
    arguments = ["pretrain", recipe_file, "--corpus", corpus_folder, "--out", tmp_path / "run", "--json"]
    code, out, err = run(capfd, monkeypatch, *arguments)
    assert code == 0
    first = json.loads(out)
    assert (first["status"], first["results"]["step"]) == ("completed", 24)
    assert "100 %" in err
    code, out, err = run(capfd, monkeypatch, *arguments)
    assert json.loads(out) == first
    assert "complete already" in err


def test_quickstart_leads_from_nothing_to_a_leaderboard_and_is_not_repeated(capfd, monkeypatch, tmp_path):
    quickstart = importlib.import_module("clue_bench.api.quickstart")
    # The real sizes take a minute; fewer documents and updates go the same way.
    monkeypatch.setattr(quickstart, "SYNTHETIC_DOCUMENTS", 100)
    monkeypatch.setattr(quickstart, "FINETUNE", {"learning_rate": 1e-3, "steps": 2})
    arguments = ["quickstart", "--out", tmp_path / "quickstart", "--steps", 4]
    code, out, err = run(capfd, monkeypatch, *arguments)
    assert code == 0, err
    assert out.splitlines()[2].split() == ["model", "Score", "parameters", "AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI"]
    assert "synthetic" in out
    assert str(tmp_path / "quickstart" / "pretrain" / "checkpoint") in out
    assert len(re.findall(r"^(?:next:|     ) clue-bench ", err, re.MULTILINE)) == 3
    assert "synthetic" in err
    board = tmp_path / "quickstart" / "leaderboard"
    markdown = (board / "README.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Leaderboard\n")
    assert (board / "index.html").is_file()
    assert len(list((tmp_path / "quickstart").rglob("*.record.json"))) == 5
    code, _, err = run(capfd, monkeypatch, *arguments)
    assert code == 0
    assert err.count("is complete already") == 5
    check = ["leaderboard", "--records", tmp_path / "quickstart", "--out", board]
    assert run(capfd, monkeypatch, *check, "--check")[0] == 0
    (board / "README.md").write_text(markdown + "x", encoding="utf-8")
    code, _, err = run(capfd, monkeypatch, *check, "--check")
    assert code == 1
    assert "differs from what the records" in err
    assert "README.md differs" in err
