"""The tokenizer of a folder, through `transformers`, and its layout of a row.

Input: a checkpoint folder that our encoders cannot tokenise: cased, words cut by jieba, byte pairs, another sentence
piece. Output: a `FolderTokeniser`. The places of special tokens and segments are found by tokenising two short texts
and comparing the result with their parts.
"""

import hashlib
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers.processors import TemplateProcessing

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.blanks import BLANK
from clue_bench.finetuning.encode import TEXT, Layout, Template, Tokeniser
from clue_bench.vocab import TOKENIZER_FILES, VOCABULARY_FILES, Vocabulary, WordPieceRules
from clue_bench.vocab.encoders import Placed
from clue_bench.weights.configuration import read_object
from clue_bench.weights.hf_classes import cut_words, explained, quiet

_CONFIG = "tokenizer_config.json"
_PROBES = ("中", "国", "a", "b", "hello", "world", "的", "是", "1", "2")
_MANY_SEGMENTS = ("bert", "albert", "roformer", "ernie", "electra")  # families with two segments in pairs


class FolderTokeniser:
    """A tokenizer of `transformers`. `sha256` is the hash of the files that it was read from."""

    def __init__(self, folder: Path, *, model_type: str, segment_types: int, end: int | None = None) -> None:
        """Load the tokenizer. `end` is the token by which the model finds a row's end, which texts must not contain."""
        self._folder = folder
        self._tokenizer = load_tokenizer(folder, model_type)
        # Else "[SEP]" in a text is the token.
        self._end, self._in_texts = end, {} if end is None else {"split_special_tokens": True}
        self.size = len(self._tokenizer)
        self._border = ""  # the token that is put between two texts where the tokenizer has none
        self.layout = self._with_border(self._probe(model_type, segment_types))

    @property
    def notes(self) -> tuple[str, ...]:
        """Return where the tokenizer was not taken at its word."""
        text = f"{self._folder}: its tokenizer puts nothing between the texts of a pair: {self._border!r} stands there"
        return (text,) if self._border else ()

    @property
    def sha256(self) -> str:
        """Return the hash of the tokenizer's files, and of the border that was put between texts."""
        digest = hashlib.sha256(self._border.encode())
        for name in TOKENIZER_FILES:
            if (self._folder / name).is_file():
                digest.update(name.encode() + b"\0" + (self._folder / name).read_bytes())
        return digest.hexdigest()

    @property
    def tokeniser(self) -> Tokeniser:
        """Return what `encode` wants."""
        place = self.place if self._tokenizer.is_fast else None
        return Tokeniser(self, self.layout, place, self._tokenizer.get_vocab().get(BLANK), self._unknown)

    @property
    def _unknown(self) -> int | None:
        """Return the token for what the vocabulary lacks; a token with a task of its own (GPT2's end) is none."""
        tokenizer = self._tokenizer
        names = ("pad", "eos", "bos", "cls", "sep", "mask")
        others = [getattr(tokenizer, f"{name}_token_id") for name in names]
        unknown: int | None = tokenizer.unk_token_id
        return None if unknown in others else unknown

    def place(self, text: str) -> Placed:
        """Return the ids of a text and where each token begins."""
        with explained(f"{self._folder}: its tokenizer fails", "copy the tokenizer's files again"):
            found = self._tokenizer(text, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
        starts = [start for start, _ in found["offset_mapping"]]
        return Placed(np.array(found["input_ids"], dtype=np.int64), np.maximum.accumulate([0, *starts])[1:])

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text, without special tokens."""
        if not texts:
            return []
        with explained(f"{self._folder}: its tokenizer fails", "copy the tokenizer's files again"):
            found: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False, **self._in_texts)[
                "input_ids"
            ]
        if self._end is None:
            return found
        # A sentencepiece tokenizer has "</s>" among its pieces, and finds it even so.
        unknown = self._tokenizer.unk_token_id
        instead = [] if unknown in (None, self._end) else [unknown]
        return [
            [part for index in ids for part in (instead if index == self._end else [index])]
            if self._end in ids
            else ids
            for ids in found
        ]

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files as transformers writes them, and the vocabulary file unchanged."""
        with quiet():
            self._tokenizer.save_pretrained(folder)
        for name in VOCABULARY_FILES:
            if (self._folder / name).is_file() and not (folder / name).exists():
                shutil.copyfile(self._folder / name, folder / name)

    def _probe(self, model_type: str, segment_types: int) -> Layout:
        tokenizer = self._tokenizer
        if tokenizer.pad_token_id is None:
            raise ClueBenchError(
                f"{self._folder}: its tokenizer has no pad token, so rows of different lengths cannot share a batch",
                f'add "pad_token" to {_CONFIG}, a token of the vocabulary that texts do not contain',
            )
        known = [(text, ids) for text, ids in zip(_PROBES, self.ids(list(_PROBES)), strict=True) if ids]
        with explained(f"{self._folder}: its tokenizer fails", "copy the tokenizer's files again"):
            # Two texts of unknown characters would do, but different ones are more reliably found.
            for (first, a), (second, b) in sorted(product(known, known), key=lambda two: two[0][1] == two[1][1]):
                one = tokenizer(first, return_token_type_ids=True, verbose=False)
                two = tokenizer(first, second, return_token_type_ids=True, verbose=False)
                single, pair = _template(one, [a]), _template(two, [a, b])
                if single is not None and pair is not None:
                    many = segment_types > 1
                    if many and model_type in _MANY_SEGMENTS and not any(segment for _, segment in pair):
                        pair = _second_segment(pair)
                    return Layout(_plain(single, many), _plain(pair, many), int(tokenizer.pad_token_id))
        raise ClueBenchError(
            f"{self._folder}: a pair of texts does not hold the tokens of its texts in their order",
            f"run clue-bench doctor {self._folder}, which says what the tokenizer does",
        )

    def _with_border(self, layout: Layout) -> Layout:
        """Return the layout with a token between the texts of a pair, in the files that are written, too.

        Byte-level tokenizers (GPT2, Qwen2) join texts as they are, so that two pairs would be one row.
        """
        places = [token for token, _ in layout.pair]
        second = len(places) - places[::-1].index(TEXT) - 1
        if places[second - 1] != TEXT:
            return layout
        tokenizer = self._tokenizer
        named = (tokenizer.sep_token, tokenizer.eos_token, tokenizer.bos_token, tokenizer.cls_token)
        self._border = next((token for token in named if token), "")
        if not self._border:
            raise ClueBenchError(
                f"{self._folder}: its tokenizer puts nothing between the texts of a pair, and has no token for it",
                f'add "sep_token" to {_CONFIG}, a token of the vocabulary that texts do not contain',
            )
        border = int(tokenizer.convert_tokens_to_ids(self._border))
        if tokenizer.is_fast and [token for token, _ in layout.single] == [TEXT]:
            tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
                single="$A", pair=f"$A {self._border} $B", special_tokens=[(self._border, border)]
            )
        return layout._replace(
            pair=(*layout.pair[:second], (border, layout.pair[second - 1][1]), *layout.pair[second:])
        )


