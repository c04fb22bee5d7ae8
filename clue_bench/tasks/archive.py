"""Whether a zip is what a task's card asks for.

Input: a folder that holds nothing but the zip, and its md5. Output: the facts of every split in it, or NotServed.
"""

import zipfile
from pathlib import Path

from clue_bench.doors.records import FileFacts
from clue_bench.tasks.download import MAX_BYTES, NotServed
from clue_bench.tasks.files import archive_name
from clue_bench.tasks.read import LABELLED_SPLITS
from clue_bench.tasks.survey import row_differences, survey
from clue_bench.tasks.task import Task


def check_archive(task: Task, staging: Path, md5: str) -> dict[str, FileFacts]:
    """Return the facts of every split in the zip, which has been read to its last row.

    Raises NotServed if it is no zip or damaged; if train or dev is missing; or, unless `md5` is on the card, if any
    split is missing or has another row count than the card's.
    """
    archive = staging / archive_name(task)
    _check_shape(archive)
    found = survey(task, staging)
    if found.damage is not None:
        raise NotServed(f"refused: {found.damage.replace(f'{staging}/', '')}")
    is_known = task.archive is not None and md5 in task.archive.md5
    missing = [split for split in found.missing if not is_known or split in LABELLED_SPLITS]
    if missing:
        files = ", ".join(task.splits[split].file for split in missing)
        raise NotServed(f"refused: the zip has no {files}; its md5 is {md5}")
    differences = row_differences(found.files)
    if differences and not is_known:
        raise NotServed(f"refused: {'; '.join(differences)}; the zip's md5 is {md5}")
    return found.files


def _check_shape(archive: Path) -> None:
    """Raise NotServed unless the file is a zip of a size that can be read into memory."""
    try:
        with zipfile.ZipFile(archive) as opened:
            size = sum(member.file_size for member in opened.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:  # RuntimeError: a version of zip not known
        with archive.open("rb") as file:
            head = file.read(24)
        if head.startswith(b"PK"):
            raise NotServed(f"refused: damaged or cut short: {error}") from error
        begins = head.decode("ascii", "replace").replace("\ufffd", "?").split("\n")[0].strip()
        raise NotServed(f"refused: not a zip, it begins with '{begins}'" if head else "refused: empty") from error
    if size > MAX_BYTES:
        raise NotServed(f"refused: {size:,} bytes when unpacked")
