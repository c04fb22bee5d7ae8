"""`clue-bench convert`: checkpoints of UER-py and TensorFlow to the Hugging Face layout, and back to UER-py."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.conversion.convert import Report


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
        terminal.print_json(_as_json(report))
        return
    rows: list[tuple[object, ...]] = [
        ("read", f"{report.source.tensors:,}", f"{report.source.parameters:,}", _bytes(report.bytes_before)),
        *((f"dropped: {one.reason}", f"{one.tensors:,}", f"{one.parameters:,}", "") for one in report.dropped),
        ("kept", f"{report.kept[0]:,}", f"{report.kept[1]:,}", ""),
        ("written", f"{report.written[0]:,}", f"{report.written[1]:,}", _bytes(report.bytes_after)),
    ]
    terminal.print_table([report.architecture, "tensors", "parameters", "size"], rows)
    typer.echo(f"{report.destination}: {report.target_kind} layout, weights {report.weights_sha256[:8]}")
    for note in report.notes:
        terminal.say(f"note: {note}")


def _bytes(size: int) -> str:
    return f"{size:,} bytes"


def _as_json(report: "Report") -> dict[str, Any]:
    return {
        "destination": str(report.destination),
        "from": report.source_kind,
        "to": report.target_kind,
        "architecture": report.architecture,
        "source": {
            "files": [file.name for file in report.source.files],
            "sha256": report.source.sha256,
            "tensors": report.source.tensors,
            "parameters": report.source.parameters,
        },
        "kept": {"tensors": report.kept[0], "parameters": report.kept[1]},
        "dropped": [
            {"reason": one.reason, "tensors": one.tensors, "parameters": one.parameters} for one in report.dropped
        ],
        "written": {"tensors": report.written[0], "parameters": report.written[1]},
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "weights_sha256": report.weights_sha256,
        "notes": list(report.notes),
    }
