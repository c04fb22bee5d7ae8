"""The one exception that users are meant to see.

Input: what was found and what was expected. Output: one line for the message, one line that says what to type next.
Any other exception that reaches the command line is a bug in clue-bench and is reported as one (exit code 3).
"""

import difflib
import os
import re
import traceback
from collections.abc import Iterable

NEAR = 0.6  # difflib's own; at 0.5, two of three letters make "ocnli" of "nix"
AGAIN = "type the same command again: it continues"
INTERRUPTED = ("interrupted", "type the same command again")  # before there was anything to keep
STOPPED = 130  # exit code, as shells have it for SIGINT, so that a job's script can tell a stop from an error


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
        if hint:
            self.add_note(f"hint: {hint}")  # below the message in a traceback, which is all that Python shows


_READS_VARIABLE = re.compile(r"""(?:environ(?:\.get)?|getenv)[\[(]\s*["'](\w+)["']""")
_EXPECTED = {
    "invalid literal for int": "a whole number",
    "could not convert string to float": "a number",
    "No such file": "a file or folder that is there",
}
"""What is expected of an environment variable, by what Python says of another value."""


class Interrupted(KeyboardInterrupt):
    """A keyboard interrupt that says what was interrupted and how to continue."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest of `known`, or the list of all of them."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=NEAR)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(choices) or '(none)'}"


def about_environment(error: Exception) -> ClueBenchError | None:
    """Return the error that names the environment variable which `error` comes of, None if it comes of none.

    Libraries read many variables, most when they are imported, and say of a bad value neither whose it is nor where it
    came from. The line that read it stands among the last in the traceback.
    """
    if not isinstance(error, (ValueError, OSError)):
        return None
    for frame in reversed(traceback.extract_tb(error.__traceback__)[-3:]):
        found = _READS_VARIABLE.search(frame.line or "")
        if found and found[1] in os.environ:
            name, reason = found[1], str(error)
            expected = next((what for start, what in _EXPECTED.items() if start in reason), "")
            problem, example = (f"expected {expected}", f", or export it with {expected}") if expected else (reason, "")
            return ClueBenchError(
                f"the environment variable {name} is {os.environ[name]!r}, {problem}", f"type unset {name}{example}"
            )
    return None
