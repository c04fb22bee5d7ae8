"""From rows of JSON Lines, CSV and TSV to texts, labels and ids, and which file a split is read from."""

import csv
import gzip
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import content, find, locate
from clue_bench.tasks.formats import parse_table
from clue_bench.tasks.rows import id_of, label_of, read_split, texts_of
from clue_bench.tasks.task import Span, Split, Task

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NOUN = Span(field="text", start="noun_at", text="noun", before="_", after="_")
PRONOUN = Span(field="text", start="pronoun_at", text="pronoun", before="[", after="]")


def parsed_rows(raw, *, name, where=""):
    """Return places and rows of a file."""
    table = parse_table(raw, name=name, where=where)
    return list(zip(table.places, table.rows, strict=True))


def card(**changes) -> Task:
    """Return a card of one text and two labels, with `changes`."""
    values = {
        "name": "own",
        "title": "own",
        "column": "own",
        "text_fields": ["text"],
        "label_field": "label",
        "labels": ["0", "1"],
        "label_descriptions": ["no", "yes"],
        "metric": "accuracy",
        "max_length": 32,
        "splits": {name: Split(file=f"{name}.json") for name in ("train", "dev", "test")},
    }
    return Task.model_validate({**values, **changes})


def marked(text: str, spans: list[Span], **fields) -> str:
    (found,) = texts_of({"text": text, **fields}, card(spans=spans), "line 1")
    return found


# Texts


def test_a_list_of_strings_is_joined_by_the_cards_separator():
    row = {"keyword": ["声呐", "波束", "FFT"], "abst": "摘要"}
    task = card(text_fields=["keyword", "abst"], list_separator="；")
    assert texts_of(row, task, "") == ("声呐；波束；FFT", "摘要")
    assert texts_of(row, card(text_fields=["keyword"]), "") == ("声呐 波束 FFT",)


def test_a_dot_reaches_into_an_object_and_a_column_may_have_one_in_its_name():
    task = card(text_fields=["question.asked"])
    assert texts_of({"question": {"asked": "怎么退票"}}, task, "") == ("怎么退票",)
    assert texts_of({"question.asked": "怎么改签"}, task, "") == ("怎么改签",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "here: no field 'text'; found none"),
        ({"Text": "a", "label": "0"}, "here: no field 'text'; found Text, label"),
        ({"text": None}, "here: text is None, expected a string"),
        ({"text": 3}, "here: text is 3, expected a string"),
        ({"text": {"a": "b"}}, "here: text is {'a': 'b'}, expected a string"),
        ({"text": ["a", 3]}, "here: text is 3, expected a string"),
        ({"text": "\ud83d"}, "here: text holds half a character"),
        ({"text": ["a", "\ude00"]}, "here: text holds half a character"),
    ],
)
def test_a_text_that_is_none_is_named(row, message):
    with pytest.raises(ClueBenchError) as refused:
        texts_of(row, card(), "here")
    assert refused.value.message == message


def test_a_path_that_ends_too_early_is_named_in_full():
    with pytest.raises(ClueBenchError, match=r"here: no field 'question\.asked'; found question"):
        texts_of({"question": "怎么退票"}, card(text_fields=["question.asked"]), "here")


# Labels and ids


@pytest.mark.parametrize(
    ("value", "label"), [("1", "1"), (1, "1"), (0, "0"), (True, "true"), (False, "false"), (1.0, "1"), ("好评", "好评")]
)
def test_labels_are_strings_numbers_or_truth_values(value, label):
    assert label_of({"label": value}, card(), "") == label


@pytest.mark.parametrize("value", [None, float("nan"), ["1"], {}])
def test_other_labels_are_refused(value):
    with pytest.raises(ClueBenchError, match=r"here: label is .*, expected a string"):
        label_of({"label": value}, card(), "here")


@pytest.mark.parametrize(("row", "found"), [({"id": 7}, 7), ({"id": "a7"}, "a7"), ({}, 3), ({"id": None}, 3)])
def test_a_row_without_id_has_its_number(row, found):
    assert id_of(row, card(), 3) == found


def test_the_card_says_where_the_id_stands():
    assert id_of({"id": 1, "meta": {"key": "k"}}, card(id_field="meta.key"), 3) == "k"


@pytest.mark.parametrize("value", [True, [1]])
def test_an_id_that_is_neither_number_nor_string_is_refused(value):
    with pytest.raises(ClueBenchError, match=r"here: id is .*, expected a number"):
        id_of({"id": value}, card(), 3, "here")


# Spans


def marked_by_clues_baseline(text: str, noun: tuple[int, str], pronoun: tuple[int, str]) -> str:
    """Return the text as CLUE's own reader of CLUEWSC2020 marks it (classifier_pytorch/processors/clue.py)."""
    characters = list(text)
    (noun_at, noun_text), (pronoun_at, pronoun_text) = noun, pronoun
    if pronoun_at > noun_at:
        characters.insert(noun_at, "_")
        characters.insert(noun_at + len(noun_text) + 1, "_")
        characters.insert(pronoun_at + 2, "[")
        characters.insert(pronoun_at + len(pronoun_text) + 2 + 1, "]")
    else:
        characters.insert(pronoun_at, "[")
        characters.insert(pronoun_at + len(pronoun_text) + 1, "]")
        characters.insert(noun_at + 2, "_")
        characters.insert(noun_at + len(noun_text) + 2 + 1, "_")
    return "".join(characters)


