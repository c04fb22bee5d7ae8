"""Sweeps: what is done once, what is repeated, and what becomes of runs that fail."""

import hashlib
import json
import multiprocessing
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

from clue_bench import files
from clue_bench.doors.records import LOCK, read_record, record_path
from clue_bench.errors import ClueBenchError, Interrupted
from clue_bench.finetuning import workers
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.encode import Encodings
from clue_bench.finetuning.run import SECONDS_BETWEEN_LOOKS, Plan, prepare, run
from clue_bench.finetuning.settings import make_settings
from clue_bench.finetuning.sweep import num_runs, sweep
from clue_bench.finetuning.workers import num_workers
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task
from clue_bench.training.stopping import stop_requests

FAST = {"learning_rate": 5e-3, "batch_size": 16, "epochs": 1, "steps": 4, "precision": "fp32"}
DIVERGES = {"learning_rate": 1e30}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC-like rows whose label is whether the second question holds the character 不."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "afqmc").mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 160), ("dev", 60)):
        rows = []
        for _ in range(count):
            label = int(generator.random() < 0.4)
            first, second = ("".join(generator.choice(list("的一是在了有和人这中大"), 5)) for _ in range(2))
            rows.append({"sentence1": first, "sentence2": second + "不不" * label, "label": str(label)})
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "afqmc" / f"{split}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def planner(data, checkpoint_folder):
    task, start = load_task("afqmc"), open_pretrained(checkpoint_folder)
    rows = read_rows(task, data)

    def plan(point, seed):
        settings = make_settings(task, start.sizes, {**FAST, **point}, train_rows=len(rows["train"]))
        return Plan(task=task, start=start, settings=settings, seed=seed, rows=rows, data=data)

    return plan


def do(planner, candidates, seeds, out, **options):
    """Return the sweep, and how many updates were made for it."""
    moments = sweep(planner, candidates, seeds, out=out, asked={"model": "test"}, **options)
    updates = 0
    while True:
        try:
            updates += next(moments).report is not None
        except StopIteration as end:
            return end.value, updates


def contents(folder):
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def numbers(record):
    """What of a record does not depend on when and how fast it was made."""
    timed = ("train_seconds", "train_rows_per_second", "evaluation_rows_per_second", "peak_memory_mib")
    return record.effective, record.completed_results.model_dump(exclude=set(timed))


def without(planner, broken):
    """The planner, with a checkpoint that has lost its weights for the point `broken`: its runs fail in `prepare`."""

    def plan(point, seed):
        made = planner(point, seed)
        checkpoint = replace(made.start.checkpoint, tensors={})
        return replace(made, start=replace(made.start, checkpoint=checkpoint)) if point == broken else made

    return plan


@pytest.mark.slow
def test_every_point_runs_with_the_first_seed_and_only_the_best_with_the_others(planner, tmp_path):
    candidates = [{"learning_rate": 1e-9}, {"steps": 80, "epochs": 8, "learning_rate": 1e-2}, {"learning_rate": 1e-8}]
    swept, _ = do(planner, candidates, [1, 2, 3], tmp_path)
    assert [(trial.point, trial.seed) for trial in swept.trials] == [
        *((point, 1) for point in candidates),
        (candidates[1], 2),
        (candidates[1], 3),
    ]
    assert len(swept.trials) == num_runs(candidates, [1, 2, 3])
    scores = [trial.record.completed_results.dev.accuracy for trial in swept.trials[:3]]
    assert scores[1] == max(scores) > max(scores[0], scores[2])
    assert swept.best == candidates[1]
    assert [trial.seed for trial in swept.of_best] == [1, 2, 3]
    assert len(list(tmp_path.glob("*/*.record.json"))) == 5


def test_the_best_is_by_the_tasks_metric_whatever_was_predicted(planner, tmp_path):
    constant, low, high = {"steps": 1}, {"steps": 2}, {"steps": 3}
    results = {1: (9, 0.99, 0.3), 2: (7, 0.8, 0.4), 3: (6, 0.8, 0.5)}  # correct of 10, top_share, macro-F1

    def chosen(metric, points):
        out = tmp_path / f"{metric}-{len(points)}"
        for point in points:
            made = planner(point, 1)
            plan = replace(made, task=made.task.model_copy(update={"metric": metric}))
            list(run(plan, prepare(plan), out=out / plan.run_id, asked={}))
            path = record_path(out / plan.run_id, plan.run_id)
            values = json.loads(path.read_text(encoding="utf-8"))
            names = ("correct", "top_share", "macro_f1")
            dev = values["results"]["dev"] | dict(zip(names, results[point["steps"]], strict=True)) | {"rows": 10}
            values["results"]["dev"] = {**dev, "accuracy": dev["correct"] / 10}
            del values["results"]["dev_correct"]
            path.write_text(json.dumps(values), encoding="utf-8")

        def planned(point, seed):
            made = planner(point, seed)
            return replace(made, task=made.task.model_copy(update={"metric": metric}))

        swept, updates = do(planned, points, [1], out)
        assert updates == 0
        return swept.best

    assert chosen("accuracy", [constant, low, high]) == constant
    assert chosen("accuracy", [low, high]) == low
    assert chosen("macro_f1", [constant, low, high]) == high


