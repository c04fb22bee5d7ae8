"""The rows that a run read, found again: those of one's own are kept in its folder, others lie where its user has them.

Input: a run's folder, whose record names the data by their folder's name, without its path. Output: where they are.
"""

from collections.abc import Iterable
from pathlib import Path

from clue_bench import files
from clue_bench.doors.records import read_record, record_paths
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import content, find, find_all, locate, md5_of
from clue_bench.tasks.task import Task

KEPT = "data"  # in a run's folder: the predicted rows
USUAL = Path("data")  # the default of --data


def keep_rows(task: Task, data: Path, run: Path, splits: Iterable[str]) -> None:
    """Copy the files of `splits` into a run's folder, where `data_of_run` finds them; what is there already stays."""
    for split in splits:
        kept = run / KEPT / task.name / task.splits[split].file
        if kept.exists():
            files.remove_strays(kept)  # of a process that was killed while another one wrote the same
        else:
            files.write_bytes(kept, content(find(task, split, data)))


def data_of_run(task: Task, split: str, run: Path) -> Path:
    """Return the folder of task data, or the file of rows, that the run in this folder read for `split`.

    It kept rows of one's own, but not those of train. Others are looked for by the name that its record has for their
    folder, here and in the folders above the run, and at last in "data". Of several, the one with the very file that
    the run read goes first. Raises ClueBenchError naming where it was looked.
    """
    if locate(task, split, run / KEPT) is not None:
        return run / KEPT
    paths = record_paths(run)
    record = read_record(paths[0]) if len(paths) == 1 else None
    named = Path(str(record.asked.get("data") or "")).name if record else ""
    above = [folder / named for folder in run.resolve().parents[:-1]]
    places = list(dict.fromkeys([*([Path(named), *above] if named else []), USUAL]))
    found = [place for place in places if locate(task, split, place) is not None]
    if len(found) > 1 and record is not None and split in record.data.files:
        md5 = record.data.files[split].md5
        return next((place for place in found if _md5(task, split, place) == md5), found[0])
    rows = next((place for place in places if place.is_file()), None)
    if rows is None and not found:
        looked = ", ".join(map(str, [run / KEPT, *places[:1], *(USUAL,) * (USUAL not in places[:1])]))
        raise ClueBenchError(
            f"{run}: the {split} rows of {task.name} that it read are not in {looked}, nor in a folder above the run",
            f"give --data the folder or file that it read, called {named or 'data'} then",
        )
    return found[0] if found else rows or USUAL


def _md5(task: Task, split: str, place: Path) -> str:
    try:
        return md5_of(*find_all(task, split, place))
    except ClueBenchError:  # damaged, or one of two files is missing: another place may have it
        return ""
