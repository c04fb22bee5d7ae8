"""`clue-bench pretrain`: shards to checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json, Set, overrides

if TYPE_CHECKING:
    from clue_bench.engine.report import Report
    from clue_bench.records import RunRecord

SHOWN = (
    "step",
    "loss",
    "lm_loss",
    "lm_accuracy",
    "sop_loss",
    "sop_accuracy",
    "pair_loss",
    "pair_accuracy",
    "held_out_loss",
    "held_out_accuracy",
    "held_out_sop_accuracy",
    "skipped",
    "tokens",
    "epochs",
    "mean_tokens_per_second",
    "mfu",
    "seconds",
)


def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (clue-bench recipes list) or a .toml file.")],
    corpus: Annotated[Path, typer.Option(help="Corpus folder, from clue-bench corpus build.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint/, metrics.jsonl, loss.svg, state, record.")],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Updates of the whole run, divided among its stages.")
    ] = None,
    settings: Set = None,
    debug_size: Annotated[
        bool, typer.Option("--debug-size", help="Shrink widths, lengths and steps; keep every code path.")
    ] = False,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Checkpoint to go on from, e.g. another run's --out.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Labelled pairs, from clue-bench corpus pairs, for recipes that take some.")
    ] = None,
    json: Json = False,
) -> None:
    """Pretrain a model. The same command again continues an interrupted run, bit for bit on the CPU.

    Example: clue-bench pretrain roberta-tiny-clue --corpus corpus --out runs/tiny --steps 2000 --set global_batch=64

    Two processes: torchrun --nproc_per_node 2 --no-python clue-bench pretrain roberta-tiny-clue …
    """
    asked = overrides(settings)
    record = pretrain_once(
        recipe=recipe, corpus=corpus, out=out, asked=asked, steps=steps, debug_size=debug_size, start=start, pairs=pairs
    )
    if record is None:  # one of several processes, and not the one that speaks
        return
    if json:
        terminal.print_json(record.model_dump(mode="json"))
        return
    rows: list[tuple[str, object]] = [("checkpoint", out / "checkpoint")]
    rows.append(("parameters", f"{record.model.parameters:,}"))
    for name in SHOWN:
        value = record.results.get(name)
        if value is not None:
            rows.append((name.replace("_", " "), f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"))
    terminal.print_table(["pretrained", record.run_id], rows)


def pretrain_once(
    *,
    recipe: str,
    corpus: Path,
    out: Path,
    asked: dict[str, Any],
    steps: int | None = None,
    debug_size: bool = False,
    start: Path | None = None,
    pairs: Path | None = None,
) -> "RunRecord | None":
    """Do one run with a progress bar, or find that it is done; return its record, None if another process has it."""
    from clue_bench.engine.recipe import load_recipe

    loaded = load_recipe(recipe, asked, steps=steps, debug_size=debug_size)

    from clue_bench.checkpoint import read_checkpoint
    from clue_bench.engine.run import completed_record, run, run_id
    from clue_bench.engine.train import Pretraining
    from clue_bench.records import read_record, record_path
    from clue_bench.shards import Corpus

    checkpoint = None if start is None else read_checkpoint(start)
    labelled = None if pairs is None else Corpus.open(pairs)
    pretraining = Pretraining(loaded, Corpus.open(corpus), out, start=checkpoint, pairs=labelled)
    typed: dict[str, Any] = {"recipe": recipe, "corpus": corpus.name, "settings": asked, "steps": steps}
    typed |= {"debug_size": debug_size, "from": start and str(start), "pairs": pairs and str(pairs)}
    record = completed_record(pretraining)
    if record is not None:
        pretraining.processes.stop()
        terminal.say(f"{record.run_id} is complete already")
        return record
    if not pretraining.processes.is_first:
        for _ in run(pretraining, asked=typed):
            pass
        return None
    with terminal.bar(f"pretrain {loaded.name}", loaded.total_steps, count=True) as bar:
        for report in run(pretraining, asked=typed):
            bar.update(report.step, _line(report, len(loaded.stages)))
    return read_record(record_path(out, run_id(pretraining)))


def _line(report: "Report", stages: int) -> str:
    """Return a report as one line of progress."""
    parts = [f"stage {report.stage}"] if stages > 1 else []
    parts += [f"loss {report.loss:.3f}", f"accuracy {report.lm_accuracy:.3f}"]
    if report.sop_loss is not None and report.sop_accuracy is not None:
        parts += [f"lm {report.lm_loss:.3f}", f"sop {report.sop_loss:.3f}", f"sop accuracy {report.sop_accuracy:.3f}"]
    if report.held_out_loss is not None:
        parts.append(f"held-out {report.held_out_loss:.3f}")
    if report.skipped:
        parts.append(f"skipped {report.skipped}")
    parts += [f"{report.tokens_per_second:,.0f} tokens/s", f"MFU {report.mfu:.0%}", f"lr {report.learning_rate:.2e}"]
    return "  ".join(parts)
