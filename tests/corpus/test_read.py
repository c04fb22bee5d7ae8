"""Reading raw text: every layout and line end, exact places in errors, bounded memory without loss."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.corpus import read
from clue_bench.corpus.read import Tally, find_inputs, read_documents
from clue_bench.errors import ClueBenchError

BOM = b"\xef\xbb\xbf"
UNLIMITED = 10**9
DOCUMENTS = [["第一行。", "second line"], ["第二篇,只有一行"], ["三", "四", "五 😀"]]

Compress = Callable[[bytes], bytes]
COMPRESSIONS: dict[str, Compress] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def written(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, compressed as its last suffix says."""
    path.write_bytes(COMPRESSIONS.get(path.suffix, bytes)(data))
    return path


def documents(*files: Path, longest: int = UNLIMITED, tally: Tally | None = None) -> list[list[str]]:
    return [document.lines for document in read_documents(list(files), longest=longest, tally=tally or Tally())]


def as_text(parts: list[list[str]], end: str = "\n") -> bytes:
    return (end + end).join(end.join(lines) for lines in parts).encode()


def as_jsonl(parts: list[list[str]]) -> bytes:
    return b"".join(json.dumps({"id": 1, "text": "\n".join(lines)}).encode() + b"\n" for lines in parts)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", [".txt", ".jsonl"])
def test_every_kind_of_file_gives_the_same_documents(tmp_path: Path, kind: str, compression: str) -> None:
    data = as_text(DOCUMENTS) + b"\n" if kind == ".txt" else as_jsonl(DOCUMENTS)
    assert documents(written(tmp_path / f"corpus{kind}{compression}", data)) == DOCUMENTS


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BOM + as_text(DOCUMENTS) + b"\n", id="byte order mark"),
        pytest.param(as_text(DOCUMENTS, "\r\n") + b"\r\n", id="CRLF"),
        pytest.param(BOM + as_text(DOCUMENTS, "\r\n"), id="byte order mark, CRLF, no final newline"),
        pytest.param(as_text(DOCUMENTS), id="no final newline"),
        pytest.param(
            b"\n\n\n" + as_text(DOCUMENTS).replace(b"\n\n", b"\n\n\n\n\n") + b"\n\n\n", id="several blank lines"
        ),
        pytest.param(as_text(DOCUMENTS).replace(b"\n\n", "\n \t\u3000 \n".encode()), id="blank lines with spaces"),
    ],
)
def test_line_ends_and_blank_lines_make_no_difference(tmp_path: Path, data: bytes) -> None:
    assert documents(written(tmp_path / "corpus.txt", data)) == DOCUMENTS


def test_documents_end_where_files_end(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{name}.txt", name.encode()) for name in ("b", "a")]
    tally = Tally()
    assert documents(*files, tally=tally) == [["b"], ["a"]]
    assert tally == Tally(bytes_read=2)


@pytest.mark.parametrize("data", [b"", BOM, b"\n \r\n\n"])
def test_a_file_without_text_holds_no_documents(tmp_path: Path, data: bytes) -> None:
    assert documents(written(tmp_path / "empty.txt", data)) == []


def test_bytes_are_counted_as_they_lie_on_disk(tmp_path: Path) -> None:
    file = written(tmp_path / "corpus.txt.xz", as_text(DOCUMENTS * 1000))
    tally = Tally()
    documents(file, tally=tally)
    assert tally.bytes_read == file.stat().st_size


def test_json_lines_keep_documents_apart_and_drop_blank_lines_inside_them(tmp_path: Path) -> None:
    data = b'{"text": "a\\n\\n \\r\\nb"}\n\n{"text": ""}\n{"text": "c"}'
    assert documents(written(tmp_path / "corpus.jsonl", data)) == [["a", "b"], ["c"]]


def test_the_last_suffixes_decide_the_kind(tmp_path: Path) -> None:
    assert documents(written(tmp_path / "made-from.jsonl.txt", b"plain text")) == [["plain text"]]
    assert documents(written(tmp_path / "made-from.txt.jsonl", b'{"text": "a"}')) == [["a"]]


@pytest.mark.parametrize("limit", [24, 2**22])
@pytest.mark.parametrize("name", ["bad.txt", "bad.txt.gz", "bad.txt.xz", "bad.jsonl"])
@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "byte order mark"])
def test_invalid_utf8_names_file_and_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: bytes, limit: int
) -> None:
    monkeypatch.setattr(read, "LONGEST_LINE", limit)
    good = b'{"text": "a"}\r\n' if "jsonl" in name else "好的\r\n\n中文\n".encode()
    data = start + good + b"ab\xff\xe4\n"
    with pytest.raises(ClueBenchError, match=f"(?m){name}.* byte {data.index(0xFF)}$"):
        documents(written(tmp_path / name, data))


