"""The tokenizer files of a checkpoint, read tolerantly: what is wrong with them becomes a finding, not an exception.

Input: a folder. Output: `TokenizerFiles`: the kind of vocabulary, its tokens in the order of their ids, and
tokenizer_config.json.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import Vocabulary
from clue_bench.weights.read import read_object

Style = Literal["wordpiece", "sentencepiece", "bpe", "none"]
_PIECES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_STYLE_OF_JSON: dict[str, Style] = {"WordPiece": "wordpiece", "Unigram": "sentencepiece", "BPE": "bpe"}

# sha256 of the tokens joined by line feeds (`Vocabulary.sha256`), computed from the files that were published:
# Google's vocab.txt of chinese_L-12_H-768_A-12, vocab_clue.txt of CLUEPretrainedModels, and the sentencepiece model
# cluecorpussmall_spm.model of UER-py (pieces in the order of their ids).
KNOWN = {
    "8550a78ca2dd304e6a4b45baa9780db8a93cfacc564b4d1c319905db0122f1e4": "Google's Chinese vocabulary",
    "56422dd8466980a627a7d48e51de044681242ea26e0595819e7e0418df0eb2bc": "CLUE's vocabulary",
    "8b3cc629cf8c12279311e798a47855e735704f7162fdabce11f8b24dfb9d8189": "UER's word vocabulary",
}
KNOWN_SIZES = {21_128: "Google's Chinese vocabulary", 8_021: "CLUE's vocabulary", 100_000: "UER's word vocabulary"}


@dataclass(frozen=True)
class TokenizerFiles:
    """What there is of a tokenizer. `tokens` may repeat themselves, and lack special ones."""

    style: Style
    file: str  # name of the file that the tokens are from; "" for style none
    tokens: tuple[str, ...]
    json_tokens: tuple[str, ...] | None  # of tokenizer.json where it stands beside another vocabulary file
    config: dict[str, Any] | None  # tokenizer_config.json

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token → its first id."""
        return {token: index for index, token in reversed(list(enumerate(self.tokens)))}

    @cached_property
    def known_as(self) -> str:
        """Whose vocabulary it is, "" if nobody's that is known here."""
        return KNOWN.get(Vocabulary(self.tokens).sha256, "")

    @property
    def label(self) -> str:
        """Name and size in words."""
        return f"{self.known_as or 'a vocabulary'} of {len(self):,} tokens"

    @cached_property
    def has_words(self) -> bool:
        """True if it holds Chinese words, not characters only."""
        return any(word in self.ids for word in ("北京", "▁北京"))


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read the tokenizer files of a folder. Raises ClueBenchError for a file that is damaged."""
    config = read_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else None
    in_json = _json_tokens(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else None
    if (folder / "vocab.txt").is_file():
        return TokenizerFiles("wordpiece", "vocab.txt", _lines(folder / "vocab.txt"), in_json and in_json[1], config)
    for name in _PIECES:
        if (folder / name).is_file():
            return TokenizerFiles("sentencepiece", name, _pieces(folder / name), in_json and in_json[1], config)
    if in_json:
        return TokenizerFiles(in_json[0], "tokenizer.json", in_json[1], None, config)
    if (folder / "vocab.json").is_file():
        ids = read_object(folder / "vocab.json")
        return TokenizerFiles("bpe", "vocab.json", tuple(sorted(ids, key=ids.__getitem__)), None, config)
    return TokenizerFiles("none", "", (), None, config)


def _lines(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{file}: not UTF-8 at byte {error.start}", "convert the file to UTF-8") from error
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))


def _pieces(file: Path) -> tuple[str, ...]:
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    except RuntimeError as error:
        raise ClueBenchError(f"{file}: no sentencepiece model", "copy the file again") from error
    return tuple(model.id_to_piece(index) for index in range(len(model)))


def _json_tokens(file: Path) -> tuple[Style, tuple[str, ...]]:
    """Return kind and tokens of a tokenizer.json; added tokens stand where their ids say."""
    values = read_object(file)
    model = values.get("model") or {}
    try:
        listed = model.get("vocab", {})
        ids = dict(listed) if isinstance(listed, dict) else {piece: index for index, (piece, _) in enumerate(listed)}
        ids |= {token["content"]: token["id"] for token in values.get("added_tokens") or []}
        tokens = tuple(sorted(ids, key=ids.__getitem__))
    except (TypeError, ValueError, KeyError) as error:
        raise ClueBenchError(f"{file}: not a tokenizer: {error}", "copy the file again") from error
    return _STYLE_OF_JSON.get(str(model.get("type")), "none"), tokens
