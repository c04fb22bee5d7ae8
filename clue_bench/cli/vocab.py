"""`clue-bench vocab`: vocabularies from text, what they hold, and smaller ones of large ones."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.vocab.token_types import Comparison, Pruned

app = typer.Typer(
    help="Train, count and prune vocabularies. 训练、统计与裁剪词表。", no_args_is_help=True, rich_markup_mode=None
)
SIZES = {"wordpiece": 8_000, "sentencepiece": 100_000}  # sentencepiece: of UER's word models
READING = 0.1  # share of the time that sentencepiece needs
AGAIN = "type the same command again: it starts anew"
UNTIL_SHOWN = 40  # tokens of a list that is printed in a table


@app.command(epilog="Example: clue-bench vocab train part-000.txt.xz --size 8000 --out vocab.txt")
def train(
    texts: Annotated[list[Path], typer.Argument(help="Text files or folders, as for corpus build.")],
    out: Annotated[Path, typer.Option(help="File to write: vocab.txt, or spiece.model for sentencepiece.")],
    kind: Annotated[
        Literal["wordpiece", "sentencepiece"],
        typer.Option(help="WordPiece (Chinese by character, lower case), or sentencepiece (words)."),
    ] = "wordpiece",
    size: Annotated[
        int | None,
        typer.Option(min=100, help="Tokens to keep at most; sentencepiece: exactly. [default: 8000; 100000]"),
    ] = None,
    sentences: Annotated[
        int | None, typer.Option(min=1, help="Sentencepiece: train on so many random sentences, to save memory.")
    ] = None,
    json: Json = False,
) -> None:
    """Train a vocabulary on text; the same text gives the same vocabulary."""
    from clue_bench.errors import ClueBenchError

    if (kind == "sentencepiece") != (out.suffix == ".model"):
        ending = ".model" if kind == "sentencepiece" else ".txt"
        raise ClueBenchError(f"{out}: a {kind} vocabulary is a {ending} file", f"--out vocab{ending}")
    if kind == "sentencepiece":
        facts: dict[str, Any] = train_pieces(texts, out=out, size=size or SIZES[kind], sample=sentences)
    elif sentences is not None:
        raise ClueBenchError("--sentences is for --kind sentencepiece", "leave it out: WordPiece counts words only")
    else:
        facts = train_once(texts, out=out, size=size or SIZES[kind])
    if json:
        terminal.print_json(facts)
    else:
        terminal.print_table(["vocabulary", ""], facts.items())


def train_once(texts: list[Path], *, out: Path, size: int, characters: int | None = None) -> dict[str, str | int]:
    """Train WordPiece with a progress bar, on the first `characters` of text if given; return what was written."""
    from clue_bench.corpus.read import Tally, read_lines
    from clue_bench.vocab.training import train_wordpiece

    files, total = _inputs(texts, out)
    tally = Tally()
    with terminal.bar("vocabulary", total, on_interrupt=AGAIN) as bar:
        lines = read_lines(files, tally=tally, characters=characters, on_line=lambda: bar.update(tally.bytes_read))
        vocabulary = train_wordpiece(lines, size=size)
    vocabulary.write(out)
    return {"file": str(out), "tokens": len(vocabulary), "sha256": vocabulary.sha256}


def train_pieces(texts: list[Path], *, out: Path, size: int, sample: int | None) -> dict[str, str | int]:
    """Train sentencepiece with progress, on `sample` random sentences if given; return what was written."""
    from clue_bench.corpus.read import Tally, read_lines
    from clue_bench.corpus.text import split_sentences
    from clue_bench.vocab.training import train_sentencepiece

    files, total = _inputs(texts, out)
    if sample is not None:
        terminal.say(f"training on a random sample of {sample:,} sentences, not on all of the text")
    tally = Tally()
    rounds: list[int] = []
    with terminal.bar("vocabulary", 1.0, on_interrupt=AGAIN) as bar:

        def on_round(pieces: int) -> None:
            rounds.append(pieces)
            # Each round drops a quarter, down to the size and a tenth.
            whole = math.log(max(rounds[0] / (1.1 * size), 1.001))
            done = min(math.log(rounds[0] / pieces) / whole, 0.99)
            bar.update(READING + (1 - READING) * done, f"{pieces:,} pieces left")

        def on_line() -> None:
            bar.update(READING * tally.bytes_read / total, "reading")

        lines = read_lines(files, tally=tally, characters=None, on_line=on_line)
        sentences = (sentence for line in lines for sentence in split_sentences(line))
        trained = train_sentencepiece(sentences, size=size, sample=sample, on_round=on_round)
        bar.update(1.0, f"{size:,} pieces")
    trained.vocabulary.write(out)
    return {
        "file": str(out),
        "tokens": len(trained.vocabulary),
        "sha256": trained.vocabulary.sha256,
        "sentences": min(trained.sentences, sample or trained.sentences),
        "sentences in the text": trained.sentences + trained.too_long,
        "left out, over 1,024 bytes": trained.too_long,
    }


def _inputs(texts: list[Path], out: Path) -> tuple[list[Path], int]:
    """Return the text files and their bytes, after seeing whether `out` can be written."""
    from clue_bench.corpus.read import find_inputs
    from clue_bench.errors import ClueBenchError

    if out.is_dir():
        raise ClueBenchError(f"{out} is a folder", "give --out the name of the file to write, e.g. vocab.txt")
    files, ignored = find_inputs(texts)
    terminal.say_ignored(ignored)
    return files, sum(file.stat().st_size for file in files)


@app.command(epilog="Example: clue-bench vocab stats google_vocab.txt clue_vocab.txt spiece.model")
def stats(
    vocabs: Annotated[list[Path], typer.Argument(help="vocab.txt or .model files, or folders that hold one.")],
    json: Json = False,
) -> None:
    """Count tokens by type, as CLUECorpus2020 does, with the published counts where the file is a known one."""
    from clue_bench.vocab import read_vocabulary
    from clue_bench.vocab.token_types import PUBLISHED, TYPES, count_types

    header, columns, notes, facts = ["type", "类型"], [], [], []
    for path in vocabs:
        vocabulary = read_vocabulary(path)
        counts: dict[str, int] = dict(count_types(vocabulary).items())
        counts["total"] = len(vocabulary)
        header.append(path.name)
        columns.append([f"{count:,}" for count in counts.values()])
        published = PUBLISHED.get(vocabulary.sha256)
        fact: dict[str, Any] = {"file": str(path), "kind": vocabulary.kind, "sha256": vocabulary.sha256}
        facts.append(fact | {"counts": counts})
        if published:
            said = dict(zip(counts, [*published.counts, sum(published.counts)], strict=True))
            facts[-1] |= {"published": said, "published_as": published.name, "note": published.note}
            header.append(f"{published.name}, published")
            columns.append([f"{count:,}" for count in said.values()])
            notes += [f"{path.name}: {published.note}"] * bool(published.note)
    if json:
        terminal.print_json({"vocabularies": facts})
        return
    names = [*TYPES.values(), ("total", "总计")]
    terminal.print_table(header, [[*name, *row] for name, row in zip(names, zip(*columns, strict=True), strict=True)])
    for note in notes:
        typer.echo(note)


@app.command(epilog="Example: clue-bench vocab prune google_vocab.txt --out small.txt --compare clue_vocab.txt")
def prune(
    vocab: Annotated[Path, typer.Argument(help="A vocab.txt, or a folder that holds one.")],
    out: Annotated[Path, typer.Option(help="vocab.txt to write.")],
    compare: Annotated[Path | None, typer.Option(help="Another vocabulary: say what is missing and extra.")] = None,
    json: Json = False,
) -> None:
    """Keep what simplified Chinese needs, by the rules that made CLUE's 8,021 tokens of Google's 21,128."""
    from clue_bench.errors import ClueBenchError
    from clue_bench.vocab import read_vocabulary
    from clue_bench.vocab import token_types as pruning

    if out.is_dir() or out.suffix == ".model":
        raise ClueBenchError(f"{out}: no name for a vocab.txt", "give --out the name of the file to write")
    other = None if compare is None else read_vocabulary(compare)
    pruned = pruning.prune(read_vocabulary(vocab))
    compared = None if other is None else pruning.compare(pruned.vocabulary, other)
    pruned.vocabulary.write(out)
    if json:
        facts: dict[str, Any] = {"file": str(out), "tokens": len(pruned.vocabulary), "dropped": pruned.dropped}
        facts |= {"added": pruned.added, "unknown_rule": pruning.NO_RULE}
        terminal.print_json(facts | ({} if compared is None else {"compared": compared._asdict()}))
        return
    _print_pruned(pruned, out)
    if compare is not None and compared is not None:
        _print_comparison(compared, compare)
    typer.echo(f"unknown: {pruning.NO_RULE}")


def _print_pruned(pruned: "Pruned", out: Path) -> None:
    rows = [(rule, f"-{len(tokens):,}", _shown(tokens, 6)) for rule, tokens in pruned.dropped.items()]
    rows.append(("added", f"+{len(pruned.added):,}", _shown(pruned.added, 6)))
    rows.append(("kept", f"{len(pruned.vocabulary):,}", str(out)))
    terminal.print_table(["rule", "tokens", "for example"], rows)


def _print_comparison(compared: "Comparison", path: Path) -> None:
    total = compared.common + len(compared.missing)
    order = "in the same order" if compared.same_order else "in another order"
    rows = [
        ("in both", f"{compared.common:,} of {total:,}", order),
        ("missing", f"{len(compared.missing):,}", _shown(compared.missing, UNTIL_SHOWN)),
        ("extra", f"{len(compared.extra):,}", _shown(compared.extra, UNTIL_SHOWN)),
    ]
    terminal.print_table(["compared with", path.name, ""], rows)


def _shown(tokens: list[str], number: int) -> str:
    """Return the first `number` of `tokens`, characters that are not to be seen as escapes."""
    shown = " ".join(token if token.isprintable() else repr(token)[1:-1] for token in tokens[:number])
    return shown + (" …" if len(tokens) > number else "")
