"""Keep lines of the text while a corpus is built, so that the tokenizer of each checkpoint can be checked on them.

Input: the text of all units in order. Output: SIZE to 2 · SIZE cleaned lines at equal distances, all of a short text;
the same for the same text.
"""

from clue_bench.corpus.text import clean_line

SIZE = 1_000


class Sample:
    """Every n-th line that is not blank; n doubles whenever twice the wanted number has come together."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._step, self._seen = 1, 0

    def add(self, text: bytes) -> None:
        """Take lines of a unit's text."""
        lines = [line for line in text.decode().split("\n") if line]
        start = -self._seen % self._step
        self._seen += len(lines)
        for line in lines[start :: self._step]:
            self.lines.append(clean_line(line))
        while len(self.lines) >= 2 * SIZE:
            self.lines, self._step = self.lines[::2], 2 * self._step
