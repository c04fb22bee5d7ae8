"""Tables in a narrow terminal: nothing is cut, and what does not fit side by side goes elsewhere."""

from clue_bench.layout import Head, lay_out, text_width, wrap
from clue_bench.tables import Column, make_table

LONG = "finetune-cluewsc2020-roberta-tiny-2l128-untrained-c6bd58f1-s1"
HEADS = [
    Head("model"),
    Head("status"),
    Head("score", is_number=True),
    Head("seconds", is_number=True, is_detail=True),
    Head("folder", is_below=True),
]
ROWS = [["tiny", "completed", "50.76 %", "103", f"runs/{LONG}"], ["小模型", "completed", "49.10 %", "98", "runs/b"]]


def test_a_table_that_fits_is_as_it_is():
    text, left_out = lay_out(HEADS, ROWS, 200)
    assert text == lay_out(HEADS, ROWS, None).text
    assert left_out == ()
    assert "same in every row" not in text


def test_a_column_of_one_value_becomes_a_line_above_the_table():
    text, left_out = lay_out(HEADS, ROWS, 98)
    first, empty, head, *_ = text.splitlines()
    assert first == "same in every row: status completed"
    assert empty == ""
    assert head.split() == ["model", "score", "seconds", "folder"]
    assert left_out == ()


def test_details_are_left_out_and_named_before_anything_moves():
    text, left_out = lay_out(HEADS, ROWS, 88)
    assert left_out == ("seconds",)
    assert text.splitlines()[2].split() == ["model", "score", "folder"]


def test_what_may_stand_below_has_a_line_under_its_row():
    text, _ = lay_out(HEADS, ROWS, 76)
    lines = text.splitlines()
    assert lines[2].split() == ["model", "score"]
    assert lines[4] == f"  folder runs/{LONG}"
    assert lines[6] == "  folder runs/b"


def test_no_text_is_lost_and_no_line_too_wide_at_any_width():
    for width in range(24, 120):
        text, left_out = lay_out(HEADS, ROWS, width)
        assert max(map(text_width, text.splitlines())) <= width
        packed = "".join(text.split())
        for row in ROWS:
            for head, cell in zip(HEADS, row, strict=True):
                assert head.name in left_out or "".join(cell.split()) in packed


def test_a_single_row_keeps_its_columns():
    assert "same in every row" not in lay_out(HEADS, ROWS[:1], 60).text


def test_a_long_name_is_broken_behind_a_mark():
    assert wrap(LONG, 40) == ["finetune-cluewsc2020-roberta-tiny-2l128-", "untrained-c6bd58f1-s1"]


def test_a_number_and_its_per_cent_sign_stay_on_one_line():
    assert wrap("脑 15.7 %  视 3.0 %", 17) == ["脑 15.7 %  视", "3.0 %"]


def test_a_table_says_which_columns_its_terminal_has_no_room_for():
    columns = ["model", Column("note", is_detail=True)]
    made = make_table("", columns, [["a", "x" * 60], ["b", "y"]])
    assert "Not shown in 40 columns: note" in made.in_full(40)
    assert "Not shown" not in made.in_full(None)


def test_two_long_texts_share_the_room():
    heads = [Head("check"), Head("found"), Head("to do")]
    rows = [["positions", "a word " * 12, "another word " * 9], ["head", "b", ""]]
    _, line = lay_out(heads, rows, 80).text.splitlines()[:2]
    assert line.index("another") in range(38, 50)