def test_a_complete_run_is_not_repeated_nor_touched(planner, tmp_path):
    first, updates = do(planner, [{}], [1, 2], tmp_path)
    assert updates == 8
    before = contents(tmp_path)
    second, updates = do(planner, [{}], [1, 2, 3], tmp_path)
    assert updates == 4
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert [trial.record for trial in second.trials[:2]] == [trial.record for trial in first.trials]


def test_a_run_that_was_cut_off_without_a_state_starts_over_and_gives_the_same_numbers(planner, tmp_path):
    whole, _ = do(planner, [{}], [1, 2], tmp_path / "whole")
    moments = sweep(planner, [{}], [1, 2], out=tmp_path / "cut", asked={})
    for moment in moments:
        if moment.done == 1 and moment.report is not None and moment.report.step == 2:
            moments.close()
            break
    folder = tmp_path / "cut" / planner({}, 2).run_id
    assert read_record(record_path(folder, folder.name)).status == "interrupted"
    kept = contents(tmp_path / "cut" / planner({}, 1).run_id)
    again, updates = do(planner, [{}], [1, 2], tmp_path / "cut")
    assert updates == 4
    assert contents(tmp_path / "cut" / planner({}, 1).run_id) == kept
    assert [numbers(t.record) for t in again.trials] == [numbers(t.record) for t in whole.trials]


@pytest.mark.parametrize("lost", ["checkpoint", "predictions"])
def test_a_run_that_has_lost_files_is_repeated(planner, tmp_path, lost):
    first, _ = do(planner, [{}], [1], tmp_path)
    shutil.rmtree(first.trials[0].folder / lost)
    second, updates = do(planner, [{}], [1], tmp_path)
    assert updates == 4
    assert numbers(second.trials[0].record) == numbers(first.trials[0].record)


def test_a_diverged_run_stays_a_record_and_the_sweep_goes_on(planner, tmp_path):
    swept, _ = do(planner, [DIVERGES, {}], [1, 2], tmp_path)
    (failed,) = swept.failed
    assert (failed.record.status, failed.point) == ("failed", DIVERGES)
    assert "diverged" in failed.record.error
    assert failed.record.wall_seconds > 0
    assert read_record(record_path(failed.folder, failed.folder.name)) == failed.record
    assert (swept.best, len(swept.of_best)) == ({}, 2)
    before = contents(tmp_path)
    again, updates = do(planner, [DIVERGES, {}], [1, 2], tmp_path)
    assert updates == 0
    assert contents(tmp_path) == before
    assert [trial.record for trial in again.failed] == [failed.record]
    assert read_record(record_path(failed.folder, failed.folder.name)).started_at >= failed.record.started_at


def test_a_failed_run_is_repeated_only_when_asked_and_may_then_end_well(planner, tmp_path):
    swept, _ = do(without(planner, {}), [{}], [1], tmp_path)
    assert (swept.best, len(swept.failed)) == (None, 1)
    assert "encoder parameters" in swept.failed[0].record.error
    swept, updates = do(planner, [{}], [1], tmp_path)
    assert (updates, len(swept.failed)) == (0, 1)
    swept, updates = do(planner, [{}], [1], tmp_path, retry_failed=True)
    assert (updates, swept.failed) == (4, [])
    record = swept.trials[0].record
    assert (record.status, record.error) == ("completed", None)


def test_a_run_that_fails_again_for_another_reason_says_the_new_one(planner, tmp_path):
    do(planner, [DIVERGES], [1], tmp_path)
    swept, _ = do(without(planner, DIVERGES), [DIVERGES], [1], tmp_path, retry_failed=True)
    on_disk = read_record(record_path(swept.failed[0].folder, swept.failed[0].folder.name))
    assert swept.failed[0].record == on_disk
    assert "encoder parameters" in on_disk.error


