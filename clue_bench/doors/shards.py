"""Door 1: shards. A corpus as token ids, built once, for every objective and every sequence length.

Format, version 1. A folder with

    plan.json                 written first: what the folder is being built from
    manifest.json             written last: its presence means that the corpus is complete (`Manifest` below)
    tokenizer/vocab.txt       written before it: the vocabulary, so that nothing else is needed to train on the folder;
                              a sentencepiece vocabulary is tokenizer/spiece.model instead; a tokenizer_config.json
                              beside it says what the tokenizer does unlike Google's (case, accents, added tokens)
    sample.txt                a thousand of the text's lines, cleaned: a checkpoint's tokenizer is checked on them
                              (corpora that were built before lack it)
    shard-00000.ids           token ids, little-endian uint16, or uint32 for vocabularies above 65,536
    shard-00000.documents     int64: offset (in tokens) of each document's start, and of the shard's end
    shard-00000.sentences     int64: offset of each sentence's start, and of the shard's end
    shard-00000.words         bitmap, least significant bit first: 1 where a token starts a word
    shard-00000.json          written after the four others: counts, sizes, sha256, and the hash of its text
    …

The manifest's `word_starts` says what a word is: "wordpiece" (whatever has no "##"), "pieces" (each sentencepiece
token is one), or the segmenter that cut the text into words: then a token starts a word if a word begins where it does.

Nothing is baked in: no special tokens, padding, masks, lengths or epochs. Documents keep their order; none is empty.
A document belongs to one shard, unless it was longer than a shard, when it was cut (counted in the manifest).

Writer: `write_shard` (any process, any order), then `write_manifest`. Reader: `Corpus`, memory-mapped.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pydantic

from clue_bench import files
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary, read_vocabulary
from clue_bench.vocab.vocabulary import SENTENCEPIECE_FILE, WORDPIECE_FILE

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
PLAN = "plan.json"
LABELS = "labels.json"
SAMPLE = "sample.txt"
Part = Literal["ids", "documents", "sentences", "words"]
PARTS = get_args(Part)
TOKENIZER = "tokenizer"

WordStarts = Literal["wordpiece", "pieces", "rjieba"]
Droppable = Literal["documents", "paragraphs"]
Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]


class _Facts(pydantic.BaseModel):
    """Base of the manifest's parts: no unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid")


class Counts(_Facts):
    """What a shard or the whole corpus holds, and what was left out when building it."""

    documents: int = 0
    sentences: int = 0
    words: int = 0
    tokens: int = 0
    characters: int = 0
    unknown_tokens: int = 0
    lost_characters: int = 0  # U+FFFD in the text, which cleaning leaves out
    dropped_documents: dict[str, int] = {}
    split_documents: int = 0
    split_lines: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        reasons = self.dropped_documents.keys() | other.dropped_documents.keys()
        sums: dict[str, Any] = {
            name: getattr(self, name) + getattr(other, name)
            for name in type(self).model_fields
            if name != "dropped_documents"
        }
        dropped = {r: self.dropped_documents.get(r, 0) + other.dropped_documents.get(r, 0) for r in sorted(reasons)}
        return Counts(**sums, dropped_documents=dropped)


class Repeats(_Facts):
    """How many documents and paragraphs of the text equal an earlier one, and what of them was `dropped`.

    With "paragraphs" repeated ones were left out, with either kind whole documents, `dropped_documents` of them.
    """

    documents: int
    paragraphs: int
    dropped: Droppable | None
    dropped_documents: int


class PartFile(_Facts):
    """Size and checksum of one file."""

    bytes: int
    sha256: str


class Shard(_Facts):
    """One shard: its counts, its files, and the sha256 of the cleaned text that it was made from."""

    index: int = pydantic.Field(ge=0, lt=10**9)
    text_sha256: str
    counts: Counts
    files: dict[Part, PartFile] = pydantic.Field(min_length=len(PARTS))


class Labels(_Facts):
    """The labels of a corpus of labelled pairs: every document is two sentences and has one of `classes`.

    `task` and `split` say where the pairs come from; `left_out` counts rows that were not taken, by reason.
    """

    task: str
    split: Literal["train"]
    classes: list[str]
    left_out: dict[str, int]
    labels: list[int]

    @property
    def by_shard(self) -> "tuple[npt.NDArray[np.int64], ...]":
        """Return the class of each document, for each shard: pairs are one shard."""
        return (np.array(self.labels, dtype=np.int64),)


class Manifest(_Facts):
    """The whole corpus. `corpus_sha256` hashes the shards' text hashes in order; `tokenizer_sha256` the vocabulary.

    `repeats` is None where nobody counted them.
    """

    format_version: Literal[1] = 1
    tokenizer_sha256: str
    vocab_size: int
    id_type: Literal["uint16", "uint32"]
    word_starts: WordStarts
    corpus_sha256: str
    inputs: list[str]
    counts: Counts
    repeats: Repeats | None = None
    shards: list[Shard]


