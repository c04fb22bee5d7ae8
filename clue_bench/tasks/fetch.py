"""Get a task's data: from mirrors of the official zip, in order, then from the Hugging Face hub.

Input: a task card with an `[archive]`, a data folder. Output: `<data>/<archive.file>`, or `<data>/<task>/` from the
hub, and where it came from. Everything is staged in a hidden folder inside the data folder, read row by row, and only
then renamed into place. A zip is good if its md5 is on the card; if it is not, but every split of the card is in it
with the card's row counts, it is taken as another revision; anything else is refused and the next source is asked.
"""

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from clue_bench import files
from clue_bench.doors.records import OFFICIAL, DataFacts, FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.download import NotServed, Patience, download, shown
from clue_bench.tasks.files import LARGEST_FILE, NO_ZIP, OFFICIAL_NAME, OWN_NAME, archive_name, describe, locate
from clue_bench.tasks.rows import LABELLED_SPLITS, read_split
from clue_bench.tasks.sources import Load, write_splits
from clue_bench.tasks.task import Archive, Task

CORE_SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Survey:
    """The files found: `in_folder` and `in_zip` list splits by place, `damage` says what is wrong with the zip."""

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
    """Return in words why the task's data must be fetched, None if the existing data is good.

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
    except NO_ZIP as error:
        with archive.open("rb") as file:
            head = file.read(24)
        if head.startswith(b"PK"):
            raise NotServed(f"refused: damaged or cut short: {error}") from error
        begins = head.decode("ascii", "replace").replace("\ufffd", "?").split("\n")[0].strip()
        raise NotServed(f"refused: not a zip, it begins with '{begins}'" if head else "refused: empty") from error
    if size > LARGEST_FILE:
        raise NotServed(f"refused: {size:,} bytes when unpacked")


ALREADY_THERE = "already there"


class Watch(Protocol):
    """An observer of a fetch."""

    def note(self, text: str) -> None:
        """Receive a line that the user should read."""

    def progress(self, what: str, done: int, total: int | None, unit: str) -> None:
        """Take how much of `what` is done, of how much if that is known; `unit` is "bytes" or "rows"."""


@dataclass(frozen=True)
class Fetched:
    """A task's data and where they came from: a URL, a hub dataset, or ALREADY_THERE. `archive_md5` is the zip's.

    `passed_over` holds the sources that were asked before, each with the reason why it was not taken.
    """

    source: str
    path: Path
    archive_md5: str | None
    data: DataFacts
    passed_over: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Request:
    """The request to every source. `here` is what the data folder has already."""

    task: Task
    archive: Archive
    data: Path
    here: Survey
    watch: Watch

    def described(self, files: dict[str, FileFacts]) -> DataFacts:
        return describe(self.task, self.data, files)


_Get = Callable[[Path], Fetched]  # called with an empty folder to stage in; raises NotServed


def fetch_task(
    task: Task, data: Path, *, mirrors: list[str], patience: Patience, load_hub: Load, watch: Watch
) -> Fetched:
    """Return the task's data, fetched into `data` unless they are there. `mirrors` come before the card's.

    Raises ClueBenchError naming every source and its reason if none serves them; if the card names no source; if a file
    in the task's folder is damaged; or if `data` holds another data set than CLUE.
    """
    archive = task.archive
    if archive is None or not (mirrors or archive.mirrors or archive.hub_dataset):
        raise ClueBenchError(f"{task.name}: the card names no source", f"put its data into {data} by hand")
    request = _Request(task, archive, data, survey(task, data), watch)
    reason = lacks(task, data, request.here)
    if reason is None:
        files.remove_strays(data / task.name)  # of who was killed after the last of them was in place
        return _announced(_present(request), request)
    _refuse_other_data_sets(task, data)
    watch.note(reason)
    passed_over: list[tuple[str, str]] = []
    for name, get in _sources(request, mirrors, patience=patience, load_hub=load_hub):
        watch.note(f"{task.name}: asking {name}")
        with files.staging(data / task.name) as staging:
            try:
                return _announced(replace(get(staging), passed_over=tuple(passed_over)), request)
            except NotServed as failure:
                passed_over.append((name, failure.reason))
    raise _no_source(request, passed_over)


def mirror_url(mirror: str, file: str) -> str:
    """Return the URL of `file` on a user's mirror, a template with {file} or the folder that holds it.

    Raises ClueBenchError if it is neither http nor https.
    """
    if not mirror.startswith(("http://", "https://")):
        raise ClueBenchError(
            f"--mirror {mirror}: expected a URL that begins with http:// or https://",
            "give --mirror https://HOST/FOLDER, or --mirror 'https://HOST/get?name={file}'",
        )
    if "{file}" in mirror:
        return mirror.replace("{file}", quote(file))
    return f"{mirror.rstrip('/')}/{quote(file)}"


def _sources(request: _Request, mirrors: list[str], *, patience: Patience, load_hub: Load) -> list[tuple[str, _Get]]:
    """Return what to call each source, and the function that asks it, in the order in which they are asked."""

    def from_mirror(url: str) -> _Get:
        return lambda staging: _from_mirror(url, request, staging, patience=patience)

    archive = request.archive
    urls = [*(mirror_url(mirror, archive.file) for mirror in mirrors), *archive.mirrors]
    sources = [(shown(url), from_mirror(url)) for url in urls]
    if archive.hub_dataset:
        name = f"the Hugging Face hub, {archive.hub_dataset} {archive.hub_config}"
        sources.append((name, lambda staging: _from_hub(name, request, staging, load_hub=load_hub)))
    return sources


def _from_mirror(url: str, request: _Request, staging: Path, *, patience: Patience) -> Fetched:
    task, archive, data, here, watch = request.task, request.archive, request.data, request.here, request.watch
    what, staged, path = f"{task.name}: {archive.file}", staging / archive.file, data / archive.file
    md5 = download(
        url, staged, patience=patience, progress=lambda done, total: watch.progress(what, done, total, "bytes")
    )
    facts = check_archive(task, staging, md5)
    with files.replacing(path) as temporary:
        if here.damage is None and path.exists():
            # It can be read, so that somebody may want it: an older release, say.
            shutil.copy2(path, path.with_name(f"{path.name}.old"))
            watch.note(f"{task.name}: the zip that was there is kept as {path.name}.old")
        staged.replace(temporary)
    if here.in_folder:
        facts = {**facts, **{split: here.files[split] for split in here.in_folder}}
        watch.note(f"{task.name}: {', '.join(here.in_folder)} in {data / task.name} goes before the zip")
    if md5 not in archive.md5:
        watch.note(f"{task.name}: the zip's md5 {md5} is not on the card; it has the card's splits and rows: accepted")
    return Fetched(shown(url), path, md5, request.described(facts))


def _from_hub(name: str, request: _Request, staging: Path, *, load_hub: Load) -> Fetched:
    task, archive, data, here, watch = request.task, request.archive, request.data, request.here, request.watch
    what, folder, staged = f"{task.name}: rows of the hub", data / task.name, staging / task.name
    try:
        splits = load_hub(archive.hub_dataset, archive.hub_config)
    except NotServed:
        raise
    except Exception as error:  # the hub's libraries raise anything; whatever it is, this source has failed
        raise NotServed((str(error).splitlines() or [type(error).__name__])[0]) from error
    write_splits(task, splits, staged, progress=lambda done, total: watch.progress(what, done, total, "rows"))
    try:
        found = survey(task, staging)
    except ClueBenchError as error:
        raise NotServed(f"refused: {error.message.replace(f'{staging}/', '')}") from error
    facts = {split: here.files[split] for split in here.in_folder}
    for split in found.in_folder:
        if split not in facts:  # a file that was there is the user's
            with files.replacing(folder / task.splits[split].file) as temporary:
                (staged / task.splits[split].file).replace(temporary)
            facts[split] = found.files[split]
    if here.damage is not None:
        # It would still be looked into for splits that the hub does not have.
        zipped = data / archive.file
        zipped.replace(zipped.with_name(f"{zipped.name}.damaged"))
        watch.note(f"{task.name}: the damaged zip is now called {zipped.name}.damaged")
    return Fetched(name, folder, None, request.described(facts))


def _present(request: _Request) -> Fetched:
    here, task, data = request.here, request.task, request.data
    md5 = archive_md5(task, data) if here.in_zip else None
    path = data / (request.archive.file if here.in_zip else task.name)
    return Fetched(ALREADY_THERE, path, md5, request.described(here.files))


def _announced(fetched: Fetched, request: _Request) -> Fetched:
    """Say which sources were passed over, and what makes the data another revision than CLUE's."""
    task, note, files = request.task, request.watch.note, fetched.data.files
    for source, reason in fetched.passed_over:
        note(f"{task.name}: passed over {source}: {reason}")
    missing = [split for split in task.splits if split not in files]
    for text in [*row_differences(files), *([f"no {', '.join(missing)}"] if missing else [])]:
        note(f"{task.name}: {text}")
    differs = any(file.expected_md5 not in (None, file.md5) for file in files.values())
    if differs or (fetched.data.name == OFFICIAL_NAME and fetched.data.revision != OFFICIAL):
        note(f"{task.name}: revision {fetched.data.revision}, not the card's: do not compare with published scores")
    return fetched


def _refuse_other_data_sets(task: Task, data: Path) -> None:
    name = describe(task, data, {}).name
    if name not in (OFFICIAL_NAME, OWN_NAME):
        raise ClueBenchError(
            f"{data}: its DATASET.json says that it holds the data set '{name}', which is not CLUE",
            "give --data another folder",
        )


def _no_source(request: _Request, passed_over: list[tuple[str, str]]) -> ClueBenchError:
    return ClueBenchError(
        f"{request.task.name}: none of its sources serves the data",
        f"put the zip into {request.data} by hand, or give --mirror https://HOST/FOLDER "
        "(a proxy is taken from HTTPS_PROXY, another hub from HF_ENDPOINT)",
        details=[f"{source}: {reason}" for source, reason in passed_over],
    )
