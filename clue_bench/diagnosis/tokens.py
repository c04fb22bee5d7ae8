"""Check the tokenizer files of a checkpoint against each other, config.json and the embedding.

Input: a folder, config.json, a `Reading` and the rows of the embedding. Output: `TokenizerFiles`, read tolerantly (the
kind of vocabulary, its tokens in the order of their ids, tokenizer_config.json), and findings.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from clue_bench.diagnosis.claims import Reading
from clue_bench.diagnosis.result import Finding, shortened
from clue_bench.errors import ClueBenchError
from clue_bench.files import refuse_impostor
from clue_bench.numbers import counted
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, tokens_of_lines
from clue_bench.weights.configuration import one_line, read_object
from clue_bench.weights.read import DAMAGE

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
# An embedding may be padded to a round number of rows, which is faster on GPUs.
_MAX_PADDING = 256  # rows
_CLASSES: dict[Style, frozenset[str]] = {
    "wordpiece": frozenset({"Bert", "RoFormer", "Electra", "Ernie", "DistilBert", "MPNet", "BertJapanese"}),
    "sentencepiece": frozenset({"Albert", "XLNet", "T5", "Camembert", "XLMRoberta", "Llama", "BigBird", "DebertaV2"}),
    "bpe": frozenset({"GPT2", "Roberta", "Qwen2", "Bart", "Longformer"}),
    "none": frozenset(),
}
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")
_RIGHT: dict[Style, str] = {"wordpiece": "BertTokenizer", "sentencepiece": "AlbertTokenizer", "bpe": "GPT2Tokenizer"}
_CAPITALS = 26  # a vocabulary with fewer tokens with capitals is one of lower-case text; Google's has <S> and <T>


@dataclass(frozen=True)
class TokenizerFiles:
    """The files of a tokenizer. `tokens` may have repetitions, and lack special ones."""

    style: Style
    file: str  # name of the file that the tokens are from; "" for style none
    tokens: tuple[str, ...]
    json_tokens: tuple[str, ...] | None  # of tokenizer.json where it stands beside another vocabulary file
    config: dict[str, Any] | None  # tokenizer_config.json

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Return token → its first id."""
        return {token: index for index, token in reversed(list(enumerate(self.tokens)))}

    @cached_property
    def known_as(self) -> str:
        """Return whose vocabulary it is, "" if it is none of the known ones."""
        return KNOWN.get(Vocabulary(self.tokens).sha256, "")

    @property
    def label(self) -> str:
        """Return name and size in words."""
        return f"{self.known_as or 'a vocabulary'} of {len(self):,} tokens"

    @cached_property
    def has_words(self) -> bool:
        """Return True if it holds Chinese words, not characters only."""
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
        return TokenizerFiles("bpe", "vocab.json", _json_vocabulary(folder / "vocab.json"), None, config)
    return TokenizerFiles("none", "", (), None, config)


def _lines(file: Path) -> tuple[str, ...]:
    refuse_impostor(file)
    try:
        text = file.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{file}: not UTF-8 at byte {error.start}", "convert the file to UTF-8") from error
    return tuple(tokens_of_lines(text)[0])


def _pieces(file: Path) -> tuple[str, ...]:
    refuse_impostor(file)
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(file))
        return tuple(model.id_to_piece(index) for index in range(len(model)))
    except DAMAGE as error:
        raise ClueBenchError(f"{file}: no sentencepiece model, or a damaged one", "copy the file again") from error


def _json_tokens(file: Path) -> tuple[Style, tuple[str, ...]]:
    """Return kind and tokens of a tokenizer.json; added tokens stand where their ids say."""
    values = read_object(file)
    try:
        model = values.get("model") or {}
        listed = model.get("vocab", {})
        ids = dict(listed) if isinstance(listed, dict) else {piece: index for index, (piece, _) in enumerate(listed)}
        ids |= {token["content"]: token["id"] for token in values.get("added_tokens") or []}
        return _STYLE_OF_JSON.get(str(model.get("type")), "none"), _by_id(ids)
    except DAMAGE as error:
        raise ClueBenchError(f"{file}: not a tokenizer: {one_line(error)}", "copy the file again") from error


def _json_vocabulary(file: Path) -> tuple[str, ...]:
    try:
        return _by_id(read_object(file))
    except TypeError as error:
        raise ClueBenchError(f"{file}: not a vocabulary: {one_line(error)}", "copy the file again") from error


def _by_id(ids: dict[str, int]) -> tuple[str, ...]:
    """Return the tokens in the order of their ids, as text that can be printed."""
    return tuple(token.encode(errors="replace").decode() for token in sorted(ids, key=ids.__getitem__))


