"""The vocabulary and the tokenizer against config.json and the embedding.

Input: `TokenizerFiles`, config.json, a `Reading` and the rows of the embedding. Output: findings.
"""

from collections import Counter
from typing import Any

from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from clue_bench.diagnosis.claims import Reading
from clue_bench.diagnosis.report import Finding, some
from clue_bench.diagnosis.tokens import KNOWN_SIZES, Style, TokenizerFiles
from clue_bench.vocab import SPECIAL_TOKENS

# An embedding may be padded to a round number of rows, which is faster on GPUs.
_MOST_PADDING = 256  # rows
_CLASSES: dict[Style, frozenset[str]] = {
    "wordpiece": frozenset({"Bert", "RoFormer", "Electra", "Ernie", "DistilBert", "MPNet", "BertJapanese"}),
    "sentencepiece": frozenset({"Albert", "XLNet", "T5", "Camembert", "XLMRoberta", "Llama", "BigBird", "DebertaV2"}),
    "bpe": frozenset({"GPT2", "Roberta", "Qwen2", "Bart", "Longformer"}),
    "none": frozenset(),
}
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")
_RIGHT: dict[Style, str] = {"wordpiece": "BertTokenizer", "sentencepiece": "AlbertTokenizer", "bpe": "GPT2Tokenizer"}
_CAPITALS = 26  # a vocabulary with fewer tokens with capitals is one of lower-case text; Google's has <S> and <T>


def check_vocabulary(
    files: TokenizerFiles, reading: Reading | None, *, said: object, rows: int | None
) -> list[Finding]:
    """Compare the number of tokens with config.json (`said`) and with the rows of the embedding."""
    if files.style == "none":
        text = "no vocabulary: neither vocab.txt nor spiece.model nor a tokenizer.json of a known kind"
        return [Finding("vocabulary", "wrong", text, "copy the tokenizer's files beside the weights")]
    claimed = reading.claimed_sizes.get("vocab_size") if reading else said
    findings = [_compare_sizes(files, claimed, rows)]
    if files.json_tokens is not None and files.json_tokens != files.tokens:
        extra = set(files.json_tokens) ^ set(files.tokens)
        text = (
            f"tokenizer.json has {len(files.json_tokens):,} tokens, {files.file} {len(files):,}; "
            f"they differ in {some(sorted(extra)) or 'order'}"
        )
        findings.append(Finding("vocabulary", "wrong", text, f"remove the one that is wrong: {files.file} or the json"))
    return findings


def _compare_sizes(files: TokenizerFiles, said: object, rows: int | None) -> Finding:
    tokens, label = len(files), files.label
    if not isinstance(said, int) or rows is None:
        return Finding("vocabulary", "note", f"{label}; config.json or the weights lack a number to compare it with")
    if tokens == said == rows:
        return Finding("vocabulary", "ok", f"{label}, as config.json and the embedding have")
    if said == rows and 0 < rows - tokens <= _MOST_PADDING and rows % 8 == 0:
        return Finding("vocabulary", "note", f"{label}; the embedding is padded to {rows:,} rows")
    whose = f" ({KNOWN_SIZES[said]} has so many)" if said in KNOWN_SIZES else ""
    start = f"config.json says vocab_size {said:,}{whose}, {files.file} is {label}"
    if tokens == rows:
        return Finding(
            "vocabulary", "wrong", f"{start}, and so has the embedding", f'"vocab_size": {rows} in config.json'
        )
    if said == rows:
        missing = KNOWN_SIZES.get(rows, f"the vocabulary of {rows:,} tokens")
        text = f"{start}, the embedding has {rows:,} rows: the vocabulary is another model's"
        return Finding("vocabulary", "wrong", text, f"replace {files.file} by {missing}")
    text = f"{start}, the embedding has {rows:,} rows"
    return Finding(
        "vocabulary", "wrong", text, "find the vocabulary and config.json that the weights were trained with"
    )


def check_special_tokens(files: TokenizerFiles, values: dict[str, Any], reading: Reading | None) -> list[Finding]:
    """Look for special tokens that are missing or doubled, and for ids of config.json that point elsewhere."""
    if files.style not in ("wordpiece", "sentencepiece"):
        return []
    names = _special_names(files)
    doubled = [token for token, count in Counter(files.tokens).items() if count > 1]
    findings = _missing_special(files, names)
    if doubled:
        text = f"{files.file} repeats {len(doubled):,} tokens: {some(doubled)}"
        hint = "ids are line numbers: rename the second of each pair, e.g. to [unused…]"
        findings.append(Finding("special tokens", "wrong", text, hint))
    config = reading.config if reading else None
    for key, token in (("pad_token_id", "pad"), ("bos_token_id", "cls"), ("eos_token_id", "sep")):
        said = getattr(config, key, values.get(key))
        right = files.ids.get(names[token])
        if (
            isinstance(said, int)
            and right is not None
            and (finding := _check_id(key, said, right, names[token], files))
        ):
            findings.append(finding)
    if not findings:
        ids = ", ".join(f"{name} {files.ids[name]}" for name in names.values())
        findings.append(Finding("special tokens", "ok", ids))
    return findings


def _check_id(key: str, said: int, right: int, name: str, files: TokenizerFiles) -> Finding | None:
    if said == right:
        return None
    there = repr(files.tokens[said]) if 0 <= said < len(files) else "outside of the vocabulary"
    text = f"config.json's {key} {said} is {there}, {name} is {right}"
    if key == "pad_token_id":  # its embedding gets no gradient, and padding is told by it
        return Finding("special tokens", "wrong", text, f'"{key}": {right} in config.json')
    if 0 <= said < len(files):
        return None  # BERT's encoders ignore bos and eos
    return Finding("special tokens", "note", text, f'"{key}": {right} in config.json')


def _special_names(files: TokenizerFiles) -> dict[str, str]:
    """Return pad, unk, cls, sep, mask → token: what tokenizer_config.json says, else the defaults of the class."""
    names = {token.strip("[]").lower(): token for token in SPECIAL_TOKENS}
    if files.style == "sentencepiece":  # AlbertTokenizer's own defaults
        names |= {"pad": "<pad>", "unk": "<unk>"}
    for key in names:
        said = (files.config or {}).get(f"{key}_token")
        content = said.get("content") if isinstance(said, dict) else said
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
    hint = f"{settings} in tokenizer_config.json" if meant else "the file is not the one the model was trained with"
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
        findings.append(Finding("tokenizer", "note", text, '"do_lower_case": false in tokenizer_config.json'))
    if not lowers and capitals < _CAPITALS:
        text = "do_lower_case is false, but the vocabulary has no capitals: they become [UNK]"
        findings.append(Finding("tokenizer", "note", text, '"do_lower_case": true in tokenizer_config.json'))
    findings += _check_length((files.config or {}).get("model_max_length"), capacity)
    return findings


def _check_class(files: TokenizerFiles, model_type: str) -> Finding:
    right = _RIGHT[files.style]
    hint = f'"tokenizer_class": "{right}" in tokenizer_config.json'
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
    hint = f'"model_max_length": {capacity} in tokenizer_config.json'
    # transformers writes 1e30 for "no limit".
    if not isinstance(longest, int | float) or longest > 1e9:
        text = f"no model_max_length: texts of more than {capacity:,} tokens are not cut and crash the model"
        return [Finding("tokenizer", "note", text, hint)]
    if longest > capacity:
        text = f"model_max_length is {longest:,}, but the positions hold {capacity:,} tokens"
        return [Finding("tokenizer", "wrong", text, hint)]
    return []
