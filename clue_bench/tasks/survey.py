"""What of a task's data a folder has, read row by row.

Input: a task, a data folder. Output: per split the facts of its file, what is missing, and what is damaged.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import archive_name, locate
from clue_bench.tasks.read import read_split
from clue_bench.tasks.task import Task

CORE_SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Survey:
    """What was found: `in_folder` and `in_zip` name splits by where they lie, `damage` is what ails the zip."""

    files: dict[str, FileFacts]
    in_folder: list[str]
    in_zip: list[str]
    missing: list[str]
    damage: str | None


def survey(task: Task, data: Path) -> Survey:
    """Read every split of `task` that `data` has. Raises ClueBenchError if a file in the task's folder is damaged.

    Such a file hides the one in the zip, so that fetching a new zip would not help.
    """
    files: dict[str, FileFacts] = {}
    in_folder: list[str] = []
    in_zip: list[str] = []
    missing: list[str] = []
    damage = None
    for split in task.splits:
        try:
            found = locate(task, split, data)
            if found is None:
                missing.append(split)
                continue
            (in_folder if found.member is None else in_zip).append(split)
            files[split] = read_split(task, split, data).facts
        except ClueBenchError as error:
            if split in in_folder:
                raise ClueBenchError(error.message, "fix or delete it, then type the same command again") from error
            damage = damage or error.message
    return Survey(files, in_folder, in_zip, missing, damage)


def archive_md5(task: Task, data: Path) -> str:
    """Return the md5 of the task's zip."""
    with (data / archive_name(task)).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def row_differences(files: dict[str, FileFacts]) -> list[str]:
    """Return, for every split whose row count is not the card's, both counts in words."""
    return [
        f"{split} has {file.rows:,} rows, the card {file.expected_rows:,}"
        for split, file in files.items()
        if file.expected_rows not in (None, file.rows)
    ]


def lacks(task: Task, data: Path, found: Survey) -> str | None:
    """Return in words why the task's data must be fetched, None if what is there is good.

    Files in the task's folder are the user's own: they are never replaced, so other row counts there are no reason, and
    a folder with train, dev and test is complete even if the card knows a second test set.
    """
    if found.damage is not None:
        return found.damage
    if found.missing and not set(CORE_SPLITS) <= set(found.in_folder):
        return f"{data}: no {', '.join(task.splits[split].file for split in found.missing)} of {task.name}"
    differences = row_differences({split: found.files[split] for split in found.in_zip})
    known = task.archive.md5 if task.archive is not None else []
    if differences and archive_md5(task, data) not in known:
        return f"{data / archive_name(task)}: {'; '.join(differences)}"
    return None
