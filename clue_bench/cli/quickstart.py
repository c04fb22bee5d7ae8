"""`clue-bench quickstart`: the whole way once, from text to a leaderboard."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.leaderboard import write_board
from clue_bench.cli.options import Json, Set, Steps, overrides

TASKS = ("afqmc", "tnews", "iflytek", "cmnli")
SEED = 1
SYNTHETIC_DOCUMENTS = 4_000
VOCABULARY_SIZE = 8_000
VOCABULARY_CHARACTERS = 8_000_000  # of text that the vocabulary is trained on: more changes only rare characters
NARROW = "debug"
# For the debug recipe: so narrow a model needs a larger rate than the default, and the synthetic tasks are easy.
FINETUNE = {"learning_rate": 5e-4, "epochs": 5, "evaluations_per_epoch": 2}


def quickstart(
    data: Annotated[Path | None, typer.Option(help="Real task data, instead of the synthetic data set.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="Real text, instead of the synthetic corpus.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write  [default: quickstart, or quickstart-real with real data]")
    ] = None,
    recipe: Annotated[str, typer.Option(help="Recipe to pretrain by.")] = "debug",
    steps: Steps = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Train a vocabulary, pretrain a small BERT, fine-tune it on four tasks, print a leaderboard.

    Without --data and --corpus everything is done on a small synthetic data set that is made on the spot.
    The same command again continues where it stopped.

    Example: clue-bench quickstart --data clue --corpus text
    """
    from clue_bench.cards import builtin_folder
    from clue_bench.cli.finetune import finetune_once, print_result
    from clue_bench.doors.records import read_records
    from clue_bench.leaderboards.files import PAGE, board_files

    folder = out or Path("quickstart" if data is None and corpus is None else "quickstart-real")
    asked = overrides(settings, steps)
    data, corpus = _inputs(folder, data, corpus)
    _check(data, recipe, asked)
    _pretrain(folder, corpus, recipe, asked)
    for task in TASKS:
        run = folder / f"finetune-{task}"
        record, _ = finetune_once(
            task=task,
            model=folder / "pretrain",
            data=data,
            seed=SEED,
            out=run,
            asked=dict(FINETUNE) if recipe == NARROW else {},
        )
        if not json:
            print_result(record, run)
    built = board_files(list(read_records(folder)), builtin_folder("leaderboards/published"))
    write_board(folder / "leaderboard", built.texts)
    terminal.say(f"leaderboard: {folder / 'leaderboard' / PAGE}")
    if json:
        terminal.print_json(built.values)
    else:
        typer.echo("\n" + built.markdown, nl=False)


def _inputs(folder: Path, data: Path | None, corpus: Path | None) -> tuple[Path, Path]:
    """Return task data and text; what is not given is made, and called synthetic."""
    from clue_bench.synthetic.corpus import write_corpus
    from clue_bench.synthetic.tasks import write_tasks
    from clue_bench.tasks.task import load_task

    if data is None:
        data = folder / "synthetic-tasks"
        if not (data / "DATASET.json").is_file():
            cards = {name: load_task(name) for name in TASKS}
            labels = {n: dict(zip(c.labels, c.label_descriptions, strict=True)) for n, c in cards.items()}
            write_tasks(data, seed=SEED, labels=labels)
        terminal.say(f"task data: synthetic, in {data}")
    if corpus is None:
        corpus = folder / "synthetic-corpus.txt"
        if not corpus.is_file():
            write_corpus(corpus, seed=SEED, num_documents=SYNTHETIC_DOCUMENTS)
        terminal.say(f"text: synthetic, in {corpus}")
    return data, corpus


def _check(data: Path, recipe: str, asked: dict[str, Any]) -> None:
    """Find mistakes in the inputs before anything long begins."""
    from clue_bench.pretraining.recipe import load_recipe
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.task import load_task

    load_recipe(recipe, asked)
    for task in TASKS:
        available_splits(load_task(task), data)


def _pretrain(folder: Path, text: Path, recipe: str, asked: dict[str, Any]) -> None:
    from clue_bench.cli import corpus as corpus_verbs
    from clue_bench.cli import vocab as vocab_verbs
    from clue_bench.cli.pretrain import pretrain_once

    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        vocab_verbs.train_once([text], out=vocabulary, size=VOCABULARY_SIZE, characters=VOCABULARY_CHARACTERS)
    corpus_verbs.build_once([text], vocabulary=vocabulary, out=folder / "corpus", workers=os.cpu_count() or 1)
    pretrain_once(recipe=recipe, corpus=folder / "corpus", out=folder / "pretrain", asked=asked)
