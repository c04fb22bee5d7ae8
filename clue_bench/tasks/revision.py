"""Which revision of the data some files are.

A `DATASET.json` in the data folder names a data set that is not CLUE's, e.g. {"name": "synthetic"}.
"""

import hashlib
import json
from pathlib import Path

from clue_bench.doors.records import OFFICIAL, DataFacts, FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.task import Task

OFFICIAL_NAME, OWN_NAME = "clue", "own"


def describe(task: Task, data: Path, files: dict[str, FileFacts]) -> DataFacts:
    """Return which data set and revision `files` (split → facts) are.

    The data set is "clue" for a built-in card, "own" for a user's, or what DATASET.json says. Raises ClueBenchError if
    that file cannot be read.
    """
    name = _named(data / "DATASET.json") or (OFFICIAL_NAME if task.is_builtin else OWN_NAME)
    if name == OFFICIAL_NAME and all(facts.is_official for facts in files.values()):
        return DataFacts(name=name, revision=OFFICIAL, files=files)
    # A user's card may read other fields of the same files: then it is part of what the revision names.
    lines = [f"{split} {files[split].md5}" for split in sorted(files)]
    hashes = "\n".join([*lines, *([] if task.is_builtin else [task.sha256])])
    kind = "different" if name == OFFICIAL_NAME else name
    revision = f"{kind}-{hashlib.sha256(hashes.encode()).hexdigest()[:8]}"
    return DataFacts(name=name, revision=revision, files=files)


def _named(marker: Path) -> str | None:
    """Return the name in a DATASET.json, None if there is no such file."""
    if not marker.is_file():
        return None
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise ClueBenchError(f"{marker}: no name in it", 'expected {"name": "…"}') from error
