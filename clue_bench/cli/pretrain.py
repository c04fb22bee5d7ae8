"""`clue-bench pretrain`: shards to checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json, Set, Steps, overrides

if TYPE_CHECKING:
    from clue_bench.records import RunRecord

SHOWN = ("step", "loss", "mlm_accuracy", "tokens", "epochs", "mean_tokens_per_second", "seconds")


def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (clue-bench recipes list) or a .toml file.")],
    corpus: Annotated[Path, typer.Option(help="Corpus folder, from clue-bench corpus build.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint/, metrics.jsonl, state, record.")],
    steps: Steps = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Pretrain a model. The same command again continues an interrupted run, bit for bit on the CPU.

    Example: clue-bench pretrain roberta-tiny-clue --corpus corpus --out runs/tiny --steps 2000 --set global_batch=64
    """
    record = pretrain_once(recipe=recipe, corpus=corpus, out=out, asked=overrides(settings, steps))
    if json:
        terminal.print_json(record.model_dump(mode="json"))
        return
    rows: list[tuple[str, object]] = [("checkpoint", out / "checkpoint")]
    rows.append(("parameters", f"{record.model.parameters:,}"))
    for name in SHOWN:
        value = record.results[name]
        rows.append((name.replace("_", " "), f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"))
    terminal.print_table(["pretrained", record.run_id], rows)


def pretrain_once(*, recipe: str, corpus: Path, out: Path, asked: dict[str, Any]) -> "RunRecord":
    """Do one run with a progress bar, or find that it is done; return its record."""
    from clue_bench.engine.recipe import load_recipe

    loaded = load_recipe(recipe, asked)

    from clue_bench.engine.run import completed_record, run, run_id
    from clue_bench.engine.train import Pretraining
    from clue_bench.records import read_record, record_path
    from clue_bench.shards import Corpus

    pretraining = Pretraining(loaded, Corpus.open(corpus), out)
    record = completed_record(pretraining)
    if record is not None:
        terminal.say(f"{record.run_id} is complete already")
        return record
    with terminal.bar(f"pretrain {loaded.name}", loaded.steps, count=True) as bar:
        for report in run(pretraining, asked={"recipe": recipe, "corpus": corpus.name, "settings": asked}):
            bar.update(
                report.step,
                f"loss {report.loss:.3f}  accuracy {report.mlm_accuracy:.3f}  "
                f"{report.tokens_per_second:,.0f} tokens/s  lr {report.learning_rate:.2e}",
            )
    return read_record(record_path(out, run_id(pretraining)))
