"""Files of rows in every format and encoding that users have."""

import codecs
import datetime
import json
import zipfile

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.formats import parse_table, write_rows

ROWS = [
    {"文本": "房间很干净,还送水果", "标签": "好评"},
    {"文本": '前台说"欢迎"\n很好', "标签": "好评"},
    {"文本": "吵", "标签": "差评"},
]
CSV = pd.DataFrame(ROWS).to_csv(index=False)


def read(raw, name="a.csv"):
    return parse_table(raw, name=name, where=name)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (CSV.encode(), None),
        (codecs.BOM_UTF8 + CSV.encode(), "byte order mark"),
        (CSV.encode("gbk"), "read as GB18030"),
        ((CSV + "𠮷,好评\n").encode("gb18030"), "read as GB18030"),
        (CSV.encode("utf-16"), "read as UTF-16"),
        (CSV.replace("\n", "\r\n").replace('欢迎""\r\n', '欢迎""\n').encode(), None),
    ],
    ids=["utf-8", "bom", "gbk", "gb18030", "utf-16", "crlf"],
)
def test_text_of_every_encoding_is_read_and_the_unusual_ones_are_said(raw, said):
    table = read(raw)
    assert table.rows[:3] == ROWS
    assert [said in note for note in table.notes] == ([True] if said else [])


def test_one_bad_byte_in_utf8_is_named_and_is_no_gbk():
    raw = CSV.encode()
    at = raw.index("干净".encode())
    with pytest.raises(ClueBenchError, match=f"line 2: invalid UTF-8 at byte {at}") as caught:
        read(raw[:at] + b"\xff" + raw[at:])
    assert caught.value.hint == "write line 2 anew, in UTF-8"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.xlsx", "a.parquet"])
def test_what_is_written_is_read_back(tmp_path, name):
    write_rows(tmp_path / name, ROWS)
    table = read((tmp_path / name).read_bytes(), name)
    assert (table.columns, table.rows) == (["文本", "标签"], ROWS)


def test_numbers_of_a_sheet_are_the_text_that_a_csv_file_would_have(tmp_path):
    pd.DataFrame({"text": ["甲", 12], "label": [1, 0], "x": [1.5, None], "": [True, None]}).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    assert read((tmp_path / "a.xlsx").read_bytes(), "a.xlsx").rows == [
        {"text": "甲", "label": "1", "x": "1.5", "": "true"},
        {"text": "12", "label": "0", "x": "", "": ""},
    ]


def test_of_a_workbook_the_first_sheet_is_read_and_named(tmp_path):
    with pd.ExcelWriter(tmp_path / "a.xlsx") as book:
        pd.DataFrame(ROWS).to_excel(book, sheet_name="评论", index=False)
        pd.DataFrame([{"other": 1}]).to_excel(book, sheet_name="更多", index=False)
    table = read((tmp_path / "a.xlsx").read_bytes(), "a.xlsx")
    assert table.rows == ROWS
    assert table.notes == ("a.xlsx: read sheet '评论', the first of 2",)


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table", "records"])
@pytest.mark.parametrize("indent", [None, 2])
def test_every_table_that_pandas_writes_as_one_value_is_read_and_said(orient, indent):
    frame = pd.DataFrame({"text": ["甲", None, "丙"], "label": ["a", "b", "c"]}).iloc[[0, 1, 2]]
    table = read(frame.to_json(orient=orient, indent=indent).encode(), "a.json")
    assert [(row["text"], row["label"]) for row in table.rows] == [("甲", "a"), (None, "b"), ("丙", "c")]
    assert orient == "records" or "read as 3 rows" in table.notes[0]


def test_one_object_is_a_row_however_many_lines_it_takes_and_no_table_is_guessed():
    for text in ('{"text": "甲", "n": {"1": 2}}', '{\n "text": "甲",\n "n": {"1": 2}\n}\n'):
        assert read(text.encode(), "a.json").rows == [{"text": "甲", "n": {"1": 2}}]
    for value in ({"1": {"2": "甲"}}, {"text": {"a": "甲"}}, {"text": {"0": "甲"}, "label": {"1": "b"}}, {"a": {}}):
        assert read(json.dumps(value).encode(), "a.jsonl").rows == [value]


