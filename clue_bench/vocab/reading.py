"""Read vocabularies from files and folders, strictly.

Input: a vocab.txt, a sentencepiece model, or a folder with tokenizer files. Output: a `Vocabulary`, or an error that
names file, line and what to do.
"""

from dataclasses import replace
from pathlib import Path

from clue_bench.errors import ClueBenchError
from clue_bench.files import refuse_impostor
from clue_bench.vocab.rules import CONFIG, JSON, SPECIAL_TOKENS, read_object, read_tokenizer_files
from clue_bench.vocab.sentencepieces import read_pieces, why_not_exported
from clue_bench.vocab.vocabulary import EXACT, SENTENCEPIECE_FILE, WORDPIECE_FILE, Vocabulary

VOCABULARY_FILES = (
    *(WORDPIECE_FILE, SENTENCEPIECE_FILE),
    *("sentencepiece.bpe.model", "tokenizer.model", "vocab.json", "merges.txt"),
)
TOKENIZER_FILES = (*VOCABULARY_FILES, JSON, CONFIG, "special_tokens_map.json", "added_tokens.json")
"""What a tokenizer may consist of in a folder of `transformers`; the first ones hold its vocabulary."""

OTHER_IDS = "AlbertTokenizer, which its checkpoints are read with, gives other ids"
"""How the refusal of a sentencepiece model begins that transformers reads in another way than sentencepiece."""


_OF_A_MODEL = (".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt")
MANY_BAD_BYTES = 10  # from which on a vocabulary is another kind of file rather than damaged


