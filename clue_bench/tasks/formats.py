"""Read and write files of rows: JSON Lines, JSON, CSV, TSV, Parquet and Excel.

Input: the bytes of a file, and its name, whose ending says the format. Output: a `Table`: columns, rows with the places
where they stand, and notes on what was recognised (another encoding than UTF-8, another delimiter, one sheet of
several). Text is UTF-8, UTF-16 with a mark, or GB18030, which GBK is a part of: what is neither is an error that names
the byte, and one wrong byte in UTF-8 does not make it GBK. Cells of Excel are read as text, as in a CSV file.
"""

import codecs
import csv
import datetime
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_bench import files
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import article, counted
from clue_bench.tasks.tab_separated import TabReader, quoted_if_needed

JSON_LINES = (".json", ".jsonl")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
WITH_HEADER = (*DELIMITERS, ".xlsx", ".parquet")
SUFFIXES = (*JSON_LINES, *WITH_HEADER)
LONGEST_FIELD = 2**24  # characters in a field of a table; Python's own limit of 131,072 is less than a novel

MAX_NAMED = 6  # cells or sheets in an error
MAX_EXCEL_CELL = 32_767  # characters; more would be cut
MAX_EXCEL_ROWS = 1_048_576

Row = dict[str, Any]

Wanted = Callable[[Sequence[str]], bool]
"""Called with the header of a sheet: whether it has the columns that are asked for."""


@dataclass(frozen=True)
class Table:
    """The rows of a file. `places` say where each stands ("line 7"), `has_header` that all have the same columns.

    `typed_rows` are those of a spreadsheet with its numbers and dates, which `rows` have as text.
    """

    columns: list[str]
    rows: list[Row]
    places: list[str]
    has_header: bool
    notes: tuple[str, ...] = ()
    called: str = ""  # the file's name
    md5: str = ""  # of the file
    typed_rows: list[Row] | None = None

    @property
    def values(self) -> list[Row]:
        """Return the rows with the types that their file gives them."""
        return self.rows if self.typed_rows is None else self.typed_rows

    def __len__(self) -> int:
        return len(self.rows)


def suffix_of(name: str) -> str:
    """Return the ending that says what a file is, in lower case and without ".gz"."""
    return Path(name.removesuffix(".gz")).suffix.lower()


def is_rows_file(name: str) -> bool:
    """Return whether a name ends like that of a file of rows."""
    return suffix_of(name) in SUFFIXES


def parse_table(raw: bytes, *, name: str, where: str, is_wanted: Wanted | None = None) -> Table:
    """Return the rows in a file's bytes; `name` has the ending, `where` names the file in errors and notes.

    Of a workbook's sheets the first one is read, or with `is_wanted` the only one that has the columns asked for.
    Raises ClueBenchError that names the file, the place and what is wrong.
    """
    suffix = suffix_of(name)
    if suffix == ".parquet":
        return _parquet(raw, where)
    if suffix == ".xlsx":
        return _excel(raw, where, is_wanted)
    if suffix not in SUFFIXES:
        hint = "save it as .xlsx, in Excel" if suffix == ".xls" else "save it as one of these"
        raise ClueBenchError(f"{where}: '{name}' ends in none of {', '.join(SUFFIXES)}", hint)
    text, notes = decode_text(raw, where)
    if suffix in JSON_LINES:
        found, noted = _json(text, where)
        notes += noted
        columns = list(dict.fromkeys(key for _, row in found for key in row))
        return Table(columns, [row for _, row in found], [place for place, _ in found], False, notes, where)
    delimiter, noted = _delimiter(text, DELIMITERS[suffix], where)
    header, lines, skipped = _separated(text, delimiter, where)
    notes += noted + skipped
    return Table(header, [row for _, row in lines], [place for place, _ in lines], True, notes, where)


