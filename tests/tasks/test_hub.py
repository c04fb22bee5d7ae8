"""Data from the Hugging Face hub: labels go by name, files are CLUE's own, and what cannot be mapped is refused."""

import gzip
import json

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.download import NotServed, Patience
from clue_bench.tasks.fetch import ALREADY_THERE, fetch_task
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.sources import load_from_hub, write_splits
from clue_bench.tasks.task import Task, load_task

NLI_OF_THE_HUB = ["neutral", "entailment", "contradiction"]
SENTENCE_PAIR = {"sentence1": "string", "sentence2": "string", "idx": "int32"}


def dataset(rows, names, columns, label="label"):
    """Return rows as the hub keeps them: labels as numbers with names, -1 where there is none.

    `datasets` is imported here and not above: it looks for HF_DATASETS_OFFLINE once, and conftest.py sets it later.
    """
    from datasets import ClassLabel, Dataset, Features, List, Value

    def feature(kind):
        if isinstance(kind, dict):
            return {key: feature(inner) for key, inner in kind.items()}
        return List(Value(kind[0])) if isinstance(kind, list) else Value(kind)

    kinds = {key: feature(kind) for key, kind in columns.items()}
    kinds[label] = ClassLabel(names=names) if names else Value("int32")
    return Dataset.from_list(rows, features=Features(kinds))


def pairs(labels):
    return [{"sentence1": f"第{n}句", "sentence2": "是", "label": label, "idx": n} for n, label in enumerate(labels)]


@pytest.fixture
def nli():
    return {
        "train": dataset(pairs([0, 1, 2, 1]), NLI_OF_THE_HUB, SENTENCE_PAIR),
        "validation": dataset(pairs([2, 0]), NLI_OF_THE_HUB, SENTENCE_PAIR),
        "test": dataset(pairs([-1, -1, -1]), NLI_OF_THE_HUB, SENTENCE_PAIR),
    }


@pytest.fixture
def cmnli():
    """CMNLI's card, without mirrors: the hub is its only source."""
    task = load_task("cmnli")
    return task.model_copy(update={"archive": task.archive.model_copy(update={"mirrors": []})})


class Seen:
    def __init__(self):
        self.notes, self.rows = [], []

    def note(self, text):
        self.notes.append(text)

    def progress(self, what, done, total, unit):
        self.rows.append((done, total, unit))


def fetch(task, data, splits, watch=None):
    return fetch_task(task, data, mirrors=[], patience=Patience(), load_hub=lambda *_: splits, watch=watch or Seen())


def write(task, splits, folder):
    write_splits(task, splits, folder, progress=lambda done, total: None)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_labels_go_by_name_though_the_hub_numbers_them_in_another_order(cmnli, nli, tmp_path):
    fetch(cmnli, tmp_path, nli)
    train = read_split(cmnli, "train", tmp_path)
    assert [cmnli.labels[number] for number in train.labels] == ["neutral", "entailment", "contradiction", "entailment"]
    assert train.labels.tolist() == [2, 1, 0, 1]
    assert train.texts[3] == ("第3句", "是")


def test_rows_are_written_in_clues_own_format(cmnli, nli, tmp_path):
    files = write(cmnli, nli, tmp_path / "out")
    assert files["dev.json"].splitlines()[0] == '{"sentence1": "第0句", "sentence2": "是", "label": "contradiction"}'
    assert files["test.json"].splitlines()[2] == '{"id": 2, "sentence1": "第2句", "sentence2": "是"}'


def test_hub_data_are_another_revision_and_every_difference_is_said(cmnli, nli, tmp_path):
    task = load_task("cmnli")  # as it is in the catalogue, so that its data set is CLUE
    seen = Seen()

    def load(name, config):
        assert (name, config) == ("clue/clue", "cmnli")
        return nli

    fetched = fetch_task(
        task.model_copy(update={"archive": cmnli.archive}),
        tmp_path,
        mirrors=[],
        patience=Patience(),
        load_hub=load,
        watch=seen,
    )
    assert fetched.source == "the Hugging Face hub, clue/clue cmnli"
    assert fetched.path == tmp_path / "cmnli"
    assert fetched.archive_md5 is None
    assert "cmnli: train has 4 rows, the card 391,782" in seen.notes
    assert any("do not compare with published scores" in note for note in seen.notes)
    assert seen.rows[-1] == (9, 9, "rows")
    assert [path.name for path in tmp_path.iterdir()] == ["cmnli"]