@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "byte order mark"])
def test_invalid_utf8_in_a_long_line_names_the_right_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(read, "LONGEST_LINE", 16)
    data = start + "中文".encode() * 9 + b"\xff"
    with pytest.raises(ClueBenchError, match=f"(?m)byte {len(data) - 1}$"):
        documents(written(tmp_path / "bad.txt", data))


def test_a_file_that_ends_inside_a_character_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match=r"(?m)byte 3$"):
        documents(written(tmp_path / "bad.txt", "中文".encode()[:-1]))


@pytest.mark.parametrize("name", ["cut.txt.gz", "cut.txt.xz"])
@pytest.mark.parametrize("kept", [5, -5], ids=["in its header", "near its end"])
def test_a_truncated_archive_is_named(tmp_path: Path, name: str, kept: int) -> None:
    file = written(tmp_path / name, as_text(DOCUMENTS * 50))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ClueBenchError, match=f"{name}: damaged"):
        documents(file)


@pytest.mark.parametrize("name", ["no.txt.gz", "no.txt.xz"])
def test_an_archive_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no archive at all")
    with pytest.raises(ClueBenchError, match=f"{name}: damaged"):
        documents(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "packed", "hint"),
    [
        ("a.txt", gzip.compress(b"text"), "ends in .gz"),
        ("a.jsonl.xz", gzip.compress(b"text"), "ends in .gz"),
        ("wiki_00", lzma.compress(b"text"), "ends in .xz"),
        ("a.txt", bz2.compress(b"text"), "unpack it"),
        ("a.txt.gz", b"PK\x03\x04" + bytes(40), "unpack it"),
        ("a.txt.gz", "正文".encode(), "take .gz off its name"),
        ("a.txt.xz", lzma.compress(b"text", format=lzma.FORMAT_ALONE), "take .xz off its name"),
    ],
    ids=["gz", "gz called xz", "xz", "bz2", "zip", "text called gz", "lzma"],  # bytes of a gzip hold the time
)
def test_a_name_that_says_another_archive_than_the_bytes_is_an_error(
    tmp_path: Path, name: str, packed: bytes, hint: str
) -> None:
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(ClueBenchError, match=r"archive") as error:
        documents(tmp_path / name)
    assert hint in error.value.hint


@pytest.mark.parametrize("name", ["A.TXT", "a.Txt.GZ", "B.JSONL", "c.Jsonl.Xz"])
def test_endings_are_known_in_any_case(tmp_path: Path, name: str) -> None:
    kind = as_jsonl if "jsonl" in name.lower() else as_text
    written(tmp_path / name.lower(), kind(DOCUMENTS)).rename(tmp_path / name)
    files, ignored = find_inputs([tmp_path])
    assert not ignored
    assert documents(*files) == DOCUMENTS


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_empty_texts_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    texts = ["正文", "", "  ", "又一篇"]
    if name == "a.parquet":
        pd.DataFrame({"text": [*texts[:2], None, texts[3]]}).to_parquet(tmp_path / name)
    else:
        lines = "\n".join(json.dumps({"text": text}) for text in texts)
        (tmp_path / name).write_text(json.dumps(texts) if name == "a.json" else lines, encoding="utf-8")
    assert documents(tmp_path / name) == [["正文"], ["又一篇"]]
    assert f"{name}: empty texts left out: 2" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_wide_encodings_are_named_in_the_hint(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "wide.txt").write_bytes(("今天 the weather 很好。\n" * 9).encode(encoding))
    with pytest.raises(ClueBenchError, match="invalid UTF-8") as error:
        documents(tmp_path / "wide.txt")
    assert f"iconv -f {encoding.replace('-le', 'le')} -t utf-8" in error.value.hint


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"text": "a"', id="cut"),
        pytest.param('["a"]', id="a list"),
        pytest.param("3", id="a number instead of an object"),
        pytest.param('{"content": "a"}', id="no text"),
        pytest.param('{"text": 3}', id="a number"),
        pytest.param("[" * 100_000, id="nested too deeply"),
        pytest.param('{"text": "a", "id": ' + "1" * 5_000 + "}", id="a number too long for Python"),
        pytest.param('{"text": "half an emoji: \\ud83d"}', id="a lone surrogate"),
    ],
)
def test_mistakes_in_json_name_file_and_line(tmp_path: Path, line: str) -> None:
    file = written(tmp_path / "corpus.jsonl.gz", f'{{"text": "good"}}\n\n{line}\n'.encode())
    with pytest.raises(ClueBenchError, match=r"corpus\.jsonl\.gz, line 3: "):
        documents(file)


