"""The one exception that users are meant to see.

Input: what was found and what was expected. Output: one line for the message, one line that says what to type next.
Any other exception that reaches the command line is a bug in clue-bench and is reported as one (exit code 3).
"""

import difflib
from collections.abc import Iterable

AGAIN = "type the same command again: it continues"


class ClueBenchError(Exception):
    """An error that the user can fix.

    `message` is one line: where, what was found, what was expected. `hint` says what to type or change next. `details`
    stand below the message, a line each, where several things have to be named.
    """

    def __init__(self, message: str, hint: str = "", *, details: Iterable[str] = ()) -> None:
        lines = [" ".join(line.splitlines()) for line in (message, *details)]  # they may quote a damaged file
        self.message = "\n  ".join(lines)
        super().__init__(self.message)
        self.hint = hint


class Interrupted(KeyboardInterrupt):
    """A keyboard interrupt that says what was interrupted and how to continue."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest of `known`, or the list of all of them."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(choices) or '(none)'}"
