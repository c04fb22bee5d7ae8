"""Recipes at an equal budget: how many steps fit it, and what the table says."""

import sys
from pathlib import Path

import pytest
import torch

from clue_bench.errors import ClueBenchError, Interrupted
from clue_bench.pretraining.objectives import RowDraws
from clue_bench.pretraining.rows import Rows

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import objectives
import recipe_trials

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TRIALS = recipe_trials.read_trials(BENCHMARKS / "trials.toml")


def test_every_trial_of_the_file_loads_and_the_first_is_the_own_recipe():
    assert (TRIALS[0].name, TRIALS[0].objective) == ("own", None)
    assert {trial.loaded().name for trial in TRIALS} == {"clue-bench-tiny-2l128", "clue-bench-tiny-6l96"}
    assert {trial.objective for trial in TRIALS} - {None} == set(objectives.KINDS)


def test_the_trial_for_a_gpu_is_the_own_recipe():
    (trial,) = recipe_trials.read_trials(BENCHMARKS / "gpu" / "trial.toml")
    assert trial.loaded().name.startswith("clue-bench-tiny")


def test_the_budget_is_divided_among_stages_in_the_recipes_proportions():
    two_stages = recipe_trials.Trial("two", "roberta-word-tiny", {"stage1.steps": 300, "stage2.steps": 100}, 1.0)
    assert recipe_trials.steps_for(two_stages, [1.0, 5.0], seconds=200.0, tokens=None) == 100  # 75 s and 25 of 5 s
    half = two_stages._replace(share=0.5)
    assert recipe_trials.steps_for(half, [1.0, 5.0], seconds=200.0, tokens=None) == 50


def test_equal_tokens_need_no_rate():
    trial = TRIALS[0]
    steps = recipe_trials.steps_for(trial, [], seconds=None, tokens=1e6)
    assert steps * 32 * 128 == pytest.approx(1e6, rel=0.01)


def test_a_rate_is_measured_once_for_all_trials_that_compute_the_same(recipe_file, corpus_folder, tmp_path):
    own = recipe_trials.Trial("own", str(recipe_file), {}, 1.0)
    fast = own._replace(name="fast", changes={"learning_rate": 3e-3, "weight_decay": 0.1})
    wide = own._replace(name="wide", changes={"global_batch": 16})
    found = recipe_trials.measured([own, fast], corpus_folder, tmp_path / "rates.json")
    assert found["own"] == found["fast"]
    assert found["own"][0] > 0
    again = recipe_trials.measured([own, wide], corpus_folder, tmp_path / "rates.json")
    assert again["own"] == found["own"]
    assert again["wide"] != found["own"]


