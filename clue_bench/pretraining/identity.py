"""What identifies a pretraining run, without torch: only a run with the same identity is continued, or complete.

Input: a recipe, the corpus's manifest, the precision in force, the hashes of what else it reads. Output: the identity
and the run's name.
"""

import hashlib
import json
from typing import Any

from clue_bench.doors.shards import Manifest
from clue_bench.pretraining.recipe import Recipe


def identity_of(
    recipe: Recipe,
    manifest: Manifest,
    *,
    precision: str,
    start_sha256: str | None,
    pairs_sha256: str | None,
    frozen_layers: int | None,
) -> dict[str, Any]:
    """Return everything that changes the run's result; what changes rounding, memory and files only is left out."""
    unnamed = {"name", "title", "stage1", "stage2", "log_every", "save_every", "bag_weight", "final_mask_rate"}
    identity = recipe.model_dump(exclude=unnamed)
    for number, stage in enumerate(recipe.stages, 1):
        settings = stage.model_dump(exclude={"micro_batch"})
        identity |= {f"stage{number}.{key}": value for key, value in settings.items()}
    identity |= {
        "precision": precision,
        "corpus": manifest.corpus_sha256,
        "vocabulary": manifest.tokenizer_sha256,
        "words": manifest.word_starts,
    }
    # Absent where there are none, as in the identities of runs from before there were bags and changing masks.
    more = {
        "final_mask_rate": None if recipe.final_mask_rate in ("same", recipe.mask_rate) else recipe.final_mask_rate,
        "bag_weight": recipe.bag_weight or None,
        "from": start_sha256,
        "pairs": pairs_sha256,
        "frozen_layers": frozen_layers,
    }
    return identity | {key: value for key, value in more.items() if value is not None}


def run_id_of(name: str, identity: dict[str, Any]) -> str:
    """Return the run's name: the recipe's, and a hash of everything that identifies the run."""
    text = json.dumps(identity, sort_keys=True)
    return f"pretrain-{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
