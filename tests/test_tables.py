"""One table, rendered for a terminal, Markdown, HTML, CSV, JSON and pandas."""

import csv
import io
import json
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from clue_bench.tables import Cell, Column, Link, Row, Table, escape, make_table, text_width

HOSTILE = "<script>alert(1)</script>|*x*\"'&"


@pytest.fixture
def table() -> Table:
    columns = (Column("模型", "model"), Column("AFQMC", "official", is_number=True, tags={"task": "AFQMC"}))
    rows = (
        Row(
            (
                Cell("tiny", links=(Link("tiny", "https://example.org/a?b=1&c=2"),)),
                Cell("69.02%", Decimal("69.02"), "†1"),
            )
        ),
        Row(
            (Cell("多数类"), Cell("70.00%", 70.0, is_best=True, below="1–2", address="t/多数类/AFQMC")), tag="无预训练"
        ),
        Row((Cell(HOSTILE), Cell("–"))),
    )
    return Table("Scores", columns, rows, ("† majority",), "t")


def test_a_terminal_gives_chinese_characters_two_columns_each(table: Table) -> None:
    lines = table.to_text().splitlines()
    assert lines[0].split() == ["model", "AFQMC"]
    assert len({text_width(line) for line in lines if line.endswith("%")}) == 1
    assert "69.02 %†¹" in lines[1]
    assert lines[2].startswith("majority class (without pretraining)")


def test_what_is_wider_than_the_terminal_continues_below_and_nothing_is_cut() -> None:
    wide = make_table("", ["model", *(f"column{n}" for n in range(12))], [["tiny", *range(10_000, 10_012)]])
    text = wide.to_text(40)
    assert max(map(text_width, text.splitlines())) <= 40
    assert text.count("tiny") == len(text.split("\n\n")) > 1
    assert all(f"10,0{n:02d}" in text for n in range(12))


def test_a_long_sentence_is_wrapped_at_blanks() -> None:
    sentence = "not separated: the difference lies inside sampling error, as far as anybody can tell 今天天气很好"
    text = make_table("", ["what", "said"], [["verdict", sentence]]).to_text(40)
    assert max(map(text_width, text.splitlines())) <= 40
    found = text.replace("verdict", "").split()[2:]
    assert found[:14] == sentence.split()[:14]
    assert "".join(found[14:]) == "今天天气很好"  # broken between characters, where it does not fit


def test_markdown_shows_the_best_bold_marks_behind_and_names_as_they_are(table: Table) -> None:
    assert table.to_markdown().splitlines() == [
        "| 模型 | AFQMC |",
        "|:-:|:-:|",
        "| [tiny](https://example.org/a?b=1&c=2) | 69.02%†¹ |",
        "| *多数类 (无预训练)* | **70.00%** |",
        f"| {escape(HOSTILE)} | – |",
    ]


def test_html_is_escaped_and_closed(table: Table) -> None:
    found: list[str] = []
    texts: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)

        def handle_data(self, data: str) -> None:
            texts.append(data)

    Parser().feed(table._repr_html_())
    assert "script" not in found
    assert HOSTILE in texts
    assert found.count("tr") == 4
    assert 'href="https://example.org/a?b=1&amp;c=2"' in table.to_html()


def test_no_address_but_the_webs_becomes_a_link() -> None:
    cell = Cell("x", links=(Link("x", "javascript:alert(1)"),))
    assert "javascript" not in make_table("", ["a"], [[cell]]).to_html()


def test_csv_has_values_and_runs_no_formula(table: Table) -> None:
    assert list(csv.reader(io.StringIO(table.to_csv())))[1:3] == [["tiny", "69.02"], ["多数类", "70.0"]]
    assert "'=1+1" in make_table("", ["a"], [["=1+1"]]).to_csv()
    assert "-5" in make_table("", ["a"], [[-5]]).to_csv().splitlines()


def test_json_leaves_out_what_is_not_there(table: Table) -> None:
    values = json.loads(json.dumps(table.to_json()))
    assert values["columns"][1] == {"name": "AFQMC", "note": "official", "is_number": True, "tags": {"task": "AFQMC"}}
    assert values["rows"][1]["tag"] == "无预训练"
    assert values["rows"][1]["cells"][1] == {
        **{"text": "70.00%", "value": 70.0, "is_best": True, "below": "1–2", "address": "t/多数类/AFQMC"}
    }
    assert make_table("", ["a"], [[0]]).to_json()["rows"][0]["cells"] == [{"text": "0", "value": 0}]


def test_a_frame_has_numbers_and_nothing_for_what_is_missing(table: Table) -> None:
    frame = table.to_dataframe()
    assert list(frame.columns) == ["模型", "AFQMC"]
    assert frame["AFQMC"].isna().tolist() == [False, False, True]
    assert frame["AFQMC"].max() == 70.0


def test_plain_values_make_a_table_whose_columns_know_what_they_hold() -> None:
    made = make_table("t", ["name", "n"], [["a", 1], ["b", None]], notes=["n"])
    assert [column.is_number for column in made.columns] == [False, True]
    assert str(made).startswith("t\n\nname")
    assert made.values() == [["a", 1], ["b", None]]


def test_importing_tables_loads_neither_pandas_nor_rich() -> None:
    code = "import sys, clue_bench.tables; print(sorted({'pandas', 'rich', 'numpy', 'torch'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
