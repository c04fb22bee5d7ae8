"""Contracts that every built-in task card keeps: what CLUE's archives, files, labels and submissions are called."""

import json
from pathlib import Path

import pytest

from clue_bench.cards import builtin_folder
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import content, find
from clue_bench.tasks.formats import parse_table
from clue_bench.tasks.rows import LABELLED_SPLITS, UNLABELLED, read_rows
from clue_bench.tasks.task import Task, load_task

CARDS = sorted(path.stem for path in builtin_folder("tasks").glob("*.toml"))

# Files of the official archives: (task, split) → rows before dropping, md5 of the uncompressed file where it is known.
OFFICIAL = {
    ("afqmc", "train"): (34_334, "319cf775353af9473140abca4052b89a"),
    ("afqmc", "dev"): (4_316, "307154b59cb6c3e68a0f39c310bbd364"),
    ("afqmc", "test"): (3_861, "94b925f23a9615dd08199c4013f761f4"),
    ("tnews", "train"): (53_360, "25c021725309a3330736380a230850fd"),
    ("tnews", "dev"): (10_000, "f0660a3339a32e764075c801b42ece3c"),
    ("tnews", "test"): (10_000, "045a6c4f59bf1a066c4a0d7afe6cd2b4"),
    ("tnews", "test1.0"): (10_000, "2d1557c7548c72d5a84c47bbbd3a4e85"),
    ("iflytek", "train"): (12_133, "fc9a21700c32ee3efee3fc283e9ac560"),
    ("iflytek", "dev"): (2_599, "79b7d95bddeb11cd54198fd077992704"),
    ("iflytek", "test"): (2_600, "ea764519ddb4369767d07664afde3325"),
    ("cmnli", "train"): (391_782, "7d02308650cd2a0e183bf599ca9bb263"),
    ("cmnli", "dev"): (12_426, "0b16a50a297a9afb1ce5385ee4dd3d9c"),
    ("cmnli", "test"): (13_880, "804cb0bb67266983d59d1c855e6b03b0"),
    ("ocnli", "train"): (50_437, "d38ec492ef086a894211590a18ab7596"),
    ("ocnli", "dev"): (3_000, "3481b456bee57a3c9ded500fcff6834c"),
    ("ocnli", "test"): (3_000, "680ff24e6b3419ff8823859bc17936aa"),
    ("csl", "train"): (20_000, "e927948b4e0eb4992fe9f45a77446bf5"),
    ("csl", "dev"): (3_000, "6c2ab8dd3b4785829ead94b05a1cb957"),
    ("csl", "test"): (3_000, "ebfb89575355f00dcd9b18f8353547cd"),
    ("cluewsc2020", "train"): (1_244, "afd235dcf8cdb89ee1a21d0a4823eecc"),
    ("cluewsc2020", "dev"): (304, "bad8cd6fa0916fc37ac96b8ce316714a"),
    ("cluewsc2020", "test"): (2_574, "27614454cc26be6fcab5bbd9a45967ff"),
    ("cluewsc2020", "test1.0"): (290, "0e9e8ffd8ee90ddf1f58d6dc2e02de7b"),
    **{("cmrc2018", split): (rows, None) for split, rows in {"train": 10_142, "dev": 3_219, "trial": 1_002}.items()},
    ("cmrc2018", "test"): (2_000, None),
    **{("drcd", split): (rows, None) for split, rows in {"train": 26_936, "dev": 3_524, "test": 3_493}.items()},
    **{("chid", split): (None, None) for split in ("train", "dev", "test", "test1.0")},
    ("c3", "train"): (11_869, None),
    ("c3", "dev"): (3_816, None),
    ("c3", "test"): (3_892, None),
    ("c3", "test1.0"): (1_625, None),
    ("c3", "nlpdata"): (3_892, None),
    ("diagnostics", "test"): (514, None),
    **{("cluener", split): (rows, None) for split, rows in {"train": 10_748, "dev": 1_343, "test": 1_345}.items()},
}
ARCHIVES = {
    "afqmc": "3377b559bb4e61d03a35282550902ca0",
    "tnews": "38186ed0a751bc33e3ae0c1b59319777",  # with the test set of 1.1
    "iflytek": "19e4b19947db126f69aae18db0da2b87",
    "cmnli": "e0e8caefd9b3491220c18b466233f2ff",
    "ocnli": "acb426f6f3345076c6ce79239e7bc307",
    "cluewsc2020": "17abe1be3f7dd3bad5f114ba4c40ee9b",
    "csl": "394a2ccbf6ddd7e331be4d5d7798f0f6",
}
SUBMISSIONS = {
    ("afqmc", "test"): "afqmc_predict.json",
    ("tnews", "test"): "tnews11_predict.json",
    ("tnews", "test1.0"): "tnews10_predict.json",
    ("iflytek", "test"): "iflytek_predict.json",
    ("cmnli", "test"): "cmnli_predict.json",
    ("ocnli", "test"): "ocnli_50k_predict.json",
    ("csl", "test"): "csl_predict.json",
    ("cluewsc2020", "test"): "cluewsc11_predict.json",
    ("cluewsc2020", "test1.0"): "cluewsc10_predict.json",
    ("cmrc2018", "test"): "cmrc2018_predict.json",
    ("chid", "test"): "chid11_predict.json",
    ("chid", "test1.0"): "chid10_predict.json",
    ("c3", "test"): "c311_predict.json",
    ("c3", "test1.0"): "c310_predict.json",
    ("diagnostics", "test"): "diagnostics_predict.json",
    ("cluener", "test"): "cluener_predict.json",
}
# What the real data folder holds: rows read per split, and which of the files are the official ones.
REAL = {
    "afqmc": ({"train": 34_334, "dev": 4_316, "test": 3_861}, {"train", "dev", "test"}),
    "tnews": ({"train": 53_360, "dev": 10_000, "test": 10_000, "test1.0": 10_000}, {"dev", "test", "test1.0"}),
    "iflytek": ({"train": 7_503, "dev": 2_599, "test": 2_600}, {"dev", "test"}),
    "cmnli": ({"train": 47_240, "dev": 12_241, "test": 13_880}, {"test"}),
    "ocnli": ({"train": 21_572, "dev": 3_000, "test": 3_000}, {"dev", "test"}),
    "csl": ({"train": 160, "dev": 3_000, "test": 3_000}, set()),
    "cluewsc2020": ({"train": 1_244, "dev": 304, "test1.0": 290}, {"train", "dev", "test1.0"}),
    "cmrc2018": ({"train": 10_142, "dev": 3_219, "trial": 1_002, "test": 2_000}, set()),
    "c3": ({"train": 11_869, "dev": 3_816, "nlpdata": 3_892}, set()),
}
MD5_UNKNOWN = {"c3", "chid", "cluener", "cmrc2018", "diagnostics", "drcd"}
DROPPED = {("ocnli", "dev"): 50}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_called_like_its_file_and_is_the_built_in_one(name):
    task = load_task(name)
    assert task.name == name
    assert task.is_builtin


