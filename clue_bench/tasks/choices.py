"""The choices of a question, and which of them is right, however a row states it.

Input: the values of a row. Output: the choices' texts, and the number of the right one, from 0. No tensors, no torch.

    choices   one list, which a table holds as JSON; or a column for each, of which the last ones may be empty
    answer    the right choice's text, as C3 has it; else its letter, from A; else its number, from 0
"""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def choices_of(values: Sequence[Any], *, most: int, where: str) -> list[Any]:
    """Return the choices of a row from its one list of them, or from the value of each.

    Raises ClueBenchError for fewer than two, or more than `most`.
    """
    found = _listed(values[0], where) if len(values) == 1 else list(values)
    while found and found[-1] in ("", None):
        found.pop()
    if not 2 <= len(found) <= most or "" in found or None in found:
        empty = ", one of them empty" if "" in found or None in found else ""
        raise ClueBenchError(
            f"{where}: {counted(len(found), 'choice')}{empty}, expected 2 to {most}",
            "fix the line; more choices need as many labels in the task's card",
        )
    return found


def _listed(value: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise ClueBenchError(f"{where}: no list of choices", 'write a list, as in ["是", "不是"], or a column for each')
    return list(value)


def right_choice(answer: str, choices: Sequence[str], *, where: str) -> int:
    """Return the number of the right choice, the first of equal ones. Raises ClueBenchError if it names none.

    Blanks around a text, and the width of a letter or a number, are of no account.
    """
    if answer in choices:
        return list(choices).index(answer)
    plain = [each.strip() for each in choices]
    if answer.strip() in plain:
        return plain.index(answer.strip())
    named = unicodedata.normalize("NFKC", answer).strip()
    number = LETTERS.find(named.upper()) if len(named) == 1 and not named.isdigit() else -1
    if named.isascii() and named.isdigit():
        number = int(named)
    if not 0 <= number < len(choices):
        raise ClueBenchError(
            f"{where} is '{answer}', none of the choices {', '.join(choices)}",
            f"write the right choice's text, its letter (A to {LETTERS[len(choices) - 1]}) or its number from 0",
        )
    return number
