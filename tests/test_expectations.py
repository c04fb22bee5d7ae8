"""What tests expect of an error: the thing that it names (a path, a key, a number), not the sentence around it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
MOST_WORDS = 4


def expected_messages() -> Iterator[tuple[str, str]]:
    """Return where each `match=` stands and what its literal parts say."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "match":
                parts = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                yield f"{path.relative_to(TESTS)}:{node.value.lineno}", "|".join(map(str, parts))


def plain_words(text: str) -> int:
    """Return the length of the longest run of words in which nothing is a name, a number or a pattern."""
    runs = re.split(r"[^a-z' ]+", text)
    return max(len(run.split()) for run in runs)


def test_no_expectation_is_a_sentence():
    sentences = [f"{place}: {text}" for place, text in expected_messages() if plain_words(text) > MOST_WORDS]
    assert not sentences