def test_a_complete_run_whose_files_are_gone_and_that_fails_keeps_no_results(planner, tmp_path):
    done, _ = do(planner, [{}], [1], tmp_path)
    shutil.rmtree(done.trials[0].folder / "checkpoint")
    swept, _ = do(without(planner, {}), [{}], [1], tmp_path)
    assert (swept.failed[0].record.status, swept.failed[0].record.results) == ("failed", None)


def test_an_exception_of_any_kind_inside_training_is_named_in_the_record(planner, tmp_path):
    def plan(point, seed):
        made = planner(point, seed)
        dev = made.rows["dev"]
        return replace(made, rows={**made.rows, "dev": replace(dev, labels=dev.labels + 2)})  # classes that are not

    (failed,) = do(plan, [{}], [1], tmp_path)[0].failed
    assert read_record(record_path(failed.folder, failed.folder.name)) == failed.record
    assert failed.record.error.startswith("IndexError: ")
    assert "\n" not in failed.record.error


@pytest.mark.parametrize("obstacle", ["a file", "another run", "a damaged record"])
def test_a_folder_that_cannot_be_written_fails_its_run_only_and_stays_as_it_is(planner, tmp_path, obstacle):
    folder = tmp_path / planner({}, 1).run_id
    if obstacle == "a file":
        folder.write_text("in the way")
    else:
        name = folder.name if obstacle == "a damaged record" else "other"
        folder.mkdir()
        record_path(folder, name).write_text("{")
    swept, _ = do(planner, [{}, {"steps": 3}], [1], tmp_path)
    (failed,) = swept.failed
    assert (failed.folder, failed.record.status) == (folder, "failed")
    expected = {"a file": "FileExistsError", "another run": "holds another run", "a damaged record": "not a run record"}
    assert expected[obstacle] in failed.record.error
    assert swept.best == {"steps": 3}
    files = [path for path in folder.iterdir() if path.name != LOCK] if folder.is_dir() else [folder]
    assert [path.read_text() for path in files] == ["in the way" if obstacle == "a file" else "{"]


@pytest.fixture
def released(monkeypatch):
    """Return a lock that another process lets go of at the sweep's first look."""
    with ExitStack() as stack:

        def hold(folder):
            looks = {SECONDS_BETWEEN_LOOKS: stack.close}
            monkeypatch.setattr(time, "sleep", lambda seconds: looks.get(seconds, bool)())
            stack.enter_context(files.held(folder / LOCK))

        yield hold


def test_a_run_of_another_process_is_done_last_and_is_not_called_failed(planner, tmp_path, released):
    released(tmp_path / planner({}, 1).run_id)
    moments = list(sweep(planner, [{}, {"learning_rate": 1e-3}], [1], out=tmp_path, asked={}, workers=1))
    (wait,) = [at for at, moment in enumerate(moments) if moment.waits]
    assert [moment.ended.status for moment in moments[:wait] if moment.ended] == ["completed"]
    assert [(moment.done, moment.plan.run_id) for moment in moments if moment.ended] == [
        (0, planner({"learning_rate": 1e-3}, 1).run_id),
        (1, planner({}, 1).run_id),
    ]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_that_does_not_wait_ends_without_what_another_process_does(planner, tmp_path, workers):
    two = [{}, {"learning_rate": 1e-3}]
    with files.held(tmp_path / planner({}, 1).run_id / LOCK):
        swept, updates = do(planner, two, [1, 2], tmp_path, workers=workers, waits=False)
        assert (swept.held, updates, swept.best) == ([planner({}, 1).run_id], 4, None)  # which is best is not known yet
        swept, updates = do(planner, [{}], [1, 2], tmp_path, workers=1, waits=False)
        assert (swept.held, updates) == ([planner({}, 1).run_id], 4)  # where nothing is searched, other seeds go on
    swept, updates = do(planner, two, [1, 2], tmp_path)
    assert (swept.held, len(swept.of_best)) == ([], 2)


def test_a_run_holds_its_folder_as_long_as_it_lasts(planner, tmp_path):
    moments = sweep(planner, [{}], [1], out=tmp_path, asked={})
    while next(moments).report is None:
        pass
    with pytest.raises(ClueBenchError), files.held(tmp_path / planner({}, 1).run_id / LOCK):
        pass
    moments.close()
    with files.held(tmp_path / planner({}, 1).run_id / LOCK):
        pass


