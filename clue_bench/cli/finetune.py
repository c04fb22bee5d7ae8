"""`clue-bench finetune`: one fine-tuning run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json, Set, Steps, overrides

if TYPE_CHECKING:
    from clue_bench.doors.records import FinetuneRecord
    from clue_bench.finetuning.run import Plan


def finetune(
    task: Annotated[str, typer.Option(help="A task's name (clue-bench tasks list) or a .toml file.")],
    model: Annotated[
        str,
        typer.Option(
            help="Checkpoint folder, the --out of a run (a fine-tuned one too), or an id of the Hugging Face hub, "
            "e.g. uer/chinese_roberta_L-2_H-128."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task.")] = Path("data"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the new head, the order and the dropout.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the run  [default: runs/<run id>]")] = None,
    steps: Steps = None,
    settings: Set = None,
    cuda_graphs: Annotated[
        bool,
        typer.Option("--cuda-graphs", help="Record updates on the GPU; a run of its own (untested)."),
    ] = False,
    json: Json = False,
) -> None:
    """Fine-tune any model on one task and score it on dev. Defaults follow the model's size.

    Example: clue-bench finetune --task tnews --model runs/tiny --data clue --set learning_rate=2e-4

    Example: clue-bench finetune --task afqmc --model hfl/chinese-electra-180g-small-discriminator --data clue
    """
    asked = overrides(settings, steps)
    record, folder = finetune_once(
        task=task, model=model, data=data, seed=seed, out=out, asked=asked, cuda_graphs=cuda_graphs
    )
    if json:
        terminal.print_json(record.model_dump(mode="json"))
        return
    print_result(record, folder)


def finetune_once(
    *,
    task: str,
    model: str | Path,
    data: Path,
    seed: int,
    out: Path | None,
    asked: dict[str, Any],
    cuda_graphs: bool = False,
) -> tuple["FinetuneRecord", Path]:
    """Do one run with a progress bar, or find that it is done; return its record and folder.

    `model` is a folder or an id of the hub.
    """
    from clue_bench.doors.records import FinetuneRecord, read_record_of, record_path
    from clue_bench.finetuning.base_models.pretrained import open_pretrained
    from clue_bench.finetuning.run import Plan, completed_record, held_folder, prepare, run
    from clue_bench.finetuning.settings import make_settings
    from clue_bench.tasks.rows import read_rows
    from clue_bench.tasks.task import load_task

    card = load_task(task)
    start = open_pretrained(model)
    for note in start.notes:
        terminal.say(note)
    rows = read_rows(card, data)
    settings = make_settings(card, start.sizes, asked, train_rows=len(rows["train"]))
    plan = Plan(task=card, start=start, settings=settings, seed=seed, rows=rows, data=data, cuda_graphs=cuda_graphs)
    folder = out or Path("runs") / plan.run_id
    record = completed_record(plan, folder)
    if record is not None:
        terminal.say(f"{plan.run_id} is complete already")
        return record, folder
    _warn_of_revision(plan)
    finetuning = prepare(plan)
    detail = ""
    typed = {
        "task": task,
        "model": Path(model).name if Path(model).exists() else str(model),
        "data": data.name,
        "seed": seed,
        "settings": asked,
        "cuda_graphs": cuda_graphs,
    }
    again = "type the same command again: a fine-tuning run starts over, and gives the same numbers"
    with (
        held_folder(folder),
        terminal.bar(f"finetune {card.name}", finetuning.total_steps, count=True, on_interrupt=again) as bar,
    ):
        for report in run(plan, finetuning, out=folder, asked=typed):
            if report.evaluation is not None:
                scores = report.evaluation.scores
                detail = f"  dev accuracy {scores.accuracy:.4f}  macro-F1 {scores.macro_f1:.4f}"
            bar.update(report.step, f"loss {report.loss:.3f}{detail}")
    return read_record_of(record_path(folder, plan.run_id), FinetuneRecord), folder


def print_result(record: "FinetuneRecord", folder: Path) -> None:
    """Print a fine-tuning record's result, and say so if it hits the majority class."""
    from clue_bench.doors.records import MAJORITY_CLASS

    results = record.completed_results
    dev = results.dev
    rows = [
        ("dev accuracy", f"{dev.accuracy:.2%}"),
        ("dev macro-F1", f"{dev.macro_f1:.4f}"),
        ("majority class", f"{dev.majority_share:.2%} of dev is '{dev.majority_label}'"),
        ("best step", f"{results.best_step} of {results.total_steps}"),
        ("data", f"{record.data.name}, revision {record.data.revision}"),
        ("seconds", f"{record.wall_seconds:.0f}"),
        ("folder", folder),
    ]
    terminal.print_table(["finetuned", record.run_id], rows)
    if MAJORITY_CLASS in record.flags:
        terminal.say(
            f"warning: majority class: {dev.top_share:.1%} of the predictions are '{dev.top_label}', and "
            f"always answering '{dev.majority_label}' scores {dev.majority_share:.2%}"
        )


def _warn_of_revision(plan: "Plan") -> None:
    """Say which files are not the official ones: a score on them is not comparable with published scores."""
    from clue_bench.doors.records import OFFICIAL

    facts = plan.data_facts
    if facts.revision == OFFICIAL:
        return
    differing = [
        f"{split} ({file.rows:,} rows" + (f", official {file.expected_rows:,})" if file.expected_rows else ")")
        for split, file in facts.files.items()
        if not file.is_official
    ]
    terminal.say(f"{plan.task.name}: data revision {facts.revision}, not official: {', '.join(differing)}")
