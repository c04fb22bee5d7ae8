"""Rows in memory: frames, datasets and dictionaries become files that are read like any others."""

import datasets
import pandas as pd
import pytest

import clue_bench as cb
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import describe
from clue_bench.tasks.own import data_folder, data_name, rows_of
from clue_bench.tasks.own_about import about_rows
from clue_bench.tasks.own_task import card_for, own_task, own_task_of
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task

LINES = [{"text": f"第{n}句", "mood": "good" if n % 3 else "bad"} for n in range(60)]
COLUMNS = {"text": "text", "label": "mood"}


def read(task, data):
    with data_folder(task, data) as folder:
        rows = read_rows(task, folder)
        return rows, describe(task, folder, {split: part.facts for split, part in rows.items()})


def of_kind(kind, rows):
    """Return `rows` as a list, a frame or a dataset."""
    return {"list": list, "frame": pd.DataFrame, "dataset": datasets.Dataset.from_list}[kind](rows)


@pytest.mark.parametrize("kind", ["list", "frame", "dataset"])
def test_rows_of_every_kind_are_the_same_data(kind):
    splits = {"train": of_kind(kind, LINES[:40]), "dev": of_kind(kind, LINES[40:])}
    task = own_task("moods", splits, **COLUMNS)
    rows, facts = read(task, splits)
    assert task.labels == ["bad", "good"]
    assert rows["dev"].texts[0] == ("第40句",)
    assert rows["train"].labels.tolist() == [int(bool(n % 3)) for n in range(40)]
    assert (facts.name, facts.revision) == ("own", read(task, {"train": LINES[:40], "dev": LINES[40:]})[1].revision)


def test_the_revision_changes_with_the_rows():
    splits = {"train": LINES[:40], "dev": LINES[40:]}
    task = own_task("moods", splits, **COLUMNS)
    assert read(task, splits)[1].revision != read(task, {**splits, "dev": LINES[41:]})[1].revision


def test_one_frame_is_divided_by_its_texts_so_that_none_is_in_both():
    frame = pd.DataFrame(LINES + LINES)
    task = own_task("moods", frame, **COLUMNS)
    rows, _ = read(task, frame)
    train, dev = (set(rows[split].texts) for split in ("train", "dev"))
    assert dev
    assert not train & dev
    assert len(rows["train"]) + len(rows["dev"]) == len(frame)
    more = read(task, pd.concat([frame, pd.DataFrame([{"text": "新", "mood": "good"}])]))[0]
    assert len(dev - set(more["dev"].texts)) <= 1


@pytest.mark.parametrize("kind", ["one frame", "training rows", "a column without dev"])
def test_without_dev_a_tenth_of_each_label_is_held_out_and_the_record_says_so(kind):
    frame = pd.DataFrame([{"text": f"第{n}句", "mood": "rare" if n % 10 == 0 else "common"} for n in range(400)])
    data = {"one frame": frame, "training rows": {"train": frame}, "a column without dev": frame.assign(split="train")}[
        kind
    ]
    rows, facts = read(own_task("moods", data, **COLUMNS), data)
    assert rows["dev"].labels.tolist().count(1) == 4
    assert [len(rows[split]) for split in ("train", "dev")] == [360, 40]
    assert facts.held_out.model_dump() == {"share": 0.1, "seed": 1, "rows": 40}
    assert read(own_task("moods", data, **COLUMNS), data)[1] == facts


def test_a_label_of_one_text_stays_in_train():
    frame = pd.DataFrame([*LINES, {"text": "只有一句", "mood": "lone"}])
    rows, _ = read(own_task("moods", frame, **COLUMNS), frame)
    assert ("只有一句",) in rows["train"].texts


def test_a_column_of_splits_is_followed():
    frame = pd.DataFrame(LINES).assign(split=["train"] * 50 + ["validation"] * 10)
    rows, _ = read(own_task("moods", frame, **COLUMNS), frame)
    assert [len(rows[split]) for split in ("train", "dev")] == [50, 10]