def id_type(vocab_size: int) -> Literal["uint16", "uint32"]:
    """Return the smallest type that holds every id."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def part_path(folder: Path, index: int, part: str) -> Path:
    """Return the path of one file of a shard."""
    return folder / f"shard-{index:05d}.{part}"


def write_shard(
    folder: Path,
    index: int,
    *,
    ids: Ids,
    documents: Offsets,
    sentences: Offsets,
    starts_word: npt.NDArray[np.bool_],
    counts: Counts,
    text_sha256: str,
) -> Shard:
    """Write one shard, its .json file last. `documents` and `sentences` end with the number of tokens."""
    assert documents[0] == sentences[0] == 0
    assert documents[-1] == sentences[-1] == len(ids) == len(starts_word)
    contents: dict[Part, npt.NDArray[Any]] = {
        "ids": ids.astype(ids.dtype.newbyteorder("<")),
        "documents": documents.astype("<i8"),
        "sentences": sentences.astype("<i8"),
        "words": np.packbits(starts_word, bitorder="little"),
    }
    written: dict[Part, PartFile] = {}
    for part, array in contents.items():
        data = array.tobytes()
        with files.replacing(part_path(folder, index, part)) as temporary:
            temporary.write_bytes(data)
        written[part] = PartFile(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    shard = Shard(index=index, text_sha256=text_sha256, counts=counts, files=written)
    files.write_json(part_path(folder, index, "json"), shard.model_dump())
    return shard


def finished_shard(folder: Path, index: int) -> Shard | None:
    """Return shard `index` if its marker is there and its files are as they were written, else None."""
    marker = part_path(folder, index, "json")
    if not marker.is_file():
        return None
    try:
        shard = Shard.model_validate_json(marker.read_bytes())
    except pydantic.ValidationError:
        return None
    for part, facts in shard.files.items():
        path = part_path(folder, index, part)
        if not path.is_file() or path.stat().st_size != facts.bytes or files.sha256(path) != facts.sha256:
            return None
    return shard


def write_sample(folder: Path, lines: Iterable[str]) -> None:
    """Write lines of the text for `Corpus.sample`."""
    files.write_text(folder / SAMPLE, "".join(f"{line}\n" for line in lines))


def write_manifest(
    folder: Path,
    *,
    shards: list[Shard],
    inputs: list[str],
    vocabulary: Vocabulary,
    word_starts: WordStarts | None = None,
    repeats: Repeats | None = None,
) -> "Corpus":
    """Write the vocabulary, then manifest.json, which marks the folder as complete; return the corpus.

    `word_starts` is the segmenter that cut the text into words; without one the vocabulary decides what a word is.
    """
    vocabulary.write_folder(folder / TOKENIZER)
    text_hashes = "\n".join(shard.text_sha256 for shard in shards)
    manifest = Manifest(
        tokenizer_sha256=vocabulary.sha256,
        vocab_size=len(vocabulary),
        id_type=id_type(len(vocabulary)),
        word_starts=word_starts or vocabulary.word_starts,
        corpus_sha256=hashlib.sha256(text_hashes.encode()).hexdigest(),
        inputs=inputs,
        counts=sum((shard.counts for shard in shards), Counts()),
        repeats=repeats,
        shards=shards,
    )
    files.write_json(folder / MANIFEST, manifest.model_dump())
    return Corpus.open(folder)


def _no_corpus(folder: Path) -> ClueBenchError:
    """Return what a folder is that is no corpus; the hint never names the user's own text as a folder to write."""
    if (folder / PLAN).is_file():
        return ClueBenchError(
            f"{folder}: an unfinished corpus build: no {MANIFEST}",
            f"run the same clue-bench corpus build … --out {folder} again: it continues",
        )
    build = "run clue-bench corpus build {} --vocab VOCAB --out {}, then give --corpus {}"
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        new = f"{folder.stem}-corpus"
        return ClueBenchError(
            f"{folder}: not a corpus folder, but {'a file' if folder.is_file() else 'a folder without a manifest'}",
            build.format(folder, new, new),
        )
    return ClueBenchError(f"{folder}: no such corpus folder", build.format("TEXT", folder, folder))