def check_vocabulary(
    files: TokenizerFiles, reading: Reading | None, *, stated: object, rows: int | None
) -> list[Finding]:
    """Compare the number of tokens with config.json (`stated`) and with the rows of the embedding."""
    if files.style == "none":
        text = "no vocabulary: neither vocab.txt nor spiece.model nor a tokenizer.json of a known kind"
        return [Finding("vocabulary", "wrong", text, "copy the tokenizer's files beside the weights")]
    claimed = reading.claimed_sizes.get("vocab_size") if reading else stated
    findings = [_compare_sizes(files, claimed, rows)]
    if files.json_tokens is not None and files.json_tokens != files.tokens:
        extra = set(files.json_tokens) ^ set(files.tokens)
        text = (
            f"tokenizer.json has {len(files.json_tokens):,} tokens, {files.file} {len(files):,}; "
            f"they differ in {shortened(sorted(extra)) or 'order'}"
        )
        findings.append(Finding("vocabulary", "wrong", text, f"remove the one that is wrong: {files.file} or the json"))
    return findings


def _compare_sizes(files: TokenizerFiles, stated: object, rows: int | None) -> Finding:
    tokens, label = len(files), files.label
    if not isinstance(stated, int) or rows is None:
        return Finding("vocabulary", "note", f"{label}; config.json or the weights lack a number to compare it with")
    if tokens == stated == rows:
        return Finding("vocabulary", "ok", f"{label}, as config.json and the embedding have")
    if stated == rows and 0 < rows - tokens <= _MAX_PADDING and rows % 8 == 0:
        return Finding("vocabulary", "note", f"{label}; the embedding is padded to {rows:,} rows")
    whose = f" ({KNOWN_SIZES[stated]} has so many)" if stated in KNOWN_SIZES else ""
    start = f"config.json says vocab_size {stated:,}{whose}, {files.file} is {label}"
    if tokens == rows:
        return Finding(
            "vocabulary", "wrong", f"{start}, and so has the embedding", f'"vocab_size": {rows} in config.json'
        )
    if stated == rows:
        missing = KNOWN_SIZES.get(rows, f"the vocabulary of {rows:,} tokens")
        text = f"{start}, the embedding has {rows:,} rows: the vocabulary is another model's"
        return Finding("vocabulary", "wrong", text, f"replace {files.file} by {missing}")
    text = f"{start}, the embedding has {rows:,} rows"
    return Finding(
        "vocabulary", "wrong", text, "find the vocabulary and config.json that the weights were trained with"
    )


def check_special_tokens(files: TokenizerFiles, values: dict[str, Any], reading: Reading | None) -> list[Finding]:
    """Look for missing or repeated special tokens, and for ids in config.json that point elsewhere."""
    if files.style not in ("wordpiece", "sentencepiece"):
        return []
    names = _special_names(files)
    doubled = [token for token, count in Counter(files.tokens).items() if count > 1]
    findings = _missing_special(files, names)
    if doubled:
        text = f"{files.file} repeats {counted(len(doubled), 'token')}: {shortened(doubled)}"
        hint = "nothing to do; a name like [unused…] in place of the first of each pair says so to every program"
        findings.append(Finding("vocabulary", "note", f"{text}; the last line counts, as in transformers", hint))
    config = reading.config if reading else None
    for key, token in (("pad_token_id", "pad"), ("bos_token_id", "cls"), ("eos_token_id", "sep")):
        stated = getattr(config, key, values.get(key))
        right = files.ids.get(names[token])
        if (
            isinstance(stated, int)
            and right is not None
            and (finding := _check_id(key, stated, right, names[token], files))
        ):
            findings.append(finding)
    if not findings:
        ids = ", ".join(f"{name} {files.ids[name]}" for name in names.values())
        findings.append(Finding("special tokens", "ok", ids))
    return findings


def _check_id(key: str, stated: int, right: int, name: str, files: TokenizerFiles) -> Finding | None:
    if stated == right:
        return None
    there = repr(files.tokens[stated]) if 0 <= stated < len(files) else "outside of the vocabulary"
    text = f"config.json's {key} {stated} is {there}, {name} is {right}"
    if key == "pad_token_id":  # its embedding gets no gradient, and padding is told by it
        return Finding("special tokens", "wrong", text, f'set "{key}": {right} in config.json')
    if 0 <= stated < len(files):
        return None  # BERT's encoders ignore bos and eos
    return Finding("special tokens", "note", text, f'set "{key}": {right} in config.json')