LONG_LINES = {
    "chinese": "中文" * 20,
    "four bytes": "😀" * 20,
    "mixed": "a中😀é" * 12,
    "just too long": "x" * 17,
    "as long as a piece": "x" * 16,
}


@pytest.mark.parametrize("line", LONG_LINES.values(), ids=LONG_LINES)
@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["LF", "CRLF", "no final newline"])
def test_long_lines_are_cut_between_characters_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, start: bytes, end: bytes
) -> None:
    monkeypatch.setattr(read, "LONGEST_LINE", 16)
    tally = Tally()
    (lines,) = documents(written(tmp_path / "long.txt", start + line.encode() + end), tally=tally)
    assert "".join(lines) == line
    assert tally.split_lines == len(lines) - 1
    assert all(len(piece.encode()) <= 20 for piece in lines)  # a piece may start with a character left over: 4 bytes


@pytest.mark.parametrize("length", range(12, 36))
@pytest.mark.parametrize("end", ["\n", "\r\n", "   \n"], ids=["LF", "CRLF", "trailing blanks"])
def test_cutting_a_long_line_never_starts_another_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, end: str
) -> None:
    monkeypatch.setattr(read, "LONGEST_LINE", 16)
    found = documents(written(tmp_path / "long.txt", f"{'x' * length}{end}next{end}".encode()))
    assert len(found) == 1
    assert "".join(found[0]).replace(" ", "") == "x" * length + "next"


def test_blanks_inside_a_long_line_are_no_document_boundary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "LONGEST_LINE", 16)
    found = documents(written(tmp_path / "long.txt", b"before" + b" " * 60 + b"after\n"))
    assert ["".join(lines).split() for lines in found] == [["before", "after"]]


def test_a_json_line_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "LONGEST_LINE", 16)
    for start in (b"", BOM):
        with pytest.raises(ClueBenchError, match=r"corpus\.jsonl: .* 16 bytes"):
            documents(written(tmp_path / "corpus.jsonl", start + b'{"text": "longer than that"}\n'))


@pytest.mark.parametrize("as_file", [as_text, as_jsonl], ids=["text", "jsonl"])
@given(
    parts=st.lists(st.lists(st.text("中ab", min_size=1, max_size=9), min_size=1, max_size=9), min_size=1, max_size=4)
)
def test_long_documents_are_cut_between_lines_and_counted(
    tmp_path_factory: pytest.TempPathFactory, as_file: Callable[[list[list[str]]], bytes], parts: list[list[str]]
) -> None:
    suffix = ".txt" if as_file is as_text else ".jsonl"
    file = written(tmp_path_factory.mktemp("long") / f"long{suffix}", as_file(parts))
    tally = Tally()
    pieces = documents(file, longest=10, tally=tally)
    assert [line for piece in pieces for line in piece] == [line for part in parts for line in part]
    assert tally.split_documents == len(pieces) - len(parts)
    assert all(sum(len(line) + 1 for line in piece[:-1]) < 10 for piece in pieces)


@pytest.mark.parametrize("name", ["long.txt", "long.jsonl"])
def test_blank_lines_after_a_long_document_are_no_further_piece(tmp_path: Path, name: str) -> None:
    text = "longer than the limit\n\n\n"
    data = text if name.endswith("txt") else json.dumps({"text": text})
    tally = Tally()
    assert documents(written(tmp_path / name, data.encode()), longest=5, tally=tally) == [["longer than the limit"]]
    assert tally.split_documents == 0


def test_folders_give_their_text_files_in_order_and_name_the_rest(tmp_path: Path) -> None:
    names = ["b.txt.xz", "a.jsonl", "c.txt", "README.md", "d.txt.zip"]
    for name in names:
        (tmp_path / name).touch()
    files, ignored = find_inputs([tmp_path])
    assert [file.name for file in files] == ["a.jsonl", "b.txt.xz", "c.txt"]
    assert [file.name for file in ignored] == ["README.md", "d.txt.zip"]


def test_folders_are_searched_to_the_bottom_and_files_without_ending_read_if_they_begin_like_json(
    tmp_path: Path,
) -> None:
    (tmp_path / "AA").mkdir()
    (tmp_path / ".cache").mkdir()
    for name, data in {
        "AA/wiki_00": '{"text": "a"}\n',
        "AA/README": "notes",
        ".cache/b.txt": "b",
        "c.txt": "c",
    }.items():
        (tmp_path / name).write_text(data)
    files, ignored = find_inputs([tmp_path])
    assert files == [tmp_path / "AA/wiki_00", tmp_path / "c.txt"]
    assert ignored == [tmp_path / "AA/README"]
    assert documents(*files) == [["a"], ["c"]]