def decode_text(raw: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """Return a file's text, and a note where it is not plain UTF-8. Raises ClueBenchError that names the first byte."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return raw.decode("utf-16"), (f"{where}: read as UTF-16, as its byte order mark says",)
        except UnicodeDecodeError as error:
            raise ClueBenchError(f"{where}: invalid UTF-16 at byte {error.start}", "save the file as UTF-8") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if _is_mostly_utf8(raw):
            line = raw.count(b"\n", 0, error.start) + 1
            raise ClueBenchError(
                f"{where}, line {line}: invalid UTF-8 at byte {error.start}", f"write line {line} anew, in UTF-8"
            ) from error
        try:
            text = raw.decode("gb18030")
        except UnicodeDecodeError:
            raise ClueBenchError(
                f"{where}: neither UTF-8 (invalid at byte {error.start}) nor GBK", "save the file as UTF-8"
            ) from error
        return text, (f"{where}: read as GB18030 (GBK), since it is not UTF-8",)
    return text, (f"{where}: UTF-8 with a byte order mark, which was left out",) if raw[:3] == codecs.BOM_UTF8 else ()


def is_for_excel(raw: bytes) -> bool:
    """Return whether Excel takes this text for what it is, and so would not take plain UTF-8: it has a mark, or is GBK.

    Chinese Excel reads a CSV file without a byte order mark as GBK.
    """
    if raw.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _is_mostly_utf8(raw: bytes) -> bool:
    """Return whether most characters beyond ASCII are valid UTF-8; of GBK text, one pair of bytes in seven is."""
    text = raw.decode("utf-8", errors="replace")
    bad = text.count("�")
    return sum(character > "\x7f" for character in text) > 3 * bad


def _json(text: str, where: str) -> tuple[list[tuple[str, Row]], tuple[str, ...]]:
    """Return the rows of JSON with their places: of a list, of lines, of one object, or of one that holds columns."""
    if text.lstrip().startswith("["):
        return list(_json_list(text, where)), ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return list(_json_lines(text, where)), ()
    if (rows := rows_of_object(value)) is None:
        return [("line 1", _object(value, f"{where}, line 1"))], ()
    note = f"{where}: one object as pandas' to_json() writes it, read as {counted(len(rows), 'row')}"
    return [(f"row {number}", row) for number, row in enumerate(rows)], (note,)


def rows_of_object(value: Any) -> list[Row] | None:
    """Return the rows of a whole table in one JSON object, None of any other value.

    This is what pandas' to_json() writes: columns {"text": {"0": …}}, orient="index" {"0": {"text": …}},
    orient="split" or "table". Numbers tell rows from columns; where both or neither are numbers, nothing is guessed.
    """
    if not isinstance(value, dict) or not value:
        return None
    if value.keys() == {"schema", "data"} and isinstance(value["data"], list):
        return value["data"] if all(isinstance(each, dict) for each in value["data"]) else None
    if value.keys() == {"columns", "index", "data"}:
        columns, lines = value["columns"], value["data"]
        is_split = (
            isinstance(columns, list) and isinstance(lines, list) and all(isinstance(each, str) for each in columns)
        )
        if is_split and all(isinstance(cells, list) and len(cells) == len(columns) for cells in lines):
            return [dict(zip(columns, cells, strict=True)) for cells in lines]
        return None
    inner = list(value.values())
    if not all(isinstance(each, dict) and each.keys() == inner[0].keys() for each in inner) or not inner[0]:
        return None
    outer_counts, inner_counts = (all(key.isdecimal() for key in keys) for keys in (value, inner[0]))
    if inner_counts and not outer_counts:
        return [{column: cells[row] for column, cells in value.items()} for row in inner[0]]
    return inner if outer_counts and not inner_counts else None


def _json_lines(text: str, where: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ClueBenchError(
                f"{where}, line {number}: not JSON: {error}", "write one JSON object a line"
            ) from error
        yield f"line {number}", _object(row, f"{where}, line {number}")


def _json_list(text: str, where: str) -> Iterator[tuple[str, Row]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ClueBenchError(
            f"{where}: not JSON: {error}", "write a list of objects, or one JSON object a line"
        ) from error
    for number, row in enumerate(found):
        yield f"object {number}", _object(row, f"{where}, object {number}")


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise ClueBenchError(f"{where}: found {article(type(row).__name__)}, expected a JSON object", "fix the line")
    return row


def _delimiter(text: str, usual: str, where: str) -> tuple[str, tuple[str, ...]]:
    """Return what separates the columns: the usual sign, unless the header has only another one."""
    header = text.split("\n", 1)[0]
    others = [sign for sign in "\t;," if sign in header]
    if usual in header or not others:
        return usual, ()
    called = {"\t": "tabs", ";": "semicolons", ",": "commas"}[others[0]]
    return others[0], (f"{where}: columns are separated by {called}, as in its header",)


def _separated(text: str, delimiter: str, where: str) -> tuple[list[str], list[tuple[str, Row]], tuple[str, ...]]:
    """Return the header, the rows with their places, and notes on quotes and on blank rows, which are left out."""
    csv.field_size_limit(LONGEST_FIELD)
    reader: Any = TabReader(text)
    if delimiter != "\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows: list[tuple[str, Row]] = []
    num_blank = width = 0
    try:
        for cells in reader:
            if not cells:
                continue
            if len(cells) > 1 and not any(cell.strip() for cell in cells):
                num_blank += 1
                continue
            # Spreadsheets export columns that are empty throughout: they have no name and no cells.
            width = width or len(cells)
            least = 1 if header is None else len(header)
            while len(cells) > least and not cells[-1].strip():
                cells.pop()
            if header is None:
                header = _header(cells, where)
                continue
            if len(header) == 1 < len(cells) <= width:
                raise _no_header(where, 1, header + [""] * (width - 1))
            if len(cells) != len(header):
                raise ClueBenchError(
                    f"{where}, line {reader.line_num}: {counted(len(cells), 'column')}, the header has {len(header)}",
                    "quote fields that hold the delimiter",
                )
            rows.append((f"line {reader.line_num}", dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise ClueBenchError(f"{where}, line {reader.line_num}: {error}", "fix the line") from error
    notes = _about_blank(num_blank, where)
    if isinstance(reader, TabReader) and reader.num_unquoted:
        notes += (f"{where}: cells read without the quotes around them: {reader.num_unquoted:,}",)
    return header or [], rows, notes


def _about_blank(rows: int, where: str) -> tuple[str, ...]:
    return (f"{where}: rows whose cells are all blank, left out: {rows:,}",) if rows else ()


def _no_header(where: str, line: int, cells: Sequence[str]) -> ClueBenchError:
    """Return the error for a title or the like above the header."""
    named = ", ".join(f"'{cell}'" for cell in cells[:MAX_NAMED]) + ", …" * (len(cells) > MAX_NAMED)
    return ClueBenchError(
        f"{where}: line {line} does not look like a header: {named}",
        "delete what stands above the names of the columns, so that these are line 1",
    )


def _header(cells: Sequence[str], where: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if header.count("") > 1:
        raise _no_header(where, 1, header)
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ClueBenchError(f"{where}: two columns are called '{twice}'", "rename one of them")
    return header


def _parquet(raw: bytes, where: str) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        # On this thread: of a damaged file, readers of a pool may outlive the error, and abort the process as it ends.
        table = parquet.ParquetFile(pyarrow.BufferReader(raw)).read(use_threads=False)
        rows: list[Row] = table.to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise ClueBenchError(f"{where}: not Parquet, or damaged: {reason}", "write the file again") from error
    columns = _header(table.column_names, where)
    return Table(columns, rows, [f"row {number}" for number in range(len(rows))], True, (), where)


def _excel(raw: bytes, where: str, is_wanted: Wanted | None) -> Table:
    """Return a sheet; its first row is the header, and rows without any value are left out."""
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what only a spreadsheet shows: styles, checks of what may be typed
        try:
            book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
            sheets = {}
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # what it says of its own size may be wrong: rows would be lost in silence
                sheets[sheet.title] = [list(row) for row in sheet.iter_rows(values_only=True)]
                if is_wanted is None:
                    break
            first = next(iter(sheets))
        except Exception as error:  # of a damaged one, openpyxl and what it uses raise anything
            reason = str(error).partition("\n")[0]
            raise ClueBenchError(f"{where}: not a workbook of Excel, or damaged: {reason}", "save it again") from error
    number = len(book.worksheets)
    if number == 1:
        return _sheet(sheets[first], where, ())
    headers = {name: _first_filled(values) for name, values in sheets.items()}
    fitting = [name for name in sheets if is_wanted is not None and is_wanted(headers[name])]
    if is_wanted is not None and not fitting:
        listed = [f"'{name}' ({', '.join(filter(None, header)) or 'none'})" for name, header in headers.items()]
        raise ClueBenchError(
            f"{where}: which sheet holds texts and labels? found {', '.join(listed[:MAX_NAMED])}",
            "move that sheet to the front and name its columns: --text COLUMN --label COLUMN",
        )
    if len(fitting) == 1:
        only = f"{where}: read sheet '{fitting[0]}', the only one of {number} with such columns"
        return _sheet(sheets[fitting[0]], where, (only,))
    if fitting and first not in fitting:
        raise ClueBenchError(
            f"{where}: sheets {', '.join(repr(name) for name in fitting[:MAX_NAMED])} all have such columns",
            "move the one to read to the front",
        )
    return _sheet(sheets[first], where, (f"{where}: read sheet '{first}', the first of {number}",))


def _first_filled(values: Sequence[Sequence[Any]]) -> list[str]:
    """Return the first row of a sheet that has any value, without the blank cells behind the last one."""
    cells = next((found for row in values if any(found := [cell_text(value).strip() for value in row])), [])
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _sheet(values: list[list[Any]], where: str, notes: tuple[str, ...]) -> Table:
    """Return the rows of a sheet."""
    cells = [[cell_text(value) for value in row] for row in values]
    filled = [(number, row) for number, row in enumerate(cells, 1) if any(cell.strip() for cell in row)]
    if not filled:
        return Table([], [], [], True, notes, where)
    width = max(place for _, row in filled for place, value in enumerate(row, 1) if value)
    header = _header([*filled[0][1], *[""] * width][:width], where)
    rows = [dict(zip(header, [*row, *[""] * width][:width], strict=True)) for _, row in filled[1:]]
    typed = [dict(zip(header, [*values[number - 1], *[None] * width], strict=False)) for number, _ in filled[1:]]
    _spell_mixed_columns(typed, rows)
    places = [f"row {number}" for number, _ in filled[1:]]
    # Blank rows behind the last one are only a spreadsheet's frame, as are those above the header.
    notes += _about_blank(filled[-1][0] - filled[0][0] + 1 - len(filled), where)
    return Table(header, rows, places, True, notes, where, typed_rows=typed)


def _spell_mixed_columns(typed: list[Row], rows: list[Row]) -> None:
    """Let columns of texts and other things be texts alone, as in `rows`: Parquet has one type in a column."""
    for column in typed[0] if typed else ():
        kinds = {type(row[column]) for row in typed if row[column] is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            for row, spelled in zip(typed, rows, strict=True):
                row[column] = spelled[column]


def cell_text(value: Any) -> str:
    """Return a value as a cell of text: nothing as "", a whole number without its point, true as JSON writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, for_excel: bool = False) -> None:
    """Write rows in the format that the name's ending says, complete or not at all; text is UTF-8.

    `for_excel`: CSV and TSV begin with a byte order mark, without which Chinese Excel reads them as GBK.
    Columns are those of all rows. Raises ClueBenchError for another ending, or for a text that the format cannot hold.
    """
    suffix = check_writable(path)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if suffix in JSON_LINES:
        files.write_text(path, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows))
        return
    cells = [[cell_text(row.get(column)) for column in columns] for row in rows]
    with files.replacing(path) as temporary:
        if suffix == ".parquet":
            _write_parquet(temporary, path, columns, rows)
        elif suffix == ".xlsx":
            _write_excel(temporary, path, columns, rows)
        else:
            encoding = "utf-8-sig" if for_excel else "utf-8"
            _write_separated(temporary, path, columns, cells, DELIMITERS[suffix], encoding)