def is_ours(vocabulary: Vocabulary) -> bool:
    """Return whether our own encoder tokenises for a checkpoint with this vocabulary."""
    return not vocabulary.refusal and vocabulary.rules == WordPieceRules()


def _stated(folder: Path) -> dict[str, Any]:
    return read_object(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}


def load_tokenizer(folder: Path, model_type: str) -> Any:
    """Load the tokenizer of a folder with `transformers`. Raises ClueBenchError if there is none that fits."""
    import transformers

    if not any((folder / name).is_file() for name in (*VOCABULARY_FILES, "tokenizer.json")):
        raise ClueBenchError(
            f"{folder}: no tokenizer ({', '.join(VOCABULARY_FILES[:4])}, tokenizer.json, …)",
            "copy the tokenizer beside the weights",
        )
    kind: Any = transformers.AutoTokenizer
    if not _stated(folder).get("tokenizer_class") and model_type != "roformer":
        # By model_type alone, transformers takes a class that ignores unknown files and stays empty.
        names = {"vocab.txt": "BertTokenizer", "spiece.model": "AlbertTokenizer"}
        fitting = [name for file, name in names.items() if (folder / file).is_file()]
        if model_type in ("bert", "albert", "gpt2", "roberta") and fitting:
            kind = getattr(transformers, fitting[0])
    with explained(f"{folder}: transformers cannot load its tokenizer", "copy all of the tokenizer's files"):
        tokenizer = kind.from_pretrained(folder)
    cut_words(tokenizer)
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ClueBenchError(
            f"{folder}: {type(tokenizer).__name__} finds none of its files, so the tokenizer is empty",
            f"copy the tokenizer's files, or fix tokenizer_class in {_CONFIG}",
        )
    return tokenizer


def _template(encoded: Mapping[str, Any], parts: list[list[int]]) -> Template | None:
    """Return the places of the parts and special tokens, None unless the parts are complete and in order."""
    ids = list(encoded["input_ids"])
    segments = list(encoded.get("token_type_ids") or [0] * len(ids))
    template: list[tuple[int, int]] = []
    at = 0
    for part in parts:
        start = next((n for n in range(at, len(ids) - len(part) + 1) if ids[n : n + len(part)] == part), None)
        if start is None:
            return None
        template += zip(ids[at:start], segments[at:start], strict=True)
        template.append((TEXT, segments[start]))
        at = start + len(part)
    return (*template, *zip(ids[at:], segments[at:], strict=True))


def _second_segment(pair: Template) -> Template:
    """Return a template in which the second text, and what follows it, is segment 1."""
    second = [index for index, (token, _) in enumerate(pair) if token == TEXT][1]
    return tuple((token, int(index >= second)) for index, (token, _) in enumerate(pair))


def _plain(template: Template, many: bool) -> Template:
    return template if many else tuple((token, 0) for token, _ in template)
