"""One vocabulary, WordPiece or sentencepiece, and how it is read from files and folders, strictly."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from clue_bench import files
from clue_bench.errors import ClueBenchError
from clue_bench.vocab.encoders import TextEncoder, WordPieceEncoder
from clue_bench.vocab.sentencepieces import BYTE, NORMAL, SentencePieceEncoder, read_pieces

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
LONGEST_WORD = 100  # characters; a longer run of non-Chinese text becomes one [UNK], as in BERT
WORDPIECE_FILE = "vocab.txt"
SENTENCEPIECE_FILE = "spiece.model"


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary; `tokens[i]` has id i. `model` holds the bytes of a sentencepiece model, None for WordPiece."""

    tokens: tuple[str, ...]
    model: bytes | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def kind(self) -> Literal["wordpiece", "sentencepiece"]:
        """Return the kind of vocabulary."""
        return "wordpiece" if self.model is None else "sentencepiece"

    @property
    def word_starts(self) -> Literal["wordpiece", "pieces"]:
        """Return what `starts_word` is based on, in the words of a corpus manifest."""
        return "wordpiece" if self.model is None else "pieces"

    @cached_property
    def ids(self) -> dict[str, int]:
        """Return token → id."""
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def pad(self) -> int:
        """Return the id of [PAD]."""
        return self.ids["[PAD]"]

    @property
    def unknown(self) -> int:
        """Return the id of [UNK]."""
        return self.ids["[UNK]"]

    @property
    def start(self) -> int:
        """Return the id of [CLS]."""
        return self.ids["[CLS]"]

    @property
    def separator(self) -> int:
        """Return the id of [SEP]."""
        return self.ids["[SEP]"]

    @property
    def mask(self) -> int:
        """Return the id of [MASK]."""
        return self.ids["[MASK]"]

    @property
    def file_name(self) -> str:
        """Return what the vocabulary's file is called in a folder."""
        return WORDPIECE_FILE if self.model is None else SENTENCEPIECE_FILE

    @property
    def file_bytes(self) -> bytes:
        """Return what the vocabulary's file holds."""
        return ("\n".join(self.tokens) + "\n").encode() if self.model is None else self.model

    @cached_property
    def sha256(self) -> str:
        """Return the hash of the model file, or of WordPiece tokens joined by line feeds, for any line ends."""
        data = "\n".join(self.tokens).encode() if self.model is None else self.model
        return hashlib.sha256(data).hexdigest()

    @cached_property
    def is_ordinary(self) -> npt.NDArray[np.bool_]:
        """Return (V,): True for tokens that text can contain, not special or [unused…]. Masking draws from these."""
        is_ordinary = np.array([not (t in SPECIAL_TOKENS or t.startswith("[unused")) for t in self.tokens])
        if self.model is not None:
            types = np.array([piece.type for piece in read_pieces(self.model)])
            is_ordinary &= np.isin(types, [NORMAL, BYTE])
        return is_ordinary

    @cached_property
    def starts_word(self) -> npt.NDArray[np.bool_]:
        """Return (V,): False for WordPiece tokens that continue a word ("##…"); each sentencepiece token is a word."""
        if self.model is not None:
            return np.ones(len(self), dtype=np.bool_)
        return np.array([not t.startswith(CONTINUATION) for t in self.tokens])

    def encoder(self, *, special_tokens: bool) -> TextEncoder:
        """Return what turns texts into ids.

        `special_tokens`: whether "[MASK]" written in a text is the special token, as `transformers` takes it, or text.
        """
        if self.model is not None:
            return SentencePieceEncoder(self.model, special_tokens=special_tokens)
        tokenizer = self.tokenizer()
        tokenizer.encode_special_tokens = not special_tokens
        return WordPieceEncoder(tokenizer, symbols=SPECIAL_TOKENS if special_tokens else ())

    def tokenizer(self) -> Tokenizer:
        """Return the Rust tokenizer: BERT's normaliser, splitter and WordPiece, with [CLS] a [SEP] b [SEP].

        Of WordPiece only: there is none that gives sentencepiece's ids. Use `encoder` for either kind.
        """
        assert self.model is None, "a sentencepiece vocabulary has no Rust tokenizer; use encoder()"
        model = models.WordPiece(self.ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", self.start), ("[SEP]", self.separator)],
        )
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        return tokenizer

    def write(self, path: Path) -> None:
        """Write the vocabulary's file."""
        with files.replacing(path) as temporary:
            temporary.write_bytes(self.file_bytes)

    def save(self, folder: Path, *, max_length: int) -> None:
        """Write the tokenizer files of the Hugging Face layout; `max_length` in tokens.

        WordPiece: vocab.txt and tokenizer.json, for `BertTokenizer`. Sentencepiece: spiece.model, for
        `AlbertTokenizer`, whose ids are the library's own but for three things (measured on 5,000 documents in
        tests/vocab/test_albert.py): it writes "``" and "''" as '"'; where two segmentations are equally likely
        ("———" as "—— —" or "— ——") it may take the other; and beside a [MASK] it puts "▁" after it, not before.
        It makes its tokenizer anew from the model, so no tokenizer.json could fix that.
        """
        self.write(folder / self.file_name)
        config: dict[str, object] = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
        if self.model is None:
            with files.replacing(folder / "tokenizer.json") as temporary:
                self.tokenizer().save(str(temporary))
            config |= {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        else:
            # By default it lower-cases and strips accents, which the model's own normalisation does not.
            config |= {"tokenizer_class": "AlbertTokenizer", "do_lower_case": False}
            config |= {"keep_accents": True, "remove_space": False}
        files.write_json(folder / "tokenizer_config.json", {**config, "model_max_length": max_length})


def read_vocabulary(path: Path) -> Vocabulary:
    """Read `path`: a vocab.txt, a sentencepiece .model, or a folder that holds vocab.txt or spiece.model.

    Raises ClueBenchError if it is missing, damaged, not UTF-8, repeats a token, or lacks a special token.
    """
    file = _find(path) if path.is_dir() else path
    if not file.is_file():
        raise ClueBenchError(
            f"{file}: no such vocabulary", f"give a {WORDPIECE_FILE}, a .model, or a folder that holds one"
        )
    return _read_sentencepiece(file) if file.suffix == ".model" else _read_wordpiece(file)


def vocabulary_from_tokenizer_json(path: Path) -> Vocabulary:
    """Return the WordPiece vocabulary inside a tokenizer.json, for checkpoints that ship no vocab.txt.

    Raises ClueBenchError if the tokenizer is of another kind.
    """
    try:
        model = json.loads(path.read_text(encoding="utf-8")).get("model", {})
        kind, ids = model.get("type"), dict(model.get("vocab") or {})
        tokens = sorted(ids, key=ids.__getitem__)
        "".join(tokens).encode()  # JSON can say half a character
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ClueBenchError(f"{path}: not a tokenizer: {error}", "copy the file again") from error
    if kind != "WordPiece":
        raise ClueBenchError(f"{path}: a {kind} tokenizer, expected WordPiece", "use a BERT checkpoint")
    if [ids[token] for token in tokens] != list(range(len(ids))):
        raise ClueBenchError(f"{path}: ids are not 0 to {len(ids) - 1}", "use a checkpoint with a vocab.txt")
    return _checked(tokens, path)


def _find(folder: Path) -> Path:
    """Return the vocabulary's file in `folder`."""
    wordpiece, sentencepiece = folder / WORDPIECE_FILE, folder / SENTENCEPIECE_FILE
    if wordpiece.is_file() and sentencepiece.is_file():
        raise ClueBenchError(
            f"{folder} holds both {WORDPIECE_FILE} and {SENTENCEPIECE_FILE}", "give the path of the one that you mean"
        )
    return sentencepiece if sentencepiece.is_file() else wordpiece


def _read_wordpiece(file: Path) -> Vocabulary:
    try:
        text = file.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        hint = "convert the file to UTF-8; a sentencepiece model is known by its name, which ends in .model"
        raise ClueBenchError(f"{file}: not UTF-8 at byte {error.start}", hint) from error
    # Not splitlines(): a vocabulary may hold characters that Python takes for line ends.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    return _checked(lines, file)


def _read_sentencepiece(file: Path) -> Vocabulary:
    import sentencepiece

    model = file.read_bytes()
    try:
        sentencepiece.SentencePieceProcessor(model_proto=model)
        tokens = [piece.text for piece in read_pieces(model)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise ClueBenchError(f"{file}: no sentencepiece model, or a damaged one", "copy the file again") from error
    return Vocabulary(_checked(tokens, file).tokens, model)


def _checked(tokens: list[str], file: Path) -> Vocabulary:
    first_line: dict[str, int] = {}
    for number, token in enumerate(tokens, 1):
        if token in first_line:
            raise ClueBenchError(
                f"{file}, line {number}: token '{token}' stands on line {first_line[token]} already",
                "remove one of them, unless models were trained with the file: ids are line numbers",
            )
        first_line[token] = number
    missing = [token for token in SPECIAL_TOKENS if token not in first_line]
    if missing:
        raise ClueBenchError(f"{file}: no {', '.join(missing)} among {len(tokens)} tokens", "add them, one a line")
    return Vocabulary(tuple(tokens))
