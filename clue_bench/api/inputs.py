"""Open the arguments of verbs: models from folders, the hub or memory; tasks with or without a card; their data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, as_path, as_reference
from clue_bench.numbers import article

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from clue_bench.doors.records import DataFacts
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.rows import Rows
    from clue_bench.tasks.task import Task

    SplitRows: TypeAlias = pd.DataFrame | datasets.Dataset | Sequence[Mapping[str, Any]]
    Data: TypeAlias = Path | str | SplitRows | Mapping[str, SplitRows] | datasets.DatasetDict
    Model: TypeAlias = Path | str | Run | tuple[Any, Any]


class TaskData(NamedTuple):
    """A task, the folder with its files, and its rows by split. `is_own`: they did not lie in a folder of task data."""

    card: "Task"
    folder: Path
    name: str  # what records call the data
    rows: "dict[str, Rows]"
    is_own: bool

    @property
    def facts(self) -> "DataFacts":
        """Return which data set and revision the rows are."""
        from clue_bench.tasks.rows import describe_rows

        return describe_rows(self.card, self.folder, self.rows)


@contextmanager
def task_data(
    task: "str | Task | None",
    data: "Data",
    *,
    text: "Columns | None" = None,
    label: str | None = None,
    show: Progress,
) -> Iterator[TaskData]:
    """Open a task with its data: a folder of tasks, or rows of one's own, kept in a folder while the block runs.

    Rows of one's own are a file, a folder with train.csv or the like, or rows in memory. `text` and `label` are their
    columns, and `task` is a name of your choice, by default the file's; obvious columns need not be named. Without
    columns `task` is one with a card. What was recognised is noted. Raises ClueBenchError.
    """
    from clue_bench.tasks.own import data_folder, data_name, rows_of
    from clue_bench.tasks.own_about import about_rows
    from clue_bench.tasks.own_task import own_task_of
    from clue_bench.tasks.rows import read_rows

    card = open_card(task, data) if task is not None and text is None and label is None else None
    rows, recognised = rows_of(data, card, text=text, label=label)
    show.notes(recognised)
    if card is None:
        card, rows, found = own_task_of(task, rows, data, text=text, label=label)
        show.notes(found)
    with data_folder(card, rows) as folder:
        opened = TaskData(card, folder, data_name(data), read_rows(card, folder), not isinstance(rows, Path))
        show.notes(note for split in opened.rows.values() for note in split.notes)
        if opened.is_own:
            show.notes(about_rows(opened.name, card, opened.rows, opened.facts.held_out))
        yield opened


def keep_rows(given: TaskData, run: Path) -> None:
    """Copy the predicted rows of one's own into the run's folder, so that nothing asks for them again."""
    from clue_bench.tasks.run_data import keep_rows

    if given.is_own:
        keep_rows(given.card, given.folder, run, [split for split in given.rows if split != "train"])


def open_card(task: "str | Task", data: "Data") -> "Task":
    """Return the card of a task that is given by its name, or as a card. Raises ClueBenchError for anything else."""
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.own_task import card_for
    from clue_bench.tasks.task import Task

    if isinstance(task, str):
        return card_for(task, data)
    if isinstance(task, Task):
        return task
    raise ClueBenchError(f"task: found {article(type(task).__name__)}, expected a name", "give the name of a task")


def open_model(model: "Model", show: Progress, *, name: str | None = None) -> "Pretrained":
    """Open a model to fine-tune: a folder, a hub id, a run, or (model, tokenizer) of transformers, called `name`.

    Raises ClueBenchError.
    """
    from clue_bench.errors import ClueBenchError
    from clue_bench.finetuning.base_models.opening import open_live, open_pretrained

    if isinstance(model, tuple) and len(model) == 2:
        opened = open_live(*model)
    elif hasattr(model, "save_pretrained"):
        raise ClueBenchError(f"{article(type(model).__name__)} without its tokenizer", "give (model, tokenizer)")
    else:
        opened = open_pretrained(as_reference(model, "model"))
    show.notes(opened.notes)
    return opened if name is None else opened.called(name)


def check_model(model: "Model") -> None:
    """Raise ClueBenchError for a model that is neither here nor an id of the hub, before torch is imported."""
    from clue_bench.doors.model_folders import local_folder

    if not isinstance(model, tuple) and not hasattr(model, "save_pretrained"):
        local_folder(as_reference(model, "model"))


def model_name(model: Path | str | Run) -> str:
    """Return the name of a model that is not in memory, as records state it."""
    path = as_path(model, "model")
    return path.name if path.exists() else str(model)


def note_revision(task: str, facts: "DataFacts", show: Progress) -> None:
    """Note which files are not the official ones: scores on them are not comparable with published scores."""
    from clue_bench.doors.records import OFFICIAL
    from clue_bench.tasks.files import OWN_NAME

    if facts.revision == OFFICIAL or facts.name == OWN_NAME:
        return
    differing = [
        f"{split} ({file.rows:,} rows" + (f", official {file.expected_rows:,})" if file.expected_rows else ")")
        for split, file in facts.files.items()
        if not file.is_official
    ]
    show.note(f"{task}: data revision {facts.revision}, not official: {', '.join(differing)}")
