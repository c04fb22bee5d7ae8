"""Corpora: turn text into the files that pretraining reads."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from clue_bench import files
from clue_bench.api.progress import Progress
from clue_bench.api.vocabularies import (
    Kind,
    Texts,
    TrainedVocabulary,
    check_least,
    find_texts,
    first_names,
    some_tokens,
    vocabulary_path,
)
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded
from clue_bench.numbers import counted, percent
from clue_bench.tables import Shown, Table, make_facts, make_table, our_words

if TYPE_CHECKING:
    from clue_bench.corpus.build import Progress as BuildProgress
    from clue_bench.doors.shards import Corpus

WORD_STARTS = {"wordpiece": "tokens without ##", "pieces": "every token", "rjieba": "cut by rjieba"}
MANY_SENTENCES = 1_000  # in a corpus of one document, from which on it looks like many without blank lines
MUCH_UNKNOWN = 0.05  # of the tokens; Chinese vocabularies leave less than 1 % of simplified text unknown


@dataclass(frozen=True, repr=False)
class BuiltCorpus(Shown):
    """A corpus folder: what it holds, and how it was made."""

    corpus: "Corpus"

    @property
    def folder(self) -> Path:
        """Return the folder."""
        return self.corpus.folder

    @property
    def tokens(self) -> int:
        """Return the number of tokens."""
        return self.corpus.manifest.counts.tokens

    def to_json(self) -> dict[str, Any]:
        """Return the manifest without its shards."""
        facts = {"folder": str(self.folder), "vocabulary_kind": self._vocabulary_kind}
        return {**facts, **self.corpus.manifest.model_dump(exclude={"shards"})}

    @property
    def tables(self) -> list[Table]:
        """Return one table of counts and conditions."""
        manifest = self.corpus.manifest
        counts = manifest.counts
        rows: list[tuple[object, object]] = [
            (name.replace("_", " "), f"{value:,}")
            for name, value in counts.model_dump(exclude={"dropped_documents"}).items()
        ]
        rows += [(f"dropped documents, {reason}", f"{number:,}") for reason, number in counts.dropped_documents.items()]
        if (repeats := manifest.repeats) is not None:
            said = "" if repeats.dropped is None else ", dropped"
            rows += [(f"repeated documents{said}", f"{repeats.documents:,}")]
            said = said if repeats.dropped == "paragraphs" else ""
            rows += [(f"repeated paragraphs{said}", f"{repeats.paragraphs:,}")]
        rows += [("unknown share", percent(counts.unknown_tokens / counts.tokens))]
        rows += [("shards", str(len(manifest.shards)))]
        vocabulary = f"{self._vocabulary_kind}, {manifest.vocab_size:,} tokens, {manifest.tokenizer_sha256[:8]}"
        if (self.folder / "tokenizer" / "tokenizer_config.json").is_file():
            rows += [("tokenizer", our_words(self.corpus.vocabulary.rules.text))]
        rows += [("vocabulary", our_words(vocabulary)), ("words are", our_words(WORD_STARTS[manifest.word_starts]))]
        rows += [("text", manifest.corpus_sha256[:8]), ("inputs", first_names(manifest.inputs))]
        return [make_facts(("corpus", str(self.folder)), rows)]

    @property
    def _vocabulary_kind(self) -> Kind:
        return "wordpiece" if self.corpus.vocabulary_file.suffix == ".txt" else "sentencepiece"


def build_corpus(
    texts: Texts,
    *,
    vocabulary: Path | str | TrainedVocabulary,
    out: Path | str,
    workers: int | None = None,
    words: Literal["rjieba"] | None = None,
    text_field: str = "text",
    drop_repeats: Literal["documents", "paragraphs"] | None = None,
    progress: bool = True,
) -> BuiltCorpus:
    """Turn text (a sentence or paragraph per line, a blank line between documents) into the corpus folder `out`.

    `vocabulary` is a file, a folder that holds one, a run, or the id of a model on the hub, whose tokenizer is used.
    Repeat the call to continue an interrupted build. `words` names a segmenter that cuts the text into words, for
    whole-word masking; without it the vocabulary decides what a word is. `text_field` is the key of the text in JSON,
    or its column in Parquet. Documents and paragraphs that equal an earlier one are counted; `drop_repeats` leaves such
    documents out, or such paragraphs wherever they stand. Raises ClueBenchError.
    """
    from clue_bench.corpus.build import build_corpus as build
    from clue_bench.corpus.tokenise import Segmenter
    from clue_bench.doors.shards import Corpus, Droppable
    from clue_bench.vocab import read_vocabulary

    check_least("workers", workers, 1, "leave it out for one process a core")
    if words is not None and words not in get_args(Segmenter):
        known = " or ".join(map(repr, get_args(Segmenter)))
        raise ClueBenchError(f"words={words!r}: no known segmenter", f"give {known}, or leave it out")
    if drop_repeats is not None and drop_repeats not in get_args(Droppable):
        raise ClueBenchError(f"drop_repeats={drop_repeats!r}: nothing to drop", "give 'documents' or 'paragraphs'")
    workers = workers or os.cpu_count() or 1
    show, out = Progress(progress), expanded(out)
    file = vocabulary.file if isinstance(vocabulary, TrainedVocabulary) else vocabulary_path(vocabulary)
    inputs = find_texts(texts, show)
    show.notes(read_vocabulary(file).notes)
    found = 0
    with show.bar("corpus", sum(file.stat().st_size for file in inputs)) as bar:
        settings: dict[str, Any] = {"words": words, "text_field": text_field, "drop_repeats": drop_repeats}
        for done in build(inputs, vocabulary=file, out=out, workers=workers, **settings):
            found = done.shards_found
            bar.update(done.bytes_done, _shards_text(done))
    if found:
        show.note(f"{counted(found, 'shard was', 'shards were')} there already")
    corpus = Corpus.open(out)
    show.notes(corpus_notes(corpus))
    return BuiltCorpus(corpus)


def corpus_notes(corpus: "Corpus") -> list[str]:
    """Return what whoever trains on a corpus should know of it: unknown tokens, text that repeats, tokens of no use."""
    counts, repeats, notes = corpus.manifest.counts, corpus.manifest.repeats, []
    if counts.unknown_tokens > MUCH_UNKNOWN * counts.tokens:
        share = percent(counts.unknown_tokens / counts.tokens)
        notes.append(f"warning: {share} of the tokens are [UNK]: the vocabulary does not fit this text")
    if counts.lost_characters:
        notes.append(
            f"warning: {counted(counts.lost_characters, 'character was', 'characters were')} lost before: the text has "
            "U+FFFD in their place; convert the original again, from the encoding that it has"
        )
    if counts.documents == 1 and counts.sentences >= MANY_SENTENCES:
        notes.append(
            f"all {counts.sentences:,} sentences are one document: if they are several, write a blank line between them"
        )
    if repeats is not None and repeats.documents and repeats.dropped is None:
        share = percent(repeats.documents / (counts.documents + sum(counts.dropped_documents.values())))
        notes.append(
            f"documents that repeat earlier ones: {repeats.documents:,} ({share}); "
            "corpus build … --drop-repeats documents leaves them out"
        )
    if words := corpus.vocabulary.never_given():
        never = counted(len(words), "word of the vocabulary never occurs", "words of the vocabulary never occur")
        notes.append(
            f"warning: {never}, since the tokenizer cuts or changes them: {some_tokens(words, 5)}; clue-bench vocab "
            "extend MODEL --token WORD adds such words"
        )
    return notes


def _shards_text(done: "BuildProgress") -> str:
    under_way = done.shards_begun - done.shards_done
    words = [counted(done.shards_done, "shard")]
    words += [f"{under_way} more under way"] if under_way else []
    return ", ".join([*words, f"{done.tokens:,} tokens"])


def open_corpus(folder: Path | str) -> BuiltCorpus:
    """Return a corpus folder after checking every file against its checksum. Raises ClueBenchError."""
    from clue_bench.doors.shards import Corpus

    corpus = Corpus.open(expanded(folder))
    damaged = corpus.damaged_files()
    if damaged:
        names = ", ".join(str(path) for path in damaged)
        raise ClueBenchError(f"damaged, the checksum differs: {names}", "delete the folder and build it again")
    return BuiltCorpus(corpus)


def build_pairs(task: str, *, data: Path | str, vocabulary: Path | str, out: Path | str) -> BuiltCorpus:
    """Turn the training rows of a task over two texts into labelled pairs, for `pretrain(pairs=…)`.

    Training rows that are also in the task's dev or test set, in either order, are left out.
    """
    from clue_bench.corpus import pairs
    from clue_bench.tasks.files import available_splits
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    card, data = load_task(task), expanded(data)
    if len(card.text_fields) != 2:
        raise ClueBenchError(f"{card.name} is a task over one text", "give a task over two, e.g. --task afqmc")
    rows = read_split(card, "train", data)
    others = [read_split(card, split, data) for split in available_splits(card, data) if split != "train"]
    labelled = zip(rows.texts, rows.labels, strict=True)
    corpus = pairs.build_pairs(
        (pairs.LabelledPair(texts[0], texts[1], int(label)) for texts, label in labelled),
        task=card.name,
        classes=card.labels,
        evaluated_on=((texts[0], texts[1]) for other in others for texts in other.texts),
        vocabulary=vocabulary_path(vocabulary),
        out=expanded(out),
    )
    return BuiltCorpus(corpus)


@dataclass(frozen=True, repr=False)
class TrainingTexts(Shown):
    """The file with the training texts of tasks: how many rows each has, and how many texts of them were new."""

    file: Path
    rows: Mapping[str, int]
    texts: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the file and its counts."""
        return {"file": str(self.file), "rows": dict(self.rows), "texts": dict(self.texts)}

    @property
    def tables(self) -> list[Table]:
        """Return one table, a line per task."""
        lines = [(task, f"{self.rows[task]:,}", f"{texts:,}") for task, texts in self.texts.items()]
        return [make_table("", ["task", "training rows", "texts, each once"], lines)]


def write_training_texts(tasks: str | Sequence[str], *, data: Path | str, out: Path | str) -> TrainingTexts:
    """Write the texts of the tasks' training rows to the new file `out`, as `build_corpus` reads them.

    For further pretraining before fine-tuning. A row is a document, and each of its texts a line; a text that was
    written before is not written again. Neither dev nor test is read. Raises ClueBenchError.
    """
    from clue_bench.corpus.text import clean_line
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    out = expanded(out)
    if out.suffix != ".txt" or out.exists():
        problem = "exists already" if out.exists() else "does not end in .txt"
        raise ClueBenchError(f"{out} {problem}", "give --out a new file name ending in .txt")
    seen: set[str] = set()
    documents: list[str] = []
    rows, texts = {}, {}
    for name in [tasks] if isinstance(tasks, str) else tasks:
        task, before = load_task(name), len(seen)
        read = read_split(task, "train", expanded(data))
        for row in read.texts:
            new = [line for line in dict.fromkeys(map(clean_line, row)) if line and line not in seen]
            seen.update(new)
            documents += ["\n".join([*new, ""])] if new else []
        rows[task.name], texts[task.name] = len(read), len(seen) - before
    files.write_text(out, "\n".join(documents))
    return TrainingTexts(out, rows, texts)