def test_numbered_classes_go_by_name_and_hub_splits_by_theirs():
    feature = datasets.ClassLabel(names=["不同", "相同"])
    features = datasets.Features({"a": datasets.Value("string"), "b": datasets.Value("string"), "same": feature})
    rows = [{"a": f"问{n}", "b": f"答{n}", "same": n % 2} for n in range(10)]
    data = datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows, features=features) for name in ("train", "validation", "test")}
    )
    task = own_task("pairs", data, text=["a", "b"], label="same")
    found, _ = read(task, data)
    assert task.labels == ["不同", "相同"]
    assert list(found) == ["train", "dev", "test"]
    assert found["dev"].labels.tolist() == [n % 2 for n in range(10)]
    assert found["train"].texts[3] == ("问3", "答3")


def test_numbers_are_the_labels_that_a_card_spells(tmp_path):
    rows = [{"sentence1": f"甲{n}", "sentence2": "乙", "label": n % 2} for n in range(6)]
    found, facts = read(load_task("afqmc"), {"train": rows, "dev": rows})
    assert found["train"].labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert facts.revision.startswith("different-")


def test_a_folder_stays_where_it_is(tmp_path):
    with data_folder(load_task("afqmc"), tmp_path) as folder:
        assert folder == tmp_path
    assert data_name(tmp_path / "clue") == "clue"
    assert data_name(pd.DataFrame()) == "rows of a DataFrame"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"dev": LINES}, "no train split; found dev"),
        ({"train": [{"text": "甲"}], "dev": LINES}, "no column mood"),
        ({"train": LINES, "dev": [{"text": "甲", "mood": "fair"}]}, "label 'fair'"),
        ({"train": 3, "dev": LINES}, "expected a frame, a Dataset or a list"),
        ({"train": LINES[1:3], "dev": LINES}, "labels"),
    ],
)
def test_rows_that_are_no_task_are_one_error_with_a_hint(data, message):
    with pytest.raises(ClueBenchError, match=message) as caught:
        read(own_task("moods", data, **COLUMNS), data)
    assert caught.value.hint


def changed(**values):
    """Return LINES as a frame whose row 41 has other values."""
    return pd.DataFrame([{**line, **(values if n == 41 else {})} for n, line in enumerate(LINES)])


def in_two(frame):
    return {"train": frame, "dev": LINES}


ONE_CLASS = datasets.Dataset.from_list(
    [{"text": "甲", "mood": 0}],
    features=datasets.Features({"text": datasets.Value("string"), "mood": datasets.ClassLabel(names=["good"])}),
)


