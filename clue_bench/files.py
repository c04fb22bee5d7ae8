"""Write files completely or not at all, and lock folders.

Input: a path. Output: the finished file under that name, on disk (fsync) before it becomes visible. A crash at any
moment leaves the previous file, and at most a stray `.NAME.<process>.tmp` beside it, which whoever writes the file next
removes.
"""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clue_bench.errors import ClueBenchError

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FREE_SPACE = "free space on the disk, then type the same command again"
# What is often saved in place of a file, by its first bytes; what to do about it.
_IMPOSTORS = (
    (rb"^version https://git-lfs", "a Git LFS pointer", "run git lfs pull, or download the file itself"),
    (rb"(?i)^\s*<(!doctype|html|head|\?xml)", "a web page", "download the file itself, not the page that shows it"),
)
_TEMPORARY = re.compile(r"\..+\.(\d{1,9})\.tmp")
BEGINNING = 256  # bytes that show what a file is
_TORCH_WRITER = re.compile(r"PytorchStreamWriter|inline_container")
ATTEMPTS, SECONDS_BETWEEN_ATTEMPTS = 3, 0.02  # to lock: who asks whether a file is held holds it for a moment


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is synced and renamed to `path`, on error removed.

    Raises OSError, e.g. if `path` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, expected a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with naming(path):
            yield temporary
            sync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that says nothing of its file, as those of a write to a full disk, speak of `path`."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def refuse_unwritable(folder: Path) -> None:
    """Raise OSError if files of `folder`, which need not exist, cannot be written: before minutes of work."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        error.filename = str(folder)
        raise


def refuse_input(out: Path, inputs: Iterable[Path]) -> None:
    """Raise ClueBenchError if `out` is one of the files that are read, which it would replace."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise ClueBenchError(f"--out {out}: is read as well, and would be replaced", "give --out another name")


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `folder`, to be renamed to it or not; what is left of it is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        remove(temporary)  # or it would keep a full disk full


def temporary_beside(path: Path) -> Path:
    """Return where to write what becomes `path`, file or folder; what dead processes left of it there is removed."""
    remove_strays(path)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def remove_strays(path: Path) -> None:
    """Remove what dead processes left half written beside `path`."""
    for stray in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if (process := is_temporary(stray)) and not _is_alive(int(process[1])):
            remove(stray)


def is_temporary(path: Path) -> re.Match[str] | None:
    """Return whether `path` has the name of something half written, and the number of its process."""
    return _TEMPORARY.fullmatch(path.name)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Return whether there is such a process here; True where that cannot be asked (Windows) without ending it."""
    try:
        if os.name != "nt":
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what writers of weights raise on a full disk into one ClueBenchError that names `path`.

    safetensors raises an Exception of its own, torch a RuntimeError, and neither says which file.
    """
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "SafetensorError" and not _TORCH_WRITER.search(str(error)):
            raise
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(f"{path}: not written: {reason}", FREE_SPACE) from error


def expanded(path: Path | str) -> Path:
    """Return a path whose "~" is the user's home folder, as a shell has it, which leaves --out=~/x as it is.

    Raises ClueBenchError if there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        hint = f"give {Path(path).absolute()} for a folder called {user}"
        raise ClueBenchError(f"{path}: no home folder of {user}", hint) from error


def refuse_impostor(path: Path) -> None:
    """Raise ClueBenchError if `path` is missing, empty, or a typical impostor such as an HTML page."""
    if not is_file(path):
        raise ClueBenchError(f"{path}: no such file", "check the path")
    with path.open("rb") as file:
        start = file.read(BEGINNING)
    if not start:
        raise ClueBenchError(f"{path}: the file is empty", "copy the file again")
    for pattern, found, hint in _IMPOSTORS:
        if re.search(pattern, start):
            raise ClueBenchError(f"{path}: {found}, not the file itself", hint)


def refuse_pointer(start: bytes, path: Path) -> None:
    """Raise ClueBenchError if a file's first bytes are those of a Git LFS pointer, which is text like any other."""
    pattern, found, hint = _IMPOSTORS[0]
    if re.search(pattern, start):
        raise ClueBenchError(f"{path}: {found}, not the file itself", hint)


def is_file(path: Path) -> bool:
    """Return whether there is such a file; a name that is too long is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def below(folder: Path) -> list[Path]:
    """Return everything in `folder` but folders, in order, to the bottom, hidden parts left out.

    Links to folders are followed, which `Path.rglob` does not do, but for folders that are reached without them, too.
    """
    found: list[Path] = []
    entered: set[str] = set()
    waiting = [folder]
    for start in waiting:  # links are appended
        for place, folders, names in os.walk(start, onerror=_unreadable):
            real = os.path.realpath(place)
            is_new = real not in entered
            entered.add(real)
            folders[:] = sorted(name for name in folders if is_new and not name.startswith("."))
            waiting += [path for name in folders if (path := Path(place, name)).is_symlink()]
            found += [Path(place, name) for name in names if is_new and not name.startswith(".")]
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise error


def sync(path: Path) -> None:
    """Wait until the contents of `path` are on disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with LF line ends, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256(*paths: Path) -> str:
    """Return the hash of the bytes of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def name_part(name: str, *, most: int = 100) -> str:
    """Return `name` in at most `most` bytes of UTF-8, as a part of a file's name, which has at most 255."""
    return name.encode()[:most].decode(errors="ignore")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Windows cannot open folders; the rename is still atomic there."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold the file `lock` while the block runs; it is released when the process ends, however it ends.

    Raises ClueBenchError if another process holds it. Does nothing on systems without such locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == ATTEMPTS - 1:
                    raise ClueBenchError(
                        f"{lock.parent}: another process is writing there", "wait for it, or give another --out"
                    ) from error
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        yield


def is_held(lock: Path) -> bool:
    """Return whether a process holds the file `lock`; False on systems without such locks."""
    try:
        import fcntl

        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a moment
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False
