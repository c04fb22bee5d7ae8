"""How many rows go through the network at once, where that is left to the program, and when memory runs out."""

import pytest
import torch

from clue_bench.api.pretraining import _notes
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining import micro_batches, step, train
from clue_bench.pretraining.micro_batches import choose, evenly
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import completed_record, run
from clue_bench.pretraining.train import Pretraining


@pytest.fixture
def begin(recipe_file, corpus_folder, tmp_path):
    def begin(out="run", **overrides):
        recipe = load_recipe(str(recipe_file), {"steps": 6, "log_every": 1, "save_every": 1, **overrides})
        return Pretraining(recipe, Corpus.open(corpus_folder), tmp_path / out)

    return begin


@pytest.fixture
def no_room(monkeypatch):
    """Let a step run out of memory, in the middle of its gradient, where more rows than `most` go through at once."""

    def limit(most, *, after=0):
        whole, calls = train.train_step, []

        def step(model, optimizer, batch, *, micro_batch, **more):
            calls.append(micro_batch)
            if micro_batch > most and len(calls) > after:
                for parameter in model.parameters():
                    parameter.grad = torch.ones_like(parameter)
                raise torch.OutOfMemoryError("CUDA out of memory")
            return whole(model, optimizer, batch, micro_batch=micro_batch, **more)

        monkeypatch.setattr(train, "train_step", step)
        return calls

    return limit


@pytest.mark.parametrize(("rows", "most", "size"), [(512, 64, 64), (100, 64, 50), (10, 64, 10), (7, 3, 3), (5, 0, 1)])
def test_parts_are_few_and_equal(rows, most, size):
    assert evenly(rows, most) == size


@pytest.mark.parametrize(
    ("rows", "length", "device", "room", "size"),
    [(1024, 128, "cpu", 9999, 64), (1024, 512, "cpu", 9999, 16), (1024, 128, "cuda", 9999, 512),
     (1024, 128, "cuda", 200, 128), (96, 128, "cuda", 9999, 96), (96, 128, "cuda", 40, 24), (64, 128, "cuda", 0, 1)],
)  # fmt: skip
def test_a_size_is_enough_positions_or_what_fits(rows, length, device, room, size):
    assert choose(rows, length, device=device, fits=lambda tried: tried <= room) == size


def test_auto_is_the_run_of_every_other_size_and_says_what_it_took(begin):
    chosen = begin("auto", micro_batch="auto", dropout=0.1)
    assert "micro_batch: 8 rows at once" in _notes(chosen, is_continuation=False)
    losses = [report.loss for report in run(chosen, asked={})]
    assert losses == [report.loss for report in begin("eight", micro_batch=8, dropout=0.1).reports()]
    record = completed_record(chosen)
    assert (record.effective["stage1"]["micro_batch"], record.results.micro_batch) == ("auto", 8)
    assert completed_record(begin("auto", micro_batch=3)) == record  # the same run


def test_a_step_that_runs_out_of_memory_is_made_again_with_half_as_many_rows_at_once(begin, no_room, caplog):
    expected = [report.loss for report in begin("small", micro_batch=2).reports()]
    calls = no_room(2, after=2)
    reports = list(begin(micro_batch="auto").reports())
    assert calls == [8, 8, 8, 4, 2, 2, 2, 2]
    assert [report.micro_batch for report in reports] == [8, 8, 2, 2, 2, 2]
    assert [report.loss for report in reports] == pytest.approx(expected, abs=1e-5)
    assert "out of memory: micro_batch = 2 from step 3 on" in caplog.text


@pytest.mark.parametrize("copies", [False, True])
def test_what_a_step_had_of_its_gradient_before_memory_ran_out_is_forgotten(begin, monkeypatch, copies):
    monkeypatch.setattr(train, "has_working_weights", lambda precision, device: copies)
    monkeypatch.setattr(micro_batches, "choose", lambda rows, length, **more: 3)
    whole, calls = step._losses, []

    def losses(*given):
        calls.append(given)
        if len(calls) == 5:  # the second part of the second step
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(*given)

    expected = [report.gradient_norm for report in begin("one", micro_batch=1, held_out_share=0.0).reports()]
    monkeypatch.setattr(step, "_losses", losses)
    found = [report.gradient_norm for report in begin(micro_batch="auto", held_out_share=0.0).reports()]
    assert found == pytest.approx(expected, rel=2e-2 if copies else 1e-4)


def test_one_row_that_does_not_fit_and_a_size_that_was_asked_for_are_errors(begin, no_room):
    no_room(0)
    for asked in ("auto", 8):
        with pytest.raises(ClueBenchError, match="out of memory") as caught:
            list(begin(str(asked), micro_batch=asked).reports())
    assert "stage1.micro_batch=4" in caught.value.hint


def test_trying_a_size_out_leaves_nothing_behind(begin):
    tried, plain = begin("tried", dropout=0.1), begin("plain", dropout=0.1)
    tried._try_out(8)
    assert all(parameter.grad is None for parameter in tried.model.parameters())
    assert [report.loss for report in tried.reports()] == [report.loss for report in plain.reports()]