@pytest.mark.parametrize(
    ("data", "columns", "message", "hint"),
    [
        (in_two(changed(mood=None)), {}, r"train, row 41: mood is (None|nan), expected a label", "label the row"),
        (in_two(changed(mood="")), {}, "train, row 41: mood is '', expected a label", "label the row"),
        (changed(mood=float("nan")), {}, r"moods: row 41: mood is nan", "label the row"),
        ({"train": LINES, "dev": changed(mood=pd.NA)}, {}, "dev, row 41: mood is ", "label the row"),
        (LINES[:1] * 30, {}, "30 rows: too few different texts to hold out dev", "give more rows, or"),
        (None, {}, "rows are None, expected a frame, a Dataset or a list", "give a frame"),
        (pd.DataFrame(), {}, "data has no rows", "give one row"),
        (in_two([]), {}, "train has no rows", "give one row"),
        ({"train": LINES, "dev": []}, {}, "dev has no rows", "give one row"),
        (pd.DataFrame(LINES).assign(mood="good"), {}, "all labels in column mood are 'good'", "give rows of two"),
        (in_two(ONE_CLASS), {}, "all labels in column mood are 'good'", "give rows of two"),
        (pd.DataFrame([["甲", "a", "b"]], columns=["text", "mood", "mood"]), {}, "two columns .* 'mood'", "rename"),
        (changed(text=float("nan")), {}, r"(train|dev), row 41: text is nan, expected a string", "change the value"),
        (changed(text=7), {}, r"(train|dev), row 41: text is 7, expected a string", "change the value"),
        (
            in_two(datasets.Dataset.from_list(LINES).to_iterable_dataset()),
            {},
            "rows are of type IterableDataset",
            "give a",
        ),
        (iter(LINES), {}, "rows are of type list_iterator, expected", "give a frame"),
        (in_two(object()), {}, "rows are of type object, expected", "give a frame"),
        (changed().assign(split=["train"] * 59 + [None]), {}, r"row 59: split is (None|nan)", "write train"),
        (changed().assign(split=["train"] * 59 + ["holdout"]), {}, "row 59: split is 'holdout'", "write train"),
        (changed().assign(split="dev"), {}, "no train rows; found dev", "write train"),
        (changed(mood="good "), {}, "'good ' and 'good' are two labels", "remove the blanks"),
        (pd.DataFrame(LINES).assign(mood=[str(n) for n in range(60)]), {}, "60 different values in 60 rows", "name"),
        (LINES, {"text": ["text", "more"]}, "no column more; found text, mood", "let --text"),
    ],
)
def test_what_is_wrong_with_rows_is_said_by_split_row_and_column(data, columns, message, hint):
    with pytest.raises(ClueBenchError, match=message) as caught:
        read(own_task("moods", data, **{**COLUMNS, **columns}), data)
    assert "\n" not in caught.value.message
    assert "clue-bench-rows" not in caught.value.message
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("splits", ["one table", "train alone", "train and dev", "a card"])
def test_of_rows_without_a_label_the_first_is_named_and_all_are_counted(splits):
    frame = pd.DataFrame([{**line, "mood": "" if n % 10 == 3 else line["mood"]} for n, line in enumerate(LINES)])
    data = {"one table": frame, "train alone": {"train": frame}}.get(splits, {"train": frame, "dev": LINES})
    task = own_task("moods", LINES, **COLUMNS) if splits == "a card" else None
    with pytest.raises(ClueBenchError, match="row 3: mood is '', expected a label; so in 6 of 60 rows") as caught:
        read(task or own_task("moods", data, **COLUMNS), data)
    assert "clue-bench predict --file" in caught.value.hint
    with pytest.raises(ClueBenchError, match="in all 60 rows") as caught:
        own_task("moods", frame.assign(mood=" "), **COLUMNS)
    assert caught.value.hint.endswith("--label COLUMN")


def test_a_label_that_only_dev_has_is_named_with_its_row_and_the_labels_of_train(tmp_path):
    (tmp_path / "own").mkdir()
    train = pd.DataFrame([{"text": f"第{n}句", "label": f"类{n % 14:02}"} for n in range(28)])
    train.to_csv(tmp_path / "own" / "train.csv", index=False)
    train.assign(label=["类00"] * 3 + ["农业"] * 25).to_csv(tmp_path / "own" / "dev.csv", index=False)
    opened, _ = rows_of(tmp_path / "own", None)
    with pytest.raises(ClueBenchError) as caught:
        own_task_of(None, opened, tmp_path / "own", text=None, label=None)
    assert "dev.csv, line 5: label '农业' is not among the 14 labels of train: 类00, 类01," in caught.value.message
    assert caught.value.message.endswith("类11, …")
    assert caught.value.hint.startswith("correct the label")


def test_a_label_that_only_a_test_set_has_is_refused_and_none_or_minus_one_is_not():
    def splits(label):
        return {"train": LINES[:40], "dev": LINES[40:], "test": [{"text": "末", "mood": label}]}

    for unlabelled in (None, "", -1, "-1"):
        assert own_task("moods", splits(unlabelled), **COLUMNS).labels == ["bad", "good"]
    with pytest.raises(ClueBenchError, match=r"test, row 0: .*'fair'.* 2 .*: bad, good"):
        own_task("moods", splits("fair"), **COLUMNS)


