"""The synthetic data set: reproducible, in CLUE's formats, without leaks between splits."""

import hashlib
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.synthetic.corpus import write_corpus
from clue_bench.synthetic.tasks import IFLYTEK_ROWS_PER_CLASS, SIZES, TASKS, write_tasks
from clue_bench.synthetic.words import APPS
from clue_bench.tasks.task import load_task

TNEWS = (
    "100 story,101 culture,102 entertainment,103 sports,104 finance,106 house,107 car,108 edu,109 tech,110 military,"
    "112 travel,113 world,114 stock,115 agriculture,116 game"
)
LABELS = {
    "afqmc": {"0": "不同", "1": "相同"},
    "tnews": {item[:3]: f"news_{item[4:]}" for item in TNEWS.split(",")},
    "iflytek": {str(i): f"类{i}" for i in range(119)},
    "cmnli": {"contradiction": "矛盾", "entailment": "蕴含", "neutral": "中立"},
}
TEXTS = {
    "afqmc": ("sentence1", "sentence2"),
    "tnews": ("sentence",),
    "iflytek": ("sentence",),
    "cmnli": ("sentence1", "sentence2"),
}
LABELLED_FIELDS = {
    "afqmc": ["sentence1", "sentence2", "label"],
    "tnews": ["label", "label_desc", "sentence", "keywords"],
    "iflytek": ["label", "label_des", "sentence"],
    "cmnli": ["sentence1", "sentence2", "label"],
}
TEST_FIELDS = {
    "afqmc": ["id", "sentence1", "sentence2"],
    "tnews": ["id", "sentence", "keywords"],
    "iflytek": ["id", "sentence"],
    "cmnli": ["id", "sentence1", "sentence2"],
}
every_task = pytest.mark.parametrize("task", list(LABELS))
unlabelled_splits = pytest.mark.parametrize(
    ("task", "split"),
    [("afqmc", "test"), ("tnews", "test"), ("tnews", "test1.0"), ("iflytek", "test"), ("cmnli", "test")],
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("synthetic")
    write_tasks(directory, seed=1, labels=LABELS)
    return directory


def rows_of(directory: Path, task: str, split: str) -> list[dict[str, Any]]:
    content = (directory / task / f"{split}.json").read_bytes().decode("utf-8")
    assert content.endswith("\n")
    assert "\r" not in content
    return [json.loads(line) for line in content[:-1].split("\n")]


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_same_seed_gives_identical_bytes(data: Path, tmp_path: Path) -> None:
    write_tasks(tmp_path, seed=1, labels=LABELS)
    assert files_of(tmp_path) == files_of(data)


def sha256_of(folder: Path) -> str:
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(name.encode() + path.read_bytes() for name, path in files)).hexdigest()


def test_seed_1_gives_the_bytes_that_it_always_gave(tmp_path: Path) -> None:
    cards = [load_task(name) for name in TASKS]
    labels = {card.name: dict(zip(card.labels, card.label_descriptions, strict=True)) for card in cards}
    write_tasks(tmp_path / "tasks", seed=1, labels=labels)
    write_corpus(tmp_path / "corpus" / "corpus.txt", seed=1, num_documents=2000)
    assert sha256_of(tmp_path / "tasks") == "05de672305de7dffead0bf3d13a675a2301dea5d37eee7840b9d8b0b9d277e27"
    assert sha256_of(tmp_path / "corpus") == "d489a4b139832227c7e0775dcf54b658f841e4f8d5a2db9481cb4d21de004379"


def test_another_seed_gives_other_rows(data: Path, tmp_path: Path) -> None:
    write_tasks(tmp_path, seed=2, labels=LABELS)
    ours, others = files_of(tmp_path), files_of(data)
    assert ours.keys() == others.keys()
    assert all(ours[name] != others[name] for name in ours)


def test_nothing_but_the_announced_files_is_written(data: Path) -> None:
    splits = {task: ["train", "dev", "test"] for task in LABELS}
    splits["tnews"].append("test1.0")
    expected = {f"{task}/{split}.json" for task, names in splits.items() for split in names}
    assert {name.replace("\\", "/") for name in files_of(data)} == expected | {"README.txt", "DATASET.json"}


def test_the_folder_says_that_it_is_synthetic_in_both_languages(data: Path) -> None:
    assert json.loads((data / "DATASET.json").read_text(encoding="utf-8")) == {"name": "synthetic", "seed": 1}
    readme = (data / "README.txt").read_text(encoding="utf-8")
    assert "Synthetic data" in readme
    assert "合成数据" in readme


