"""Two stages, and exact resume: a run broken off anywhere equals one that was not, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining

ALBERT = {"family": "albert", "embedding_size": 16, "tied_head": False, "activation": "relu"}
GPT2 = {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"}
OBJECTIVES = {
    "mlm": {},
    "mlm, muon, local, bag, fewer masks": {
        "optimizer": "muon",
        "initial_attention": "local",
        "decay_share": 0.5,
        "bag_weight": 0.2,
        "mask_rate": 0.3,
        "final_mask_rate": 0.15,
    },
    "mlm, albert": {**ALBERT, "bias_correction": False, "sentence_order": "texts"},
    "mlm, texts": {"sentence_order": "texts", "clip_norm": 0.0},
    "mlm, sentences": {"sentence_order": "sentences"},
    "wwm": {"objective": "wwm"},
    "wwm, texts, roformer": {"objective": "wwm", "sentence_order": "texts", "family": "roformer"},
    "clm": {**GPT2, "bias_correction": False},
}
TIMES = ("tokens_per_second", "model_flops_per_second", "mfu", "hardware_flops_per_second", "hfu", "seconds")


MANY = ("mlm", "mlm, albert", "mlm, texts", "mlm, sentences", "wwm")  # share their code with the others


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name in MANY else name for name in OBJECTIVES])
def overrides(request):
    return OBJECTIVES[request.param]


@pytest.fixture
def begin(two_stage_file, corpus_folder, words_folder):
    """What prepares a two-stage run: eight steps of stage 1, eight of stage 2, a state every four."""

    def begin(out, **overrides):
        folder = words_folder if overrides.get("objective") == "wwm" else corpus_folder
        return Pretraining(load_recipe(str(two_stage_file), overrides), Corpus.open(folder), out)

    return begin


def finish(pretraining):
    return list(run(pretraining, asked={}))


def break_off(pretraining, *, after_step):
    """Run until the report of `after_step`, and stop there as if the process had ended."""
    reports = run(pretraining, asked={})
    while next(reports).step < after_step:
        pass
    reports.close()


POSITIONS = "encoder.embeddings.position.weight"


def metrics(out):
    """Every number of every report, but for the times."""
    lines = map(json.loads, (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def weights(out):
    return [(out / name / "model.safetensors").read_bytes() for name in ("checkpoint-stage1", "checkpoint")]


@pytest.mark.parametrize(
    "ends", [(6, 8, 10), pytest.param((2, 6, 8, 10, 14, 16), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_run_broken_off_in_both_stages_and_between_them_continues_bit_for_bit(begin, overrides, ends, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(begin(whole, **overrides))
    assert [line["step"] for line in metrics(whole)] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert [line["stage"] for line in metrics(whole)] == [1] * 4 + [2] * 4
    for after_step in ends:
        break_off(begin(broken, **overrides), after_step=after_step)
    finish(begin(broken, **overrides))
    assert metrics(broken) == metrics(whole)
    assert weights(broken) == weights(whole)


@pytest.mark.slow
def test_a_run_killed_between_a_stage_s_checkpoint_and_its_state_makes_the_same_again(begin, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(begin(whole))
    break_off(begin(broken), after_step=4)
    shutil.copy(broken / "state.pt", tmp_path / "earlier.pt")
    break_off(begin(broken), after_step=8)
    shutil.copy(tmp_path / "earlier.pt", broken / "state.pt")
    finish(begin(broken))
    assert metrics(broken) == metrics(whole)
    assert weights(broken) == weights(whole)


def test_stage_2_starts_from_stage_1_s_weights_with_longer_rows_of_the_same_corpus(begin, tmp_path):
    break_off(begin(tmp_path, dropout=0.0), after_step=8)
    after_1 = read_checkpoint(tmp_path / "checkpoint-stage1").tensors
    second = begin(tmp_path, dropout=0.0)
    second.resume()
    state = second.model.state_dict()
    positions = state.pop(POSITIONS).clone()
    assert all(torch.equal(tensor, after_1[name]) for name, tensor in state.items())
    # Rows of stage 1 had 32 positions; the later ones, which were as drawn, repeat them.
    assert torch.equal(positions[:32], after_1[POSITIONS][:32])
    assert torch.equal(positions[32:], after_1[POSITIONS][torch.arange(32, len(positions)) % 32])
    assert not torch.equal(after_1[POSITIONS][32:], positions[32:])
    assert second.feeds.number == 2
    assert second.feeds.train.rows.length == 48
    assert second.feeds.train.rows.corpus is second.corpus
    finish(second)
    trained = read_checkpoint(tmp_path / "checkpoint").tensors[POSITIONS]
    assert (trained[32:48] - positions[32:48]).abs().max() > 1e-3
    assert torch.allclose(trained[48:], positions[48:], atol=1e-5)
    stated = [
        read_checkpoint(tmp_path / name).provenance["learned_positions"] for name in ("checkpoint-stage1", "checkpoint")
    ]
    assert stated == [32, 48]


def test_the_first_loss_of_stage_2_goes_on_where_stage_1_ended(begin, tmp_path):
    longer = {"stage1.steps": 60, "stage1.learning_rate": 3e-3, "dropout": 0.0}
    stages = {1: [], 2: []}
    for report in finish(begin(tmp_path, **longer)):
        stages[report.stage].append(report.loss)
    learnt = stages[1][0] - stages[1][-1]
    assert learnt > 0.1
    assert stages[2][0] < stages[1][-1] + 0.5 * learnt


def test_stage_2_has_a_schedule_and_an_optimizer_of_its_own(begin, tmp_path):
    pretraining = begin(tmp_path)
    reports = finish(pretraining)
    rates = {report.step: report.learning_rate for report in reports}
    # Two steps of warm-up to 2e-3, then down to 1e-4 over six: step 10 is the second, at the peak.
    assert rates[10] == pytest.approx(2e-3)
    assert rates[12] == pytest.approx(1e-4 + 1.9e-3 * 5 / 6)
    assert rates[16] == pytest.approx(1e-4 + 1.9e-3 * 1 / 6)
    assert rates[8] == pytest.approx(1e-3 * 1 / 7)
    counts = {int(state["step"]) for state in pretraining.optimizer.state.values()}
    assert counts == {8}
    assert reports[-1].tokens == 8 * 8 * 32 + 8 * 6 * 48


def test_orders_and_masks_of_the_two_stages_differ(begin, tmp_path):
    pretraining = begin(tmp_path, **{"stage2.max_length": 32, "stage2.global_batch": 8})
    first, _ = pretraining.feeds.assemble(pretraining.feeds.inputs(0, slice(0, 8)))
    break_off(pretraining, after_step=10)
    second, _ = pretraining.feeds.assemble(pretraining.feeds.inputs(0, slice(0, 8)))
    assert first.ids_BS.shape == second.ids_BS.shape
    assert not torch.equal(first.ids_BS, second.ids_BS)


@pytest.mark.slow
def test_kill_9_in_stage_2_and_the_same_run_again(two_stage_file, corpus_folder, begin, tmp_path):
    command = [sys.executable, "-c", "from clue_bench.cli import main; main()", "pretrain", str(two_stage_file)]
    command += ["--corpus", str(corpus_folder), "--set", "stage2.steps=60", "--set", "save_every=6"]
    longer = {"stage2.steps": 60, "save_every": 6}
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(begin(whole, **longer))
    command += ["--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    file = killed / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (file.is_file() and file.read_text(encoding="utf-8").count('"stage": 2') >= 5):
        assert time.monotonic() < deadline, "the run did not come to stage 2"
        assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [record.status for record in read_records(killed)] == ["interrupted"]
    finish(begin(killed, **longer))
    assert metrics(killed) == metrics(whole)
    assert weights(killed) == weights(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, id="mlm", marks=pytest.mark.slow),
        pytest.param(GPT2, id="clm", marks=pytest.mark.slow),
        pytest.param({"sentence_order": "texts"}, id="texts"),
    ],
)
def test_with_dropout_losses_do_not_depend_on_micro_batches(begin, overrides, tmp_path):
    whole = finish(begin(tmp_path / "whole", **overrides, micro_batch=8))
    split = finish(begin(tmp_path / "split", **overrides, micro_batch=3))
    assert [r.loss for r in split] == pytest.approx([r.loss for r in whole], abs=1e-5)
    assert [r.gradient_norm for r in split] == pytest.approx([r.gradient_norm for r in whole], abs=1e-4)
    without = finish(begin(tmp_path / "without", **overrides, micro_batch=8, dropout=0.0))
    assert max(abs(one.loss - other.loss) for one, other in zip(without, whole, strict=True)) > 1e-4