def renamed(**names):
    return pd.DataFrame(LINES).rename(columns=names)


@pytest.mark.parametrize(
    ("data", "columns", "labels"),
    [
        (pd.DataFrame(LINES).assign(mood=[float(n % 2) for n in range(60)]), COLUMNS, ["0", "1"]),
        ({"train": LINES[:9], "dev": LINES}, COLUMNS, ["bad", "good"]),
        ([{**line, "mood": n % 2 + 0.5} for n, line in enumerate(LINES)], COLUMNS, ["0.5", "1.5"]),
        (renamed(mood="split"), {"text": "text", "label": "split"}, ["bad", "good"]),
        (renamed(text="split"), {"text": "split", "label": "mood"}, ["bad", "good"]),
        (pd.DataFrame([tuple(line.values()) for line in LINES]), {"text": "0", "label": "1"}, ["bad", "good"]),
        (pd.DataFrame([tuple(line.values()) for line in LINES]), {"text": 0, "label": 1}, ["bad", "good"]),
        (renamed(text="a.text").assign(a="乙"), {"text": "a.text", "label": "mood"}, ["bad", "good"]),
        ([{"a": line, "mood": line["mood"]} for line in LINES], {"text": "a.text", "label": "mood"}, ["bad", "good"]),
        ([{**line, "mood": n % 2 == 0} for n, line in enumerate(LINES)], COLUMNS, ["false", "true"]),
        (
            pd.DataFrame([*LINES, {"text": "末", "mood": None}]).assign(split=["train"] * 40 + ["dev"] * 20 + ["test"]),
            COLUMNS,
            ["bad", "good"],
        ),
    ],
)
def test_columns_and_labels_of_any_spelling(data, columns, labels):
    task = own_task("moods", data, **columns)
    rows, _ = read(task, data)
    assert task.labels == labels
    assert set(rows["train"].texts) | set(rows["dev"].texts) == {(line["text"],) for line in LINES}


def test_a_name_is_a_cards_or_of_rows_without_one():
    with pytest.raises(ClueBenchError, match="task card called 'afqmc'") as caught:
        own_task("afqmc", LINES, **COLUMNS)
    assert caught.value.hint == "give it another name"
    with pytest.raises(ClueBenchError, match="moods") as caught:
        card_for("moods", LINES)
    assert "text=" in caught.value.hint
    assert "label=" in caught.value.hint
    with pytest.raises(ClueBenchError) as caught:
        card_for("moods", "data")
    assert "text=" not in caught.value.hint


def test_labels_that_are_nearly_the_same_and_lost_characters_are_said():
    lines = [{**line, "mood": line["mood"].upper() if n == 4 else line["mood"]} for n, line in enumerate(LINES)]
    lines[0] = {**lines[0], "text": "第\ufffd句"}
    splits = {"train": lines[:40], "dev": LINES[40:]}
    task = own_task("moods", splits, **COLUMNS)
    said = about_rows("moods", task, read(task, splits)[0], None)
    assert "'GOOD', 'good'" in said[1]
    assert "1 text has U+FFFD" in said[2]
    clean = {"train": LINES[:40], "dev": LINES[40:]}
    task = own_task("moods", clean, **COLUMNS)
    assert len(about_rows("moods", task, read(task, clean)[0], None)) == 1


def test_rows_that_a_run_has_kept_are_rid_of_what_a_killed_process_left_beside_them(tmp_path):
    rows = "".join(f"第{number}行,{'好坏'[number % 2]}\n" for number in range(40))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")

    def kept():
        cb.floor(None, data=tmp_path / "rows.csv", text="text", label="label", out=tmp_path / "out", progress=False)
        return sorted(path.name for path in (tmp_path / "out").rglob("data/*/*") if "majority" in str(path))

    before = kept()
    folder = next((tmp_path / "out").glob("*majority*/data/*"))
    (folder / f".{before[0]}.{2**22 + 1}.tmp").write_text("half", encoding="utf-8")  # no process has such a number
    assert kept() == before
