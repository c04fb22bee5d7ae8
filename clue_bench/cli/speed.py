"""`clue-bench speed`: how fast models train, fine-tune and predict here."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json, Set, overrides
from clue_bench.errors import ClueBenchError


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
    repetitions: Annotated[
        int, typer.Option(min=1, help="Repetitions of every measurement; 6 or more give a 95 % interval.")
    ] = 9,
    seconds: Annotated[float, typer.Option(min=0.01, help="The least that a repetition takes.")] = 2.0,
    baseline: Annotated[
        str | None, typer.Option(help="The --model that the others are compared with  [default: the first]")
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
    from clue_bench.doors.records import write_record
    from clue_bench.leaderboards.speed.tables import speed_json, speed_tables
    from clue_bench.speed_measurement.session import measure

    with terminal.bar("speed", 1.0, on_interrupt="run the same command again: nothing is kept of this session") as bar:
        records = measure(
            model,
            corpora=corpus or [],
            task=task,
            data=data,
            repetitions=repetitions,
            seconds=seconds,
            baseline=baseline,
            settings=overrides(settings),
            on_progress=lambda done, total, what: bar.update(done / total, what),
        )
    for record in records:
        path = write_record(out, record)
        terminal.say(f"record: {path}")
        for kind, reason in (record.results.not_measured if record.results else {}).items():
            terminal.say(f"{record.model.name}: {kind} was not measured: {reason}")
    failed = [record for record in records if record.status == "failed"]
    if len(failed) == len(records):
        raise ClueBenchError(f"nothing was measured: {failed[0].error}", "read the errors in the records")
    if json:
        terminal.print_json(speed_json(records))
    else:
        typer.echo("\n\n".join(map(str, speed_tables(records))))
