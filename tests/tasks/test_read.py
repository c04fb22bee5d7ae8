"""Task data: what is found, what is refused, which revision it is called."""

import datetime
import gzip
import hashlib
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import available_splits, describe
from clue_bench.tasks.rows import UNLABELLED, id_of, read_split
from clue_bench.tasks.task import load_task

PAIRS = [
    {"sentence1": "我们在这个国家", "sentence2": "我们在学", "label": "entailment"},
    {"sentence1": "中国人", "sentence2": "不是中国人", "label": "contradiction"},
    {"sentence1": "大家不同意", "sentence2": "没有结论", "label": "-"},
    {"sentence1": "发动", "sentence2": "有了时地就可以发动", "label": "neutral"},
]
TEST = [{"id": 0, "sentence1": "是", "sentence2": "不是"}, {"id": 1, "sentence1": "上", "sentence2": "下"}]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def task():
    return load_task("cmnli")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "cmnli").mkdir(parents=True)
    (folder / "cmnli" / "train.json").write_text(lines(PAIRS * 3), encoding="utf-8")
    (folder / "cmnli" / "dev.json.gz").write_bytes(gzip.compress(lines(PAIRS).encode()))
    (folder / "cmnli" / "test.json").write_text(lines(TEST).rstrip("\n"), encoding="utf-8")
    return folder


def test_rows_of_dropped_labels_are_left_out_and_counted(task, data):
    rows = read_split(task, "dev", data)
    assert rows.labels.tolist() == [1, 0, 2]
    assert rows.texts[0] == ("我们在这个国家", "我们在学")
    assert (rows.facts.rows, rows.facts.dropped_rows) == (4, 1)


def test_nothing_is_dropped_from_test_and_ids_are_kept(task, data):
    rows = read_split(task, "test", data)
    assert rows.labels.tolist() == [UNLABELLED, UNLABELLED]
    assert rows.ids == [0, 1]


@pytest.mark.parametrize("folder", ["", "cmnli_public/"])
def test_official_zips_are_read_from_the_root_or_one_folder_down(task, tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "cmnli_public.zip", "w") as archive:
        archive.writestr(f"{folder}train.json", lines(PAIRS))
        archive.writestr(f"{folder}dev.json", lines(PAIRS))
        archive.writestr("__MACOSX/deep/dev.json", "junk")
    assert available_splits(task, tmp_path) == ["train", "dev"]
    assert len(read_split(task, "dev", tmp_path)) == 3


def test_other_rows_or_md5_are_a_different_revision(task, data):
    files = {split: read_split(task, split, data).facts for split in ("train", "dev")}
    facts = describe(task, data, files)
    assert facts.name == "clue"
    assert facts.revision.startswith("different-")
    assert facts.files["dev"].expected_rows == 12_426
    changed = {**files, "dev": files["dev"].model_copy(update={"md5": "0" * 32})}
    assert describe(task, data, changed).revision != facts.revision


def test_rows_and_md5_of_the_card_are_the_official_revision(task, data):
    facts = read_split(task, "dev", data).facts
    official = facts.model_copy(update={"expected_rows": facts.rows, "expected_md5": facts.md5})
    assert describe(task, data, {"dev": official}).revision == "official"


def test_a_data_set_that_names_itself_is_called_by_that_name(task, data):
    (data / "DATASET.json").write_text('{"name": "synthetic"}', encoding="utf-8")
    facts = describe(task, data, {"dev": read_split(task, "dev", data).facts})
    assert facts.name == "synthetic"
    assert facts.revision.startswith("synthetic-")


@pytest.mark.parametrize("content", ["{}", "[", '["synthetic"]'])
def test_a_broken_dataset_file_is_named(task, data, content):
    (data / "DATASET.json").write_text(content, encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"DATASET\.json: no name"):
        describe(task, data, {})


def test_a_changed_card_is_another_data_set_even_on_official_files(task, data):
    facts = read_split(task, "dev", data).facts
    official = facts.model_copy(update={"expected_rows": facts.rows, "expected_md5": facts.md5})
    changed = task.model_copy(update={"text_fields": ["sentence2"]})
    described = describe(changed, data, {"dev": official})
    assert described.name == "own"
    assert described.revision not in ("official", describe(task, data, {"dev": facts}).revision)


