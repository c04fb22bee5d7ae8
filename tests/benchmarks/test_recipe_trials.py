"""Recipes at an equal budget: how many steps fit it, and what the table says."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import recipe_trials

TRIALS = recipe_trials.read_trials(Path(__file__).parents[2] / "benchmarks" / "trials.toml")


def test_every_trial_of_the_file_loads_and_the_first_is_the_card():
    assert TRIALS[0].name == "card"
    assert {trial.loaded().name for trial in TRIALS} == {"roberta-tiny-clue", "roberta-tiny-clue-6l256"}


def test_the_budget_is_divided_among_stages_in_the_recipes_proportions():
    two_stages = recipe_trials.Trial("two", "roberta-word-tiny", {"stage1.steps": 300, "stage2.steps": 100}, 1.0)
    assert recipe_trials.steps_for(two_stages, [1.0, 5.0], seconds=200.0, tokens=None) == 100  # 75 s and 25 of 5 s
    half = two_stages._replace(share=0.5)
    assert recipe_trials.steps_for(half, [1.0, 5.0], seconds=200.0, tokens=None) == 50


def test_equal_tokens_need_no_rate():
    trial = TRIALS[0]
    steps = recipe_trials.steps_for(trial, [], seconds=None, tokens=1e6)
    assert steps * 64 * 128 == pytest.approx(1e6, rel=0.01)


def test_the_table_pairs_trials_by_seed():
    losses = {"card": [5.0, 6.0], "local": [4.0, 5.0]}
    results = {
        name: [{"held-out loss": loss, "tnews": 50.0 + loss} for loss in values] for name, values in losses.items()
    }
    last = recipe_trials.table(TRIALS, results).splitlines()[-1]
    assert "-1.00 ± 0.00 | -1.00 ± 0.00 |" in last  # the seeds differ by as much, in the same direction
