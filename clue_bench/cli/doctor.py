"""`clue-bench doctor`: whether a checkpoint is what it claims to be."""

from typing import TYPE_CHECKING, Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.diagnosis.report import Report


def doctor(
    model: Annotated[str, typer.Argument(help="Checkpoint folder, run folder, or Hugging Face id.")],
    text: Annotated[
        list[str] | None, typer.Option(help="A sentence with [MASK], or for GPT2 one to continue; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether a checkpoint is what it claims to be: names, shapes, vocabulary, answers (检查模型文件).

    Exit code 0 if nothing is wrong, 1 if something is.
    """
    from clue_bench.diagnosis.examine import examine

    report = examine(model, texts=text or [])
    if json:
        terminal.print_json(report.as_json())
    else:
        _print(report)
    if not report.healthy:
        raise typer.Exit(1)


def _print(report: "Report") -> None:
    """Print the verdict, the sizes, the findings and the answers."""
    typer.echo(f"{report.verdict}\n")
    counts = report.parameters
    rows = [
        ("folder", report.folder),
        *([("read", report.read_as)] if report.read_as else []),
        *(
            [("encoder", f"{counts.encoder:,} parameters{', with pooler' * counts.has_pooler}")]
            if counts.encoder is not None
            else []
        ),
        *([("with head", f"{counts.with_head:,} parameters")] if counts.with_head is not None else []),
        (
            "in the file",
            f"{counts.in_file:,} parameters, {report.bytes_on_disk / 2**20:.1f} MiB, {', '.join(report.dtypes)}",
        ),
    ]
    terminal.print_table(["checkpoint", ""], rows)
    typer.echo("")
    findings = [(one.severity, one.check, one.text, one.hint) for one in report.findings]
    terminal.print_table(["", "check", "found", "what to do"], findings)
    if report.filled:
        typer.echo("")
        filled = [
            (one.text, one.mask, "  ".join(f"{answer.token} {answer.probability:.1%}" for answer in one.answers))
            for one in report.filled
        ]
        terminal.print_table(["sentence", "mask", "answers"], filled)
    if report.continued:
        typer.echo("")
        continued = [(one.text, f"{one.loss:.2f}", one.greedy, one.sampled) for one in report.continued]
        terminal.print_table(["sentence", "loss", "continued greedily", "at random, seed 0"], continued)
