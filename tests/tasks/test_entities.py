"""Entities of texts as rows state them: places, faults, overlaps. All data here are made up."""

import json

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.entities import LAYOUT, Entity, find_entities, layout_of, spelled_entities, without_overlaps
from clue_bench.tasks.own import data_folder, rows_of
from clue_bench.tasks.own_about import about_rows
from clue_bench.tasks.own_task import own_task_of
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import Task, load_task

TYPES = ("name", "company")


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": {"李华": [[0, 1]]}}, ([(0, 1, "name")], 0, 0)),
        ({"name": {"李华": [[0, 1], [4, 5]]}, "company": {"在": [[2, 2]]}}, None),
        ({}, ([], 0, 0)),
        ({"name": {}}, ([], 0, 0)),
        ({"name": {"李华": [[0, 2]]}}, ([(0, 1, "name")], 1, 0)),  # a place behind the end, as Python counts
        ({"name": {"李华": [[3, 4]]}}, ([(4, 5, "name")], 1, 0)),  # the nearest one
        ({"name": {"王": [[0, 0]], "": [[0, 0]]}}, ([], 2, 2)),
        ({"name": {"李华": [[0, 1], [0, 1]]}}, ([(0, 1, "name")], 0, 0)),
        ('{"name": {"李华": [[0, 1]]}}', ([(0, 1, "name")], 0, 0)),  # a cell
        ({"name": {"李华": [[9, 10]]}}, ([(4, 5, "name")], 1, 0)),
        ({"person": {"李华": [[0, 1]]}}, "'person' is not one of 2"),
        ({"name": ["李华"]}, "no entities as CLUENER"),
        ({"name": {"李华": [0, 1]}}, r"\[0, 1\]"),
        ({"name": {"李华": [[0]]}}, r"\[\[0\]\]"),
        ({"name": {"李华": [[-1, 0]]}}, r"-1"),
        ({"name": {"李华": [[0, True]]}}, "True"),
        ({"name": {"李\ud83d": [[0, 1]]}}, "half a character"),
        ({"name": {"李华": []}}, r"are \[\]"),  # else it would be left out in silence
        ({" ": {"李华": [[0, 1]]}}, "type without a name"),
        ("李华", "no entities as CLUENER"),
        (None, "no entities as CLUENER"),
        ([], ([], 0, 0)),  # doccano's of a text without any
        (
            [[0, 2, "name"], [4, 6, "name"], [2, 3, "company"]],
            ([(0, 1, "name"), (2, 2, "company"), (4, 5, "name")], 0, 0),
        ),
        ('[[0, 2, "name"]]', ([(0, 1, "name")], 0, 0)),  # a cell
        ([[4, 7, "name"]], r"\[4, 7\] is no part of a text of 6"),
        ([[2, 2, "name"]], r"\[2, 2\] is no part"),
        ([[-1, 2, "name"]], r"\[-1, 2\] is no part"),
        ([[0, 2, "person"]], "'person' is not one of 2"),
        ([[0, 2]], "no entities as CLUENER"),
        ([[0, 2, 1]], "no entities as CLUENER"),
        ([[0, 2, " "]], "type without a name"),
    ],
)
def test_entities_stand_at_their_place_or_are_looked_for_and_counted(value, expected):
    text = "李华在他李华"
    if isinstance(expected, str):
        with pytest.raises(ClueBenchError, match=expected):
            find_entities(value, text, TYPES, where="row 1", hint="")
        return
    found = find_entities(value, text, TYPES, where="row 1", hint="")
    if expected is None:
        assert layout_of(found.right, text) == value
        return
    assert ([tuple(each) for each in found.right], *found[1:]) == expected


def test_of_overlapping_entities_tags_hold_the_longest_and_scores_count_all():
    nested = [Entity(0, 1, "name"), Entity(0, 3, "company"), Entity(3, 4, "name"), Entity(5, 6, "name")]
    assert without_overlaps(nested) == [Entity(0, 3, "company"), Entity(5, 6, "name")]
    assert without_overlaps([Entity(1, 2, "name"), Entity(0, 1, "name")]) == [Entity(0, 1, "name")]