@given(parts=st.tuples(TEXTS, TEXTS.filter(bool), TEXTS, TEXTS.filter(bool), TEXTS), noun_first=st.booleans())
def test_two_spans_are_marked_as_clues_baseline_marks_them(parts, noun_first):
    text = "".join(parts)
    spans = [(len(parts[0]), parts[1]), (sum(map(len, parts[:3])), parts[3])]
    noun, pronoun = spans if noun_first else spans[::-1]
    fields = {"noun_at": noun[0], "noun": noun[1], "pronoun_at": pronoun[0], "pronoun": pronoun[1]}
    assert marked(text, [NOUN, PRONOUN], **fields) == marked_by_clues_baseline(text, noun, pronoun)


@pytest.mark.parametrize(
    ("noun", "pronoun", "expected"),
    [
        ((0, "他的父亲"), (0, "他"), "_[他]的父亲_来了"),  # both begin at one place
        ((0, "他的父亲"), (2, "父亲"), "_他的[父亲]_来了"),  # both end at one
        ((0, "他的父亲"), (1, "的"), "_他[的]父亲_来了"),
        ((2, "父亲"), (0, "他的父亲"), "[他的_父亲_]来了"),  # the other one is the outer
        ((0, "他的父亲"), (4, "来了"), "_他的父亲_[来了]"),  # one ends where the other begins
        ((4, "来了"), (0, "他的父亲"), "[他的父亲]_来了_"),
        ((0, "他"), (0, "他"), "_[他]_的父亲来了"),
    ],
)
def test_spans_that_touch_are_nested(noun, pronoun, expected):
    fields = {"noun_at": noun[0], "noun": noun[1], "pronoun_at": pronoun[0], "pronoun": pronoun[1]}
    assert marked("他的父亲来了", [NOUN, PRONOUN], **fields) == expected


def test_a_span_stays_in_its_own_text_and_its_place_may_be_written_as_a_string():
    task = card(text_fields=["text", "other"], spans=[NOUN])
    row = {"text": "张三来了", "other": "张三来了", "noun_at": "0", "noun": "张三"}
    assert texts_of(row, task, "") == ("_张三_来了", "张三来了")


@pytest.mark.parametrize(
    ("place", "words", "message"),
    [
        (1, "张三", "here: noun is '张三', at character 1 stands '三来'"),
        (9, "张三", "here: noun is '张三', at character 9 stands ''"),
        (-4, "张三", "here: noun_at is -4, expected a place in the text"),
        (True, "三", "here: noun_at is True, expected a place"),
        ("零", "张三", "here: noun_at is '零', expected a place"),
        ("9" * 5000, "张三", "expected a place in the text"),  # Python does not read numbers that long
        (0, "", "here: noun is empty, nothing to mark"),
        (0, None, "here: noun is None, expected a string"),
    ],
)
def test_a_span_that_is_not_there_is_refused(place, words, message):
    with pytest.raises(ClueBenchError) as refused:
        texts_of({"text": "张三来了", "noun_at": place, "noun": words}, card(spans=[NOUN]), "here")
    assert message in refused.value.message


# Files


@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_what_the_csv_module_writes_is_read_back(rows):
    written = io.StringIO()
    csv.writer(written).writerows([["text", "label"], *rows])
    parsed = parsed_rows(written.getvalue().encode(), name="train.csv", where="")
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    assert [(row["text"], row["label"]) for _, row in parsed] == filled


@given(rows=st.lists(TEXTS, min_size=1, max_size=5), ascii_only=st.booleans())
def test_json_lines_are_read_back_whatever_line_ends_unicode_has(rows, ascii_only):
    lines = [json.dumps({"text": text}, ensure_ascii=ascii_only) for text in rows]
    parsed = parsed_rows("\r\n".join(lines).encode(), name="train.jsonl", where="")
    assert [row["text"] for _, row in parsed] == rows
    assert [place for place, _ in parsed] == [f"line {number}" for number in range(1, len(rows) + 1)]


def test_tables_may_begin_with_a_byte_order_mark_and_hold_line_ends():
    raw = '\ufeffid, text ,label\r\n1,"一\n二,""三""",0\r\n2,四,1\r\n'.encode()
    parsed = parsed_rows(raw, name="train.csv", where="")
    assert parsed == [
        ("line 3", {"id": "1", "text": '一\n二,"三"', "label": "0"}),
        ("line 4", {"id": "2", "text": "四", "label": "1"}),
    ]


def test_quotes_in_tab_separated_files_are_text():
    parsed = parsed_rows('text\tlabel\n"你好,\t0\n'.encode(), name="train.tsv", where="")
    assert parsed == [("line 2", {"text": '"你好,', "label": "0"})]


