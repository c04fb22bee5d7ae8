"""The one exception that a user is meant to see.

Input: what was found and what was expected. Output: one line for the message, one line saying what to type next.
Anything else that reaches the command line is a bug of ours and is reported as one (exit code 3).
"""

import difflib
from collections.abc import Iterable


class ClueBenchError(Exception):
    """Something the user can fix.

    `message` is one line: where, what was found, what was expected. `hint` is what to type or change next.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        message = " ".join(message.splitlines())  # names in it may be a damaged file's
        super().__init__(message)
        self.message = message
        self.hint = hint


class Interrupted(KeyboardInterrupt):
    """An interruption from the keyboard, which says what was interrupted and how to go on."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest of `known`, or the list of all of them."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(choices) or '(none)'}"