@pytest.mark.slow
def test_side_by_side_gives_the_runs_that_one_after_the_other_gives(planner, tmp_path):
    points = [{"learning_rate": 1e-3}, {"learning_rate": 5e-3}]
    alone, updates = do(planner, points, [1, 2], tmp_path / "alone", workers=1)
    together, others = do(planner, points, [1, 2], tmp_path / "together", workers=2)
    assert updates == others == 3 * FAST["steps"]
    assert together.best == alone.best
    for one, other in zip(alone.trials, together.trials, strict=True):
        assert (one.point, one.seed, one.record.run_id) == (other.point, other.seed, other.record.run_id)
        assert other.is_complete
        (_, ours), (_, theirs) = numbers(one.record), numbers(other.record)
        assert theirs["dev"]["correct"] == ours["dev"]["correct"]
        assert theirs["dev"]["loss"] == pytest.approx(ours["dev"]["loss"], rel=1e-4)  # threads sum in another order
    before = contents(tmp_path / "together")
    assert do(planner, points, [1, 2], tmp_path / "together", workers=2)[1] == 0
    assert contents(tmp_path / "together") == before


@pytest.mark.slow
def test_side_by_side_a_model_keeps_the_name_that_it_was_given(planner, tmp_path):
    def named(point, seed):
        plan = planner(point, seed)
        return replace(plan, start=plan.start.called("mine"))

    swept, _ = do(named, [{"steps": 2}, {"steps": 3}], [1], tmp_path, workers=2)
    assert [(trial.is_complete, trial.record.model.name) for trial in swept.trials] == [(True, "mine")] * 2


@pytest.mark.slow
def test_side_by_side_a_diverged_run_is_a_record(planner, tmp_path):
    swept, _ = do(planner, [DIVERGES, {}], [1], tmp_path, workers=2)
    assert [trial.record.status for trial in swept.trials] == ["failed", "completed"]
    assert "diverged" in swept.trials[0].record.error


def test_splits_are_tokenised_once_for_all_runs_of_a_sweep(planner):
    plan, encodings = planner({}, 1), Encodings()
    first, second = prepare(plan, encodings), prepare(planner({"learning_rate": 1e-3}, 2), encodings)
    assert second.train is first.train
    assert second.dev is first.dev
    assert prepare(planner({"max_length": 9}, 1), encodings).train.lengths.max() == 9


def test_short_runs_and_wide_models_are_not_done_side_by_side(planner):
    assert num_workers([planner({}, seed) for seed in (1, 2)]) == 1
    many = [planner({"steps": None, "epochs": 50}, seed) for seed in (1, 2, 3)]
    assert num_workers(many) == min(3, torch.get_num_threads())
    wide = replace(many[0].start.checkpoint.config, hidden_size=1024, heads=16)
    checkpoint = replace(many[0].start.checkpoint, config=wide)
    assert num_workers([replace(plan, start=replace(plan.start, checkpoint=checkpoint)) for plan in many]) == 1


@pytest.mark.parametrize(
    ("gpus", "width", "workers"), [(1, 1024, 1), (2, 1024, 2), (8, 1024, 8), (1, 16, 4), (8, 16, 9)]
)
def test_every_gpu_gets_a_run_and_several_of_narrow_models(planner, monkeypatch, gpus, width, workers):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    plans = [planner({}, seed) for seed in range(1, 10)]
    start = replace(plans[0].start, sizes=replace(plans[0].start.sizes, hidden_size=width, heads=2))
    assert num_workers([replace(plan, start=start) for plan in plans]) == workers


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_its_run_as_failed_and_the_other_does_the_rest(planner, tmp_path):
    points = [{"steps": 40, "epochs": 4, "learning_rate": rate} for rate in (1e-3, 2e-3, 3e-3)]
    moments = sweep(planner, points, [1], out=tmp_path, asked={"model": "test"}, workers=2)
    assert next(moments).report.step == 1
    one, _ = multiprocessing.active_children()
    one.kill()
    while True:
        try:
            next(moments)
        except StopIteration as end:
            swept = end.value
            break
    assert sorted(trial.record.status for trial in swept.trials) == ["completed", "completed", "failed"]
    (failed,) = swept.failed
    assert "ended from outside" in failed.record.error
    assert not multiprocessing.active_children()


def test_a_worker_whose_parent_is_gone_lets_its_run_save_before_it_ends():
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    ours.close()
    saved = []

    def reports(request, encodings):
        with stop_requests() as stop:
            for step in range(10):
                yield step
                if stop.is_made:
                    saved.append(step)
                    raise Interrupted("stopped", "again")

    with pytest.raises(Interrupted, match="stopped"):
        workers._do(theirs, None, reports, Encodings())
    assert saved == [0]