def test_hub_data_are_not_fetched_again(cmnli, nli, tmp_path):
    fetch(cmnli, tmp_path, nli)
    assert fetch(cmnli, tmp_path, None).source == ALREADY_THERE


def test_a_second_test_set_that_the_hub_lacks_is_said_and_not_asked_for_again(tmp_path):
    task = load_task("tnews")
    task = task.model_copy(update={"archive": task.archive.model_copy(update={"mirrors": []})})
    columns = {"sentence": "string", "idx": "int32"}
    rows = [{"sentence": "新闻", "label": 5, "idx": 0}]
    unlabelled = [{"sentence": "新闻", "label": -1, "idx": 0}]
    splits = {
        "train": dataset(rows, task.labels, columns),
        "validation": dataset(rows, task.labels, columns),
        "test": dataset(unlabelled, task.labels, columns),
    }
    seen = Seen()
    fetch(task, tmp_path, splits, seen)
    assert "tnews: no test1.0" in seen.notes
    assert fetch(task, tmp_path, None).source == ALREADY_THERE
    row = json.loads((tmp_path / "tnews" / "train.json").read_text(encoding="utf-8"))
    assert row == {"label": "106", "label_desc": "news_house", "sentence": "新闻"}


def test_spans_come_through_as_they_are(tmp_path):
    task = load_task("cluewsc2020")
    target = {"span1_text": "伤口", "span2_text": "它们", "span1_index": 3, "span2_index": 11}
    columns = {
        "idx": "int32",
        "text": "string",
        "target": {key: "string" if key.endswith("text") else "int32" for key in target},
    }
    row = {"idx": 0, "text": "裂开的伤口里有石子，把它们剔除出去。", "target": target}
    splits = {
        "train": dataset([{**row, "label": 0}], ["true", "false"], columns),
        "validation": dataset([{**row, "label": 1}], ["true", "false"], columns),
    }
    write_splits(task, splits, tmp_path / task.name, progress=lambda done, total: None)
    train, dev = read_split(task, "train", tmp_path), read_split(task, "dev", tmp_path)
    assert train.texts == dev.texts == [("裂开的_伤口_里有石子，把[它们]剔除出去。",)]
    assert (task.labels[train.labels[0]], task.labels[dev.labels[0]]) == ("true", "false")


def test_lists_stay_lists_and_csls_own_ids_are_kept(tmp_path):
    task = load_task("csl")
    columns = {
        "idx": "int32",
        "corpus_id": "int32",
        "abst": "string",
        "keyword": ["string"],
    }
    row = {"idx": 0, "corpus_id": 2415, "abst": "摘要", "keyword": ["声呐", "波束"]}
    splits = {
        "train": dataset([{**row, "label": 1}], ["0", "1"], columns),
        "validation": dataset([{**row, "label": 0}], ["0", "1"], columns),
        "test": dataset([{**row, "label": -1}], ["0", "1"], columns),
    }
    write_splits(task, splits, tmp_path / task.name, progress=lambda done, total: None)
    test = read_split(task, "test", tmp_path)
    assert (test.ids, test.texts) == ([2415], [("声呐 波束", "摘要")])


def without(splits, split):
    return {name: rows for name, rows in splits.items() if name != split}


UNMAPPABLE = {
    "a label the card lacks": (
        lambda nli: {**nli, "train": dataset(pairs([0, 3]), [*NLI_OF_THE_HUB, "unsure"], SENTENCE_PAIR)},
        r"train, row 1: label 'unsure', expected one of the card's 3 labels",
    ),
    "no label in train": (
        lambda nli: {**nli, "train": dataset(pairs([0, -1]), NLI_OF_THE_HUB, SENTENCE_PAIR)},
        r"train, row 1: label -1, expected",
    ),
    "numbers without names": (
        lambda nli: {**nli, "train": dataset(pairs([0, 1]), None, SENTENCE_PAIR)},
        r"train, row 0: label 0, expected .* by name",
    ),
    "no text column": (
        lambda nli: {**nli, "validation": nli["validation"].remove_columns("sentence2")},
        r"validation: no column sentence2; found sentence1",
    ),
    "no dev": (lambda nli: without(nli, "validation"), "no dev split; found train, test"),
    "no train rows": (lambda nli: {**nli, "train": nli["train"].select([])}, r"train\.json: no rows"),
}


