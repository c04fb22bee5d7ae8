"""`clue-bench bench`: one command, every run that is missing, one table; killed or failing, it goes on from there."""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from clue_bench import files
from clue_bench.cli import main
from clue_bench.doors.model_folders import find_folder
from clue_bench.doors.records import read_record
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.run import SECONDS_BETWEEN_LOOKS

FAST = ["--set", "batch_size=16", "--set", "precision=fp32", "--set", "learning_rate=5e-3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC and OCNLI of the smallest size; AFQMC's label is whether the second question holds the character 不."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)

    def pairs(count, labels):
        for _ in range(count):
            label = int(generator.integers(len(labels)))
            first, second = ("".join(generator.choice(list("的一是在了有和人这中大"), 5)) for _ in range(2))
            yield {"sentence1": first, "sentence2": second + "不" * label, "label": labels[label]}

    for task, labels in (("afqmc", ["0", "1"]), ("ocnli", ["neutral", "entailment", "contradiction"])):
        (folder / task).mkdir()
        for split, count in (("train", 120), ("dev", 50)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs(count, labels))
            (folder / task / f"{split}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def bench(capfd, monkeypatch, data, checkpoint_folder, tmp_path):
    """Return a function that types the command in this process and returns exit code, stdout and stderr."""

    def type_it(*more, model=checkpoint_folder, tasks="afqmc", steps=3, out="runs"):
        models = [part for each in (model if isinstance(model, list) else [model]) for part in ("--model", each)]
        arguments = ["bench", *models, "--task", tasks, "--data", data, "--out", tmp_path / out, *FAST]
        arguments += ["--steps", steps] if steps else []
        monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, [*arguments, *more])])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        streams = capfd.readouterr()
        return code, streams.out, streams.err

    return type_it


def records(folder, kind=""):
    found = [read_record(path) for path in sorted(folder.glob("*/*.record.json"))]
    return [record for record in found if kind in record.run_id]


def numbers(table):
    """The JSON without what differs from one time to the next."""
    for outcome in (*table["rows"], *table["floors"]):
        for values in (outcome, outcome.get("dev") or {}):
            values.pop("seconds", None)
    return table