def _special_names(files: TokenizerFiles) -> dict[str, str]:
    """Return pad, unk, cls, sep, mask → token: what tokenizer_config.json says, else the defaults of the class."""
    names = {token.strip("[]").lower(): token for token in SPECIAL_TOKENS}
    if files.style == "sentencepiece":  # AlbertTokenizer's own defaults
        names |= {"pad": "<pad>", "unk": "<unk>"}
    for key in names:
        stated = (files.config or {}).get(f"{key}_token")
        content = stated.get("content") if isinstance(stated, dict) else stated
        if isinstance(content, str):
            names[key] = content
    return names


def _missing_special(files: TokenizerFiles, names: dict[str, str]) -> list[Finding]:
    missing = {key: name for key, name in names.items() if name not in files.ids}
    if not missing:
        return []
    meant = {key: f"[{key.upper()}]" for key in missing if f"[{key.upper()}]" in files.ids}
    text = f"{files.file} has no {', '.join(missing.values())}: the tokenizer would number them from {len(files):,} on"
    settings = ", ".join(f'"{key}_token": "{name}"' for key, name in meant.items())
    hint = f"set {settings} in tokenizer_config.json" if meant else "copy the file that the model was trained with"
    return [Finding("special tokens", "wrong", text, hint)]


def check_tokenizer(files: TokenizerFiles, values: dict[str, Any], *, capacity: int | None) -> list[Finding]:
    """Compare tokenizer_config.json with the kind of vocabulary; `capacity` is how many tokens the positions hold."""
    if files.style == "none":
        return []
    findings = [_check_class(files, str(values.get("model_type")))]
    capitals = sum(token != token.lower() for token in files.tokens if not token.startswith(("[", "<")))
    lowers = bool((files.config or {}).get("do_lower_case", files.style != "bpe"))
    if files.style != "bpe" and lowers and capitals >= _CAPITALS:
        text = f"text is lower-cased, so the {capitals:,} tokens with capitals are never used"
        findings.append(Finding("tokenizer", "note", text, 'set "do_lower_case": false in tokenizer_config.json'))
    if not lowers and capitals < _CAPITALS:
        text = "do_lower_case is false, but the vocabulary has no capitals: they become [UNK]"
        findings.append(Finding("tokenizer", "note", text, 'set "do_lower_case": true in tokenizer_config.json'))
    findings += _check_length((files.config or {}).get("model_max_length"), capacity)
    return findings


def _check_class(files: TokenizerFiles, model_type: str) -> Finding:
    right = _RIGHT[files.style]
    hint = f'set "tokenizer_class": "{right}" in tokenizer_config.json'
    named = (files.config or {}).get("tokenizer_class")
    guessed = TOKENIZER_MAPPING_NAMES.get(model_type)
    name = str(named or guessed)
    stem = name.removesuffix("Fast").removesuffix("Tokenizer")
    kinds = [style for style, stems in _CLASSES.items() if stem in stems]
    where = "there is no tokenizer_config.json" if files.config is None else "tokenizer_config.json names no class"
    if named is None and kinds != [files.style]:
        takes = f"takes {name}" if guessed else "knows no class"
        text = f"{where}: AutoTokenizer {takes} for model_type {model_type!r}, but {files.file} is for {right}"
        return Finding("tokenizer", "wrong", text, hint)
    if kinds and files.style not in kinds:
        return Finding("tokenizer", "wrong", f"tokenizer_class is {name}, but {files.file} is for {right}", hint)
    if named is None:
        return Finding("tokenizer", "note", f"{where}: AutoTokenizer takes {name} for model_type {model_type!r}", hint)
    if not kinds and not name.startswith(_GENERIC):
        return Finding("tokenizer", "note", f"tokenizer_class {name} is not known here, {right} would do", hint)
    return Finding("tokenizer", "ok", f"{name} for {files.file}")


def _check_length(longest: object, capacity: int | None) -> list[Finding]:
    if capacity is None:
        return []
    hint = f'set "model_max_length": {capacity} in tokenizer_config.json'
    # transformers writes 1e30 for "no limit".
    if not isinstance(longest, int | float) or longest > 1e9:
        text = f"no model_max_length: texts of more than {capacity:,} tokens are not cut and crash the model"
        return [Finding("tokenizer", "note", text, hint)]
    if longest > capacity:
        text = f"model_max_length is {longest:,}, but the positions hold {capacity:,} tokens"
        return [Finding("tokenizer", "wrong", text, hint)]
    return []
