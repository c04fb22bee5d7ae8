"""One vocabulary, WordPiece or sentencepiece: its tokens, what they are, its encoder, and how it is written."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from clue_bench import files
from clue_bench.errors import ClueBenchError
from clue_bench.vocab.encoders import TextEncoder, WordPieceEncoder
from clue_bench.vocab.rules import (
    CONFIG,
    JSON,
    SPECIAL_TOKENS,
    USUAL,
    WordPieceRules,
    can_be_text,
)
from clue_bench.vocab.sentencepieces import BYTE, NORMAL, SentencePieceEncoder, read_pieces, why_not_exported
from clue_bench.vocab.words import WordCutter

CONTINUATION = "##"
EXACT = {"do_lower_case": False, "keep_accents": True, "remove_space": False}  # AlbertTokenizer leaves text alone
LONGEST_WORD = 100  # characters; a longer run of non-Chinese text becomes one [UNK], as in BERT
WORDPIECE_FILE = "vocab.txt"
SENTENCEPIECE_FILE = "spiece.model"


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary; `tokens[i]` has id i. `model` holds the bytes of a sentencepiece model, None for WordPiece.

    `rules` are what a WordPiece tokenizer does beside looking words up. `refusal` says why no encoder of ours gives the
    ids of the folder that it was read from, "" if one does. `notes` say where its file was not taken at its word.
    """

    tokens: tuple[str, ...]
    model: bytes | None = field(default=None, repr=False)
    rules: WordPieceRules = USUAL
    refusal: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

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
        """Return the hash of the model file, or of WordPiece tokens joined by line feeds, for any line ends.

        Rules other than the usual ones follow the tokens.
        """
        data = "\n".join(self.tokens).encode() if self.model is None else self.model
        if self.rules != USUAL:
            data += b"\n\0" + json.dumps(self.rules, ensure_ascii=False).encode()
        return hashlib.sha256(data).hexdigest()

    def differing(self, other: "Vocabulary") -> list[int]:
        """Return the ids that mean different tokens in the two, but for tokens that no text gives."""
        number = min(len(self), len(other))
        pairs = zip(self.tokens[:number], other.tokens[:number], strict=True)
        ids = [n for n, (a, b) in enumerate(pairs) if a != b and (can_be_text(a) or can_be_text(b))]
        return [*ids, *range(number, max(len(self), len(other)))]

    @cached_property
    def is_ordinary(self) -> npt.NDArray[np.bool_]:
        """Return (V,): True for tokens that text can contain, not special or [unused…]. Masking draws from these."""
        marks = {token.text for token in self.rules.added if token.is_special} | set(SPECIAL_TOKENS)
        is_ordinary = np.array([not (t in marks or t.startswith("[unused")) for t in self.tokens])
        if self.model is not None:
            types = np.array([piece.type for piece in read_pieces(self.model)])
            is_ordinary &= np.isin(types, [NORMAL, BYTE])
        return is_ordinary

    def never_given(self) -> list[str]:
        """Return the words of a WordPiece vocabulary that no text gives, because the tokenizer cuts or changes them.

        A Chinese word is cut into characters, a word with capitals lower-cased. Marks like <S> do not count.
        """
        if self.model is not None or self.rules.words or self.refusal:
            return []
        words = [
            token
            for token, is_ordinary in zip(self.tokens, self.is_ordinary, strict=True)
            if is_ordinary and not token.startswith((CONTINUATION, "<")) and any(map(str.isalnum, token))
        ]
        found = self.encoder(special_tokens=False).ids(words)
        return [word for word, ids in zip(words, found, strict=True) if ids != [self.ids[word]]]

    @cached_property
    def starts_word(self) -> npt.NDArray[np.bool_]:
        """Return (V,): False for WordPiece tokens that continue a word ("##…"); each sentencepiece token is a word."""
        if self.model is not None:
            return np.ones(len(self), dtype=np.bool_)
        return np.array([not t.startswith(CONTINUATION) for t in self.tokens])

    def encoder(self, *, special_tokens: bool) -> TextEncoder:
        """Return what turns texts into ids.

        `special_tokens`: whether "[MASK]" written in a text is the special token, as `transformers` takes it, or text.
        Raises ClueBenchError if none of ours gives the ids of the vocabulary's own tokenizer.
        """
        self.require_encoder()
        if self.model is not None:
            return SentencePieceEncoder(self.model, special_tokens=special_tokens)
        tokenizer = self.tokenizer(marks_are_special=False)
        tokenizer.encode_special_tokens = not special_tokens
        return WordPieceEncoder(
            tokenizer,
            symbols=SPECIAL_TOKENS if special_tokens else (),
            added=tuple(token.text for token in self.rules.added),
            needs_library=self.rules.words or any(token.is_normalized for token in self.rules.added),
        )

    def require_encoder(self) -> None:
        """Raise ClueBenchError if no encoder of ours gives the ids of the tokenizer that the vocabulary came with."""
        if self.refusal:
            hint = "give the vocab.txt or spiece.model itself if the model was trained with lower-cased text"
            if self.model is not None and why_not_exported(self.model):
                hint = "give a unigram model as clue-bench vocab train --kind sentencepiece makes it"
            raise ClueBenchError(f"no corpus can be built for this tokenizer: {self.refusal}", hint)

    def tokenizer(self, *, marks_are_special: bool = True) -> Tokenizer:
        """Return the Rust tokenizer: BERT's normaliser, splitter and WordPiece, with [CLS] a [SEP] b [SEP].

        Of WordPiece only: there is none that gives sentencepiece's ids. Use `encoder` for either kind. Without
        `marks_are_special`, added special tokens are found also where special tokens are taken for text.
        """
        assert self.model is None, "a sentencepiece vocabulary has no Rust tokenizer; use encoder()"
        model = models.WordPiece(self.ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
        tokenizer = Tokenizer(model)
        rules = self.rules
        tokenizer.normalizer = normalizers.BertNormalizer(
            lowercase=rules.lower_case, strip_accents=rules.strip_accents, handle_chinese_chars=rules.split_chinese
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        if rules.words and not marks_are_special:  # a file of the tokenizer cannot hold jieba
            tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(WordCutter(self.ids))
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", self.start), ("[SEP]", self.separator)],
        )
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        for text, is_special, is_normalized in rules.added:
            added = AddedToken(text, normalized=is_normalized, special=is_special and marks_are_special)
            (tokenizer.add_special_tokens if added.special else tokenizer.add_tokens)([added])
        return tokenizer

    def write(self, path: Path) -> None:
        """Write the vocabulary's file."""
        with files.replacing(path) as temporary:
            temporary.write_bytes(self.file_bytes)

    def write_folder(self, folder: Path) -> None:
        """Write what `read_vocabulary` needs to read this vocabulary from a folder."""
        self.write(folder / self.file_name)
        if self.rules != USUAL:
            files.write_json(folder / CONFIG, self._config)

    @property
    def _config(self) -> dict[str, Any]:
        """Return the contents of tokenizer_config.json."""
        config: dict[str, Any] = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
        if self.model is not None:
            # By default it lower-cases and strips accents, which the model's own normalisation does not.
            return config | {"tokenizer_class": "AlbertTokenizer", **EXACT}
        config |= self.rules.tokenizer_config
        if self.rules.added:
            flags = {"lstrip": False, "rstrip": False, "single_word": False}
            config["added_tokens_decoder"] = {
                str(self.ids[text]): {"content": text, "special": is_special, "normalized": is_normalized, **flags}
                for text, is_special, is_normalized in self.rules.added
            }
        return config

    def save(self, folder: Path, *, max_length: int, has_segments: bool = True) -> None:
        """Write the tokenizer files of the Hugging Face layout; `max_length` in tokens.

        A model without segments (GPT2) must not be given any: transformers' adds a token's embedding for each.

        WordPiece: vocab.txt and tokenizer.json, for `BertTokenizer`. Sentencepiece: spiece.model, for
        `AlbertTokenizer`, whose ids are the library's own but for three things (measured on 5,000 documents in
        tests/vocab/test_albert.py): it writes "``" and "''" as '"'; where two segmentations are equally likely
        ("———" as "—— —" or "— ——") it may take the other; and beside a [MASK] it puts "▁" after it, not before.
        It makes its tokenizer anew from the model, so no tokenizer.json could fix that.
        """
        self.write(folder / self.file_name)
        config = {**self._config, "model_max_length": max_length}
        if self.model is None:
            with files.replacing(folder / JSON) as temporary:
                self.tokenizer().save(str(temporary))
        if not has_segments:
            config["model_input_names"] = ["input_ids", "attention_mask"]
        files.write_json(folder / CONFIG, config)