def contents(folder):
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def copy_of(checkpoint_folder, folder, *, shift=0.0):
    """A checkpoint folder without provenance, so that it is called after itself; `shift` makes its weights others."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    (folder / "provenance.json").unlink()
    weights = {name: tensor + shift for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_it_ends_with_the_leaderboard_of_its_runs_and_their_settings(bench, tmp_path):
    code, out, _ = bench("--seeds", 3)
    assert code == 0
    found = records(tmp_path / "runs", "-test-")
    assert [record.seed for record in found] == [1, 2, 3]
    scores = [100 * record.completed_results.dev.accuracy for record in found]
    lines = rows_of(out)
    assert sorted(lines) == sorted(["test", "TF-IDF", "majority", "AFQMC"])
    assert f"{statistics.fmean(scores):.2f} %" in lines["test"]
    assert lines["majority"].endswith("†")
    summary, settings = [line for line in out.splitlines() if line.startswith("AFQMC")]
    mean = f"{statistics.fmean(scores):.2f} % ± {statistics.stdev(scores):.2f}"
    for part in (mean, " 3 ", "…", "(TF-IDF + linear)"):
        assert part in summary
    assert settings.endswith("batch_size=16, precision=fp32, learning_rate=0.005, steps=3")
    assert out.splitlines()[0].startswith("Measured on")


def rows_of(out):
    """The rows of the table of scores, and the first of the others, by their first word."""
    lines = [line.rstrip() for line in out.splitlines() if re.match(r"(test|TF-IDF|majority|AFQMC)\b", line)]
    return {line.split()[0]: line for line in lines[:4]}


def test_json_is_one_object_with_everything_and_runs_are_not_repeated(bench, tmp_path):
    code, out, _ = bench("--seeds", 2, "--json")
    first = json.loads(out, parse_constant=pytest.fail)
    assert (code, set(first)) == (0, {"rows", "floors"})
    (row,) = first["rows"]
    found = records(tmp_path / "runs", "-test-")
    assert row["runs"] == [record.run_id for record in found]
    assert row["dev"]["accuracies"] == [record.completed_results.dev.accuracy for record in found]
    assert row["dev"]["floor"] in ("floor-majority", "floor-tfidf")
    assert row["dev"]["test"]["name"] == "Welch"
    assert [floor["model"] for floor in first["floors"]] == ["floor-majority", "floor-tfidf"]
    before = contents(tmp_path / "runs")
    assert all((tmp_path / "runs" / run / "report.html").is_file() for run in row["runs"])
    code, out, _ = bench("--seeds", 2, "--json")
    assert (code, json.loads(out)) == (0, first)
    assert contents(tmp_path / "runs") == before


def test_a_report_is_kept_unless_its_run_was_repeated(bench, tmp_path):
    bench("--seeds", 2, "--no-floor")
    repeated, kept = sorted((tmp_path / "runs").glob("*/report.html"))
    for report in (repeated, kept):
        report.write_text("mine", encoding="utf-8")
    (repeated.parent / "predictions" / "dev.jsonl").unlink()
    bench("--seeds", 2, "--no-floor")
    assert kept.read_text(encoding="utf-8") == "mine"
    assert repeated.read_text(encoding="utf-8").startswith("<!")


def test_without_floors_no_floor_is_run_and_the_table_says_so(bench, tmp_path):
    code, out, err = bench("--seeds", 1, "--no-floor")
    assert code == 0
    assert "no floor run" in out
    assert "floor-" not in out
    assert "▽" not in out + err
    assert records(tmp_path / "runs", "floor") == []


def test_what_is_no_better_than_floor_or_majority_is_marked_and_the_marks_explained(bench):
    _, out, _ = bench("--seeds", 1, "--steps", 1, "--set", "epochs=1", steps=None)
    assert rows_of(out)["test"].endswith("†▽")
    assert "† The model predicts (nearly) only the majority class" in out
    assert "▽ The model does not beat the floor" in out


def test_the_mark_of_a_floor_is_explained_where_no_model_has_one(bench):
    _, out, _ = bench("--seeds", 1, "--set", "epochs=12", steps=90)
    lines = rows_of(out)
    assert "†" not in lines["test"]
    assert lines["majority"].endswith("†")
    assert "\n† The model predicts" in out


def test_a_search_tries_every_point_once_and_more_seeds_only_for_the_best(bench, tmp_path):
    arguments = ["--seeds", 2, "--no-floor", "--grid", "weight_decay=0,0.5", "--grid", "dropout=0,0.1,0.2"]
    code, out, _ = bench(*arguments, "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    found = records(tmp_path / "runs")
    assert (row["settings_tried"], len(found)) == (6, 7)
    assert sorted(record.seed for record in found) == [1] * 6 + [2]
    best = {key: row["best_settings"][key] for key in ("weight_decay", "dropout")}
    with_best = [r for r in found if {key: r.effective[key] for key in best} == best]
    assert [record.seed for record in with_best] == [1, 2]
    assert row["runs"] == [record.run_id for record in with_best]
    firsts = [record.completed_results.dev for record in found if record.seed == 1]
    ranks = [(dev.top_share < 0.99, dev.accuracy) for dev in firsts]
    dev = with_best[0].completed_results.dev
    assert (dev.top_share < 0.99, dev.accuracy) == max(ranks)
    assert "best of 6: " in bench(*arguments)[1]


def test_the_edge_of_a_grid_is_warned_of_with_the_next_grid_to_type(bench):
    # One update at next to no rate leaves the majority class: the only setting that learns is the best.
    grid = ["--seeds", 1, "--no-floor", "--set", "epochs=12", "--grid"]
    code, out, err = bench(*grid, "steps=1,2,90", steps=None)
    assert code == 0
    assert "warning: afqmc, test: the best steps, 90, is the largest of the grid" in err
    assert "Search on: --grid steps=90,270" in err
    assert "warning" not in out
    _, _, err = bench(*grid, "steps=1,90", "--grid", "fgm_epsilon=0", steps=None)
    assert "the best steps, 90" in err


def test_inside_a_grid_there_is_no_warning(bench, tmp_path):
    bench("--seeds", 1, "--no-floor", "--grid", "weight_decay=0,0.1,0.2")
    for record in records(tmp_path / "runs"):  # the middle one becomes the best
        (path,) = (tmp_path / "runs" / record.run_id).glob("*.record.json")
        values = json.loads(path.read_text(encoding="utf-8"))
        dev = values["results"]["dev"]
        dev["top_share"] = 0.5 if record.effective["weight_decay"] == 0.1 else 1.0
        if record.effective["weight_decay"] != 0.1:  # or all would score the same, which is a warning of its own
            dev |= {"correct": dev["correct"] - 1, "accuracy": (dev["correct"] - 1) / dev["rows"]}
            del values["results"]["dev_correct"]
        path.write_text(json.dumps(values), encoding="utf-8")
    code, out, err = bench("--seeds", 1, "--no-floor", "--grid", "weight_decay=0,0.1,0.2")
    assert (code, "weight_decay=0.1" in out) == (0, True)
    assert "of the grid" not in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "learning_rat=1"], "did you mean 'learning_rate'"),
        (["--set", "max_length=4096"], "exceeds the model's 64 positions"),
        (["--grid", "max_length=32,4096"], "exceeds the model's 64 positions"),
        (["--grid", "dropuot=0,0.1"], "did you mean 'dropout'"),
        (["--grid", "batch_size=8,32"], "--set batch_size=16 and --grid batch_size=8,32: both decide batch_size"),
        (["--grid", "steps=2,4"], "--set steps=3 and --grid steps=2,4: both decide steps"),
        (["--intermediate", "afqm"], "did you mean 'afqmc'"),
        (["--intermediate", "tnews"], "tnews"),
        (["--search", "--set", "r_drop_alpha=1", "--set", "dropout=0.0"], "r_drop_alpha needs dropout above 0"),
    ],
)
def test_what_cannot_be_planned_is_one_error_before_anything_runs(bench, tmp_path, more, message):
    code, out, err = bench(*more)
    assert (code, out) == (1, "")
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not (tmp_path / "runs").exists()


def test_a_task_that_is_named_twice_is_refused(bench):
    code, _, err = bench(tasks="afqmc,ocnli,afqmc")
    assert code == 1
    assert "afqmc is given twice" in err


def test_failed_runs_are_rows_and_one_line_at_the_end_and_are_repeated_only_when_asked(bench, tmp_path):
    arguments = ["--seeds", 1, "--grid", "warmup_share=0,0.1", "--grid", "clip_norm=1.0", "--no-floor"]
    code, out, err = bench(*arguments, tasks="afqmc,ocnli")
    assert code == 0
    spoiled = records(tmp_path / "runs", "afqmc")[0]
    folder = tmp_path / "runs" / spoiled.run_id
    shutil.rmtree(folder)
    folder.write_text("in the way", encoding="utf-8")  # a folder that cannot be written
    code, out, err = bench(*arguments, tasks="afqmc,ocnli")
    assert code == 1
    assert f"failed: {spoiled.run_id}: FileExistsError" in err
    assert err.splitlines()[-2:] == [
        "error: 1 of 4 runs failed, for the reasons above",
        "hint: fix what they name, then type the same command with --retry-failed",
    ]
    assert "AFQMC" in out
    assert "OCNLI" in out


def test_a_diverging_setting_is_a_failed_record_and_the_others_are_in_the_table(bench, tmp_path):
    arguments = ["--seeds", 1, "--no-floor", "--json", "--grid", "fgm_epsilon=0,1e30"]
    code, out, err = bench(*arguments)
    (row,) = json.loads(out)["rows"]
    ((run_id, error),) = row["failed"].items()
    assert (code, row["best_settings"]["fgm_epsilon"]) == (1, 0)
    assert "diverged" in error
    assert f"failed: {run_id}: {error}" in err
    failed = read_record(tmp_path / "runs" / run_id / f"{run_id}.record.json")
    assert (failed.status, failed.error) == ("failed", error)
    before = contents(tmp_path / "runs")
    assert bench(*arguments)[:2] == (1, out)
    assert contents(tmp_path / "runs") == before
    assert bench(*arguments, "--retry-failed")[0] == 1
    after = contents(tmp_path / "runs")
    changed = {name for name in before if after[name] != before[name]}
    assert changed - {f"{run_id}/.lock"} == {f"{run_id}/{run_id}.record.json"}


def test_a_task_on_which_everything_failed_is_a_row_that_says_so(bench):
    code, out, err = bench("--seeds", 2, "--set", "fgm_epsilon=1e38", tasks="afqmc")
    assert code == 1
    assert out.splitlines()[-1].split() == ["AFQMC", "test", "0", "failed"]
    assert "error: 1 of 1 run failed" in err


def test_the_plan_is_said_before_and_one_bar_counts_what_is_left_of_it(bench, tmp_path):
    grid = ["--no-floor", "--grid", "weight_decay=0,0.1"]
    code, _, err = bench("--seeds", 2, *grid, tasks="afqmc,ocnli")
    said = [line for line in err.splitlines() if not line.startswith("warning: ")]  # of positions that it never learned
    assert code == 0
    assert said[:3] == [
        "6 runs: 1 model × 2 tasks, 2 settings with seed 1, the best also with seed 2",
        "6 to do",
        "bench   0 %",
    ]
    assert sum(line.startswith("after the first run: the other 5 runs take about ") for line in said) == 1
    assert [line for line in said if line.startswith("bench ")][-1].startswith("bench 100 %  run 6 of 6  ocnli, test")
    (tmp_path / "runs").joinpath(records(tmp_path / "runs", "ocnli")[0].run_id).rename(tmp_path / "away")
    code, _, err = bench("--seeds", 3, *grid, tasks="afqmc,ocnli")
    assert code == 0
    assert err.splitlines()[:2] == [
        "8 runs: 1 model × 2 tasks, 2 settings with seed 1, the best also with seeds 2, 3",
        "4 complete already, 4 to do",
    ]
    code, _, err = bench("--seeds", 3, *grid, tasks="afqmc,ocnli")
    assert err.splitlines()[:2] == [*err.splitlines()[:1], "8 complete already"]
    assert "bench 100 %" not in err


def test_a_failure_is_said_when_it_happens_and_every_setting_at_the_end(bench):
    grid = ["--seeds", 1, "--no-floor", "--grid", "fgm_epsilon=1e30,0", "--grid", "dropout=0,0.1"]
    code, out, err = bench(*grid)
    assert code == 1
    said = err.splitlines()
    first = next(number for number, line in enumerate(said) if line.startswith("failed: "))
    assert "diverged" in said[first]
    assert first < next(number for number, line in enumerate(said) if line.startswith("bench 100 %"))
    table = out[out.index("4 settings with seed 1, best first") :].splitlines()[2:7]
    assert table[0].split() == ["fgm_epsilon", "dropout", "dev", "accuracy", "macro-F1", "time"]
    assert {row.split()[0] for row in table[1:3]} == {"0"}
    assert [row.split()[::2] for row in table[3:]] == [["1e+30", "failed"]] * 2
    _, out, err = bench(*grid, "--json")
    assert "2 complete already, 2 failed (--retry-failed repeats)" in err
    assert [(point["status"], point["settings"]["fgm_epsilon"]) for point in json.loads(out)["rows"][0]["points"]] == [
        ("completed", 0),
        ("completed", 0),
        ("failed", 1e30),
        ("failed", 1e30),
    ]


@pytest.mark.slow
def test_weights_are_kept_of_the_best_run_or_of_none_and_results_stay(bench, tmp_path):
    grid = ["--no-floor", "--json", "--grid", "weight_decay=0,0.1"]
    runs = tmp_path / "runs"
    code, out, _ = bench("--seeds", 2, *grid, "--keep", "best", steps=30)
    assert code == 0
    accuracy = {record.run_id: record.completed_results.dev.accuracy for record in records(runs)}
    (kept,) = [path.parent.name for path in runs.glob("*/checkpoint")]
    assert accuracy[kept] == max(accuracy.values())
    assert {record.run_id for record in records(runs) if record.completed_results.weights_dropped} == {*accuracy} - {
        kept
    }
    assert len(list(runs.glob("*/predictions/dev.jsonl"))) == 3
    before = contents(runs)
    assert bench("--seeds", 2, *grid, steps=30)[:2] == (0, out)  # nothing is repeated for weights
    assert contents(runs) == before
    assert bench("--seeds", 2, *grid, "--keep", "none", steps=30)[:2] == (0, out)
    assert list(runs.glob("*/checkpoint")) == []
    with pytest.raises(ClueBenchError, match="were dropped"):
        find_folder(runs / kept)
    again = bench("--seeds", 2, *grid, "--keep", "all", steps=30)[1]
    assert numbers(json.loads(again)) == numbers(json.loads(out))
    assert len(list(runs.glob("*/checkpoint"))) == 3
    assert not any(record.completed_results.weights_dropped for record in records(runs))


def test_untrained_is_a_row_of_the_same_size_that_saw_no_token(bench, tmp_path):
    code, out, _ = bench("--seeds", 2, "--untrained", "--no-floor", "--json")
    assert (code, [row["model"] for row in json.loads(out)["rows"]]) == (0, ["test", "test-untrained"])
    bare = records(tmp_path / "runs", "test-untrained")
    (other, *_) = [record for record in records(tmp_path / "runs") if record not in bare]
    assert [record.model.pretraining_tokens for record in bare] == [0, 0]
    assert bare[0].model.parameters == other.model.parameters
    assert len({record.completed_results.weights_sha256 for record in bare}) == 2
    assert other.model.pretraining_tokens == 24 * 8 * 32


def test_an_intermediate_task_is_in_the_name_and_the_provenance(bench, tmp_path):
    code, out, _ = bench("--seeds", 2, "--intermediate", "ocnli", "--no-floor", "--json")
    (row,) = json.loads(out)["rows"]
    assert (code, row["model"]) == (0, "test-after-ocnli")
    (first,) = records(tmp_path / "runs", "finetune-ocnli-test-")
    assert first.effective["epochs"] > 12  # its own defaults, not what --set says of the tasks
    for run_id in row["runs"]:
        made = tmp_path / "runs" / run_id / "checkpoint" / "provenance.json"
        provenance = json.loads(made.read_text(encoding="utf-8"))
        assert [run["task"] for run in provenance["earlier"]] == ["ocnli"]
        assert provenance["started_from_sha256"] == first.completed_results.weights_sha256
        assert provenance["earlier"][0]["started_from_sha256"] == first.model.sha256
    before = contents(tmp_path / "runs")
    assert bench("--seeds", 2, "--intermediate", "ocnli", "--no-floor", "--json")[:2] == (0, out)
    assert contents(tmp_path / "runs") == before


def test_models_of_one_name_have_rows_of_their_own(bench, checkpoint_folder, tmp_path):
    models = [
        copy_of(checkpoint_folder, tmp_path / place / "same", shift=shift) for place, shift in (("a", 0), ("b", 0.02))
    ]
    code, out, _ = bench("--seeds", 2, "--no-floor", "--json", model=models)
    rows = json.loads(out)["rows"]
    assert code == 0
    names = [row["model"] for row in rows]
    assert len(set(names)) == 2
    assert all(name.startswith("same-") and len(name) == len("same-") + 6 for name in names)
    assert not set(rows[0]["runs"]) & set(rows[1]["runs"])
    hashes = [{r.model.sha256 for r in records(tmp_path / "runs") if r.run_id in row["runs"]} for row in rows]
    assert [len(found) for found in hashes] == [1, 1]
    assert hashes[0] != hashes[1]
    table = bench("--seeds", 2, "--no-floor", model=models)[1].splitlines()
    labels = [line.split("  ")[0] for line in table if line.startswith("same (")]
    assert sorted(labels) == sorted(f"same ({digest[:7]})" for (digest,) in hashes)
    assert [line.split()[1] for line in table[-2:]] == names


def test_a_named_model_has_its_name_in_its_rows_and_runs_and_the_end_says_what_to_type(bench, tmp_path):
    code, out, err = bench("--seeds", 1, "--no-floor", "--name", "mine")
    assert code == 0
    assert "mine" in out
    (record,) = records(tmp_path / "runs")
    assert (record.model.name, record.run_id.split("-")[2]) == ("mine", "mine")
    assert re.search(r"^next: clue-bench leaderboard --records ", err, re.MULTILINE)
    assert bench("--name", "a", "--name", "b")[0] == 1
    code, _, err = bench("--name", "a b")
    assert (code, "give e.g. --name" in err) == (1, True)


def test_a_model_that_is_given_twice_counts_once_and_is_said_aloud(bench, checkpoint_folder):
    models = [checkpoint_folder, checkpoint_folder / "checkpoint"]
    code, out, err = bench("--seeds", 1, "--no-floor", "--json", model=models)
    assert (code, [row["model"] for row in json.loads(out)["rows"]]) == (0, ["test"])
    assert "test: given twice" in err


def test_a_run_of_another_process_comes_last_and_is_waited_for(bench, tmp_path, monkeypatch):
    bench("--seeds", 2, "--no-floor", out="whole")
    first, second = [record.run_id for record in records(tmp_path / "whole")]
    with ExitStack() as stack:
        stack.enter_context(files.held(tmp_path / "runs" / first / ".lock"))
        looks = {SECONDS_BETWEEN_LOOKS: stack.close}
        monkeypatch.setattr(time, "sleep", lambda seconds: looks.get(seconds, bool)())
        code, _, err = bench("--seeds", 2, "--no-floor")
    assert code == 0
    assert f"{first}: another process is doing it; the others first" in err
    ended = {record.run_id: record.finished_at for record in records(tmp_path / "runs")}
    assert ended[second] <= ended[first]


@pytest.fixture
def run_line(monkeypatch, capfd):
    """Return what runs a line of a plan as a shell does."""

    def run(command):
        words = shlex.split(command)
        assert words[0] == "clue-bench"
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        capfd.readouterr()

    return run


def test_a_plan_has_a_command_for_each_missing_run_and_bench_finds_what_they_have_done(bench, run_line, tmp_path):
    bench("--seeds", 1, "--no-floor", "--name", "mine")
    code, out, err = bench("--seeds", 2, "--plan", "--name", "mine", tasks="afqmc,ocnli")
    commands = out.splitlines()
    assert (code, len(commands)) == (0, 3)
    assert "4 runs: 1 model × 2 tasks, seeds 1, 2" in err
    with files.held(tmp_path / "runs" / Path(shlex.split(commands[0])[-1]).name / ".lock"):
        assert bench("--seeds", 2, "--plan", "--name", "mine", tasks="afqmc,ocnli")[1].splitlines() == commands[1:]
    for command in commands:
        run_line(command)
    before = contents(tmp_path / "runs")
    assert bench("--seeds", 2, "--plan", "--name", "mine", tasks="afqmc,ocnli")[1] == ""
    code, _, err = bench("--seeds", 2, "--no-floor", "--name", "mine", tasks="afqmc,ocnli")
    assert (code, "4 complete already" in err) == (0, True)
    after = contents(tmp_path / "runs")
    assert {name: after[name] for name in before} == before


def test_the_other_seeds_of_a_searched_setting_are_planned_once_it_is_known(bench, run_line):
    grid = ["--seeds", 2, "--grid", "dropout=0,0.1234567", "--plan"]
    code, out, _ = bench(*grid, "--json")
    plan = json.loads(out)
    assert (code, plan["is_complete"], [run["settings"]["dropout"] for run in plan["runs"]]) == (
        0,
        False,
        [0, 0.1234567],
    )
    for run in plan["runs"]:
        run_line(run["command"])
    plan = json.loads(bench(*grid, "--json")[1])
    assert (plan["is_complete"], [run["seed"] for run in plan["runs"]]) == (True, [2])
    (run,) = plan["runs"]
    assert (run["status"], run["run_id"] in run["command"]) == ("", True)


def test_a_plan_of_runs_that_no_command_does_alone_is_refused(bench):
    code, _, err = bench("--plan", "--untrained")
    assert (code, "start the same command several times" in err) == (1, True)


@pytest.mark.slow
def test_two_commands_at_once_share_the_runs_and_print_the_same_table(bench, data, checkpoint_folder, tmp_path):
    typed = ["bench", "--model", checkpoint_folder, "--task", "afqmc,ocnli", "--data", data, "--out", tmp_path / "runs"]
    command = [
        sys.executable,
        "-c",
        "from clue_bench.cli import main; main()",
        *typed,
        *FAST,
        "--steps",
        30,
        "--seeds",
        2,
    ]
    both = [
        subprocess.Popen([*map(str, command), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    tables = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], tables
    assert json.loads(tables[0][0]) == json.loads(tables[1][0])
    assert len(records(tmp_path / "runs", "-test-")) == 4


@pytest.mark.skipif(os.name == "nt", reason="Windows sends other signals")
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_it_continues_to_the_table_of_an_uninterrupted_sweep(
    bench, data, checkpoint_folder, tmp_path, how
):
    more = ["--seeds", 2, "--no-floor", "--set", "epochs=60", "--json"]
    typed = ["bench", "--model", checkpoint_folder, "--task", "afqmc", "--data", data, "--out", tmp_path / "runs"]
    command = [sys.executable, "-c", "from clue_bench.cli import main; main()", *typed, *FAST, "--steps", 120, *more]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_second_run(process, tmp_path / "runs")
        process.send_signal(signal.SIGSTOP)  # or it might end while the others look
        if how == signal.SIGINT:
            assert json.loads(bench(*more, "--plan", steps=120)[1])["runs"] == []  # it is being done
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=300)
    assert out == ""
    if how == signal.SIGINT:
        assert process.returncode == 130
        stopped, hint = err.splitlines()[-2:]
        assert re.fullmatch(r"finetune afqmc: stopped and saved at step \d+ of 120", stopped)
        assert hint == "hint: type the same command again: it continues"
    found = {record.run_id: record.status for record in records(tmp_path / "runs")}
    assert sorted(set(found.values())) == ["completed", "interrupted"]
    kept = {
        name: each for name, each in contents(tmp_path / "runs").items() if found[name.split("/")[0]] == "completed"
    }
    code, out, _ = bench(*more, steps=120)
    assert code == 0
    after = contents(tmp_path / "runs")
    assert {name: after[name] for name in kept if not name.endswith(".lock")} == {
        name: each for name, each in kept.items() if not name.endswith(".lock")
    }
    assert numbers(json.loads(out)) == numbers(json.loads(bench(*more, steps=120, out="whole")[1]))


def wait_for_second_run(process, folder):
    """Return when one run is complete and the next under way."""
    ends = time.monotonic() + 300
    while time.monotonic() < ends:
        if sorted(record.status for record in records(folder)) == ["completed", "interrupted"]:
            return
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"the sweep ended too early, with {process.returncode}: {process.communicate()[1]}")
