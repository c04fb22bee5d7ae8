"""What a WordPiece tokenizer does beside looking words up: case, accents, Chinese, added tokens, words of jieba.

Input: tokenizer_config.json and tokenizer.json of a folder, as transformers 4 and 5 write them. Output:
`WordPieceRules`, which `Vocabulary` follows, or the reason why it cannot. They are read as transformers 5 reads them:
its BertTokenizer takes the words of tokenizer.json, and its settings from tokenizer_config.json.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.files import refuse_impostor
from clue_bench.numbers import counted

CONFIG = "tokenizer_config.json"
JSON = "tokenizer.json"
MARKS = "special_tokens_map.json"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD_CUTTER = "RoFormerTokenizer"
_BERT = ("BertTokenizer", "ElectraTokenizer")  # the same under two names
_FROM_JSON = ("TokenizersBackend", "PreTrainedTokenizer")  # whose settings are in tokenizer.json, too
_USUAL_MODEL = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}


class AddedToken(NamedTuple):
    """A token that is found in a text before the text is split: [E1], or a Chinese word."""

    text: str
    is_special: bool = False
    is_normalized: bool = False  # it is looked for in the text as the normaliser leaves it


class WordPieceRules(NamedTuple):
    """Settings of a WordPiece tokenizer, with the defaults of Google's and CLUE's Chinese models."""

    lower_case: bool = True
    strip_accents: bool | None = None  # None: if it lower-cases
    split_chinese: bool = True
    words: bool = False
    """Whether jieba cuts the text first, and its words are looked up whole (RoFormer's word models)."""
    added: tuple[AddedToken, ...] = ()

    @property
    def text(self) -> str:
        """Return in words what the tokenizer does."""
        parts = [
            "lower-cases" if self.lower_case else "keeps capitals",
            *({None: [], True: ["strips accents"], False: ["keeps accents"]}[self.strip_accents]),
            *(["cuts words with jieba"] if self.words else [] if self.split_chinese else ["keeps Chinese words whole"]),
            *([f"has {counted(len(self.added), 'added token')}"] if self.added else []),
        ]
        return ", ".join(parts)

    @property
    def tokenizer_config(self) -> dict[str, Any]:
        """Return what tokenizer_config.json says of these rules."""
        values: dict[str, Any] = {
            "tokenizer_class": WORD_CUTTER if self.words else "BertTokenizer",
            "do_lower_case": self.lower_case,
        }
        if self.strip_accents is not None:
            values["strip_accents"] = self.strip_accents
        if not self.split_chinese:
            values["tokenize_chinese_chars"] = False
        return values


USUAL = WordPieceRules()


class TokenizerFiles(NamedTuple):
    """A folder's WordPiece tokenizer. `refusal` says why our encoder cannot give its ids, "" where it can."""

    tokens: list[str]
    rules: WordPieceRules
    refusal: str = ""


def read_tokenizer_files(folder: Path, tokens: list[str] | None) -> TokenizerFiles:
    """Read the rules of a folder whose vocab.txt holds `tokens` (None if there is no such file).

    Raises ClueBenchError if a file is damaged, tokenizer.json holds another kind of tokenizer or other tokens than
    vocab.txt, or ids have gaps.
    """
    config = {**_marks(folder), **(read_object(folder / CONFIG) if (folder / CONFIG).is_file() else {})}
    for key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        if config.get(key) not in (None, True, False):
            raise ClueBenchError(
                f"{folder / CONFIG}: {key} is {config[key]!r}, expected true or false",
                "correct it, or copy the file again",
            )
    stored = read_object(folder / JSON) if (folder / JSON).is_file() else None
    in_json = None if stored is None else tokens_of(stored, folder / JSON)
    ids = dict(enumerate(in_json or tokens or []))
    added = _added(config, stored, folder)
    for index, token in added.items():
        if ids.setdefault(index, token["content"]) != token["content"]:
            raise ClueBenchError(
                f"{folder}: id {index} is '{ids[index]}' in the vocabulary and '{token['content']}' among added tokens",
                "copy the tokenizer's files again, all of them from one folder",
            )
    if sorted(ids) != list(range(len(ids))):
        gap = next(index for index in range(len(ids)) if index not in ids)
        raise ClueBenchError(
            f"{folder}: no token has id {gap}", "copy the tokenizer's files again, all of them from one folder"
        )
    joined = [ids[index] for index in range(len(ids))]
    if tokens is not None and in_json is not None:
        _compare(tokens, joined, folder)
        joined[: len(tokens)] = tokens  # transformers 5 writes U+2028 as nothing
    marks = [token for token in added.values() if token["content"] not in SPECIAL_TOKENS]
    plain = tuple(
        AddedToken(str(t["content"]), bool(t.get("special")), bool(t.get("normalized", not t.get("special"))))
        for t in marks
    )
    rules, refusal = _rules(folder, config, stored)
    refusal = refusal or _strange_tokens(config, marks)
    return TokenizerFiles(joined, rules._replace(added=plain), refusal)


def tokens_of(stored: dict[str, Any], path: Path) -> list[str]:
    """Return the tokens of a tokenizer.json in the order of their ids, without added ones behind them.

    Raises ClueBenchError if it is no WordPiece tokenizer, or ids have gaps.
    """
    model = stored.get("model")
    try:
        kind, ids = (model or {}).get("type"), dict((model or {}).get("vocab") or {})
        tokens = sorted(ids, key=ids.__getitem__)
        "".join(tokens).encode()  # JSON can say half a character
    except (ValueError, TypeError, AttributeError) as error:
        raise ClueBenchError(f"{path}: not a tokenizer: {error}", "copy the file again") from error
    if kind != "WordPiece":
        raise ClueBenchError(
            f"{path}: a {kind} tokenizer, expected WordPiece", "give a model with the vocab.txt of a BERT"
        )
    if [ids[token] for token in tokens] != list(range(len(ids))):
        raise ClueBenchError(f"{path}: ids are not 0 to {len(ids) - 1}", "use a checkpoint with a vocab.txt")
    return tokens


def can_be_text(token: str) -> bool:
    """Return whether a text can give the token: BERT's splitter drops white space, so "##\u2028" never comes up."""
    return bool(token.removeprefix("##").strip())


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a tokenizer. Raises ClueBenchError if there is none."""
    refuse_impostor(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(f"{path}: not JSON: {error}", "copy the file again") from error
    if not isinstance(values, dict):
        raise ClueBenchError(f"{path}: expected a JSON object", "copy the file again")
    return values


def _marks(folder: Path) -> dict[str, Any]:
    """Return what special_tokens_map.json of transformers 4 says, which counts where the configuration says nothing."""
    return read_object(folder / MARKS) if (folder / MARKS).is_file() else {}


def _added(config: dict[str, Any], stored: dict[str, Any] | None, folder: Path) -> dict[int, dict[str, Any]]:
    """Return id → added token of the three files that may hold some, in the order of ids."""
    found: dict[int, dict[str, Any]] = {}
    try:
        for index, token in (config.get("added_tokens_decoder") or {}).items():
            found[int(index)] = dict(token)
        for token in (stored or {}).get("added_tokens") or []:
            found[int(token["id"])] = dict(token)
        if (folder / "added_tokens.json").is_file():
            for text, index in read_object(folder / "added_tokens.json").items():
                found.setdefault(int(index), {"content": text})
        if not all(isinstance(token["content"], str) for token in found.values()):
            raise ValueError("a token that is no text")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClueBenchError(f"{folder}: added tokens that cannot be read: {error}", "copy the files again") from error
    return dict(sorted(found.items()))


def _compare(tokens: list[str], in_json: list[str], folder: Path) -> None:
    """Raise ClueBenchError if vocab.txt holds other tokens than tokenizer.json, which transformers reads first."""
    differing = [n for n, (a, b) in enumerate(zip(tokens, in_json, strict=False)) if a != b]
    differing = [n for n in differing if can_be_text(tokens[n]) or can_be_text(in_json[n])]
    if not differing and len(tokens) <= len(in_json):
        return
    first = differing[0] if differing else len(in_json)
    pair = [names[first] if first < len(names) else "nothing" for names in (tokens, in_json)]
    number = len(differing) + abs(len(tokens) - len(in_json))
    raise ClueBenchError(
        f"{folder}: vocab.txt and tokenizer.json differ in {counted(number, 'token')}, first id {first}: "
        f"'{pair[0]}' and '{pair[1]}'",
        f"delete {folder / JSON} if vocab.txt is right, else vocab.txt",
    )


def _rules(folder: Path, config: dict[str, Any], stored: dict[str, Any] | None) -> tuple[WordPieceRules, str]:
    """Return the rules without added tokens, and why they are not the tokenizer's, "" if they are."""
    kind = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if not kind and (folder / "config.json").is_file():
        # What transformers takes for a RoFormer whose files name none.
        kind = WORD_CUTTER if read_object(folder / "config.json").get("model_type") == "roformer" else ""
    if kind in ("", *_BERT, WORD_CUTTER):
        rules = WordPieceRules(
            lower_case=bool(config.get("do_lower_case", True)),
            strip_accents=config.get("strip_accents"),
            split_chinese=bool(config.get("tokenize_chinese_chars", True)) and kind != WORD_CUTTER,
            words=kind == WORD_CUTTER,
        )
        return rules, ""
    if kind not in _FROM_JSON or stored is None:
        return WordPieceRules(), f"its tokenizer_class is {kind}"
    normalizer, splitter, model = (stored.get(key) or {} for key in ("normalizer", "pre_tokenizer", "model"))
    if normalizer.get("type") != "BertNormalizer" or not normalizer.get("clean_text", True):
        return WordPieceRules(), f"the normalizer in {JSON} is {normalizer.get('type')}, not BERT's"
    if splitter.get("type") != "BertPreTokenizer":
        return WordPieceRules(), f"the pre_tokenizer in {JSON} is {splitter.get('type')}, not BERT's"
    wrong = [key for key, value in _USUAL_MODEL.items() if model.get(key, value) != value]
    if wrong or model.get("max_input_chars_per_word", 100) != 100:
        return WordPieceRules(), f"{wrong[0] if wrong else 'max_input_chars_per_word'} in {JSON} is not BERT's"
    rules = WordPieceRules(
        lower_case=bool(normalizer.get("lowercase", True)),
        strip_accents=normalizer.get("strip_accents"),
        split_chinese=bool(normalizer.get("handle_chinese_chars", True)),
    )
    return rules, ""


def _strange_tokens(config: dict[str, Any], added: list[dict[str, Any]]) -> str:
    """Return why the special or added tokens are none that our encoder finds, "" if they are."""
    for token in SPECIAL_TOKENS:
        key = f"{token.strip('[]').lower()}_token"
        stated = config.get(key, token)
        text = stated.get("content") if isinstance(stated, dict) else stated
        if text != token:
            return f"{key} is {text!r}, not {token}"
    for each in added:
        if any(each.get(key) for key in ("lstrip", "rstrip", "single_word")):
            return f"the added token {each['content']!r} swallows blanks, or counts as a single word only"
    more: Any = config.get("additional_special_tokens") or config.get("extra_special_tokens") or []
    listed: list[Any] = list(more.values()) if isinstance(more, dict) else more if isinstance(more, list) else [more]
    if not all(isinstance(each.get("content") if isinstance(each, dict) else each, str) for each in listed):
        return f"its further special tokens are no texts: {listed!r:.60}"
    known = {str(each["content"]) for each in added} | set(SPECIAL_TOKENS)
    strange = [
        t for t in (each.get("content") if isinstance(each, dict) else each for each in listed) if t not in known
    ]
    return f"the special token {strange[0]!r} has no place among the added tokens" if strange else ""