def read_vocabulary(path: Path) -> Vocabulary:
    """Read `path`: a vocab.txt, a sentencepiece .model, or a folder that holds one, or a tokenizer.json.

    A folder's other files say what its tokenizer does beside looking words up; a file alone is read as the usual kind.
    Raises ClueBenchError if it is missing, damaged, not UTF-8, repeats a token, or lacks a special token, or if the
    files of a folder contradict each other.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise ClueBenchError(
            f"{path}: no such vocabulary",
            f"give a {WORDPIECE_FILE}, a .model, a folder that holds one, or the id of a model on the hub",
        )
    return _read_sentencepiece(path) if path.suffix == ".model" else _read_wordpiece(path)


def _read_folder(folder: Path) -> Vocabulary:
    wordpiece, sentencepiece = folder / WORDPIECE_FILE, folder / SENTENCEPIECE_FILE
    if wordpiece.is_file() and sentencepiece.is_file():
        raise ClueBenchError(
            f"{folder} holds both {WORDPIECE_FILE} and {SENTENCEPIECE_FILE}", "give the path of the one that you mean"
        )
    if sentencepiece.is_file():
        pieces = _read_sentencepiece(sentencepiece)
        return replace(pieces, refusal=_sentencepiece_refusal(folder) or pieces.refusal)
    if not wordpiece.is_file() and not (folder / JSON).is_file():
        if (folder / "merges.txt").is_file():
            raise ClueBenchError(
                f"{folder}: a tokenizer of byte pairs (vocab.json, merges.txt), which corpora are not built with",
                f"give a model with a {WORDPIECE_FILE} or {SENTENCEPIECE_FILE}; finetune and generate take this one",
            )
        raise ClueBenchError(
            f"{folder}: neither {WORDPIECE_FILE}, {SENTENCEPIECE_FILE} nor {JSON}",
            "give a folder that holds one of them",
        )
    alone = _read_wordpiece(wordpiece) if wordpiece.is_file() else None
    found = read_tokenizer_files(folder, None if alone is None else list(alone.tokens))
    checked = alone if alone is not None and list(alone.tokens) == found.tokens else _checked(found.tokens, folder)
    notes = () if alone is None else alone.notes
    return replace(checked, rules=found.rules, refusal=found.refusal, notes=notes)


def _sentencepiece_refusal(folder: Path) -> str:
    """Return why sentencepiece's own ids are not those of the folder's tokenizer, "" if they are."""
    config, is_checkpoint = folder / CONFIG, (folder / "config.json").is_file()
    if not config.is_file():
        return f"without {CONFIG}, transformers lower-cases and strips accents" if is_checkpoint else ""
    stated = read_object(config)
    kind = str(stated.get("tokenizer_class") or "").removesuffix("Fast")
    if kind != "AlbertTokenizer":
        return f"its tokenizer_class is {kind or 'not named'}"
    changed = [key for key, value in EXACT.items() if stated.get(key) != value]
    return f"{changed[0]} in {CONFIG} is not {EXACT[changed[0]]}" if changed else ""


def _read_wordpiece(file: Path) -> Vocabulary:
    refuse_impostor(file)
    if file.suffix in _OF_A_MODEL:
        raise ClueBenchError(
            f"{file}: no list of tokens, but a part of a model",
            f"give its folder, {file.parent}, or name a sentencepiece model so that it ends in .model",
        )
    raw = file.read_bytes()
    try:
        text = raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line, bad = raw.count(b"\n", 0, error.start) + 1, raw.decode(errors="replace").count("\ufffd")
        hint = "convert the file to UTF-8; a sentencepiece model is known by its name, which ends in .model"
        if bad < MANY_BAD_BYTES:
            hint = f"correct line {line}, or copy the file again: the lines around it are UTF-8"
        raise ClueBenchError(f"{file}, line {line}: not UTF-8 at byte {error.start}", hint) from error
    tokens, notes = tokens_of_lines(text)
    tokens, numbered = _without_ids(tokens, file)
    notes += numbered
    tokens, repeated = _last_lines_count(tokens)
    if repeated:
        shown = ", ".join(repeated[:3]) + (", …" if len(repeated) > 3 else "")
        notes.append(
            f"1 token stands on two lines ({shown}): the last one counts, as in transformers"
            if len(repeated) == 1
            else f"{len(repeated):,} tokens stand on two lines ({shown}): the last one counts, as in transformers"
        )
    return replace(_checked(tokens, file), notes=tuple(f"{file}: {note}" for note in notes))


def _without_ids(tokens: list[str], file: Path) -> tuple[list[str], list[str]]:
    """Return the tokens of lines with a token, a tab and its id, as ERNIE's authors write them, and a note of it.

    Raises ClueBenchError if the numbers are others: scores of sentencepiece, counts.
    """
    parts = [token.rpartition("\t") for token in tokens]
    if not all(tab and _is_number(number) for _, tab, number in parts):
        return tokens, []
    if [number for _, _, number in parts] != list(map(str, range(len(parts)))):
        raise ClueBenchError(
            f"{file}: every line is a token and a number, which is not its id",
            "give the .model beside it if it is sentencepiece's .vocab, else a file with a token a line",
        )
    return [token for token, _, _ in parts], ["the ids behind the tokens are left out: they are the lines' numbers"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _last_lines_count(tokens: list[str]) -> tuple[list[str], list[str]]:
    """Return the tokens with names that no text gives in place of repeated ones, but for the last; and the repeated.

    Ids are line numbers, so a line must stay. transformers and UER-py take a token's last line.
    """
    last = {token: number for number, token in enumerate(tokens)}
    named = [token if last[token] == n else f"[unused, line {n + 1}]" for n, token in enumerate(tokens)]
    return named, list(dict.fromkeys(token for n, token in enumerate(tokens) if last[token] != n))


def tokens_of_lines(text: str) -> tuple[list[str], list[str]]:
    """Return the tokens of a vocab.txt, and what of it is no token: blanks behind tokens, blank lines at the end."""
    # Not splitlines(): a vocabulary may hold characters that Python takes for line ends.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    tokens = [line.rstrip(" \t") or line for line in lines]
    stripped = sum(token != line for token, line in zip(tokens, lines, strict=True))
    while len(tokens) > 1 and not tokens[-1].strip(" \t"):
        tokens.pop()
    blank = len(lines) - len(tokens)
    notes = [f"blanks behind tokens, {stripped:,} of them, are left out"] * bool(stripped)
    return tokens, [*notes, *([f"blank lines at its end, {blank} of them, are no tokens: left out"] * bool(blank))]


def _read_sentencepiece(file: Path) -> Vocabulary:
    import sentencepiece

    refuse_impostor(file)
    model = file.read_bytes()
    try:
        sentencepiece.SentencePieceProcessor(model_proto=model)
        tokens = [piece.text for piece in read_pieces(model)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise ClueBenchError(f"{file}: no sentencepiece model, or a damaged one", "copy the file again") from error
    reason = why_not_exported(model)
    return Vocabulary(_checked(tokens, file).tokens, model, refusal=reason and f"{OTHER_IDS}: {reason}")


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
        is_text = len(missing) == len(SPECIAL_TOKENS)
        train = f"run clue-bench vocab train {file} --out vocab.txt, then give --vocab vocab.txt, if it is text"
        hint = train if is_text else "add them, one a line"
        raise ClueBenchError(f"{file}: no {', '.join(missing)} among {len(tokens)} tokens", hint)
    return Vocabulary(tuple(tokens))
