"""Add tokens to a model's vocabulary: words of a domain, marks like [E1].

Input: a checkpoint of Hugging Face or ours with a WordPiece vocabulary, and new tokens. Output: a folder with the same
model, in which each new token has an id and a row that starts as the mean of the rows of its pieces.

A token that the tokenizer would cut (a Chinese word, a mark) is written as an added token, which is found in a text
before it is cut; one that it leaves whole (a lower-case word) becomes a line of the vocabulary. Marks in brackets are
special: pretraining never masks them. The folder's provenance.json says what was added, and from which pieces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.doors.checkpoint import CONFIG, Checkpoint, base_name, read_checkpoint, write_folder
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import CONTINUATION, AddedToken, Vocabulary
from clue_bench.weights import names
from clue_bench.weights.read import read_config
from clue_bench.weights.rows import with_rows


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
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ClueBenchError(f"{out}: exists and is not empty", "give another --out")
    start = read_checkpoint(model)
    if start.vocabulary.kind != "wordpiece":
        raise ClueBenchError(
            f"{start.folder}: a sentencepiece vocabulary, whose pieces are part of its model",
            "give a model with a vocab.txt",
        )
    values = read_config(start.folder / CONFIG)
    if values.get("model_type") != start.config.family:
        raise ClueBenchError(
            f"{start.folder}: {start.notes[0] if start.notes else 'config.json names another family'}",
            f"run clue-bench convert {start.folder} DST --from hf first, and give DST",
        )
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


def _is_cut(text: str, vocabulary: Vocabulary) -> bool:
    """Return whether the tokenizer cuts the text before it looks words up. Raises ClueBenchError for a strange one."""
    if not text.strip() or text != text.strip() or "\n" in text or text.startswith(CONTINUATION):
        raise ClueBenchError(f"{text!r}: no token: blanks at its ends, or {CONTINUATION}", "give the word itself")
    tokenizer = vocabulary.tokenizer(marks_are_special=False)
    normal = tokenizer.normalizer.normalize_str(text)
    cut = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
    if len(cut) == 1 and cut[0] != text:
        raise ClueBenchError(f"{text!r}: the tokenizer makes {cut[0]!r} of it", f"give {cut[0]!r}")
    return cut != [text]


def _pieces(texts: Sequence[str], vocabulary: Vocabulary) -> dict[str, list[int]]:
    found = vocabulary.encoder(special_tokens=False).ids(list(texts))
    return {
        text: [piece for piece in ids if piece != vocabulary.unknown] for text, ids in zip(texts, found, strict=True)
    }


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
    kept = {key: value for key, value in start.provenance.items() if key != "weights_sha256"}
    named = {} if isinstance(kept.get("recipe"), dict) else {"model": base_name(start.folder, start.provenance)}
    earlier = kept.get("extended")
    added = [
        {"token": token.text, "id": token.id, "mean_of": list(token.pieces), "is_added": token.is_added}
        for token in tokens
    ]
    return {
        **kept,
        **named,
        "extended": [*(earlier if isinstance(earlier, list) else []), *added],
        "extended_from_sha256": start.sha256,
    }