def test_ids_of_rows_without_one_are_their_places_in_the_file(task, data):
    assert read_split(task, "dev", data).ids == [0, 1, 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence1": "a"', r"dev\.json, line 2: not JSON"),
        ('{"sentence1": ' + "9" * 5000 + "}", r"line 2: not JSON"),
        ('{"sentence1": "\\ud83d", "sentence2": "b", "label": "neutral"}', r"line 2: sentence1 holds half a character"),
        ("[1]", r"line 2: found a list, expected a JSON object"),
        ('{"sentence1": "a", "label": "neutral"}', r"line 2: no field 'sentence2'; found sentence1, label"),
        ('{"sentence1": 3, "sentence2": "b", "label": "neutral"}', r"line 2: sentence1 is 3, expected a string"),
        ('{"sentence1": "a", "sentence2": "b", "label": "maybe"}', r"line 2: label 'maybe' is not one of cmnli's 3"),
        ('{"sentence1": "a", "sentence2": "b", "label": 0}', r"line 2: label '0' is not one of"),
    ],
)
def test_a_malformed_line_is_named(task, tmp_path, line, message):
    (tmp_path / "cmnli").mkdir()
    (tmp_path / "cmnli" / "dev.json").write_text(lines(PAIRS[:1]) + line + "\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match=message):
        read_split(task, "dev", tmp_path)


def test_invalid_utf8_and_damaged_archives_are_named(task, tmp_path):
    (tmp_path / "cmnli").mkdir()
    (tmp_path / "cmnli" / "dev.json").write_bytes(b'{"sentence1": "\xff"}')
    with pytest.raises(ClueBenchError, match=r"neither UTF-8 \(invalid at byte 15"):
        read_split(task, "dev", tmp_path)
    (tmp_path / "cmnli" / "train.json.gz").write_bytes(gzip.compress(lines(PAIRS * 50).encode())[:-20])
    with pytest.raises(ClueBenchError, match=r"train\.json\.gz: damaged"):
        read_split(task, "train", tmp_path)


def test_a_missing_dev_file_says_where_it_was_looked_for(task, tmp_path):
    with pytest.raises(ClueBenchError, match=r"no cmnli/train\.json, cmnli/train\.json\.gz or cmnli_public\.zip"):
        available_splits(task, tmp_path)


def test_the_cards_know_their_label_sets():
    assert len(load_task("tnews").labels) == 15
    assert not {"105", "111"} & set(load_task("tnews").labels)
    assert load_task("iflytek").labels == [str(number) for number in range(119)]
    assert load_task("afqmc").labels == ["0", "1"]
    assert load_task("tnews").splits["test"].submission == "tnews11_predict.json"
    assert load_task("tnews").splits["test1.0"].submission == "tnews10_predict.json"


# What the real files here are known to be: rows read, and whether rows and md5 are the official ones.
REAL = [
    ("afqmc", "train", 34_334, True),
    ("afqmc", "dev", 4_316, True),
    ("afqmc", "test", 3_861, True),
    ("tnews", "train", 53_360, False),
    ("tnews", "dev", 10_000, True),
    ("tnews", "test", 10_000, True),
    ("tnews", "test1.0", 10_000, True),
    ("iflytek", "train", 7_503, False),
    ("iflytek", "dev", 2_599, True),
    ("iflytek", "test", 2_600, True),
    ("cmnli", "train", 47_240, False),
    ("cmnli", "dev", 12_241, False),
    ("cmnli", "test", 13_880, True),
]


@pytest.mark.parametrize(("name", "split", "rows", "official"), REAL)
def test_real_files_load_with_their_rows_and_revision(real_data, name, split, rows, official):
    read = read_split(load_task(name), split, real_data / "clue")
    assert (read.facts.rows, read.facts.is_official) == (rows, official)
    if split.startswith("test"):
        assert read.ids == list(range(rows))


def test_majority_class_of_the_real_afqmc_dev(real_data):
    labels = read_split(load_task("afqmc"), "dev", real_data / "clue").labels
    assert (int((labels == 0).sum()), len(labels)) == (2_978, 4_316)


def test_a_test_set_is_known_by_its_md5_whatever_it_is_called(tmp_path):
    task = load_task("tnews")
    (tmp_path / "tnews").mkdir()
    old = lines([{"id": 0, "sentence": "旧"}])
    md5 = hashlib.md5(old.encode()).hexdigest()
    splits = {**task.splits, "test1.0": task.splits["test1.0"].model_copy(update={"md5": md5})}
    task = task.model_copy(update={"splits": splits})
    for name in ("train.json", "dev.json"):
        (tmp_path / "tnews" / name).write_text(lines([{"sentence": "上", "label": "100"}]), encoding="utf-8")
    (tmp_path / "tnews" / "test.json").write_text(old, encoding="utf-8")
    assert available_splits(task, tmp_path) == ["train", "dev", "test1.0"]
    assert read_split(task, "test1.0", tmp_path).texts == [("旧",)]
    with pytest.raises(ClueBenchError) as caught:
        read_split(task, "test", tmp_path)
    assert caught.value.message == f"{tmp_path}: no test of tnews; found test1.0 ({tmp_path}/tnews/test.json)"
    assert caught.value.hint == "give --split test1.0"  # fetching would not help: this file hides another test.json


@pytest.mark.parametrize("name", ["cluewsc2020", "c3", "tnews"])
def test_another_test_set_that_is_there_is_named(tmp_path, name):
    task = load_task(name)
    (tmp_path / name).mkdir()
    file = tmp_path / name / task.splits["test"].file
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(ClueBenchError) as caught:
        read_split(task, "test1.0", tmp_path)
    assert caught.value.message == f"{tmp_path}: no test1.0 of {name}; found test ({file})"
    fetch = f"clue-bench data fetch --task {name} --data {tmp_path}"
    assert caught.value.hint == f"give --split test, or run: {fetch}"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (1.0, 1),
        (1.5, "1.5"),
        (np.float64(2.0), 2),
        (float("nan"), 4),
        (None, 4),
        ("a", "a"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
    ],
)
def test_an_id_is_a_number_or_a_text_whatever_a_table_made_of_it(task, given, read):
    assert id_of({"id": given}, task, 4) == read


@pytest.mark.parametrize("given", [True, [1], {"a": 1}])
def test_an_id_that_is_no_number_and_no_text_is_named(task, given):
    with pytest.raises(ClueBenchError, match="expected a number"):
        id_of({"id": given}, task, 4, "a.csv, line 2")
