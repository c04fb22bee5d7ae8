"""Open the arguments of verbs: models from folders, the hub or memory; tasks with or without a card; their data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, as_path, as_reference

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from clue_bench.doors.records import DataFacts
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.tasks.rows import Rows
    from clue_bench.tasks.task import Task

    SplitRows: TypeAlias = pd.DataFrame | datasets.Dataset | Sequence[Mapping[str, Any]]
    Data: TypeAlias = Path | str | SplitRows | Mapping[str, SplitRows] | datasets.DatasetDict
    Model: TypeAlias = Path | str | Run | tuple[Any, Any]


class TaskData(NamedTuple):
    """A task, the folder with its files, and its rows by split."""

    card: "Task"
    folder: Path
    name: str  # what records call the data
    rows: "dict[str, Rows]"


@contextmanager
def task_data(
    task: "str | Task", data: "Data", *, text: str | Sequence[str] | None = None, label: str | None = None
) -> Iterator[TaskData]:
    """Open a task with its data: a folder, or rows in memory, which are kept in a folder while the block runs.

    With `text` and `label`, the columns of rows without a card, `task` is a name of your choice. Raises ClueBenchError.
    """
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.rows import read_rows
    from clue_bench.tasks.sources import data_folder, data_name, own_task

    if (text is None) != (label is None):
        raise ClueBenchError("found one of text and label", "give both columns, or neither and a task with a card")
    if isinstance(task, str) and text is not None and label is not None:
        card = own_task(task, data, text=text, label=label)
    else:
        card = open_card(task, data)
    with data_folder(card, data) as folder:
        yield TaskData(card, folder, data_name(data), read_rows(card, folder))


def open_card(task: "str | Task", data: "Data") -> "Task":
    """Return the card of a task that is given by its name, or as a card. Raises ClueBenchError for anything else."""
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.sources import card_for
    from clue_bench.tasks.task import Task

    if isinstance(task, str):
        return card_for(task, data)
    if isinstance(task, Task):
        return task
    raise ClueBenchError(f"task: found a {type(task).__name__}, expected a name", "give the name of a task")


def open_model(model: "Model", show: Progress) -> "Pretrained":
    """Open a model to fine-tune: a folder, a hub id, a run, or (model, tokenizer) of transformers.

    Raises ClueBenchError.
    """
    from clue_bench.errors import ClueBenchError
    from clue_bench.finetuning.base_models.opening import open_live, open_pretrained

    if isinstance(model, tuple) and len(model) == 2:
        opened = open_live(*model)
    elif hasattr(model, "save_pretrained"):
        raise ClueBenchError(f"a {type(model).__name__} without its tokenizer", "give (model, tokenizer)")
    else:
        opened = open_pretrained(as_reference(model, "model"))
    show.notes(opened.notes)
    return opened


def model_name(model: "Model", opened: "Pretrained") -> str:
    """Return the model's name as records state it."""
    if isinstance(model, tuple):
        return opened.name
    path = as_path(model, "model")
    return path.name if path.exists() else str(model)


def note_revision(task: str, facts: "DataFacts", show: Progress) -> None:
    """Note which files are not the official ones: scores on them are not comparable with published scores."""
    from clue_bench.doors.records import OFFICIAL

    if facts.revision == OFFICIAL:
        return
    differing = [
        f"{split} ({file.rows:,} rows" + (f", official {file.expected_rows:,})" if file.expected_rows else ")")
        for split, file in facts.files.items()
        if not file.is_official
    ]
    show.note(f"{task}: data revision {facts.revision}, not official: {', '.join(differing)}")
