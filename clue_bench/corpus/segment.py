"""Split lines into sentences.

Enters: a cleaned line. Leaves: its sentences, whose concatenation is the line. A sentence ends after 。！？!?… and any
closing quotes or brackets that follow; a line end ends one too. ASCII "." does not: it stands in numbers and names.
"""

import re

_SENTENCE = re.compile(r"[^。！？!?…]*(?:[。！？!?…]+[”’\"'」』）)》】]*|$)")


def split_sentences(line: str) -> list[str]:
    """Return the non-blank sentences of `line`, in order."""
    return [sentence for sentence in _SENTENCE.findall(line) if sentence.strip()]
