"""Run everything once, from text to a leaderboard."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clue_bench.api import SHIPPED
from clue_bench.api.boards import leaderboard
from clue_bench.api.corpora import build_corpus
from clue_bench.api.finetuning import finetune
from clue_bench.api.pretraining import pretrain
from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, as_settings, load_runs
from clue_bench.api.vocabularies import train_vocabulary
from clue_bench.doors.records import CHECKPOINT
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded
from clue_bench.tables import Shown, Table, make_facts

if TYPE_CHECKING:
    from clue_bench.leaderboards.leaderboard import Leaderboard

TASKS = ("afqmc", "tnews", "iflytek", "cmnli")
SEED = 1
SYNTHETIC_DOCUMENTS = 4_000
VOCABULARY_SIZE = 8_000
VOCABULARY_CHARACTERS = 8_000_000  # of text that the vocabulary is trained on: more changes only rare characters
NARROW = "debug"
MODEL, BOARD = "pretrain", "leaderboard"  # in the folder of a quickstart
PRETRAINED = "quickstart-pretrained"
# For the debug recipe and the model of the package: synthetic tasks are easy, and take a larger rate than the default.
FINETUNE = {"learning_rate": 5e-4, "epochs": 5, "evaluations_per_epoch": 2}


@dataclass(frozen=True, repr=False)
class Quickstart(Shown):
    """The results of a quickstart, and the folders in which they are."""

    runs: tuple[Run, ...]
    board: "Leaderboard"
    folder: Path
    data: Path
    model: Path | str

    @property
    def tables(self) -> list[Table]:
        """Return the model's own row among all runs of the folder, and where model and page are."""
        from clue_bench.leaderboards.files import PAGE

        made = [("checkpoint", str(self.model / CHECKPOINT))] if isinstance(self.model, Path) else []
        places = [
            *made,
            ("runs", ", ".join(str(run.folder) for run in self.runs)),
            ("page", str(self.folder / BOARD / PAGE)),
        ]
        return [*self.board.score_tables, make_facts(("model", str(self.model)), places)]

    def to_json(self) -> dict[str, Any]:
        """Return the leaderboard as plain values."""
        return self.board.to_json()


def quickstart(
    *,
    data: Path | str | None = None,
    corpus: Path | str | None = None,
    out: Path | str | None = None,
    recipe: str = NARROW,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    pretrained: bool = False,
    progress: bool = True,
) -> Quickstart:
    """Train a vocabulary, pretrain a small BERT, fine-tune it on four tasks, and write a leaderboard into `out`.

    Without `data` and `corpus` a small synthetic data set is generated and used. `pretrained` takes the model that
    comes with the package instead of pretraining one. Repeat the call to continue where it stopped. Raises
    ClueBenchError.
    """
    from clue_bench.pretraining.recipe import load_recipe
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.task import load_task

    if pretrained and (corpus is not None or recipe != NARROW or steps is not None or settings):
        raise ClueBenchError(
            "a corpus, a recipe, steps or settings are of a pretraining, and a pretrained model was asked for",
            "leave out --pretrained, or the others",
        )
    show = Progress(progress)
    folder = expanded(out or _folder_name(data=data, corpus=corpus, pretrained=pretrained))
    rows = _example_tasks(folder) if data is None else expanded(data)
    show.notes([f"task data: synthetic, in {rows}"] if data is None else [])
    load_recipe(recipe, as_settings(settings), steps=steps)  # finds mistakes before anything long begins
    for task in TASKS:
        available_splits(load_task(task), rows)
    model: Path | str = SHIPPED
    if not pretrained:
        model = folder / MODEL
        _pretrain(model, corpus, folder, recipe=recipe, steps=steps, settings=settings, progress=progress)
    runs = tuple(
        finetune(
            task,
            model,
            data=rows,
            seed=SEED,
            out=folder / f"finetune-{task}",
            settings=FINETUNE if recipe == NARROW else {},
            progress=progress,
        )
        for task in TASKS
    )
    board = leaderboard(load_runs(folder), out=folder / BOARD)
    return Quickstart(runs, board, folder, rows, model)


def _folder_name(*, data: Path | str | None, corpus: Path | str | None, pretrained: bool) -> str:
    if pretrained:
        return PRETRAINED if data is None else f"{PRETRAINED}-real"
    return "quickstart" if data is None and corpus is None else "quickstart-real"


def _pretrain(
    out: Path,
    corpus: Path | str | None,
    folder: Path,
    *,
    recipe: str,
    steps: int | None,
    settings: Mapping[str, Any] | None,
    progress: bool,
) -> None:
    """Pretrain on a corpus, or on synthetic text, with a vocabulary of its own; all of it in `folder`."""
    text = _example_text(folder, SYNTHETIC_DOCUMENTS) if corpus is None else expanded(corpus)
    Progress(progress).notes([f"text: synthetic, in {text}"] if corpus is None else [])
    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        train_vocabulary(
            text, out=vocabulary, size=VOCABULARY_SIZE, characters=VOCABULARY_CHARACTERS, progress=progress
        )
    shards = folder / "corpus"
    build_corpus(text, vocabulary=vocabulary, out=shards, workers=os.cpu_count() or 1, progress=progress)
    pretrain(recipe, corpus=shards, out=out, steps=steps, settings=settings, progress=progress)


class ExampleData(NamedTuple):
    """Synthetic text and task data: a file for `build_corpus`, and a folder for `finetune`."""

    text: Path
    tasks: Path


def example_data(out: Path | str, *, documents: int | None = None) -> ExampleData:
    """Write a small synthetic data set, text and four tasks, to the folder `out`, unless it exists.

    The same call gives the same bytes. Scores on it say nothing about CLUE.
    """
    return ExampleData(_example_text(expanded(out), documents or SYNTHETIC_DOCUMENTS), _example_tasks(expanded(out)))


def _example_text(folder: Path, documents: int) -> Path:
    from clue_bench.synthetic.corpus import write_corpus

    text = folder / "synthetic-corpus.txt"
    if not text.is_file():
        write_corpus(text, seed=SEED, num_documents=documents)
    return text


def _example_tasks(folder: Path) -> Path:
    from clue_bench.synthetic.tasks import write_tasks
    from clue_bench.tasks.task import load_task

    tasks = folder / "synthetic-tasks"
    if not (tasks / "DATASET.json").is_file():
        cards = {name: load_task(name) for name in TASKS}
        labels = {n: dict(zip(c.labels, c.label_descriptions, strict=True)) for n, c in cards.items()}
        write_tasks(tasks, seed=SEED, labels=labels)
    return tasks