def check_writable(path: Path) -> str:
    """Return the ending of a file to write. Raises ClueBenchError if no format is called so."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ClueBenchError(
            f"{path}: ends in none of {', '.join(SUFFIXES)}", f"give a name like {path.stem or 'out'}.csv"
        )
    return suffix


def _write_separated(
    temporary: Path, path: Path, columns: list[str], cells: list[list[str]], delimiter: str, encoding: str
) -> None:
    if delimiter == "\t":
        for number, row in enumerate([columns, *cells]):
            if any(sign in cell for cell in row for sign in "\t\r\n"):
                raise ClueBenchError(
                    f"{path}: row {number}: a text holds a tab or a line end, which .tsv cannot",
                    f"give --out {path.with_suffix('.csv')}",
                )
        temporary.write_text(
            "".join("\t".join(map(quoted_if_needed, row)) + "\n" for row in [columns, *cells]),
            encoding=encoding,
            newline="",
        )
        return
    with temporary.open("w", encoding=encoding, newline="") as file:
        for row in [columns, *cells]:
            # A CR alone ends a row for readers, but is not quoted by this writer where rows end with LF.
            has_cr = any("\r" in cell for cell in row)
            csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if has_cr else csv.QUOTE_MINIMAL).writerow(row)


def _write_parquet(temporary: Path, path: Path, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    try:
        table = pyarrow.Table.from_pydict({column: [row.get(column) for row in rows] for column in columns})
        parquet.write_table(table, temporary)
    except pyarrow.ArrowException as error:
        raise ClueBenchError(f"{path}: {error}", f"give --out {path.with_suffix('.jsonl')}") from error


def _write_excel(temporary: Path, path: Path, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    import openpyxl
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if len(rows) >= MAX_EXCEL_ROWS:
        raise ClueBenchError(f"{path}: {len(rows):,} rows, .xlsx holds fewer", f"give --out {path.with_suffix('.csv')}")
    table: list[list[Any]] = [columns, *([row.get(column) for column in columns] for row in rows)]
    for number, values in enumerate(table):
        for text in (cell_text(value) for value in values):
            if len(text) > MAX_EXCEL_CELL or ILLEGAL_CHARACTERS_RE.search(text):
                reason = "a control character" if len(text) <= MAX_EXCEL_CELL else f"{len(text):,} characters"
                raise ClueBenchError(
                    f"{path}: row {number}: a text has {reason}, which .xlsx cannot hold",
                    f"give --out {path.with_suffix('.csv')}",
                )
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("predictions")
    for values in table:
        sheet.append([value if _is_of_excel(value) else _plain(sheet, value) for value in values])
    book.save(temporary)


def _is_of_excel(value: Any) -> bool:
    """Return whether a sheet holds such values as they are: numbers, and times without a zone."""
    is_time = isinstance(value, datetime.date | datetime.time) and getattr(value, "tzinfo", None) is None
    return is_time or isinstance(value, int | float)


def _plain(sheet: Any, value: Any) -> Any:
    """Return a cell of text, which is no formula even if it begins with "="."""
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, value=cell_text(value))
    cell.data_type = "s"
    return cell
