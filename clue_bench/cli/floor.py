"""`clue-bench floor`: what a task gives without any pretraining."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.doors.records import BaselineRecord


def floor(
    task: Annotated[list[str], typer.Option(help="A task's name or a .toml file; may be given several times.")],
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the linear model's solver.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder that each run gets a folder in.")] = Path("runs"),
    json: Json = False,
) -> None:
    """Score the floor of tasks: the majority class, and TF-IDF n-grams with a linear model, without any pretraining.

    A leaderboard over the same folder shows them, and marks what does not beat them.

    Example: clue-bench floor --task afqmc --task tnews --data clue
    """
    from clue_bench.finetuning.baselines.measure import FLOORS, floor_run_id, run_floor
    from clue_bench.tasks.rows import read_rows
    from clue_bench.tasks.task import load_task

    cards = {name: load_task(name) for name in task}
    found: list[BaselineRecord] = []
    again = "type the same command again: floors that are complete are not repeated"
    with terminal.bar("floor", len(cards) * len(FLOORS), count=True, on_interrupt=again) as bar:
        for name, card in cards.items():
            bar.update(len(found), card.name)
            rows = read_rows(card, data)
            for kind in FLOORS:
                asked = {"task": name, "data": data.name, "seed": seed, "floor": kind}
                folder = out / floor_run_id(card, rows, kind=kind, seed=seed)
                found.append(run_floor(card, rows, data=data, kind=kind, seed=seed, out=folder, asked=asked))
                bar.update(len(found), card.name)
    if json:
        terminal.print_json({"runs": [record.model_dump(mode="json") for record in found]})
        return
    terminal.print_table(
        ["task", "floor", "dev accuracy", "dev macro-F1", "parameters", "seconds", "data revision"],
        [_row(record) for record in found],
    )


def _row(record: "BaselineRecord") -> list[str]:
    dev = record.completed_results.dev
    return [
        record.task.name,
        record.model.name,
        f"{dev.accuracy:.2%}",
        f"{dev.macro_f1:.4f}",
        f"{record.model.parameters:,}",
        f"{record.wall_seconds:.1f}",
        record.data.revision,
    ]
