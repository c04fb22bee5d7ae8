"""`clue-bench convert`: checkpoints of UER-py and TensorFlow to the Hugging Face layout, and back to UER-py."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json


class SourceKind(StrEnum):
    """Toolkits whose checkpoints can be read."""

    uer = "uer"
    tf = "tf"
    hf = "hf"


class TargetKind(StrEnum):
    """Layouts that can be written."""

    hf = "hf"
    uer = "uer"


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A UER-py .bin, bert_model.ckpt, or a folder.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist.")],
    source_kind: Annotated[SourceKind, typer.Option("--from", help="What SRC is: UER-py, TensorFlow, Hugging Face.")],
    target_kind: Annotated[TargetKind, typer.Option("--to", help="What DST shall be.")] = TargetKind.hf,
    config: Annotated[Path | None, typer.Option(help="The model's configuration: UER-py's, bert_config.json.")] = None,
    vocab: Annotated[Path | None, typer.Option(help="vocab.txt, or the .model of sentencepiece.")] = None,
    json: Json = False,
) -> None:
    """Convert a checkpoint, with the same outputs (转换模型格式). --from hf --to hf cleans one.

    Example: clue-bench convert bert_tiny.bin tiny --from uer --config tiny_config.json --vocab google_zh_vocab.txt
    """
    from clue_bench.conversion.convert import convert as convert_checkpoint

    report = convert_checkpoint(
        source,
        destination,
        source_kind=source_kind.value,
        target_kind=target_kind.value,
        config=config,
        vocabulary=vocab,
    )
    if json:
        terminal.print_json(report.as_json())
        return
    table = report.table
    terminal.print_table([column.name for column in table.columns], [[c.text for c in row.cells] for row in table.rows])
    typer.echo(report.summary)
    for note in report.notes:
        terminal.say(f"note: {note}")
