"""Runs that are complete already, or being done by another process: found without importing torch.

Input: what was asked for, and the folder of the run. Output: the complete record, or None, where only the longer way
can tell: models that are not in a folder of their own, several processes, settings that the record does not have. A
record counts only if everything that the run read is unchanged, and everything that it wrote is there.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench import __version__, files
from clue_bench.doors.records import (
    CHECKPOINT,
    LOCK,
    FinetuneRecord,
    PretrainRecord,
    Record,
    folder_in_use,
    read_record,
    record_paths,
)
from clue_bench.weights import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from clue_bench.api.inputs import TaskData
    from clue_bench.doors.shards import Corpus
    from clue_bench.pretraining.recipe import Recipe


def check_free(out: Path) -> None:
    """Raise ClueBenchError if another process is doing the run in this folder; of several that share it, ask none."""
    if _is_alone() and files.is_held(out / LOCK):
        raise folder_in_use(out)


def finished_pretraining(
    recipe: "Recipe",
    corpus: "Corpus",
    out: Path,
    *,
    start: Path | str | None,
    pairs: "Corpus | None",
    frozen_layers: int | None,
) -> PretrainRecord | None:
    """Return the record of this very run if it is complete, and its checkpoint is there, unchanged."""
    from clue_bench.pretraining.identity import identity_of, run_id_of

    record = _completed(out)
    if not isinstance(record, PretrainRecord) or not _is_alone():
        return None
    origin = None if start is None else _weights_sha256(Path(start))
    if start is not None and origin is None:
        return None
    identity = identity_of(
        recipe,
        corpus.manifest,
        # What "auto" picks here only torch knows; a complete run is not repeated for another machine's choice.
        precision=str(record.effective.get("precision")) if recipe.precision == "auto" else recipe.precision,
        start_sha256=origin,
        pairs_sha256=None if pairs is None else pairs.manifest.corpus_sha256,
        frozen_layers=frozen_layers,
    )
    is_this = record.run_id == run_id_of(recipe.name, identity)
    return record if is_this and _weights_sha256(out) == record.model.sha256 else None


def finished_finetuning(
    given: "TaskData", model: Path | str, out: Path, *, asked: Mapping[str, Any], seed: int
) -> FinetuneRecord | None:
    """Return the record in `out` if it is of the same request, data, card and weights, and its files are there."""
    from clue_bench.doors.predictions import are_as_written

    record = _completed(out)
    if not isinstance(record, FinetuneRecord):
        return None
    results = record.completed_results
    is_this = (
        record.seed == seed
        and {key: value for key, value in record.asked.items() if key != "task"} == asked
        and record.task == given.card.facts
        and record.data == given.facts
        and record.code.get("version") == __version__  # defaults are part of the program
        and record.model.sha256 == _weights_sha256(Path(model))
    )
    is_whole = is_this and are_as_written(out, results) and _weights_sha256(out) == results.weights_sha256
    return record if is_whole else None


def _is_alone() -> bool:
    """Return whether this process is the only one of the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def _completed(out: Path) -> Record[Any] | None:
    paths = record_paths(out)
    record = read_record(paths[0]) if len(paths) == 1 else None
    return record if record is not None and record.status == "completed" else None


def _weights_sha256(model: Path) -> str | None:
    """Return the hash of the one file of weights in a checkpoint or a run; None where it is not as simple."""
    for folder in (model / CHECKPOINT, model):
        if (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file():
            return files.sha256(folder / WEIGHTS)
    return None
