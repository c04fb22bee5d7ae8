"""Add tokens to a model's vocabulary: words of a domain, marks like [E1]; or give it another vocabulary.

Input: a checkpoint of Hugging Face or ours with a WordPiece vocabulary, and new tokens or a vocabulary. Output: a
folder with the same model, in which each new token has an id and a row: the mean of those of its pieces at first.

A token that the tokenizer would cut (a Chinese word, a mark) is written as an added token, which is found in a text
before it is cut; one that it leaves whole (a lower-case word) becomes a line of the vocabulary. Marks in brackets are
special: pretraining never masks them. The folder's provenance.json says what was added, and from which pieces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.checkpoint import Checkpoint, base_name, read_checkpoint, write_folder
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import CONTINUATION, AddedToken, Vocabulary, read_vocabulary
from clue_bench.weights import CONFIG, names
from clue_bench.weights.as_bert import bert_values
from clue_bench.weights.configuration import read_config
from clue_bench.weights.rows import exchanged_rows, with_rows


class NewToken(NamedTuple):
    """A token that was added: its id, the tokens of its pieces (none: the mean of all rows), and how it is written."""

    text: str
    id: int
    pieces: tuple[str, ...]
    is_added: bool  # found in a text before it is cut; else a line of the vocabulary


class Extension(NamedTuple):
    """What `extend` wrote. `present` are tokens that the vocabulary had already."""

    folder: Path
    tokens: tuple[NewToken, ...]
    present: tuple[str, ...]
    rows_before: int
    rows: int
    notes: tuple[str, ...]


def extend(model: Path | str, texts: Sequence[str], *, out: Path) -> Extension:
    """Write `model` with the tokens `texts` in its vocabulary into the new folder `out`.

    Raises ClueBenchError for a vocabulary of another kind, a token that no text gives, or a folder that is in use.
    """
    start, values = _open(model, out)
    present = tuple(text for text in dict.fromkeys(texts) if text in start.vocabulary.ids)
    new = [text for text in dict.fromkeys(texts) if text not in start.vocabulary.ids]
    if not new:
        raise ClueBenchError(f"{start.folder}: has these tokens already: {', '.join(present)}", "give other tokens")
    added = [text for text in new if _is_cut(text, start.vocabulary)]
    pieces = _pieces(new, start.vocabulary)
    vocabulary = _extended(start.vocabulary, new, added)
    _check(vocabulary, new)
    first = len(start.vocabulary)
    rows = max(start.config.vocab_size, len(vocabulary))
    tensors = with_rows(start.tensors, {first + n: pieces[text] for n, text in enumerate(new)}, size=rows)
    tokens = tuple(
        NewToken(text, first + n, tuple(start.vocabulary.tokens[piece] for piece in pieces[text]), text in added)
        for n, text in enumerate(new)
    )
    write_folder(
        out,
        names.to_hugging_face(tensors, replace(start.config, vocab_size=rows)),
        config={**values, "vocab_size": rows},
        vocabulary=vocabulary,
        max_length=start.config.max_positions,
        provenance=_provenance(start, tokens),
    )
    return Extension(out, tokens, present, start.config.vocab_size, rows, start.notes)


class Exchange(NamedTuple):
    """What `exchange` wrote. `tokens` are those that the model did not have; `left_out` counts those it has no more."""

    folder: Path
    shared: int
    tokens: tuple[NewToken, ...]
    left_out: int
    rows_before: int
    rows: int
    notes: tuple[str, ...]


def exchange(model: Path | str, vocabulary: Path, *, out: Path) -> Exchange:
    """Write `model` with another WordPiece vocabulary into the new folder `out` (Gee et al. 2022: vocabulary transfer).

    Tokens that both have keep their rows, the others start as the mean of the rows of their pieces. Raises
    ClueBenchError as `extend`, and if the vocabulary lacks a token that the model cannot do without.
    """
    start, values = _open(model, out)
    old, new = start.vocabulary, read_vocabulary(vocabulary)
    if new.kind != "wordpiece":
        raise ClueBenchError(f"{vocabulary}: a sentencepiece model, expected a vocab.txt", "give a vocab.txt")
    if new.rules._replace(added=()) != old.rules._replace(added=()):
        raise ClueBenchError(
            f"{vocabulary}: cuts text by other rules than the model's ({new.rules} instead of {old.rules})",
            "give a vocabulary that lower-cases as the model's does",
        )
    missing = [text for text in new.tokens if text not in old.ids]
    pieces = _pieces(missing, old)
    rows = [[old.ids[text]] if text in old.ids else pieces[text] for text in new.tokens]
    tokens = tuple(
        NewToken(text, new.ids[text], tuple(old.tokens[piece] for piece in pieces[text]), is_added=False)
        for text in missing
    )
    shared = len(new) - len(missing)
    write_folder(
        out,
        names.to_hugging_face(exchanged_rows(start.tensors, rows), replace(start.config, vocab_size=len(new))),
        config={**values, "vocab_size": len(new), "pad_token_id": new.pad},
        vocabulary=new,
        max_length=start.config.max_positions,
        provenance={
            **_kept_provenance(start),
            "vocabulary_exchanged": {"shared": shared, "from_pieces": len(missing)},
            "vocabulary_sha256": new.sha256,
            "exchanged_from_sha256": start.sha256,
        },
    )
    return Exchange(out, shared, tokens, len(old) - shared, start.config.vocab_size, len(new), start.notes)


def _open(model: Path | str, out: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Return a model with a WordPiece vocabulary, and its config.json. Raises ClueBenchError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ClueBenchError(f"{out}: exists and is not empty", "give another --out")
    start = read_checkpoint(model)
    if start.vocabulary.kind != "wordpiece":
        raise ClueBenchError(
            f"{start.folder}: a sentencepiece vocabulary, whose pieces are part of its model",
            "give a model with a vocab.txt",
        )
    values = read_config(start.folder / CONFIG)
    if values.get("model_type") != start.config.family:  # a BERT under another name
        values = bert_values(values) | {"pad_token_id": start.vocabulary.pad}
    return start, values


def _is_cut(text: str, vocabulary: Vocabulary) -> bool:
    """Return whether the tokenizer cuts the text before it looks words up. Raises ClueBenchError for a strange one."""
    if not text.strip() or text != text.strip() or not text.isprintable() or text.startswith(CONTINUATION):
        raise ClueBenchError(
            f"{text!r}: no token: blanks at its ends, {CONTINUATION}, or characters that cleaned text has not",
            "give the word itself",
        )
    tokenizer = vocabulary.tokenizer(marks_are_special=False)
    normal = tokenizer.normalizer.normalize_str(text)
    cut = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
    if len(cut) == 1 and cut[0] != text:
        raise ClueBenchError(f"{text!r}: the tokenizer makes {cut[0]!r} of it", f"give {cut[0]!r}")
    return cut != [text]


def _pieces(texts: Sequence[str], vocabulary: Vocabulary) -> dict[str, list[int]]:
    """Return the ids of what each token is now cut into, without unknown ones; "##ing" as within a word."""
    found = vocabulary.encoder(special_tokens=False).ids([text.removeprefix(CONTINUATION) for text in texts])
    pieces = {text: [one for one in ids if one != vocabulary.unknown] for text, ids in zip(texts, found, strict=True)}
    for text, ids in pieces.items():
        if text.startswith(CONTINUATION) and ids:
            ids[0] = vocabulary.ids.get(CONTINUATION + vocabulary.tokens[ids[0]], ids[0])
    return pieces


def _extended(vocabulary: Vocabulary, new: Sequence[str], added: Sequence[str]) -> Vocabulary:
    marks = tuple(AddedToken(text, is_special=text.startswith("[") and text.endswith("]")) for text in added)
    rules = vocabulary.rules._replace(added=(*vocabulary.rules.added, *marks))
    return Vocabulary((*vocabulary.tokens, *new), rules=rules, refusal=vocabulary.refusal)


def _check(vocabulary: Vocabulary, new: Sequence[str]) -> None:
    """Raise ClueBenchError unless each new token is what its text becomes."""
    ids = vocabulary.encoder(special_tokens=False).ids(list(new))
    lost = [text for text, found in zip(new, ids, strict=True) if found != [vocabulary.ids[text]]]
    if lost:
        raise ClueBenchError(
            f"{lost[0]!r}: would be cut into other tokens, because an added token is part of it",
            "leave it out, or start from the model without that added token",
        )


def _provenance(start: Checkpoint, tokens: Sequence[NewToken]) -> Mapping[str, Any]:
    earlier = start.provenance.get("extended")
    added = [
        {"token": token.text, "id": token.id, "mean_of": list(token.pieces), "is_added": token.is_added}
        for token in tokens
    ]
    return {
        **_kept_provenance(start),
        "extended": [*(earlier if isinstance(earlier, list) else []), *added],
        "extended_from_sha256": start.sha256,
    }


def _kept_provenance(start: Checkpoint) -> dict[str, Any]:
    """Return what the model's provenance says, and its name."""
    kept = {key: value for key, value in start.provenance.items() if key != "weights_sha256"}
    return kept if isinstance(kept.get("recipe"), dict) else {**kept, "model": base_name(start.folder, kept)}
