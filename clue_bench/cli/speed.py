"""`clue-bench speed`: how fast models train, fine-tune and predict here."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json, Set, overrides
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.cli.speed_session import Session
    from clue_bench.doors.records import RunRecord

SYNTHETIC_SEED = 1


def speed(
    model: Annotated[
        list[str],
        typer.Option(
            help="Checkpoint folder, the --out of a run, an id of the Hugging Face hub, or a recipe (a name or a .toml "
            "file), whose weights are then untrained; several may be given."
        ),
    ],
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            help="Corpus folder to train on; each model takes the one with its vocabulary  [default: random ids]"
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="Task whose training rows are fine-tuned on and predicted.")] = "afqmc",
    data: Annotated[
        Path | None, typer.Option(help="Folder with a folder or zip per task  [default: synthetic data]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the records, one per model.")] = Path("runs/speed"),
    repetitions: Annotated[int, typer.Option(min=1, help="Of every measurement; 6 or more for a 95 % interval.")] = 9,
    seconds: Annotated[float, typer.Option(min=0.01, help="That a repetition lasts at least.")] = 2.0,
    baseline: Annotated[
        str | None, typer.Option(help="The --model that the others are held against  [default: the first]")
    ] = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Measure training, fine-tuning and prediction speed, sizes and memory of models, in turns, with intervals.

    Training is the first stage of the recipe, of a checkpoint the one that it was made by; --set changes the recipe of
    every model, e.g. to one batch and length.

    Example: clue-bench speed --model roberta-tiny-clue --model runs/tiny --task tnews --data clue

    Example: clue-bench speed --model roberta-tiny-clue --model roberta-word-tiny --set global_batch=64
    """
    asked: dict[str, Any] = {
        "models": [Path(each).name if Path(each).exists() else each for each in model],
        "corpus": [path.name for path in corpus or []],
        "task": task,
        "data": data.name if data else None,
        "repetitions": repetitions,
        "seconds": seconds,
        "baseline": baseline,
        "settings": overrides(settings),
    }
    if baseline is not None and baseline not in model:
        raise ClueBenchError(f"--baseline {baseline}: none of the models", f"--baseline {model[0]}")
    first = model.index(baseline) if baseline else 0
    with tempfile.TemporaryDirectory(prefix="clue-bench-speed-") as scratch:
        records = _measured(
            model, corpus or [], task=task, data=data, baseline=first, asked=asked, scratch=Path(scratch)
        )
    from clue_bench.doors.records import write_record
    from clue_bench.leaderboards.speed.tables import speed_json, speed_section

    for record in records:
        path = write_record(out, record)
        terminal.say(f"record: {path}")
        for kind, reason in record.results.get("not_measured", {}).items():
            terminal.say(f"{record.model.name}: {kind} was not measured: {reason}")
    failed = [record for record in records if record.status == "failed"]
    if len(failed) == len(records):
        raise ClueBenchError(f"nothing was measured: {failed[0].error}", "see the records")
    if json:
        terminal.print_json(speed_json(records))
    else:
        typer.echo(speed_section(records))


def _measured(
    models: list[str],
    corpora: list[Path],
    *,
    task: str,
    data: Path | None,
    baseline: int,
    asked: dict[str, Any],
    scratch: Path,
) -> "list[RunRecord]":
    """Check every input, then measure with a progress bar."""
    from clue_bench.cli.speed_models import open_models
    from clue_bench.cli.speed_session import Session
    from clue_bench.tasks.files import describe
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    card = load_task(task)
    folder = _synthetic(card.name, scratch) if data is None else data
    rows = read_split(card, "train", folder)
    opened = open_models(models, corpora=corpora, overrides=asked["settings"], scratch=scratch)
    session = Session(
        models=opened,
        task=card,
        task_reference=task,
        data=folder,
        data_facts=describe(card, folder, {"train": rows.facts}),
        scratch=scratch,
        repetitions=asked["repetitions"],
        seconds=asked["seconds"],
        baseline=baseline,
        asked=asked,
    )
    return _run_with_bar(session)


def _run_with_bar(session: "Session") -> "list[RunRecord]":
    from clue_bench.cli.speed_session import run

    done = -1
    with terminal.bar("speed", session.rounds, on_interrupt="nothing is kept of an interrupted session") as bar:

        def show(what: str) -> None:
            nonlocal done
            done += 1
            bar.update(done, what)

        records = run(session, on_progress=show)
        bar.update(session.rounds)
    return records


def _synthetic(task: str, scratch: Path) -> Path:
    """Write synthetic rows. Raises ClueBenchError for a task that has none."""
    from clue_bench.cli.quickstart import TASKS
    from clue_bench.synthetic.tasks import write_tasks
    from clue_bench.tasks.task import load_task

    if task not in TASKS:
        raise ClueBenchError(f"task {task}: no synthetic data for it", f"give --data, or --task {TASKS[0]}")
    cards = {name: load_task(name) for name in TASKS}
    labels = {name: dict(zip(card.labels, card.label_descriptions, strict=True)) for name, card in cards.items()}
    write_tasks(scratch / "tasks", seed=SYNTHETIC_SEED, labels=labels)
    return scratch / "tasks"
