"""The examples of tasks/README.md: their cards and files, and that the commands print what is shown."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clue_bench.cli import app
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import Archive, Span, Split, Task, load_task

README = (Path(__file__).parents[2] / "tasks" / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(my-[^`\n]+)`[^\n]*:\n\n```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```console\n(\$ export .*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that is the working directory, with the files that the README shows."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_shows_two_tasks_with_their_files():
    assert [path for path in FILES if path.endswith(".toml")] == [
        "my-tasks/tasks/hotel.toml",
        "my-tasks/tasks/faq.toml",
    ]
    assert len(FILES) == 7
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("block", BLOCKS, ids=["csv", "jsonl"])
def test_the_commands_print_what_is_shown(folder, monkeypatch, block):
    shown: list[str] = []
    for line in block.splitlines():
        if exported := re.fullmatch(r"\$ export (\w+)=(\S+)", line):
            monkeypatch.setenv(*exported.groups())
        shown.append(line)
    printed: list[str] = []
    for line in (line for line in shown if line.startswith("$ ")):
        printed.append(line)
        if line.startswith("$ clue-bench "):
            done = CliRunner().invoke(app, line.split()[2:], catch_exceptions=False)
            assert done.exit_code == 0
            printed += [row.rstrip() for row in done.stdout.splitlines()]
    assert printed == shown
    assert any(line.startswith("$ clue-bench data audit") for line in printed)
    assert any(line.startswith("$ clue-bench data verify") for line in printed)


def test_the_csv_example_reads_quotes_and_chinese_labels(folder):
    rows = read_rows(load_task("my-tasks/tasks/hotel.toml"), folder / "my-data")
    assert rows["train"].texts[1:3] == [("隔音太差,整晚没睡好",), ('前台说"欢迎回家",很暖心',)]
    assert rows["dev"].labels.tolist() == [0, 1, 1, 1]
    assert rows["test"].ids == ["0", "1"]


def test_the_jsonl_example_reads_nested_fields_ids_and_truth_values(folder):
    rows = read_rows(load_task("my-tasks/tasks/faq.toml"), folder / "my-data")
    assert rows["train"].texts == [("怎么退票", "如何办理退票"), ("怎么退票", "怎么改签")]
    assert rows["train"].labels.tolist() == [1, 0]
    assert rows["train"].ids == ["a1", "a2"]
    assert rows["train"].facts.dropped_rows == 1


@pytest.mark.parametrize("model", [Task, Split, Span, Archive])
def test_every_key_of_a_card_is_explained(model):
    explained = set(re.findall(r"`([a-z0-9_]+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", README, re.MULTILINE))))
    explained |= {"spans", "splits"} if "`splits.NAME`" in README else set()
    assert set(model.model_fields) <= explained


def test_the_column_of_the_mean_is_no_tasks(folder):
    from clue_bench.leaderboards.scores import SCORE
    from clue_bench.tasks.task import MEAN_COLUMN

    assert MEAN_COLUMN == SCORE
    path = folder / "my-tasks" / "tasks" / "hotel.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('column = "Hotel"', 'column = "Score"'), encoding="utf-8")
    with pytest.raises(ClueBenchError, match="column: Score") as caught:
        load_task(str(path))
    assert caught.value.hint