def test_every_split_has_the_official_rows_md5_and_submission():
    found = {(name, split): card for name in CARDS for split, card in load_task(name).splits.items()}
    assert {key: (card.rows, card.md5) for key, card in found.items()} == OFFICIAL
    assert {key: card.submission for key, card in found.items() if card.submission} == SUBMISSIONS


def test_every_archive_is_the_official_one():
    archives = {name: load_task(name).archive for name in CARDS}
    assert {name: archive and archive.md5 for name, archive in archives.items()} == {
        name: [md5] for name, md5 in ARCHIVES.items()
    } | {name: [] for name in MD5_UNKNOWN}
    for name, archive in archives.items():
        assert archive is not None
        assert archive.file == ("clue_" if name == "diagnostics" else "") + f"{name}_public.zip"
        is_elsewhere = name in ("diagnostics", "cluener")  # the hub has the one under other fields, the other not
        assert (archive.hub_dataset, archive.hub_config) == (("", "") if is_elsewhere else ("clue/clue", name))
        assert archive.mirrors
        assert all(url.startswith("https://") and url.endswith(f"/{archive.file}") for url in archive.mirrors)


def test_tnews_has_fifteen_labels_by_name_without_105_and_111():
    task = load_task("tnews")
    names = ["story", "culture", "entertainment", "sports", "finance", "house", "car", "edu"]
    names += ["tech", "military", "travel", "world", "stock", "agriculture", "game"]
    numbers = [100, 101, 102, 103, 104, 106, 107, 108, 109, 110, 112, 113, 114, 115, 116]
    assert dict(zip(task.labels, task.label_descriptions, strict=True)) == {
        str(number): f"news_{name}" for number, name in zip(numbers, names, strict=True)
    }