def test_what_is_wrong_with_the_places_of_a_file_is_said(tmp_path):
    rows = [
        {
            "text": "李华在北京大学",
            "label": {"name": {"李华": [[0, 2]]}, "scene": {"北京": [[3, 4]], "上海": [[0, 1]]}},
        },
        {"text": "在北京大学", "label": {"scene": {"北京": [[1, 2]]}, "organization": {"北京大学": [[1, 4]]}}},
    ]
    for split in ("train", "dev"):
        write(tmp_path / "cluener" / f"{split}.json", rows)
    train = read_rows(load_task("cluener"), tmp_path)["train"]
    assert train.notes == (
        "train of cluener: of 5 entities, 2 do not stand at their place: the nearest is taken; 1 of these stand "
        "nowhere in their text and are left out",
        "train of cluener: entities that overlap a longer one: 1; tags cannot hold them, scores count them",
    )
    assert [spelled_entities(each, text) for (text,), each in zip(train.texts, train.entities, strict=True)] == [
        '{"name": {"李华": [[0, 1]]}, "scene": {"北京": [[3, 4]]}}',
        '{"scene": {"北京": [[1, 2]]}, "organization": {"北京大学": [[1, 4]]}}',
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "李华", "label": {"person": {"李华": [[0, 1]]}}}, "line 1: label: type 'person'"),
        ({"text": "李华"}, "line 1: label: no entities"),
        ({"label": {}}, "line 1: no field 'text'"),
        ({"text": "李华", "label": {"name": {"李华": "0-1"}}}, "line 1: label, name"),
    ],
)
def test_a_fault_of_a_row_is_named_with_its_line(row, message, tmp_path):
    for split in ("train", "dev"):
        write(tmp_path / "cluener" / f"{split}.json", [row])
    with pytest.raises(ClueBenchError, match=message):
        read_rows(load_task("cluener"), tmp_path)


def test_a_card_of_tags_has_its_own_metric_and_one_text():
    values = load_task("cluener").model_dump()
    assert load_task("cluener").outputs[:3] == ("O", "B-address", "I-address")
    assert Task.model_validate({**values, "labels": ["a"], "label_descriptions": ["a"]}).outputs == ("O", "B-a", "I-a")
    for changed in ({"metric": "macro_f1"}, {"text_fields": ["text", "other"]}):
        with pytest.raises(ValueError, match="entity_f1"):
            Task.model_validate({**values, **changed})
    with pytest.raises(ValueError, match="0 labels"):
        Task.model_validate({**values, "labels": [], "label_descriptions": []})


GOOD = {"text": "李华在北京", "label": {"name": {"李华": [[0, 1]]}}}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"name": {"李华": [0, 1]}}, r"train.json, line 2: label, name: .*\[0, 1\]"),
        ({"name": {"李华": [[0.0, 1.0]]}}, "train.json, line 2: label, name"),
        (["B-name"], "train.json, line 2: label: no entities"),
    ],
)
def test_one_label_in_the_layout_makes_a_task_of_entities_and_another_is_named_by_its_line(label, message, tmp_path):
    write(tmp_path / "own" / "train.json", [GOOD, {**GOOD, "label": label}])
    write(tmp_path / "own" / "dev.json", [GOOD])
    opened, _ = rows_of(tmp_path / "own", None)
    with pytest.raises(ClueBenchError, match=message):
        own_task_of(None, opened, tmp_path / "own", text=None, label=None)


def test_rows_in_which_nothing_has_an_entity_are_refused(tmp_path):
    for split in ("train", "dev"):
        write(tmp_path / "own" / f"{split}.json", [{"text": "在北京", "label": {}}])
    opened, _ = rows_of(tmp_path / "own", None)
    with pytest.raises(ClueBenchError, match="no text of train"):
        own_task_of(None, opened, tmp_path / "own", text=None, label=None)