STREAMS = [lzma.compress(as_text([part]) + b"\n\n") for part in DOCUMENTS]


@pytest.mark.parametrize("padding", [0, 4, 2**19])
def test_every_stream_of_an_archive_is_read_with_padding_between_and_behind(tmp_path: Path, padding: int) -> None:
    (tmp_path / "many.txt.xz").write_bytes(b"".join(stream + bytes(padding) for stream in STREAMS))
    assert documents(tmp_path / "many.txt.xz") == DOCUMENTS


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(b"this is no stream", id="garbage"),
        pytest.param(STREAMS[1][:-9], id="a stream cut short"),
        pytest.param(STREAMS[1][:30] + b"\xff\xff" + STREAMS[1][32:], id="a damaged stream"),
        pytest.param(bytes(3), id="padding of three bytes"),
        pytest.param(bytes(2) + STREAMS[1], id="padding of two bytes and a stream"),
    ],
)
def test_what_follows_a_stream_and_is_none_is_an_error_with_the_place(tmp_path: Path, after: bytes) -> None:
    (tmp_path / "many.txt.xz").write_bytes(STREAMS[0] + after)
    with pytest.raises(ClueBenchError, match=r"many\.txt\.xz: .* begins at byte"):
        documents(tmp_path / "many.txt.xz")


@pytest.mark.parametrize("name", ["old.txt", "old.txt.gz", "old.txt.xz"])
def test_lines_that_end_with_cr_alone_are_lines_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    assert documents(written(tmp_path / name, as_text(DOCUMENTS, "\r"))) == DOCUMENTS
    assert "CR alone" in caplog.text


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_one_line_feed_does_not_make_a_file_of_crs_one_line(tmp_path: Path, end: bytes) -> None:
    data = as_text(DOCUMENTS, "\r").rstrip(b"\r") + end  # as an editor leaves it
    (tmp_path / "old.txt").write_bytes(data)
    assert documents(tmp_path / "old.txt") == DOCUMENTS


def test_a_cr_within_a_line_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert documents(written(tmp_path / "odd.txt", b"one\rline\n\nnext")) == [["one\rline"], ["next"]]
    assert not caplog.text


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c"])
def test_only_line_ends_end_lines_in_json_as_in_text(tmp_path: Path, separator: str) -> None:
    text = f"前半{separator}后半\n第二行"
    plain = documents(written(tmp_path / "a.txt", text.encode()))
    assert documents(written(tmp_path / "a.jsonl", json.dumps({"text": text}).encode())) == plain
    assert plain == [[f"前半{separator}后半", "第二行"]]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", '"一"\n"二"'),
        ("a.json", '["一", "二"]'),
        ("a.json", '[\n {"text": "一", "id": 1},\n {"text": "二"}\n]'),
        ("a.json", '{"text": "一"}\n{"text": "二"}\n'),
        ("a.json.gz", '{"text": "一"}\n{"text": "二"}\n'),
        ("wiki_00", '{"text": "一"}\n{"text": "二"}\n'),
        ("a.json", '{"text": {"0": "一", "1": "二"}, "id": {"0": 1, "1": 2}}'),
        ("a.json", '{\n "text": {\n  "0": "一",\n  "1": "二"\n }\n}\n'),
        ("a.jsonl", '{"0": {"text": "一"}, "1": {"text": "二"}}\n'),
        ("a.json.gz", '{"columns": ["id", "text"], "index": [0, 1], "data": [[1, "一"], [2, "二"]]}'),
        ("a.jsonl", '{"scores": {"1": 2}, "text": "一"}\n{"scores": {"1": 2}, "text": "二"}\n'),
    ],
)
def test_json_comes_as_lines_or_as_a_list_of_strings_or_objects(tmp_path: Path, name: str, data: str) -> None:
    assert documents(written(tmp_path / name, data.encode())) == [["一"], ["二"]]


