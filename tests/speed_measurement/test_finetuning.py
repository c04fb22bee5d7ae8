"""Fine-tuning and prediction are timed on the same few rows, which stand for a real run's."""

from pathlib import Path

import numpy as np
import pytest

from clue_bench.doors.records import FileFacts
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.speed_measurement.finetuning import CALLS, FinetuningClock, PredictionClock, timed_rows
from clue_bench.tasks.rows import Rows
from clue_bench.tasks.task import load_task

FACTS = FileFacts(rows=0, md5="", expected_rows=None, expected_md5=None)


def pairs(num: int) -> Rows:
    lengths = np.random.default_rng(3).integers(1, 30, (num, 2))
    texts = [("的" * int(first), "我" * int(second)) for first, second in lengths]
    return Rows(texts, np.arange(num) % 2, list(range(num)), FACTS)


def test_timed_rows_are_every_eighth_batch_of_a_pool_sorted_by_length() -> None:
    rows = pairs(5_000)
    chosen = timed_rows(rows, batch_size=16)
    assert len(chosen) == 8 * 16
    assert len(set(chosen.ids)) == len(chosen)
    assert [rows.texts[row] for row in chosen.ids] == chosen.texts
    assert [rows.labels[row] for row in chosen.ids] == list(chosen.labels)
    mean = np.mean([len(a) + len(b) for a, b in chosen.texts])
    assert mean == pytest.approx(np.mean([len(a) + len(b) for a, b in rows.texts]), rel=0.05)
    lengths = np.sort([len(a) + len(b) for a, b in chosen.texts])
    spread = lengths.reshape(8, 16)
    assert (spread[:, -1] - spread[:, 0]).max() <= 4, "a batch's rows are of about one length"
    assert timed_rows(rows, batch_size=16).ids == chosen.ids


@pytest.mark.parametrize("num", [1, 3, 40, 130])
def test_few_rows_are_enough(num: int) -> None:
    chosen = timed_rows(pairs(num), batch_size=32)
    assert 1 <= len(chosen) <= num


def test_a_repetition_of_fine_tuning_goes_over_every_row_equally_often(checkpoint_folder: Path) -> None:
    task, rows = load_task("afqmc"), pairs(300)
    clock = FinetuningClock(open_pretrained(checkpoint_folder), task, rows, seconds=0.05)
    before = clock.finetuning.trained_rows
    assert clock.repetition().rows_per_second > 0
    trained = clock.finetuning.trained_rows - before
    assert trained >= len(clock.rows)
    assert trained % len(clock.rows) == 0
    assert clock.finetuning.evaluations == []
    assert clock.facts["rows"] == len(clock.rows)
    assert clock.facts["batch_size"] == 16, "the default of so few rows"


def test_prediction_is_timed_at_once_and_in_calls(checkpoint_folder: Path) -> None:
    clock = PredictionClock(open_pretrained(checkpoint_folder), load_task("afqmc"), pairs(300), seconds=0.02)
    trial = clock.repetition()
    assert trial.rows_per_second > 0
    assert set(trial.latencies) == {1, 32}
    for batch, (p50, p95) in trial.latencies.items():
        assert CALLS[0] <= clock.calls[batch] <= CALLS[1]
        assert 0 < p50 <= p95
    assert trial.latencies[1][0] < trial.latencies[32][0]
    assert len(clock._call(1, 7)) == 7
