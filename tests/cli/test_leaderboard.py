"""`clue-bench leaderboard`: everything that it writes, and what --check finds."""

import json
import sys

import pytest

from clue_bench.cli import main
from clue_bench.doors.records import DataFacts, FinetuneRecord, ModelFacts, TaskFacts, write_record

WRITTEN = {"README.md", "leaderboard.csv", "leaderboard.json", "speed.md", "index.html", "plots/score-tokens.svg"}


@pytest.fixture
def records(tmp_path):
    """Return a folder with the records of two models on one task."""
    folder = tmp_path / "records"
    for place, name in enumerate(("tiny", "base")):
        rows, correct = 100, 70 + place
        scores = {"rows": rows, "correct": correct, "accuracy": correct / rows, "macro_f1": 0.5, "loss": 0.7}
        dev = {**scores, "top_label": "0", "top_share": 0.7, "majority_label": "0", "majority_share": 0.6}
        record = FinetuneRecord(
            run_id=f"finetune-afqmc-{name}",
            status="completed",
            started_at="2026-01-01T00:00:00Z",
            asked={"task": "afqmc"},
            effective={"epochs": 3},
            seed=1,
            task=TaskFacts(name="afqmc", title="AFQMC", column="AFQMC", metric="accuracy"),
            data=DataFacts(name="clue", revision="official"),
            model=ModelFacts(
                name=name,
                parameters=10**7,
                sha256=str(place) * 64,
                layers=4,
                hidden_size=312,
                pretraining_tokens=10 ** (6 + place),
            ),
            code={"version": "0.1.0"},
            packages={},
            hardware={},
            results={"dev": dev, "best_step": 1, "total_steps": 2},
        )
        write_record(folder, record)
    return folder


@pytest.fixture
def run(capfd, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["clue-bench", "leaderboard", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        out, err = capfd.readouterr()
        return exited.value.code or 0, out, err

    return run


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_gets_every_form_of_the_board_and_stdout_the_measured_tables(run, records, tmp_path):
    code, out, err = run("--records", records, "--out", tmp_path / "board")
    assert code == 0
    assert out.startswith("Measured on CLUE (dev)\n")
    assert "71.00 %" in out
    assert "Published" not in out
    assert str(tmp_path / "board" / "index.html") in err
    assert files(tmp_path / "board") == WRITTEN
    readme = (tmp_path / "board" / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# Leaderboard\n")
    assert "![Score against pretraining tokens](plots/score-tokens.svg)" in readme
    assert "Left out: no record of a completed pretraining run" in readme
    assert out == run("--records", records)[1]


def test_published_tables_are_printed_on_request_below_the_measured_ones(run, records):
    code, out, err = run("--records", records, "--published")
    assert code == 0
    assert out.index("Measured on CLUE") < out.index("Published: small models")
    assert "67.57 %" in out
    assert "next: clue-bench leaderboard" in err


def test_json_is_one_object_and_the_file_has_the_speeds_too(run, records, tmp_path):
    _, out, _ = run("--records", records, "--out", tmp_path / "board", "--json")
    in_file = json.loads((tmp_path / "board" / "leaderboard.json").read_text(encoding="utf-8"))
    assert in_file.pop("speed") == {"tables": []}
    assert json.loads(out) == in_file


def test_check_says_nothing_of_a_board_as_it_was_written(run, records, tmp_path):
    run("--records", records, "--out", tmp_path / "board")
    assert run("--records", records, "--out", tmp_path / "board", "--check") == (0, "", "")


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_check_names_a_file_that_differs_by_a_byte_or_is_missing(run, records, tmp_path, name):
    run("--records", records, "--out", tmp_path / "board")
    path = tmp_path / "board" / name
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n", 1))
    code, out, err = run("--records", records, "--out", tmp_path / "board", "--check")
    assert (code, out) == (1, "")
    assert f"give: {name} differs\n" in err
    path.unlink()
    code, _, err = run("--records", records, "--out", tmp_path / "board", "--check")
    assert code == 1
    assert f"give: {name} is missing\n" in err


def test_a_picture_that_the_records_no_longer_give_is_found_and_removed(run, records, tmp_path):
    run("--records", records, "--out", tmp_path / "board")
    old = tmp_path / "board" / "plots" / "loss.svg"
    old.write_text("<svg/>", encoding="utf-8")
    mine = tmp_path / "board" / "plots" / "mine.svg"
    mine.write_text("<svg/>", encoding="utf-8")
    code, _, err = run("--records", records, "--out", tmp_path / "board", "--check")
    assert code == 1
    assert "plots/loss.svg is left over" in err
    assert run("--records", records, "--out", tmp_path / "board")[0] == 0
    assert not old.exists()
    assert mine.exists()


def test_a_new_record_makes_every_table_differ(run, records, tmp_path):
    run("--records", records, "--out", tmp_path / "board")
    (records / "finetune-afqmc-base.record.json").unlink()
    _, _, err = run("--records", records, "--out", tmp_path / "board", "--check")
    for name in ("README.md", "leaderboard.csv", "leaderboard.json", "index.html"):
        assert f"{name} differs" in err
    assert "plots/score-tokens.svg is left over" in err


@pytest.mark.parametrize("out", ["board.md", "taken"])
def test_out_is_a_folder_and_a_file_is_refused(run, records, tmp_path, out):
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    code, _, err = run("--records", records, "--out", tmp_path / out)
    assert code == 1
    assert "--out is a folder" in err
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


def test_check_without_a_folder_says_what_is_missing(run, records):
    code, _, err = run("--records", records, "--check")
    assert code == 1
    assert "add --out FOLDER" in err


@pytest.mark.parametrize("name", ["README.md", "index.html", "speed.md"])
@pytest.mark.parametrize("neighbour", [None, "{}", "[", '{"data": 1}'])
def test_a_file_that_is_not_the_boards_is_never_overwritten(run, records, tmp_path, name, neighbour):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / name).write_text("mine", encoding="utf-8")
    if neighbour is not None:
        (tmp_path / "site" / "leaderboard.json").write_text(neighbour, encoding="utf-8")
    before = files(tmp_path / "site")
    code, out, err = run("--records", records, "--out", tmp_path / "site")
    assert (code, out) == (1, "")
    assert f"{name}, which no board wrote" in err or f"has {name}, " in err
    assert "--out" in err
    assert files(tmp_path / "site") == before
    assert (tmp_path / "site" / name).read_text(encoding="utf-8") == "mine"


def test_other_files_in_the_folder_are_no_hindrance(run, records, tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "notes.txt").write_text("mine", encoding="utf-8")
    assert run("--records", records, "--out", tmp_path / "board")[0] == 0
    assert run("--records", records, "--out", tmp_path / "board")[0] == 0
    assert (tmp_path / "board" / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_record_whose_column_is_that_of_the_mean_is_refused(run, records, tmp_path):
    path = records / "finetune-afqmc-base.record.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"AFQMC"', '"Score"'), encoding="utf-8")
    code, out, err = run("--records", records, "--out", tmp_path / "board")
    assert (code, out) == (1, "")
    assert "run 'finetune-afqmc-base': its task afqmc has the column Score" in err
    assert not (tmp_path / "board").exists()