@pytest.mark.parametrize("data", ['{"n": {"1": 2}, "text": "一"}', '{\n "text": "一",\n "n": [1]\n}'])
def test_one_object_of_json_is_one_document(tmp_path: Path, data: str) -> None:
    assert documents(written(tmp_path / "a.json", data.encode())) == [["一"]]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_column_of_a_table_is_read_and_empty_cells_are_no_documents(tmp_path: Path, suffix: str) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"id": [1, 2, 3], "content": ["一\n二", None, "三"]})
    if suffix == ".parquet":
        rows.to_parquet(tmp_path / "rows.parquet")
    else:
        rows.save_to_disk(str(tmp_path / "rows"))
    files, ignored = find_inputs([tmp_path])
    assert [file.suffix for file in files] == [suffix]
    assert {file.name for file in ignored} <= {"dataset_info.json", "state.json"}
    tally = Tally()
    found = read_documents(files, longest=UNLIMITED, tally=tally, text_field="content")
    assert [document.lines for document in found] == [["一", "二"], ["三"]]
    with pytest.raises(ClueBenchError, match="no column 'text'") as error:
        documents(*files)
    assert "--text-field" in error.value.hint


def test_text_under_another_key_leads_to_it(tmp_path: Path) -> None:
    file = written(tmp_path / "news.json", '{"title": "题", "content": "正文很长"}'.encode())
    with pytest.raises(ClueBenchError, match="found title, content") as error:
        documents(file)
    assert error.value.hint == "give --text-field content"
    found = read_documents([file], longest=UNLIMITED, tally=Tally(), text_field="content")
    assert [document.lines for document in found] == [["正文很长"]]


def test_one_bad_byte_is_corrected_and_another_encoding_converted(tmp_path: Path) -> None:
    hints = []
    text = "好的文字\n" * 99
    for number, data in enumerate((text.encode() + b"\xff\n", text.encode("gbk"), text.encode("utf-16"))):
        with pytest.raises(ClueBenchError, match="invalid UTF-8") as error:
            documents(written(tmp_path / f"{number}.txt", data))
        hints.append(error.value.hint)
    assert hints[0].startswith("correct line 100")
    assert "iconv -f gb18030" in hints[1]
    assert "iconv -f utf-16" in hints[2]


@pytest.mark.parametrize("text", ["[图片] 第一行\n第二行", "{甲} 第一行\n第二行"])
def test_a_text_without_ending_that_begins_with_a_bracket_is_text(tmp_path: Path, text: str) -> None:
    assert documents(written(tmp_path / "notes", text.encode())) == [text.split("\n")]


@pytest.mark.parametrize("spelling", ["a.txt", ".", "inner/../a.txt"], ids=["again", "its folder", "another spelling"])
def test_a_file_named_twice_is_an_error(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.txt").touch()
    with pytest.raises(ClueBenchError, match=r"a\.txt.* named twice"):
        find_inputs([tmp_path / "a.txt", tmp_path / spelling])


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.txt", "no such file or folder"), ("notes.md", "unknown kind"), ("folder", "no text in")],
)
def test_nothing_to_read_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "notes.md").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ClueBenchError, match=f"{name}.*{message}|{message}.*{name}"):
        find_inputs([tmp_path / name])


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "corpus"
    (elsewhere / "wiki").mkdir(parents=True)
    (folder / "own").mkdir(parents=True)
    written(elsewhere / "wiki" / "a.txt", as_text(DOCUMENTS))
    written(folder / "own" / "b.txt", as_text(DOCUMENTS))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder / "own")  # what lies in the folder anyway
    (elsewhere / "up").symlink_to(folder)  # a circle
    (folder / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    found, ignored = find_inputs([folder])
    assert found == [folder / "linked" / "wiki" / "a.txt", folder / "own" / "b.txt"]
    assert ignored == [folder / "gone.txt"]


def test_null_is_an_empty_text_and_other_values_are_named(tmp_path: Path) -> None:
    file, tally = tmp_path / "a.jsonl", Tally()
    written(file, b'{"text": "one"}\n{"text": null}\n{"text": ""}\n')
    assert documents(file, tally=tally) == [["one"]]
    assert tally.empty_texts == 2
    written(file, b'{"text": ["one", "two"]}\n')
    with pytest.raises(ClueBenchError, match="a list under"):
        documents(file)


def test_a_table_leads_to_a_file_that_is_read(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    pd.DataFrame({"review": ["第一篇", "第二篇"]}).to_csv(file)
    with pytest.raises(ClueBenchError, match=r"reviews\.csv") as caught:
        find_inputs([file])
    subprocess.run(["bash", "-c", caught.value.hint.partition(": ")[2].replace("python", sys.executable)], check=True)
    found = read_documents([file.with_suffix(".parquet")], longest=UNLIMITED, tally=Tally(), text_field="review")
    assert [document.lines for document in found] == [["第一篇"], ["第二篇"]]