def test_iflytek_has_119_labels_and_their_names():
    task = load_task("iflytek")
    described = dict(zip(task.labels, task.label_descriptions, strict=True))
    assert list(described) == [str(number) for number in range(119)]
    known = {"0": "打车", "2": "免费WIFI", "61": "语言(非英语)", "70": "工具", "109": "电影票务", "118": "其他"}
    assert {label: described[label] for label in known} == known


@pytest.mark.parametrize("name", ["cmnli", "ocnli"])
def test_inference_labels_are_names_and_only_their_dash_is_dropped(name):
    task = load_task(name)
    assert dict(zip(task.labels, task.label_descriptions, strict=True)) == {
        "contradiction": "矛盾",
        "entailment": "蕴含",
        "neutral": "中立",
    }
    assert task.dropped_labels == ["-"]


def test_no_other_card_drops_rows():
    assert [name for name in CARDS if load_task(name).dropped_labels] == ["cmnli", "ocnli"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REAL))
def test_the_real_files_of_every_card_are_read(real_data, name):
    task = load_task(name)
    rows = read_rows(task, real_data / "clue")
    counts, official = REAL[name]
    assert {split: read.facts.rows for split, read in rows.items()} == counts
    assert {split for split, read in rows.items() if read.facts.is_official} == official
    for split, read in rows.items():
        assert read.facts.dropped_rows == DROPPED.get((name, split), 0)
        assert len(read) == counts[split] - read.facts.dropped_rows == len(read.texts) == len(read.labels)
        assert {len(texts) for texts in read.texts} == ({4, 5, 6} if name == "c3" else {len(task.text_fields)})
        if task.kind == "span":
            assert len(read.answers) == len(read)
            continue
        classes = set(read.labels.tolist())
        # Every class of the card stands in train and dev; test sets have none.
        assert classes == (set(range(len(task.labels))) if split in LABELLED_SPLITS else {UNLABELLED})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REAL))
def test_ids_of_real_test_sets_are_unlike_each_other(real_data, name):
    rows = read_rows(load_task(name), real_data / "clue")
    for split in rows.keys() - set(LABELLED_SPLITS):
        assert len(set(rows[split].ids)) == len(rows[split])


@pytest.mark.parametrize(("name", "field"), [("tnews", "label_desc"), ("iflytek", "label_des")])
def test_real_rows_call_their_labels_what_the_card_calls_them(real_data, name, field):
    task = load_task(name)
    assert task.label_description_field == field
    described = dict(zip(task.labels, task.label_descriptions, strict=True))
    listed = (real_data / "clue" / name / "labels.json").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in listed]
    assert {row["label"]: row[field] for row in rows} == described
    found = find(task, "dev", real_data / "clue")
    for row in parse_table(content(found), name=found.name, where=found.where).rows:
        assert row[field] == described[row["label"]]


def test_real_schemas_show_the_model_both_spans(real_data):
    rows = read_rows(load_task("cluewsc2020"), real_data / "clue")
    assert rows["test1.0"].texts[0] == ("_杨百顺_他爹是个卖豆腐的。别人叫[他]卖豆腐的老杨。",)
    for read in rows.values():
        assert all(text.count("_") >= 2 and "[" in text and "]" in text for (text,) in read.texts)


def test_only_the_diagnostics_have_no_training_data_and_their_labels_are_those_of_the_tasks_that_answer_them():
    (card,) = [card for card in map(load_task, CARDS) if card.answered_by]
    assert (card.name, card.answered_by) == ("diagnostics", ["ocnli", "cmnli"])
    assert all(load_task(name).labels == card.labels for name in card.answered_by)
    with pytest.raises(ValueError, match="no train and no"):
        Task.model_validate({**load_task("ocnli").model_dump(), "answered_by": ["cmnli"]})
    with pytest.raises(ClueBenchError, match="without training data"):
        read_rows(card, Path("data"))