@dataclass(frozen=True)
class Corpus:
    """A complete corpus folder, opened for reading; token data stay on disk until touched."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Open `folder`. Raises ClueBenchError if it is incomplete, or has another format or file size."""
        path = folder / MANIFEST
        if not path.is_file():
            raise _no_corpus(folder)
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ClueBenchError(
                f"{path}: not a manifest of format {FORMAT_VERSION}: {key}: {first['msg']}", "build the corpus again"
            ) from error
        corpus = cls(folder, manifest)
        for shard in manifest.shards:
            for part, facts in shard.files.items():
                file = part_path(folder, shard.index, part)
                found = file.stat().st_size if file.is_file() else None
                if found != facts.bytes:
                    raise ClueBenchError(
                        f"{file}: {'missing' if found is None else f'{found} bytes'}, expected {facts.bytes} bytes",
                        "build the corpus again",
                    )
        if not corpus.vocabulary_file.is_file():
            raise ClueBenchError(f"{corpus.vocabulary_file}: missing", "build the corpus again")
        return corpus

    @property
    def sample(self) -> list[str]:
        """Return lines of the text, none if the corpus was built before any were kept."""
        path = self.folder / SAMPLE
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []

    @property
    def tokenizer_folder(self) -> Path:
        """Return where vocab.txt or spiece.model lies."""
        return self.folder / TOKENIZER

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary that the corpus was built with."""
        return read_vocabulary(self.tokenizer_folder)

    @property
    def vocabulary_file(self) -> Path:
        """Return the vocabulary: spiece.model where there is one, else vocab.txt."""
        sentencepiece = self.tokenizer_folder / SENTENCEPIECE_FILE
        return sentencepiece if sentencepiece.is_file() else self.tokenizer_folder / WORDPIECE_FILE

    def damaged_files(self) -> list[Path]:
        """Read every file; return those whose sha256 differs from the manifest's."""
        damaged = []
        for shard in self.manifest.shards:
            for part, facts in shard.files.items():
                path = part_path(self.folder, shard.index, part)
                if files.sha256(path) != facts.sha256:
                    damaged.append(path)
        if not self._has_its_vocabulary:
            damaged.append(self.vocabulary_file)
        return damaged

    def check(self) -> None:
        """Read every file. Raises ClueBenchError that names the first whose contents are not the manifest's.

        This takes about a second per GB, once for a training of hours.
        """
        if damaged := self.damaged_files():
            raise ClueBenchError(
                f"{damaged[0]}: damaged: its sha256 is not that of the manifest",
                "copy the corpus again, or build it again",
            )

    @property
    def _has_its_vocabulary(self) -> bool:
        """Return whether the vocabulary's files have the manifest's hash."""
        data = self.vocabulary_file.read_bytes()
        if self.vocabulary_file.name == WORDPIECE_FILE:
            data = data.removesuffix(b"\n")  # the hash is of the tokens joined by line feeds
        if hashlib.sha256(data).hexdigest() == self.manifest.tokenizer_sha256:
            return True
        try:  # rules beside the tokens are part of the hash
            return read_vocabulary(self.tokenizer_folder).sha256 == self.manifest.tokenizer_sha256
        except ClueBenchError:
            return False

    @cached_property
    def ids(self) -> list[Ids]:
        """Return the token ids of each shard."""
        return self._maps("ids", self.manifest.id_type)

    @cached_property
    def documents(self) -> list[Offsets]:
        """Return the document offsets of each shard, the last one its number of tokens."""
        return self._maps("documents", "int64")

    @cached_property
    def sentences(self) -> list[Offsets]:
        """Return the sentence offsets of each shard, the last one its number of tokens."""
        return self._maps("sentences", "int64")

    @cached_property
    def labels(self) -> "Labels | None":
        """Return the labels of a corpus of labelled pairs, None for running text."""
        path = self.folder / LABELS
        return Labels.model_validate_json(path.read_bytes()) if path.is_file() else None

    def starts_word(self, shard: int) -> npt.NDArray[np.bool_]:
        """Return, for each token of shard number `shard`, whether it starts a word."""
        return np.unpackbits(self._words[shard], count=len(self.ids[shard]), bitorder="little").astype(np.bool_)

    def starts_word_at(self, shard: int, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return whether the tokens at the positions `tokens` (any shape) of shard number `shard` start words.

        Only the bytes that hold these bits are read. Positions count from the shard's start, as in `ids`.
        Raises IndexError for a position that lies beyond the shard's last byte, as `ids` would.
        """
        bits: npt.NDArray[np.uint8] = self._words[shard][tokens >> 3]
        return ((bits >> (tokens & 7).astype(np.uint8)) & 1).astype(np.bool_)

    @cached_property
    def _words(self) -> list[npt.NDArray[np.uint8]]:
        """Return the word-start bitmap of each shard, eight tokens a byte."""
        return self._maps("words", "uint8")

    @property
    def _shards(self) -> list[Shard]:
        """Return the shards that hold tokens: a memory map of nothing is an error."""
        return [shard for shard in self.manifest.shards if shard.counts.tokens]

    def _maps(self, part: str, dtype: str) -> list[npt.NDArray[Any]]:
        paths = [part_path(self.folder, shard.index, part) for shard in self._shards]
        return [np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r") for path in paths]