@pytest.mark.parametrize(("change", "reason"), UNMAPPABLE.values(), ids=UNMAPPABLE)
def test_what_cannot_be_mapped_is_refused_and_leaves_nothing(cmnli, nli, tmp_path, change, reason):
    with pytest.raises(ClueBenchError, match=reason):
        fetch(cmnli, tmp_path, change(nli))
    assert list(tmp_path.iterdir()) == []


def test_a_card_whose_files_are_tables_gets_no_json_lines(cmnli, nli, tmp_path):
    splits = {name: split.model_copy(update={"file": f"{name}.tsv"}) for name, split in cmnli.splits.items()}
    with pytest.raises(ClueBenchError, match=r"train\.tsv, dev\.tsv, test\.tsv"):
        fetch(cmnli.model_copy(update={"splits": splits}), tmp_path, nli)


def test_rows_that_clue_drops_stay_dropped_rows(cmnli, nli, tmp_path):
    splits = {**nli, "validation": dataset(pairs([0, 3]), [*NLI_OF_THE_HUB, "-"], SENTENCE_PAIR)}
    fetched = fetch(cmnli, tmp_path, splits)
    assert (fetched.data.files["dev"].rows, fetched.data.files["dev"].dropped_rows) == (2, 1)


def test_a_file_that_was_there_is_kept_and_the_damaged_zip_put_aside(cmnli, nli, tmp_path):
    own = '{"sentence1": "我的", "sentence2": "数据", "label": "neutral"}\n'
    (tmp_path / "cmnli").mkdir()
    (tmp_path / "cmnli" / "train.json").write_text(own, encoding="utf-8")
    (tmp_path / "cmnli_public.zip").write_bytes(b"PK damaged")
    fetched = fetch(cmnli, tmp_path, nli)
    assert fetched.data.files["train"].rows == 1
    assert (tmp_path / "cmnli" / "train.json").read_text(encoding="utf-8") == own
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cmnli", "cmnli_public.zip.damaged"]


def test_offline_the_hub_is_not_asked_and_says_why():
    with pytest.raises(ConnectionError, match=r"(?i)offline|reach"):  # conftest.py sets HF_DATASETS_OFFLINE
        load_from_hub("clue/no-such-data", "afqmc")


def test_a_hub_that_cannot_be_reached_is_said_at_once(monkeypatch):
    import datasets
    from huggingface_hub import constants

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(NotServed, match="no connection"):
        load_from_hub("clue/clue", "afqmc")


def as_on_the_hub(task: Task, rows, labels):
    """Turn official rows into what the hub keeps of them: texts, a number for the label, the line number."""
    columns = {**dict.fromkeys(task.text_fields, "string"), "idx": "int32"}
    kept = [
        {**{name: row[name] for name in task.text_fields}, "idx": n, "label": labels.index(row["label"])}
        if "label" in row
        else {**{name: row[name] for name in task.text_fields}, "idx": n, "label": -1}
        for n, row in enumerate(rows)
    ]
    return dataset(kept, labels, columns)


@pytest.mark.parametrize("name", ["afqmc", "iflytek"])
def test_real_data_come_back_from_the_hubs_form_byte_for_byte(real_data, tmp_path, name):
    task = load_task(name)
    splits = {}
    for split in ("dev", "test"):
        path = real_data / "clue" / name / f"{split}.json"
        raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_suffix(".json.gz").read_bytes())
        rows = [json.loads(line) for line in raw.decode().split("\n") if line]
        splits["validation" if split == "dev" else split] = as_on_the_hub(task, rows, task.labels[::-1])
    write_splits(task, {**splits, "train": splits["validation"]}, tmp_path / name, progress=lambda done, total: None)
    for split in ("dev", "test"):
        assert read_split(task, split, tmp_path).facts.is_official