def test_a_list_of_objects_and_another_delimiter_are_read():
    assert read('[{"text": "甲"}, {"text": "乙"}]'.encode(), "a.json").rows == [{"text": "甲"}, {"text": "乙"}]
    table = read("text;label\n甲;1\n".encode())
    assert table.rows == [{"text": "甲", "label": "1"}]
    assert "separated by semicolons" in table.notes[0]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("a.tsv", [{"text": "甲\t乙"}], "holds a tab"),
        ("a.xlsx", [{"text": "甲\x01"}], "control character"),
        ("a.xlsx", [{"text": "长" * 40_000}], "40,000 characters"),
        ("a.doc", [{"text": "甲"}], "ends in none of"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_left(tmp_path, name, rows, message):
    with pytest.raises(ClueBenchError, match=message) as caught:
        write_rows(tmp_path / name, rows)
    assert caught.value.hint.startswith("give")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "raw"), [("a.xlsx", b"PK"), ("a.parquet", b"PAR1"), ("a.xls", b"")])
def test_a_file_that_is_not_what_it_is_called_is_one_error(name, raw):
    with pytest.raises(ClueBenchError, match=name):
        read(raw, name)


def test_a_sheet_that_is_larger_than_it_says_is_read_to_its_end(tmp_path):
    pd.DataFrame({"text": [f"第{n}行" for n in range(9)], "label": list("ab") * 4 + ["a"]}).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    said = tmp_path / "said.xlsx"
    with zipfile.ZipFile(tmp_path / "a.xlsx") as whole, zipfile.ZipFile(said, "w") as changed:
        for name in whole.namelist():
            data = whole.read(name)
            if name.endswith("sheet1.xml"):
                assert b'ref="A1:B10"' in data
                data = data.replace(b'ref="A1:B10"', b'ref="A1"')
            changed.writestr(name, data)
    table = read(said.read_bytes(), "a.xlsx")
    assert (len(table.rows), table.columns) == (9, ["text", "label"])


def test_columns_that_are_empty_throughout_are_none(tmp_path):
    table = read("text,label,,\n甲,a,,\n乙,b,,\n".encode())
    assert (table.columns, table.rows) == (
        ["text", "label"],
        [{"text": "甲", "label": "a"}, {"text": "乙", "label": "b"}],
    )


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_line_ends_in_a_text_and_values_that_are_no_text_are_written(tmp_path, name):
    write_rows(tmp_path / name, [{"text": "a\rb", "when": datetime.date(2026, 1, 2)}, {"text": "c", "when": None}])
    table = read((tmp_path / name).read_bytes(), name)
    assert [row["text"] for row in table.rows] == ["a\rb", "c"]
    assert table.rows[0]["when"] == "2026-01-02"


def test_rows_whose_cells_are_all_blank_are_left_out_and_counted(tmp_path):
    rows = [{"text": "甲", "label": "a"}, {"text": "乙", "label": "b"}]
    table = read("text,label,\n甲,a,\n , ,\n乙,b,\n,,\n,,\n".encode())
    assert table.rows == rows
    assert table.places == ["line 2", "line 4"]
    assert table.notes == ("a.csv: rows whose cells are all blank, left out: 3",)
    pd.DataFrame([["甲", "a"], [None, " "], ["乙", "b"]], columns=["text", "label"]).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    table = read((tmp_path / "a.xlsx").read_bytes(), "a.xlsx")
    assert (table.rows, table.notes) == (rows, ("a.xlsx: rows whose cells are all blank, left out: 1",))


def test_a_blank_text_of_a_table_of_one_column_is_a_row():
    assert read('text\n甲\n""\n'.encode()).rows == [{"text": "甲"}, {"text": ""}]


def test_a_title_above_the_header_is_said_to_be_no_header(tmp_path):
    pd.DataFrame([["酒店评论", None, None], ["id", "text", "label"], [1, "甲", "a"]]).to_excel(
        tmp_path / "a.xlsx", index=False, header=False
    )
    books = {"a.xlsx": (tmp_path / "a.xlsx").read_bytes(), "a.csv": "酒店评论,,\nid,text,label\n1,甲,a\n".encode()}
    for name, raw in books.items():
        with pytest.raises(ClueBenchError, match=f"{name}: line 1 .*: '酒店评论', '', ''") as caught:
            read(raw, name)
        assert caught.value.hint.startswith("delete")


