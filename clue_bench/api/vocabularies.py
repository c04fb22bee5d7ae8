"""Vocabularies: train, count, compare and prune the tokens that text is cut into."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clue_bench.api.progress import Progress
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.files import expanded, refuse_input
from clue_bench.numbers import count
from clue_bench.tables import Column, Shown, Table, make_facts, make_table, our_words

if TYPE_CHECKING:
    from clue_bench.vocab import Vocabulary, token_types

Kind = Literal["wordpiece", "sentencepiece"]
SIZES: dict[Kind, int] = {"wordpiece": 8_000, "sentencepiece": 100_000}  # sentencepiece: of UER's word models
MIN_SIZE = 100
READING = 0.1  # share of the time that sentencepiece needs
AGAIN = "type the same command again: it starts anew"
MAX_TOKENS_SHOWN = 40  # at most, in a table
MAX_NAMES_SHOWN = 8  # of files

Texts = Path | str | Sequence[Path | str]


@dataclass(frozen=True, repr=False)
class TrainedVocabulary(Shown):
    """A vocabulary file that was written. `facts` describe what it was trained on."""

    file: Path
    vocabulary: "Vocabulary"
    facts: dict[str, int]

    def __len__(self) -> int:
        return len(self.vocabulary)

    def to_json(self) -> dict[str, Any]:
        """Return what was written as plain values."""
        return {"file": str(self.file), "tokens": len(self), "sha256": self.vocabulary.sha256, **self.facts}

    @property
    def tables(self) -> list[Table]:
        """Return one table."""
        return [
            make_facts(
                ("vocabulary", ""),
                [(key, count(value) if isinstance(value, int) else value) for key, value in self.to_json().items()],
            )
        ]


def train_vocabulary(
    texts: Texts,
    *,
    out: Path | str,
    kind: Kind = "wordpiece",
    size: int | None = None,
    sentences: int | None = None,
    characters: int | None = None,
    text_field: str = "text",
    progress: bool = True,
) -> TrainedVocabulary:
    """Train a vocabulary on text files or folders of them, and write it to `out`; the same text gives the same one.

    WordPiece (Chinese by character, lower case) keeps at most `size` tokens and may stop after `characters`;
    sentencepiece keeps exactly `size`, and may train on a random sample of `sentences`. `text_field` is the key of the
    text in JSON, or its column in Parquet. Raises ClueBenchError.
    """
    if kind not in SIZES:
        raise ClueBenchError(f"kind={kind!r}: no kind of vocabulary", nearest(str(kind), SIZES))
    check_least("size", size, MIN_SIZE, f"leave it out for {SIZES[kind]:,} tokens")
    check_least("sentences", sentences, 1, "leave it out to train on all of them")
    check_least("characters", characters, 1, "leave it out to train on all of the text")
    out = expanded(out)
    if (kind == "sentencepiece") != (out.suffix == ".model"):
        ending = ".model" if kind == "sentencepiece" else ".txt"
        raise ClueBenchError(f"{out}: a {kind} vocabulary is a {ending} file", f"give --out vocab{ending}")
    if kind == "wordpiece" and sentences is not None:
        raise ClueBenchError("--sentences is for --kind sentencepiece", "leave it out: WordPiece counts words only")
    if out.is_dir():
        raise ClueBenchError(f"{out} is a folder", "give --out the name of the file to write, e.g. vocab.txt")
    show = Progress(progress)
    files = find_texts(texts, show)
    refuse_input(out, files)
    facts: dict[str, int] = {}
    size = SIZES[kind] if size is None else size
    if kind == "wordpiece":
        vocabulary = _train_wordpiece(files, size, characters, text_field, show)
    else:
        vocabulary, facts = _train_sentencepiece(files, size, sentences, text_field, show)
    vocabulary.write(out)
    return TrainedVocabulary(out, vocabulary, facts)


@dataclass(frozen=True, repr=False)
class TokenCounts(Shown):
    """Tokens of vocabularies by type, with the published counts of known files."""

    vocabularies: dict[Path, "Vocabulary"]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {"vocabularies": [self._facts(path, each) for path, each in self.vocabularies.items()]}

    @property
    def tables(self) -> list[Table]:
        """Return one table, a column for each vocabulary."""
        from clue_bench.vocab.token_types import TYPES

        columns, notes = [], []
        for path, facts in zip(self.vocabularies, self.to_json()["vocabularies"], strict=True):
            columns.append([path.name, *(f"{count:,}" for count in facts["counts"].values())])
            if "published" in facts:
                counts = facts["published"].values()
                columns.append([f"{facts['published_as']}, published", *(f"{count:,}" for count in counts)])
                notes += [f"{path.name}: {facts['note']}"] * bool(facts["note"])
        names = [Column("type", is_words=True), *TYPES.values(), "total"]
        header, *rows = [[name, *row] for name, row in zip(names, zip(*columns, strict=True), strict=True)]
        return [make_table("", header, rows, notes=notes)]

    def _facts(self, path: Path, vocabulary: "Vocabulary") -> dict[str, Any]:
        from clue_bench.vocab.token_types import PUBLISHED, count_types

        counts: dict[str, int] = {**dict(count_types(vocabulary).items()), "total": len(vocabulary)}
        facts = {"file": str(path), "kind": vocabulary.kind, "sha256": vocabulary.sha256, "counts": counts}
        published = PUBLISHED.get(vocabulary.sha256)
        if published is None:
            return facts
        numbers = dict(zip(counts, [*published.counts, sum(published.counts)], strict=True))
        return facts | {"published": numbers, "published_as": published.name, "note": published.note}


def count_tokens(vocabularies: Sequence[Path | str]) -> TokenCounts:
    """Count the tokens of vocabularies by type, as CLUECorpus2020 does. Raises ClueBenchError."""
    from clue_bench.vocab import read_vocabulary

    counted = TokenCounts({expanded(path): read_vocabulary(vocabulary_path(path)) for path in vocabularies})
    Progress(True).notes(note for each in counted.vocabularies.values() for note in each.notes)
    return counted


@dataclass(frozen=True, repr=False)
class PrunedVocabulary(Shown):
    """A pruned vocabulary that was written, and how it compares with another one."""

    file: Path
    pruned: "token_types.Pruned"
    other: Path | None
    compared: "token_types.Comparison | None"

    def to_json(self) -> dict[str, Any]:
        """Return what was dropped, added and compared as plain values."""
        from clue_bench.vocab.token_types import NO_RULE

        pruned = self.pruned
        facts: dict[str, Any] = {"file": str(self.file), "tokens": len(pruned.vocabulary), "dropped": pruned.dropped}
        facts |= {"added": pruned.added, "unknown_rule": NO_RULE}
        return facts | ({} if self.compared is None else {"compared": self.compared._asdict()})

    @property
    def tables(self) -> list[Table]:
        """Return a table of what each rule did, and one of the comparison."""
        from clue_bench.vocab.token_types import NO_RULE

        pruned, note = self.pruned, f"unknown: {NO_RULE}"
        rows = [(rule, f"-{len(tokens):,}", some_tokens(tokens, 6)) for rule, tokens in pruned.dropped.items()]
        rows += [("added", f"+{len(pruned.added):,}", some_tokens(pruned.added, 6))]
        rows += [("kept", f"{len(pruned.vocabulary):,}", str(self.file))]
        header = [Column("rule", is_words=True), Column("tokens"), Column("for example")]
        if self.compared is None or self.other is None:
            return [make_table("", header, rows, notes=[note])]
        common, missing, extra = self.compared.common, self.compared.missing, self.compared.extra
        order = our_words("in the same order" if self.compared.same_order else "in another order")
        against = [
            ("in both", our_words(f"{common:,} of {common + len(missing):,}"), order),
            ("missing", f"{len(missing):,}", some_tokens(missing, MAX_TOKENS_SHOWN)),
            ("extra", f"{len(extra):,}", some_tokens(extra, MAX_TOKENS_SHOWN)),
        ]
        compared = make_table(
            "",
            [Column("compared with", is_words=True), Column(self.other.name, is_name=True), ""],
            against,
            notes=[note],
        )
        return [make_table("", header, rows), compared]


def prune_vocabulary(vocabulary: Path | str, *, out: Path | str, compare: Path | str | None = None) -> PrunedVocabulary:
    """Keep what simplified Chinese needs, by the rules that made CLUE's 8,021 tokens of Google's 21,128; write `out`.

    `compare` is another vocabulary, to report missing and extra tokens. Raises ClueBenchError.
    """
    from clue_bench.vocab import read_vocabulary, token_types

    out = expanded(out)
    if out.is_dir() or out.suffix == ".model":
        raise ClueBenchError(f"{out}: no name for a vocab.txt", "give --out the name of the file to write")
    paths = [vocabulary_path(each) for each in (vocabulary, compare) if each is not None]
    refuse_input(out, paths)
    whole, *others = map(read_vocabulary, paths)
    other = others[0] if others else None
    pruned = token_types.prune(whole)
    compared = None if other is None else token_types.compare(pruned.vocabulary, other)
    pruned.vocabulary.write(out)
    return PrunedVocabulary(out, pruned, None if compare is None else expanded(compare), compared)


def vocabulary_path(given: Path | str) -> Path:
    """Return where a vocabulary lies: a file, a folder that holds one, a run, a model of the package or on the hub.

    Raises ClueBenchError if it is none of these, or the hub cannot be reached.
    """
    from clue_bench.doors.hub import HUB_ID
    from clue_bench.doors.model_folders import find_folder, shipped_models
    from clue_bench.doors.records import CHECKPOINT
    from clue_bench.vocab import VOCABULARY_FILES

    path = expanded(given)
    is_name = str(given) in shipped_models() or ("/" in str(given) and HUB_ID.fullmatch(str(given)))
    is_model = (path / CHECKPOINT).is_dir() or (not path.exists() and is_name)
    if (
        path.is_dir()
        and not is_model
        and not any((path / name).is_file() for name in (*VOCABULARY_FILES, "tokenizer.json"))
    ):
        from clue_bench.doors.other_folders import of_a_library

        if known := of_a_library(path):
            raise ClueBenchError(*known)
    if not is_model or path.suffix in (".txt", ".model", ".json"):
        return path
    return find_folder(given)


def check_least(name: str, value: int | None, least: int, hint: str) -> None:
    """Raise ClueBenchError if a number is given that is no whole number or too small."""
    if value is not None and (not isinstance(value, int) or not least <= value < 2**31):
        raise ClueBenchError(f"{name}={value!r}: expected a whole number, at least {least} and below 2**31", hint)


def find_texts(texts: Texts, show: Progress) -> list[Path]:
    """Return the files of text, in order; say which files are left aside."""
    from clue_bench.corpus.read import find_inputs

    given = [texts] if isinstance(texts, Path | str) else texts
    files, ignored = find_inputs([expanded(path) for path in given])
    if ignored:
        show.note(f"left aside, not text files of a known kind: {first_names([path.name for path in ignored])}")
    return files


def _train_wordpiece(
    files: list[Path], size: int, characters: int | None, text_field: str, show: Progress
) -> "Vocabulary":
    from clue_bench.corpus.read import Tally, read_lines
    from clue_bench.vocab.training import train_wordpiece

    tally = Tally()
    with show.bar("vocabulary", sum(file.stat().st_size for file in files), on_interrupt=AGAIN) as bar:
        lines = read_lines(
            files,
            tally=tally,
            characters=characters,
            on_line=lambda: bar.update(tally.bytes_read),
            text_field=text_field,
        )
        return train_wordpiece(lines, size=size)


def _train_sentencepiece(
    files: list[Path], size: int, sample: int | None, text_field: str, show: Progress
) -> "tuple[Vocabulary, dict[str, int]]":
    from clue_bench.corpus.read import Tally, read_lines
    from clue_bench.corpus.text import split_sentences
    from clue_bench.vocab.training import train_sentencepiece

    if sample is not None:
        show.note(f"training on a random sample of {sample:,} sentences, not on all of the text")
    tally, total = Tally(), sum(file.stat().st_size for file in files)
    rounds: list[int] = []
    with show.bar("vocabulary", 1.0, on_interrupt=AGAIN) as bar:

        def on_round(pieces: int) -> None:
            rounds.append(pieces)
            # Each round drops a quarter, down to the size and a tenth.
            whole = math.log(max(rounds[0] / (1.1 * size), 1.001))
            done = min(math.log(rounds[0] / pieces) / whole, 0.99)
            bar.update(READING + (1 - READING) * done, f"{pieces:,} pieces left")

        def on_line() -> None:
            bar.update(READING * tally.bytes_read / total, "reading")

        lines = read_lines(files, tally=tally, characters=None, on_line=on_line, text_field=text_field)
        cut = (sentence for line in lines for sentence in split_sentences(line))
        trained = train_sentencepiece(cut, size=size, sample=sample, on_round=on_round)
        bar.update(1.0, f"{size:,} pieces")
    return trained.vocabulary, {
        "sentences": min(trained.sentences, sample or trained.sentences),
        "sentences in the text": trained.sentences + trained.too_long,
        "left out, over 1,024 bytes": trained.too_long,
    }


def first_names(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - MAX_NAMES_SHOWN
    return ", ".join(names[:MAX_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def some_tokens(tokens: list[str], number: int) -> str:
    """Return the first `number` of `tokens`, invisible characters as escapes."""
    shown = " ".join(token if token.isprintable() else repr(token)[1:-1] for token in tokens[:number])
    return shown + (" …" if len(tokens) > number else "")