@pytest.mark.parametrize(("split", "label"), [("train", {}), ("dev", {}), ("dev", {"name": {"张伟": [[0, 1]]}})])
def test_a_split_without_entities_has_nothing_to_learn_or_to_score(split, label, tmp_path):
    for each in ("train", "dev"):
        row = {**GOOD, "label": label} if each == split else GOOD
        write(tmp_path / "cluener" / f"{each}.json", [row])
    with pytest.raises(ClueBenchError, match=f"{split} of cluener: no entity"):
        read_rows(load_task("cluener"), tmp_path)


def test_types_of_dev_that_train_lacks_are_named(tmp_path):
    write(tmp_path / "cluener" / "train.json", [GOOD])
    write(tmp_path / "cluener" / "dev.json", [{**GOOD, "label": {"scene": {"北京": [[3, 4]]}}}])
    task = load_task("cluener")
    notes = about_rows("own", task, read_rows(task, tmp_path), None)
    assert notes[-1] == "warning: own: dev has entities of types that train has none of: 'scene'"


def test_a_test_set_whose_labels_name_no_entity_has_no_labels(tmp_path):
    values = load_task("cluener").model_dump()
    values["splits"]["test"] = {"file": "test.json"}
    for split in ("train", "dev", "test"):
        write(tmp_path / "cluener" / f"{split}.json", [{**GOOD, "label": {}} if split == "test" else GOOD])
    found = read_rows(Task.model_validate(values), tmp_path)["test"]
    assert found.labels.tolist() == [-1]
    assert "no label names an entity" in found.notes[0]


def test_spans_as_doccano_exports_them_are_read_as_entities_and_said(tmp_path):
    rows = [
        {"id": 1, "text": "李华在北京", "label": [[0, 2, "人名"], [3, 5, "地名"]], "Comments": []},
        {"id": 2, "text": "没有", "label": [], "Comments": []},
    ]
    for split in ("train", "dev"):
        write(tmp_path / "own" / f"{split}.jsonl", rows)
    opened, _ = rows_of(tmp_path / "own", None)
    task, by_split, notes = own_task_of(None, opened, tmp_path / "own", text=None, label=None)
    assert (task.kind, task.labels) == ("tags", ["人名", "地名"])
    assert notes[0] == "own: 'label' holds entities as [start, end, type], end not included, as doccano has them"
    with data_folder(task, by_split) as folder:
        found = read_rows(task, folder)["dev"].entities
    assert found == ((Entity(0, 1, "人名"), Entity(3, 4, "地名")), ())


@pytest.mark.parametrize(
    ("labels", "message", "hint"),
    [
        ([["甲", "乙"], ["甲"]], r"train.jsonl, line 1: label is a list, \['甲', '乙'\]", "write one label a row"),
        (['["甲", "乙"]', "甲"], r"train.jsonl, line 1: label is a list, \['甲', '乙'\]", "write one label a row"),
        (["甲", {"name": "甲"}], "train.jsonl, line 2: label is an object", "CLUENER"),
        (["甲", [{"start": 0, "end": 2}]], "train.jsonl, line 2: label is a list", "CLUENER"),
    ],
)
def test_lists_and_objects_are_no_classes(labels, message, hint, tmp_path):
    for split in ("train", "dev"):
        rows = [{"text": f"第{n}句", "label": label} for n, label in enumerate(labels)]
        write(tmp_path / "own" / f"{split}.jsonl", rows)
    opened, _ = rows_of(tmp_path / "own", None)
    with pytest.raises(ClueBenchError, match=message) as caught:
        own_task_of(None, opened, tmp_path / "own", text=None, label=None)
    assert (LAYOUT if hint == "CLUENER" else hint) in caught.value.hint


def test_a_name_in_brackets_is_a_class(tmp_path):
    rows = [{"text": f"第{n}句", "label": "[1]" if n % 2 else "[体育, 娱乐]"} for n in range(40)]
    write(tmp_path / "own.jsonl", rows)
    opened, _ = rows_of(tmp_path / "own.jsonl", None)
    assert own_task_of(None, opened, tmp_path / "own.jsonl", text=None, label=None)[0].labels == ["[1]", "[体育, 娱乐]"]
