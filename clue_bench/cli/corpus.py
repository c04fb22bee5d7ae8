"""`clue-bench corpus`: raw text to shards."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json

if TYPE_CHECKING:
    from clue_bench.doors.shards import Corpus

WORD_STARTS = {
    "wordpiece": "tokens without ##",
    "pieces": "every token",
    "rjieba": "cut by rjieba",
}

app = typer.Typer(help="Build and inspect corpora. 构建与查看语料。", no_args_is_help=True, rich_markup_mode=None)


@app.command(
    epilog="Example: clue-bench corpus build part-000.txt.xz --vocab clue_vocab_8021.txt --out corpus",
)
def build(
    texts: Annotated[
        list[Path], typer.Argument(help="Text files (.txt, .jsonl, also .gz and .xz) or folders of them.")
    ],
    vocab: Annotated[Path, typer.Option(help="vocab.txt or spiece.model, or a folder that holds one.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes; the result does not depend on it.")] = (
        os.cpu_count() or 1
    ),
    words: Annotated[
        Literal["rjieba"] | None,
        typer.Option(help="Cut the text into words, for whole-word masking; else the vocabulary says what a word is."),
    ] = None,
    json: Json = False,
) -> None:
    """Turn text (a sentence or paragraph per line, a blank line between documents) into a corpus folder.

    The same command again continues an interrupted build.
    """
    _print(build_once(texts, vocabulary=vocab, out=out, workers=workers, words=words), json)


def build_once(
    texts: list[Path], *, vocabulary: Path, out: Path, workers: int, words: Literal["rjieba"] | None = None
) -> "Corpus":
    """Build with a progress bar, or find that it is done; return the corpus."""
    from clue_bench.corpus.build import build_corpus
    from clue_bench.corpus.read import find_inputs
    from clue_bench.doors.shards import Corpus

    files, ignored = find_inputs(texts)
    terminal.say_ignored(ignored)
    found = 0
    with terminal.bar("corpus", sum(file.stat().st_size for file in files)) as bar:
        for progress in build_corpus(files, vocabulary=vocabulary, out=out, workers=workers, words=words):
            found = progress.shards_found
            bar.update(progress.bytes_read, f"{progress.shards_done} shards, {progress.tokens:,} tokens")
    if found:
        terminal.say(f"{found} shards were there already")
    return Corpus.open(out)


@app.command(epilog="Example: clue-bench corpus show corpus")
def show(
    folder: Annotated[Path, typer.Argument(help="A corpus folder.")],
    json: Json = False,
) -> None:
    """Print what a corpus folder holds, after checking every file against its checksum."""
    from clue_bench.doors.shards import Corpus
    from clue_bench.errors import ClueBenchError

    corpus = Corpus.open(folder)
    damaged = corpus.damaged_files()
    if damaged:
        names = ", ".join(str(path) for path in damaged)
        raise ClueBenchError(f"damaged, the checksum differs: {names}", "delete the folder and build it again")
    _print(corpus, json)


def _print(corpus: "Corpus", json: bool) -> None:
    manifest = corpus.manifest
    kind = "wordpiece" if corpus.vocabulary_file.suffix == ".txt" else "sentencepiece"
    if json:
        facts = {"folder": str(corpus.folder), "vocabulary_kind": kind}
        terminal.print_json({**facts, **manifest.model_dump(exclude={"shards"})})
        return
    counts = manifest.counts
    rows = [(name, f"{value:,}") for name, value in counts.model_dump(exclude={"dropped_documents"}).items()]
    rows += [(f"dropped documents, {reason}", f"{number:,}") for reason, number in counts.dropped_documents.items()]
    rows += [("unknown share", f"{counts.unknown_tokens / counts.tokens:.2%}"), ("shards", str(len(manifest.shards)))]
    rows += [("vocabulary", f"{kind}, {manifest.vocab_size:,} tokens, {manifest.tokenizer_sha256[:8]}")]
    rows += [("words are", WORD_STARTS[manifest.word_starts])]
    rows += [("text", manifest.corpus_sha256[:8]), ("inputs", ", ".join(manifest.inputs))]
    terminal.print_table(["corpus", str(corpus.folder)], rows)


@app.command(epilog="Example: clue-bench corpus pairs --task afqmc --data clue --vocab clue_vocab_8021.txt --out pairs")
def pairs(
    task: Annotated[str, typer.Option(help="A task over two texts: a name, or a .toml file.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the task folders or zips.")],
    vocab: Annotated[Path, typer.Option(help="vocab.txt or spiece.model, or a folder that holds one.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    json: Json = False,
) -> None:
    """Turn the training rows of a pair task into labelled pairs, for clue-bench pretrain --pairs.

    Only training rows are taken, and of these none that is also in the task's dev or test set, in either order.
    """
    from clue_bench.corpus.pairs import LabelledPair, build_pairs
    from clue_bench.errors import ClueBenchError
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    card = load_task(task)
    if len(card.text_fields) != 2:
        raise ClueBenchError(f"{card.name} is a task over one text", "give a task over two, e.g. --task afqmc")
    rows = read_split(card, "train", data)
    others = [read_split(card, split, data) for split in available_splits(card, data) if split != "train"]
    corpus = build_pairs(
        (LabelledPair(texts[0], texts[1], int(label)) for texts, label in zip(rows.texts, rows.labels, strict=True)),
        task=card.name,
        classes=card.labels,
        evaluated_on=((texts[0], texts[1]) for other in others for texts in other.texts),
        vocabulary=vocab,
        out=out,
    )
    _print(corpus, json)
