"""Split tab-separated text into cells, of which some may be quoted.

Input: the text of a file. Output: the cells of each line. A cell is quoted as in RFC 4180 if it begins and ends with a
quote and those within are doubled: so spreadsheets and pandas write cells that hold quotes, tabs or line ends. Any
other quote is text, since most such files quote nothing, and a title may begin with a quote. Where the lines that a
quoted cell would join have the header's number of cells as they stand, they are lines.
"""

import re
from collections.abc import Iterator

_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"(?=[\t\r\n]|\Z)')
_CELL_END = re.compile(r"[\t\r\n]|\Z")
_BREAK = re.compile(r"\r\n|\n|\r")
_LINE_END = re.compile(rf"{_BREAK.pattern}|\Z")


class TabReader:
    """Iterates over the cells of lines, [] for an empty one; `line_num` is that of the last line that was read."""

    def __init__(self, text: str) -> None:
        self.line_num = 0
        self.num_unquoted = 0  # cells
        self._text = text
        self._width = 0  # cells of the header

    def __iter__(self) -> Iterator[list[str]]:
        at = 0
        while at < len(self._text):
            cells, at = self._line(at)
            self._width = self._width or len(cells)
            end = _found(_LINE_END, self._text, at)
            self.line_num += 1
            at = end.end()
            yield [] if cells == [""] else cells

    def _line(self, begin: int) -> tuple[list[str], int]:
        """Return the cells from `begin` to the end of the line, and where that is."""
        cells: list[str] = []
        at = begin
        while True:
            quoted = _QUOTED.match(self._text, at)
            if quoted is not None and self._is_one_cell(begin, quoted):
                cells.append(quoted[1].replace('""', '"'))
                self.num_unquoted += 1
                self.line_num += len(_BREAK.findall(quoted[1]))
                at = quoted.end()
            else:
                end = _found(_CELL_END, self._text, at).start()
                cells.append(self._text[at:end])
                at = end
            if self._text[at : at + 1] != "\t":
                return cells, at
            at += 1

    def _is_one_cell(self, begin: int, quoted: re.Match[str]) -> bool:
        if not any(sign in quoted[1] for sign in "\t\r\n"):
            return True
        end = _found(_LINE_END, self._text, quoted.end()).start()
        return any(line.count("\t") + 1 != self._width for line in _BREAK.split(self._text[begin:end]))


def quoted_if_needed(cell: str) -> str:
    """Return a cell as it is written so that it is read back: one that looks quoted is quoted."""
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.fullmatch(cell) else cell


def _found(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.search(text, at)
    assert found is not None  # each pattern ends with the text
    return found
