"""TensorBoard, trackio and metrics.jsonl: every number at its step, once, also after an interruption."""

import json
from dataclasses import asdict, fields

import pytest

from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining import curve, trackers
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.report import TrainingReport
from clue_bench.pretraining.run import METRICS, run
from clue_bench.pretraining.trackers import pick_tracker, tracked
from clue_bench.pretraining.train import Pretraining

FIELDS = [field.name for field in fields(TrainingReport)]


@pytest.fixture
def event_accumulator():
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install tensorboard"
    )
    return lambda folder: accumulators.EventAccumulator(str(folder)).Reload()


def reports_of(recipe_file, corpus_folder, out, choice, **overrides):
    """Return the tracked reports of a run."""
    pretraining = Pretraining(load_recipe(str(recipe_file), overrides), Corpus.open(corpus_folder), out)
    reports = run(pretraining, asked={})
    return tracked(reports, choice, out=out, metrics=out / METRICS, name="test", config={"seed": 1})


def metrics_of(out):
    return [json.loads(line) for line in (out / METRICS).read_text(encoding="utf-8").splitlines()]


def test_every_line_of_metrics_has_exactly_the_fields_of_a_report(recipe_file, corpus_folder, tmp_path):
    reports = list(reports_of(recipe_file, corpus_folder, tmp_path, "none", held_out_share=0.2))
    assert metrics_of(tmp_path) == [asdict(report) for report in reports]
    assert {tuple(line) for line in metrics_of(tmp_path)} == {tuple(FIELDS)}
    assert not (tmp_path / trackers.FOLDER).exists()


def test_tensorboard_has_every_number_of_every_report(recipe_file, corpus_folder, tmp_path, event_accumulator):
    reports = list(reports_of(recipe_file, corpus_folder, tmp_path, "tensorboard", held_out_share=0.2))
    events = event_accumulator(tmp_path / trackers.FOLDER)
    told = {name for report in reports for name, value in asdict(report).items() if value is not None} - {"step"}
    assert set(events.Tags()["scalars"]) == told
    assert told <= set(FIELDS)
    for name in told:
        expected = {report.step: getattr(report, name) for report in reports if getattr(report, name) is not None}
        assert {event.step: event.value for event in events.Scalars(name)} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reports_before", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 7))])
def test_tensorboard_shows_no_step_twice_after_an_interruption(
    recipe_file, corpus_folder, tmp_path, event_accumulator, reports_before
):
    reports = reports_of(recipe_file, corpus_folder, tmp_path, "tensorboard")
    for _ in range(reports_before):
        next(reports)
    reports.close()
    list(reports_of(recipe_file, corpus_folder, tmp_path, "tensorboard"))
    loss = event_accumulator(tmp_path / trackers.FOLDER).Scalars("loss")
    assert [event.step for event in loss] == list(range(2, 25, 2))
    assert [event.value for event in loss] == pytest.approx([line["loss"] for line in metrics_of(tmp_path)], rel=1e-6)


def test_a_report_is_on_disk_before_the_next_step(recipe_file, corpus_folder, tmp_path, event_accumulator):
    reports = reports_of(recipe_file, corpus_folder, tmp_path, "tensorboard")
    next(reports)
    assert [event.step for event in event_accumulator(tmp_path / trackers.FOLDER).Scalars("loss")] == [2]
    reports.close()


def test_trackio_shows_no_step_twice_after_an_interruption(recipe_file, corpus_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    storage = pytest.importorskip("trackio.sqlite_storage", reason="pip install trackio").SQLiteStorage
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/elsewhere")  # would send the metrics away
    out = tmp_path / "run"
    reports = reports_of(recipe_file, corpus_folder, out, "trackio")
    for _ in range(3):
        next(reports)
    reports.close()
    list(reports_of(recipe_file, corpus_folder, out, "trackio"))
    logs = storage.get_logs(trackers.PROJECT, "test")
    assert [(line["step"], line["loss"]) for line in logs] == [(line["step"], line["loss"]) for line in metrics_of(out)]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("choice", ["tensorboard", "trackio"])
def test_a_tracker_that_is_asked_for_and_not_installed_is_named_with_the_remedy(monkeypatch, choice):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ClueBenchError, match=f"{choice} is not installed") as caught:
        pick_tracker(choice)
    assert caught.value.hint == f"run pip install 'clue-bench[{choice}]'"


def test_auto_is_tensorboard_where_it_is_installed_else_none(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert pick_tracker("auto") == "none"
    monkeypatch.setattr(trackers, "find_spec", lambda name: name == "tensorboard")
    assert pick_tracker("auto") == "tensorboard"
    assert pick_tracker("none") == "none"


def test_a_run_leaves_its_picture_and_the_ceiling_it_was_held_against(recipe_file, corpus_folder, tmp_path):
    (*_, last) = reports_of(recipe_file, corpus_folder, tmp_path, "none", held_out_share=0.2)
    assert (tmp_path / curve.FILE).read_bytes().startswith(b"<svg")
    (record,) = read_records(tmp_path)
    ceiling = record.completed_results.matrix_product_flops_per_second
    assert last.mfu == pytest.approx(last.model_flops_per_second / ceiling)
    assert last.hfu == pytest.approx(last.hardware_flops_per_second / ceiling)
    assert last.hfu < last.mfu
    assert record.completed_results.held_out_perplexity == last.held_out_perplexity


def test_an_interrupted_run_leaves_its_picture_too(recipe_file, corpus_folder, tmp_path):
    pretraining = Pretraining(load_recipe(str(recipe_file), {}), Corpus.open(corpus_folder), tmp_path)
    reports = run(pretraining, asked={})
    next(reports)
    assert not (tmp_path / curve.FILE).exists()
    reports.close()
    assert (tmp_path / curve.FILE).is_file()


def test_a_picture_that_cannot_be_written_ends_no_run(recipe_file, corpus_folder, tmp_path, caplog):
    (tmp_path / curve.FILE).mkdir()
    list(reports_of(recipe_file, corpus_folder, tmp_path, "none"))
    assert [record.status for record in read_records(tmp_path)] == ["completed"]
    assert "loss.svg: not drawn" in caplog.text