@every_task
@pytest.mark.parametrize("split", ["train", "dev"])
def test_labelled_rows_have_the_official_fields_and_names(data: Path, task: str, split: str) -> None:
    for row in rows_of(data, task, split):
        assert list(row) == LABELLED_FIELDS[task]
        assert all(isinstance(value, str) for value in row.values())
        name = row.get("label_desc", row.get("label_des"))
        assert name in (None, LABELS[task][row["label"]])


@unlabelled_splits
def test_test_rows_have_contiguous_ids_and_no_label(data: Path, task: str, split: str) -> None:
    rows = rows_of(data, task, split)
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert all(list(row) == TEST_FIELDS[task] for row in rows)


def test_only_test_1_1_of_tnews_is_without_any_keywords(data: Path) -> None:
    assert not any(row["keywords"] for row in rows_of(data, "tnews", "test"))
    for split in ("train", "dev", "test1.0"):
        rows = rows_of(data, "tnews", split)
        assert 0 < sum(bool(row["keywords"]) for row in rows) < len(rows)
        assert all(word in row["sentence"] for row in rows for word in row["keywords"].split(",") if word)


@every_task
def test_splits_have_the_announced_sizes(data: Path, task: str) -> None:
    iflytek = {split: rows * 119 for split, rows in IFLYTEK_ROWS_PER_CLASS.items()}
    expected = iflytek if task == "iflytek" else SIZES[task]
    assert {split: len(rows_of(data, task, split)) for split in expected} == expected


@every_task
def test_no_text_occurs_twice_within_or_across_splits(data: Path, task: str) -> None:
    names = ["train", "dev", "test", *(["test1.0"] if task == "tnews" else [])]
    splits = []
    for split in names:
        texts = [tuple(sorted(row[field] for field in TEXTS[task])) for row in rows_of(data, task, split)]
        assert all(all(parts) for parts in texts)
        assert len(set(texts)) == len(texts)
        splits.append(set(texts))
    assert all(first.isdisjoint(second) for first, second in combinations(splits, 2))


@every_task
@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_label_occurs(data: Path, task: str, split: str) -> None:
    assert {row["label"] for row in rows_of(data, task, split)} == set(LABELS[task])


@pytest.mark.parametrize("split", ["train", "dev"])
def test_two_thirds_of_afqmc_are_label_0(data: Path, split: str) -> None:
    counts = Counter(row["label"] for row in rows_of(data, "afqmc", split))
    assert 0.65 <= counts["0"] / counts.total() <= 0.70


def test_iflytek_descriptions_of_known_classes_have_60_to_250_characters(tmp_path: Path) -> None:
    names = {str(i): name for i, name in enumerate(APPS.classes)}
    write_tasks(tmp_path, seed=3, labels=LABELS | {"iflytek": names})
    lengths = [len(row["sentence"]) for row in rows_of(tmp_path, "iflytek", "train")]
    assert min(lengths) >= 60
    assert max(lengths) <= 250


@every_task
def test_missing_labels_are_an_error_that_names_the_task(tmp_path: Path, task: str) -> None:
    with pytest.raises(ClueBenchError, match=task):
        write_tasks(tmp_path, seed=1, labels={name: names for name, names in LABELS.items() if name != task})
    assert not list(tmp_path.iterdir())


def test_unknown_tnews_names_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="news_weather"):
        write_tasks(tmp_path, seed=1, labels=LABELS | {"tnews": {"100": "news_weather"}})


def test_corpus_has_a_blank_line_between_documents_and_no_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    write_corpus(path, seed=1, num_documents=50)
    content = path.read_bytes().decode("utf-8")
    assert "\r" not in content
    assert content.endswith("\n")
    documents = content[:-1].split("\n\n")
    assert len(documents) == 50
    lines = [line for document in documents for line in document.split("\n")]
    assert all(line and line == line.strip() for line in lines)


def test_corpus_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / name, seed=seed, num_documents=20)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_templates_leave_no_unfilled_slot(data: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.txt", seed=1, num_documents=200)
    for content in (*files_of(data / "afqmc").values(), (tmp_path / "corpus.txt").read_bytes()):
        text = content.decode("utf-8").replace('{"', "").replace('"}', "")
        assert "{" not in text
        assert "}" not in text


@pytest.mark.parametrize("num_documents", [0, -1])
def test_a_corpus_without_documents_is_an_error(tmp_path: Path, num_documents: int) -> None:
    with pytest.raises(ClueBenchError, match="at least 1"):
        write_corpus(tmp_path / "corpus.txt", seed=1, num_documents=num_documents)
