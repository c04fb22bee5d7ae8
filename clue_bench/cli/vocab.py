"""`clue-bench vocab`: vocabularies from text."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

app = typer.Typer(help="Train vocabularies. 训练词表。", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keep `train` a subcommand, although it is the only one yet."""


@app.command(epilog="Example: clue-bench vocab train part-000.txt.xz --size 8000 --out vocab.txt")
def train(
    texts: Annotated[list[Path], typer.Argument(help="Text files or folders, as for corpus build.")],
    out: Annotated[Path, typer.Option(help="vocab.txt to write.")],
    size: Annotated[int, typer.Option(min=100, help="Most tokens to keep.")] = 8_000,
    json: Json = False,
) -> None:
    """Train a WordPiece vocabulary (Chinese by character, lower case) on text."""
    facts = train_once(texts, out=out, size=size)
    if json:
        terminal.print_json(facts)
    else:
        terminal.print_table(["vocabulary", ""], facts.items())


def train_once(texts: list[Path], *, out: Path, size: int, characters: int | None = None) -> dict[str, str | int]:
    """Train with a progress bar, on the first `characters` of text if given; return what was written."""
    from clue_bench import atomic
    from clue_bench.corpus.read import Tally, find_inputs
    from clue_bench.corpus.vocabulary import clean_lines
    from clue_bench.errors import ClueBenchError
    from clue_bench.vocab import train_vocabulary

    if out.is_dir():
        raise ClueBenchError(f"{out} is a folder", "give --out the name of the file to write, e.g. vocab.txt")
    files, ignored = find_inputs(texts)
    terminal.say_ignored(ignored)
    tally = Tally()
    total = sum(file.stat().st_size for file in files)
    with terminal.bar("vocabulary", total) as bar:
        lines = clean_lines(files, tally=tally, characters=characters, on_line=lambda: bar.update(tally.bytes_read))
        vocabulary = train_vocabulary(lines, size=size)
    atomic.write_text(out, "\n".join(vocabulary.tokens) + "\n")
    return {"file": str(out), "tokens": len(vocabulary), "sha256": vocabulary.sha256}
