"""`clue-bench pretrain`: shards to checkpoint."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clue_bench.cli import live, terminal
from clue_bench.cli.options import Json, Set, overrides

if TYPE_CHECKING:
    from clue_bench.doors.records import PretrainRecord


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
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="Keep the corpus on the GPU and record the step (one GPU; untested).")
    ] = False,
    tracker: Annotated[
        Literal["auto", "none", "tensorboard", "trackio"],
        typer.Option(help="Also write curves for this program; auto: tensorboard where it is installed."),
    ] = "auto",
    json: Json = False,
) -> None:
    """Pretrain a model. The same command again continues an interrupted run, bit for bit on the CPU.

    Example: clue-bench pretrain roberta-tiny-clue --corpus corpus --out runs/tiny --steps 2000 --set global_batch=64

    Two processes: torchrun --nproc_per_node 2 --no-python clue-bench pretrain roberta-tiny-clue …
    """
    asked = overrides(settings)
    record = pretrain_once(
        recipe=recipe,
        corpus=corpus,
        out=out,
        asked=asked,
        steps=steps,
        debug_size=debug_size,
        start=start,
        pairs=pairs,
        cuda_graphs=cuda_graphs,
        tracker=tracker,
    )
    if record is None:  # one of several processes, and not the one that speaks
        # Gloo's threads have been seen to abort the interpreter's own shutdown; there is nothing left to do here.
        os._exit(0)
    if json:
        terminal.print_json(record.model_dump(mode="json"))
        return
    rows: list[tuple[str, object]] = [("checkpoint", out / "checkpoint")]
    rows += [("loss curve", out / "loss.svg"), ("parameters", f"{record.model.parameters:,}")]
    terminal.print_table(["pretrained", record.run_id], [*rows, *live.result_rows(record.completed_results)])


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
    cuda_graphs: bool = False,
    tracker: Literal["auto", "none", "tensorboard", "trackio"] = "auto",
) -> "PretrainRecord | None":
    """Do one run with a progress bar, or find that it is done; return its record, None if another process has it."""
    from clue_bench.pretraining.recipe import load_recipe

    loaded = load_recipe(recipe, asked, steps=steps, debug_size=debug_size)

    from clue_bench.doors.checkpoint import read_checkpoint
    from clue_bench.doors.records import PretrainRecord, read_record_of, record_path
    from clue_bench.doors.shards import Corpus
    from clue_bench.pretraining.run import METRICS, completed_record, run, run_id
    from clue_bench.pretraining.trackers import pick_tracker, tracked
    from clue_bench.pretraining.train import Pretraining

    picked = pick_tracker(tracker)
    checkpoint = None if start is None else read_checkpoint(start)
    labelled = None if pairs is None else Corpus.open(pairs)
    pretraining = Pretraining(
        loaded, Corpus.open(corpus), out, start=checkpoint, pairs=labelled, cuda_graphs=cuda_graphs
    )
    if loaded.held_out_share and pretraining.feeds.held_out is None and pretraining.processes.is_first:
        terminal.say("nothing is held out: the corpus is too small for it")
    typed: dict[str, Any] = {"recipe": Path(recipe).name, "corpus": corpus.name, "settings": asked, "steps": steps}
    typed |= {
        "debug_size": debug_size,
        "cuda_graphs": cuda_graphs,
        "from": start and start.name,
        "pairs": pairs and pairs.name,
    }
    record = completed_record(pretraining)
    if record is not None:
        pretraining.leave()
        if not pretraining.processes.is_first:
            return None
        terminal.say(f"{record.run_id} is complete already")
        return record
    if not pretraining.processes.is_first:
        for _ in run(pretraining, asked=typed):
            pass
        return None
    name, config = run_id(pretraining), loaded.model_dump()
    reports = run(pretraining, asked=typed)
    with terminal.bar(f"pretrain {loaded.name}", live.total_tokens(loaded)) as bar:
        watched = live.Watched(bar, loaded)
        for report in tracked(reports, picked, out=out, metrics=out / METRICS, name=name, config=config):
            watched.show(report)
    return read_record_of(record_path(out, name), PretrainRecord)