def write_sheets(path, **sheets):
    with pd.ExcelWriter(path) as book:
        for name, rows in sheets.items():
            pd.DataFrame(rows).to_excel(book, sheet_name=name, index=False)
    return path.read_bytes()


def test_of_a_workbook_the_only_sheet_with_the_wanted_columns_is_read_and_named(tmp_path):
    def wanted(columns):
        return {"文本", "标签"} <= set(columns)

    def of(**sheets):
        raw = write_sheets(tmp_path / "a.xlsx", **sheets)
        return parse_table(raw, name="a.xlsx", where="a.xlsx", is_wanted=wanted)

    about = [{"作者": "某人", "日期": "今天"}]
    table = of(说明=about, 数据=ROWS)
    assert table.rows == ROWS
    assert table.notes == ("a.xlsx: read sheet '数据', the only one of 2 with such columns",)
    assert of(数据=ROWS, 更多=ROWS).notes == ("a.xlsx: read sheet '数据', the first of 2",)
    for sheets, message in (
        ({"说明": about, "更多": about}, r"'说明' \(作者, 日期\), '更多' \(作者, 日期\)"),
        ({"说明": about, "数据": ROWS, "更多": ROWS}, "sheets '数据', '更多' all have"),
    ):
        with pytest.raises(ClueBenchError, match=message) as caught:
            of(**sheets)
        assert "to the front" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "rows", "num_unquoted"),
    [
        ('"""老公不见面"""\ta\n', [('"老公不见面"', "a")], 1),
        ('"他说""好"""\t"a"\n', [('他说"好"', "a")], 2),
        ('"一\t二"\ta\n', [("一\t二", "a")], 1),
        ('"一\n二"\ta\r\n三\tb\r\n', [("一\n二", "a"), ("三", "b")], 1),
        ('甲\t"a\n"\n乙\tb', [("甲", "a\n"), ("乙", "b")], 1),
        ('""\ta\n', [("", "a")], 1),
        ('"你好,\ta\n', [('"你好,', "a")], 0),
        ('"甲"和"乙"\ta\n', [('"甲"和"乙"', "a")], 0),
        ('"甲""\ta\n', [('"甲""', "a")], 0),
        ('他说"好"\ta\n', [('他说"好"', "a")], 0),
        ('"你好\ta\n谢谢"\tb\n', [('"你好', "a"), ('谢谢"', "b")], 0),  # two lines, as they stand
    ],
)
def test_cells_of_tab_separated_text_are_unquoted_if_they_are_well_formed(text, rows, num_unquoted):
    table = read(f"text\tlabel\n{text}".encode(), "a.tsv")
    assert [(row["text"], row["label"]) for row in table.rows] == rows
    said = (f"a.tsv: cells read without the quotes around them: {num_unquoted}",)
    assert table.notes == said * bool(num_unquoted)


def test_a_quoted_cell_of_several_lines_is_placed_at_its_last_line():
    text = 'text\tlabel\n"一\n二\n三"\ta\n\n四\tb\n'
    assert read(text.encode(), "a.tsv").places == ["line 4", "line 6"]
    assert read(text.replace("\t", ",").encode()).places == ["line 4", "line 6"]


def test_what_pandas_writes_with_tabs_is_read_as_with_commas():
    frame = pd.DataFrame([*ROWS, {"文本": "一\t二", "标签": '"'}, {"文本": '"', "标签": "\n"}])
    tabs, commas = (frame.to_csv(index=False, sep=sign).encode() for sign in "\t,")
    assert read(tabs, "a.tsv").rows == read(commas).rows == frame.to_dict("records")


@given(rows=st.lists(st.tuples(*[st.text('"甲 a', max_size=6)] * 2), min_size=1, max_size=6))
def test_quotes_in_tab_separated_files_are_read_back(tmp_path_factory, rows):
    filled = [{"text": text, "label": label} for text, label in rows if f"{text}{label}".strip()]
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    write_rows(path, [{"text": "头", "label": "a"}, *filled])
    assert read(path.read_bytes(), "a.tsv").rows[1:] == filled