def test_fields_may_be_long():
    text = "长" * 200_000
    ((_, row),) = parsed_rows(f"text\n{text}\n".encode(), name="dev.csv", where="")
    assert row["text"] == text


@pytest.mark.parametrize(
    ("name", "content_", "message"),
    [
        ("a.csv", "text,label\n好,0,1\n", "a.csv, line 2: 3 columns, the header has 2"),
        ("a.csv", "text,label\n好\n", "a.csv, line 2: 1 column, the header has 2"),
        ("a.csv", 'text,label\n"好,0\n', "a.csv, line 2: unexpected end of data"),
        ("a.csv", "text,label,text\n好,0,坏\n", "a.csv: two columns are called 'text'"),
        ("a.json", '[\n{"text": "好"}\n', "a.json: not JSON"),
        ("a.json", '["好"]\n', "a.json, object 0: found a str, expected a JSON object"),
        ("a.txt", "好\n", "a.txt: 'a.txt' ends in none of .json, .jsonl, .csv, .tsv"),
        ("a", "好\n", "a: 'a' ends in none of"),
    ],
)
def test_files_that_are_not_what_their_name_says_are_refused(name, content_, message):
    with pytest.raises(ClueBenchError) as refused:
        (parsed_rows(content_.encode(), name=name, where=name))
    assert message in refused.value.message


@pytest.mark.parametrize("name", ["train.CSV", "train.csv.gz"])
def test_the_kind_is_known_by_the_ending_whatever_its_case(name):
    assert [row for _, row in parsed_rows(b"text\na\n", name=name, where="")] == [{"text": "a"}]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path


@pytest.mark.parametrize("file", ["train.csv", "train.csv.gz", "train.tsv"])
def test_a_csv_task_is_read_like_any_other(folder, file):
    delimiter = "\t" if "tsv" in file else ","
    raw = f"text{delimiter}label\n好{delimiter}1\n坏{delimiter}0\n丢{delimiter}?\n".encode()
    (folder / "own" / file).write_bytes(gzip.compress(raw) if file.endswith(".gz") else raw)
    splits = {"train": Split(file=file), "dev": Split(file="dev.csv")}
    rows = read_split(card(splits=splits, dropped_labels=["?"]), "train", folder)
    assert (rows.texts, rows.labels.tolist(), rows.ids) == ([("好",), ("坏",)], [1, 0], [0, 1])
    assert (rows.facts.rows, rows.facts.dropped_rows, rows.facts.is_official) == (3, 1, False)


def test_other_files_are_looked_for_in_their_order(folder):
    splits = {"train": Split(file="train.50k.json", other_files=["train.json", "train.10k.json"])}
    task = card(splits={**splits, "dev": Split(file="dev.json")})
    places = ["train.10k.json", "train.json.gz", "train.json", "train.50k.json.gz"]
    with zipfile.ZipFile(folder / "own_public.zip", "w") as archive:
        archive.writestr("train.10k.json", "in the zip")
    assert content(find(task, "train", folder)) == b"in the zip"
    for place in places:
        raw = place.encode()
        (folder / "own" / place).write_bytes(gzip.compress(raw) if place.endswith(".gz") else raw)
        found = find(task, "train", folder)
        assert (content(found), found.name) == (raw, place.removesuffix(".gz"))
    assert locate(task, "dev", folder) is None


def test_a_zip_without_the_file_is_named(folder):
    with zipfile.ZipFile(folder / "own_public.zip", "w") as archive:
        archive.writestr("a/b/train.json", "too deep")
    with pytest.raises(ClueBenchError, match=r"own_public\.zip: no train\.json"):
        find(card(), "train", folder)


def test_an_empty_file_and_a_header_alone_are_no_rows(folder):
    (folder / "own" / "train.json").write_text("\n\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"train\.json: no rows"):
        read_split(card(), "train", folder)
    (folder / "own" / "dev.csv").write_text("text,label\n", encoding="utf-8")
    splits = {"train": Split(file="train.json"), "dev": Split(file="dev.csv")}
    with pytest.raises(ClueBenchError, match=r"dev\.csv: no rows"):
        read_split(card(splits=splits), "dev", folder)


# Cards


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["0", "0"]}, "labels repeat themselves"),
        ({"labels": ["0", "1", "2"]}, "3 labels but 2 label_descriptions"),
        ({"dropped_labels": ["1", "-"]}, "1 in labels and in dropped_labels"),
        ({"splits": {"train": Split(file="train.json")}}, "splits lack dev"),
        ({"text_fields": ["other"], "spans": [NOUN]}, "spans stand in text, which is not one of text_fields"),
    ],
)
def test_cards_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        card(**changes)


def test_a_file_of_unknown_rows_and_md5_is_never_official(folder):
    (folder / "own" / "train.json").write_text('{"text": "好", "label": 1}\n', encoding="utf-8")
    assert not read_split(card(), "train", folder).facts.is_official
