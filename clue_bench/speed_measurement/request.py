"""The request of a speed session, checked as far as that needs no torch, whose import takes seconds.

Input: the arguments of `measure`. Output: nothing, or the error that the session would end with.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clue_bench.cards import card_paths
from clue_bench.doors.model_folders import local_folder, shipped_models
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.synthetic.tasks import TASKS
from clue_bench.tasks.files import find
from clue_bench.tasks.task import load_task


def check_request(
    models: Sequence[str],
    *,
    corpora: Sequence[Path],
    task: str,
    data: Path | None,
    baseline: str | None,
    settings: Mapping[str, Any],
) -> None:
    """Raise ClueBenchError for models, corpora, data or settings that are not there or cannot be meant."""
    if not models:
        raise ClueBenchError("no model to measure", "give at least one")
    if baseline is not None and baseline not in models:
        raise ClueBenchError(f"--baseline {baseline}: none of the models", f"give --baseline {models[0]}")
    card = load_task(task)
    if data is not None:
        find(card, "train", data)
    elif card.name not in TASKS:
        raise ClueBenchError(f"task {card.name}: no synthetic data for it", f"give --data, or --task {TASKS[0]}")
    for folder in corpora:
        Corpus.open(folder)
    for reference in models:
        if is_recipe(reference):
            load_recipe(reference, dict(settings))
        else:
            local_folder(reference)


def is_recipe(reference: str) -> bool:
    """Return whether a recipe is meant, and no checkpoint."""
    return reference.endswith(".toml") or (
        reference in card_paths("pretrain") and reference not in shipped_models() and not Path(reference).exists()
    )