def test_measuring_goes_on_where_it_was_stopped(recipe_file, corpus_folder, tmp_path, monkeypatch):
    trial, calls = recipe_trials.Trial("own", str(recipe_file), {}, 1.0), []

    def measure(trial, corpus):
        calls.append(trial.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [float(len(calls))]

    monkeypatch.setattr(recipe_trials, "seconds_per_stage_step", measure)
    with pytest.raises(KeyboardInterrupt):
        recipe_trials.measured([trial], corpus_folder, tmp_path / "rates.json")
    found = recipe_trials.measured([trial], corpus_folder, tmp_path / "rates.json")
    assert len(calls) == 4  # one was kept
    assert found == {"own": [3.0]}  # the median of 1, 3 and 4


def test_the_table_names_who_was_far_from_the_budget():
    results = {
        "own": [{"seconds": 100.0, "held-out loss": 5.0}],
        "mask30": [{"seconds": 89.0, "held-out loss": 5.0}, {"seconds": 85.0, "held-out loss": 5.0}],
    }
    last = recipe_trials.table(TRIALS, results, seconds=100.0).splitlines()[-1]
    assert last == "mask30 took 87 s where 100 s were given: not an equal budget."
    assert "took" not in recipe_trials.table(TRIALS, results)  # of tokens
    assert "took" not in recipe_trials.table(TRIALS, results, seconds=94.0)


def test_losses_on_rows_of_other_lengths_are_not_compared():
    results = {name: [{"held-out loss": 5.0, "tnews": 50.0}] for name in ("own", "mask30", "short-rows", "long-rows")}
    lines = recipe_trials.table(TRIALS, results).splitlines()
    assert [line.split("|")[5].strip() for line in lines[2:]] == ["", "0.00", "", ""]
    assert [line.split("|")[6].strip() for line in lines[2:]] == ["", "0.00", "0.00", "0.00"]


@pytest.mark.parametrize(
    ("error", "printed", "code"),
    [
        (Interrupted("stopped at step 8", "type it again"), "stopped at step 8\nhint: type it again\n", 130),
        (ClueBenchError("x: 3 found, 4 expected", "give 4"), "error: x: 3 found, 4 expected\nhint: give 4\n", 1),
    ],
)
def test_a_script_ends_in_a_line_or_two(capsys, error, printed, code):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        recipe_trials.in_one_line(main)
    assert (ended.value.code, capsys.readouterr().err) == (code, printed)


def test_a_trial_may_have_a_corpus_of_its_own(recipe_file, corpus_folder, tmp_path):
    (tmp_path / "trials.toml").write_text(f'recipe = "{recipe_file}"\n[own]\n[other]\ncorpus = "{corpus_folder}"\n')
    own, other = recipe_trials.read_trials(tmp_path / "trials.toml")
    assert (own.corpus_or(tmp_path), other.corpus_or(tmp_path)) == (tmp_path, corpus_folder)
    run = other.pretrained(tmp_path / "none", tmp_path / "run", changes={}, steps=4, progress=False)
    assert run.record.model.pretraining_tokens > 0


def test_the_table_pairs_trials_by_seed():
    losses = {"own": [5.0, 6.0], "mask30": [4.0, 5.0]}
    results = {
        name: [{"held-out loss": loss, "tnews": 50.0 + loss} for loss in values] for name, values in losses.items()
    }
    last = recipe_trials.table(TRIALS, results).splitlines()[-1]
    assert "-1.00 ± 0.00 | -1.00 ± 0.00 |" in last  # the seeds differ by as much, in the same direction


def test_a_model_that_predicts_no_tokens_has_no_loss_to_compare():
    results = {"own": [{"held-out loss": 5.0}], "mask30": [{"held-out loss": float("nan")}]}
    assert "| – | – |" in recipe_trials.table(TRIALS, results).splitlines()[-1]


def test_a_teacher_of_another_vocabulary_is_refused_before_anything_is_measured(corpus_folder, checkpoint_folder):
    objectives.check_teacher(str(checkpoint_folder), corpus_folder)
    with pytest.raises(ClueBenchError, match="vocabulary"):
        objectives.check_teacher("clue-bench-tiny", corpus_folder)


@pytest.mark.parametrize("length", [8, 9])
def test_some_rows_hold_their_beginning_twice_and_the_others_stay_as_they_are(monkeypatch, length):
    monkeypatch.setattr(objectives, "REPEATED", 0.5)
    ids = torch.arange(200 * length).view(200, length) + 1000
    draws = RowDraws(torch.zeros(200, dtype=torch.int64), torch.arange(200), 1)
    found = objectives.repeated(Rows(ids), draws, separator=7)
    assert found.segments_BS is not None
    chosen = (found.ids_BS != ids).any(1)
    assert 60 < int(chosen.sum()) < 140
    assert not found.segments_BS[~chosen].any()
    for row, segments, before in zip(found.ids_BS[chosen], found.segments_BS[chosen], ids[chosen], strict=True):
        one, other = before[1:4], before[1 : 3 if length == 8 else 4]
        assert row.tolist() == [int(before[0]), *one.tolist(), 7, *other.tolist(), 7]
        assert segments.tolist() == [0] * (len(one) + 2) + [1] * (len(other) + 1)


OWN = {"bag_weight": 0.2, "optimizer": "muon", "mask_rate": 0.3, "final_mask_rate": 0.15}  # what a trial may set


def test_halves_are_repeated_in_the_last_step_too(recipe_file, corpus_folder, tmp_path):
    recipe = recipe_trials.load_recipe(str(recipe_file), OWN, steps=8)
    trained = objectives.Repeated(recipe, objectives.Corpus.open(corpus_folder), tmp_path)
    list(trained.reports())
    batch, _ = trained.feeds.assemble(trained.feeds.inputs(7, slice(0, recipe.stage1.global_batch)))
    assert batch.segments_BS is not None
    assert trained.feeds.mask_rate == pytest.approx(0.15)


@pytest.mark.parametrize("kind", objectives.KINDS)
def test_every_objective_leaves_a_bert_that_transformers_opens(
    kind, recipe_file, corpus_folder, checkpoint_folder, tmp_path
):
    from transformers import BertForMaskedLM

    given = {"teacher": str(checkpoint_folder)} if kind == "distilled" else {}
    recipe = recipe_trials.load_recipe(str(recipe_file), OWN, steps=8)
    objectives.pretrain_by(kind, recipe, corpus_folder, tmp_path / kind, **given)
    state = BertForMaskedLM.from_pretrained(tmp_path / kind / "checkpoint").state_dict()
    first = objectives.Pretraining(recipe, objectives.Corpus.open(corpus_folder), tmp_path / "first").model.state_dict()
    moved = state["bert.encoder.layer.0.output.dense.weight"] - first["encoder.layers.0.down.weight"]
    assert 0 < float(moved.abs().max()) < 1


@pytest.mark.parametrize("kind", objectives.KINDS)
def test_products_have_the_recipes_precision_in_training_and_evaluation(
    kind, recipe_file, corpus_folder, checkpoint_folder, tmp_path
):
    given = {"teacher": str(checkpoint_folder)} if kind == "distilled" else {}
    recipe = recipe_trials.load_recipe(str(recipe_file), {"bag_weight": 0.2, "precision": "bf16"}, steps=4)
    trained = objectives.KINDS[kind](recipe, objectives.Corpus.open(corpus_folder), tmp_path / kind, **given)
    types = set()
    for module in trained.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    list(objectives.run(trained, asked={}))
    assert types == {torch.bfloat16}


@pytest.mark.parametrize("kind", objectives.KINDS)
def test_an_interrupted_trial_ends_as_one_that_was_not(kind, recipe_file, corpus_folder, checkpoint_folder, tmp_path):
    given = {"teacher": str(checkpoint_folder)} if kind == "distilled" else {}
    recipe = recipe_trials.load_recipe(str(recipe_file), {"log_every": 1, "save_every": 1}, steps=8)

    def trained(name):
        return objectives.KINDS[kind](recipe, objectives.Corpus.open(corpus_folder), tmp_path / name, **given)

    for report in objectives.run(stopped := trained("stopped"), asked={"objective": kind, **given}):
        if report.step == 5:
            break
    assert stopped.saved_step is not None
    for name in ("stopped", "whole"):
        objectives.pretrain_by(kind, recipe, corpus_folder, tmp_path / name, **given)
    one, other = ((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("stopped", "whole"))
    assert one == other


def test_a_folder_of_another_trial_is_refused(recipe_file, corpus_folder, tmp_path):
    recipe = recipe_trials.load_recipe(str(recipe_file), {}, steps=4)
    for _ in range(2):
        objectives.pretrain_by("repeated", recipe, corpus_folder, tmp_path)
    with pytest.raises(objectives.ClueBenchError, match=r"'repeated'.*'averaged'"):
        objectives.pretrain_by("averaged", recipe, corpus_folder, tmp_path)
    longer = recipe_trials.load_recipe(str(recipe_file), {}, steps=8)
    with pytest.raises(objectives.ClueBenchError, match="another run"):
        objectives.pretrain_by("repeated", longer, corpus_folder, tmp_path)
