"""Read vocabularies from files and folders, strictly."""

import json
from pathlib import Path

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import pieces
from clue_bench.vocab.vocabulary import SENTENCEPIECE_FILE, SPECIAL_TOKENS, WORDPIECE_FILE, Vocabulary


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


def vocabulary_of_tokenizer_json(path: Path) -> Vocabulary:
    """Return the WordPiece vocabulary inside a tokenizer.json, for checkpoints that ship no vocab.txt.

    Raises ClueBenchError if the tokenizer is of another kind.
    """
    try:
        model = json.loads(path.read_text(encoding="utf-8")).get("model", {})
    except (ValueError, AttributeError) as error:
        raise ClueBenchError(f"{path}: not a tokenizer: {error}", "copy the file again") from error
    if model.get("type") != "WordPiece":
        raise ClueBenchError(f"{path}: a {model.get('type')} tokenizer, expected WordPiece", "use a BERT checkpoint")
    ids: dict[str, int] = model["vocab"]
    if sorted(ids.values()) != list(range(len(ids))):
        raise ClueBenchError(f"{path}: ids are not 0 to {len(ids) - 1}", "use a checkpoint with a vocab.txt")
    return _checked(sorted(ids, key=ids.__getitem__), path)


def _find(folder: Path) -> Path:
    """Return the vocabulary's file in `folder`."""
    wordpiece, sentencepiece = folder / WORDPIECE_FILE, folder / SENTENCEPIECE_FILE
    if wordpiece.is_file() and sentencepiece.is_file():
        raise ClueBenchError(
            f"{folder} holds both {WORDPIECE_FILE} and {SENTENCEPIECE_FILE}", "name the one that is meant"
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
        tokens = [piece.text for piece in pieces.read_pieces(model)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise ClueBenchError(f"{file}: no sentencepiece model, or a damaged one", "copy the file again") from error
    return Vocabulary(_checked(tokens, file).tokens, model)


def _checked(tokens: list[str], file: Path) -> Vocabulary:
    first_line: dict[str, int] = {}
    for number, token in enumerate(tokens, 1):
        if token in first_line:
            raise ClueBenchError(
                f"{file}, line {number}: token '{token}' stands on line {first_line[token]} already",
                "remove one of them; ids are line numbers, so models trained with the file need it as it is",
            )
        first_line[token] = number
    missing = [token for token in SPECIAL_TOKENS if token not in first_line]
    if missing:
        raise ClueBenchError(f"{file}: no {', '.join(missing)} among {len(tokens)} tokens", "add them, one a line")
    return Vocabulary(tuple(tokens))
