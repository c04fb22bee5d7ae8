"""`clue-bench data audit`: what it counts, on made-up rows, against pandas and transformers, and on the real data."""

import json
import re
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from clue_bench.cli import app
from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.language import translated, using
from clue_bench.synthetic.tasks import TASKS, write_tasks
from clue_bench.tasks.audit import (
    Index,
    Majority,
    Shared,
    TaskAudit,
    audit_task,
    lengths_of,
    percent,
    shared,
    tokens_of,
)
from clue_bench.tasks.audit_report import findings
from clue_bench.tasks.rows import UNLABELLED, Rows
from clue_bench.tasks.task import Task, load_task
from clue_bench.vocab import read_vocabulary

FEW_TEXTS = st.lists(st.tuples(st.sampled_from(["a", "b", "a b", "ab", " ab", ""]), st.integers(0, 2)), min_size=1)


def rows_of(pairs: list[tuple[str, int]], *, labelled: bool = True) -> Rows:
    """Return rows of one text and a class number each."""
    labels = np.array([label if labelled else UNLABELLED for _, label in pairs], dtype=np.int64)
    facts = FileFacts(rows=len(pairs), md5="", expected_rows=None, expected_md5=None)
    return Rows([(text,) for text, _ in pairs], labels, list(range(len(pairs))), facts)


# Counting


@given(pairs=FEW_TEXTS)
def test_duplicates_and_conflicts_are_those_of_pandas(pairs):
    frame = pd.DataFrame(pairs, columns=["text", "label"])
    labels = frame.groupby("text")["label"].transform("nunique")
    found = Index(rows_of(pairs)).duplicates()
    assert found.rows == frame.duplicated("text").sum()
    assert found.conflicting_rows == (labels > 1).sum()
    assert found.conflicting_texts == frame[labels > 1]["text"].nunique()


@given(first=FEW_TEXTS, second=FEW_TEXTS, spaces=st.booleans())
def test_shared_texts_are_those_of_pandas(first, second, spaces):
    one, other = pd.DataFrame(first, columns=["text", "label"]), pd.DataFrame(second, columns=["text", "label"])
    if not spaces:
        for frame in (one, other):
            frame["text"] = frame["text"].str.replace(r"\s", "", regex=True)
    in_both = set(one["text"]) & set(other["text"])
    both = pd.concat([one, other])
    labels = both[both["text"].isin(in_both)].groupby("text")["label"].nunique()
    found = shared(Index(rows_of(first), spaces=spaces), Index(rows_of(second), spaces=spaces))
    rows = one["text"].isin(in_both).sum(), other["text"].isin(in_both).sum()
    assert found == Shared(len(in_both), *rows, conflicting_texts=(labels > 1).sum())


def test_conflicts_are_not_counted_where_there_are_no_labels():
    unlabelled = Index(rows_of([("a", 0), ("a", 1)], labelled=False))
    assert unlabelled.duplicates().rows == 1
    assert unlabelled.duplicates().conflicting_texts is None
    assert shared(Index(rows_of([("a", 0)])), unlabelled) == Shared(1, 1, 2, conflicting_texts=None)


def test_the_texts_of_a_pair_are_compared_in_their_order_and_not_run_together():
    facts = FileFacts(rows=4, md5="", expected_rows=None, expected_md5=None)
    texts = [("ab", "c"), ("a", "bc"), ("c", "ab"), ("ab", "c")]
    assert Index(Rows(texts, np.zeros(4, dtype=np.int64), [0, 1, 2, 3], facts)).duplicates().rows == 1


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=300))
def test_percentiles_are_by_nearest_rank(counts):
    found = lengths_of(np.array(counts, dtype=np.int64))
    order = sorted(counts)
    for share, length in ((50, found.p50), (95, found.p95), (99, found.p99), (100, found.max)):
        assert length == order[-(-share * len(order) // 100) - 1]


@given(total=st.integers(1, 10**6), data=st.data())
def test_shares_are_exact_rounded_half_up_or_cut_off(total, data):
    count = data.draw(st.integers(0, total))
    exact = Decimal(100) * count / total
    assert Decimal(percent(count, total)) == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert Decimal(Majority("0", count, total).truncated) == exact.quantize(Decimal("0.01"), ROUND_DOWN)


@pytest.mark.parametrize("max_length", [8, 12, 32])
@pytest.mark.parametrize("pairs", [False, True])
def test_tokens_are_those_of_transformers(vocabulary_file, text_file, tmp_path, pairs, max_length):
    from transformers import BertTokenizer

    vocabulary = read_vocabulary(vocabulary_file)
    vocabulary.save(tmp_path, max_length=64)
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    lines = [line for line in text_file.read_text(encoding="utf-8").splitlines() if line]
    texts = list(zip(lines, reversed(lines), strict=True)) if pairs else [(line,) for line in lines]
    whole = [tokenizer(*row)["input_ids"] for row in texts]
    cut = [tokenizer(*row, truncation="longest_first", max_length=max_length)["input_ids"] for row in texts]
    special = 3 if pairs else 2

    found = tokens_of(texts, vocabulary, max_length=max_length)
    assert found.lengths == lengths_of(np.array([len(ids) for ids in whole]))
    assert found.truncated_rows == sum(len(ids) > max_length for ids in whole) > 0
    assert found.text_tokens == sum(len(ids) - special for ids in whole)
    assert found.kept_tokens == sum(len(ids) - special for ids in cut)
    assert found.unknown_tokens == sum(ids.count(tokenizer.unk_token_id) for ids in whole) > 0


# A task of four files, with everything that is to be found


@pytest.fixture
def task(tmp_path):
    card = {
        "name": "own",
        "title": "own",
        "column": "own",
        "text_fields": ["text"],
        "label_field": "label",
        "labels": ["a", "b", "c"],
        "label_descriptions": ["甲", "乙", "丙"],
        "dropped_labels": ["-"],
        "metric": "accuracy",
        "max_length": 8,
        "splits": {name: {"file": f"{name}.json"} for name in ("train", "dev", "test")},
    }
    files = {
        "train": [("我们", "a"), ("我们", "b"), ("中国", "a"), ("同 意", "a"), ("不", "-"), ("发动", "b")],
        "dev": [("中国", "b"), ("中国", "b"), ("同意", "b"), ("  ", "a")],
        "test": [("我们", None), ("不同意的人在这个国家", None)],
    }
    (tmp_path / "own").mkdir()
    for split, rows in files.items():
        lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows]
        (tmp_path / "own" / f"{split}.json").write_text("".join(lines), encoding="utf-8")
    return Task.model_validate(card)


def test_an_audit_counts_rows_labels_and_what_splits_share(task, tmp_path):
    done: list[str] = []
    audit = audit_task(task, tmp_path, on_split=done.append)
    assert done == list(audit.splits) == ["train", "dev", "test"]
    train, dev, test = audit.splits.values()
    assert (train.file.rows, train.file.dropped_rows, train.rows) == (6, 1, 5)
    assert (train.labels, dev.labels, test.labels) == ({"a": 3, "b": 2, "c": 0}, {"a": 1, "b": 3, "c": 0}, None)
    assert train.majority == Majority("a", 3, 5)
    assert dev.majority == Majority("b", 3, 4)
    assert test.majority is None
    assert (train.empty_rows, dev.empty_rows) == (0, 1)
    assert (train.characters.p50, train.characters.max) == (2, 3)
    overlaps = {(pair.first, pair.second): (pair.exact, pair.but_for_spaces) for pair in audit.overlaps}
    assert overlaps == {
        ("train", "dev"): (Shared(1, 1, 2, 1), Shared(2, 2, 3, 2)),
        ("train", "test"): (Shared(1, 2, 1, None), Shared(1, 2, 1, None)),
        ("dev", "test"): (Shared(0, 0, 0, None), Shared(0, 0, 0, None)),
    }


def test_findings_say_everything_a_user_must_know(task, tmp_path, vocabulary_file):
    audit = audit_task(task, tmp_path, vocabulary=read_vocabulary(vocabulary_file))
    assert findings(audit) == [
        "leak: train and dev share 1 text: 2 of 4 dev rows (50.00 %), 1 of 5 train rows (20.00 %); "
        "but for white space 3 and 2 rows; 1 of the shared texts with more than one label",
        "leak: train and test share 1 text: 1 of 2 test rows (50.00 %), 2 of 5 train rows (40.00 %)",
        "train has 1 text with more than one label each, in 2 rows",
        "always answering 'b' is right on 75.00 % of dev: an accuracy near that is no result",
        "train has no row of 1 label: 'c'",
        "dev has no row of 1 label: 'c'",
        "dev has 1 row with an empty text",
        "max_length 8 cuts 1 of 2 test rows (50.00 %); 66.67 % of their tokens are read",
    ]


def test_two_thirds_of_dev_are_no_large_majority_yet(task, tmp_path):
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in [("d", "a"), ("e", "b"), ("f", "b")]]
    (tmp_path / "own" / "dev.json").write_text("".join(lines), encoding="utf-8")
    assert not any("always answering" in line for line in findings(audit_task(task, tmp_path)))


# The command


@pytest.fixture
def card_file(task, tmp_path):
    path = tmp_path / "own.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in task.model_dump().items() if isinstance(value, str)]
    names = ("text_fields", "labels", "label_descriptions", "dropped_labels")
    lines += [f"{key} = {json.dumps(getattr(task, key), ensure_ascii=False)}" for key in names]
    lines += ["max_length = 8", *(f'splits.{name}.file = "{name}.json"' for name in task.splits)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, ["data", "audit", *map(str, arguments)])


def test_json_is_one_object_with_everything_in_it(card_file, tmp_path, vocabulary_file):
    done = invoke("--task", card_file, "--data", tmp_path, "--vocab", vocabulary_file, "--json")
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    assert printed["vocabulary"] == {
        "file": str(vocabulary_file),
        "sha256": read_vocabulary(vocabulary_file).sha256,
    }
    assert printed["missing"] == {}
    found = printed["tasks"][str(card_file)]
    assert found["revision"].startswith("own-")
    assert found["label_descriptions"] == {"a": "甲", "b": "乙", "c": "丙"}
    assert len(found["findings"]) == 8
    dev = found["splits"]["dev"]
    assert dev["labels"] == {"a": 1, "b": 3, "c": 0}
    assert dev["majority"] == {
        "label": "b",
        "count": 3,
        "rows": 4,
        "percent": "75.00",
        "percent_truncated": "75.00",
    }
    assert dev["characters_of_fields"] == {"text": dev["characters"]}
    assert found["splits"]["test"]["tokens"]["truncated_rows"] == 1
    assert found["overlaps"][0]["but_for_spaces"]["second_rows"] == 3


def test_without_a_vocabulary_the_missing_columns_are_named(card_file, tmp_path, vocabulary_file):
    without = invoke("--task", card_file, "--data", tmp_path)
    assert without.exit_code == 0
    assert "without --vocab there are no token counts" in without.stdout
    assert "max_length  rows cut" not in without.stdout
    with_one = invoke("--task", card_file, "--data", tmp_path, "--vocab", vocabulary_file)
    assert "without --vocab" not in with_one.stdout
    assert "max_length  rows cut" in with_one.stdout
    assert "warning: " in with_one.stdout.splitlines()[-1]


def test_tables_show_histogram_and_baseline(card_file, tmp_path):
    printed = [line.split() for line in invoke("--task", card_file, "--data", tmp_path).stdout.splitlines()]
    assert [*f"{card_file} dev 'b' 3/4 75.00 % 75.00 % b 乙 3, a 甲 1, c 丙 0".split()] in printed
    assert [*f"{card_file} train 6 1 5 1 1 2 0 –".split()] in printed
    assert [*f"{card_file} test 2 0 2 0 – – 0 –".split()] in printed
    assert [*f"{card_file} train / dev 1 1 2 2 / 2 / 3".split()] in printed


def test_a_long_histogram_is_shortened_to_the_most_frequent_and_the_rarest(tmp_path):
    (tmp_path / "tnews").mkdir()
    labels = load_task("tnews").labels
    rows = [
        {"sentence": f"{label}-{n}", "label": label} for place, label in enumerate(labels) for n in range(place + 1)
    ]
    for split in ("train", "dev"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "tnews" / f"{split}.json").write_text(lines, encoding="utf-8")
    printed = invoke("--task", "tnews", "--data", tmp_path).stdout
    assert "116 news_game 15, 115 news_agriculture 14, 114 news_stock 13, 113 news_world 12, 10 more, " in printed
    assert "10 more, 100 news_story 1" in printed


def test_tasks_that_are_not_there_are_named_and_an_error_if_asked_for(tmp_path):
    (tmp_path / "afqmc").mkdir()
    for split in ("train", "dev"):
        row = json.dumps({"sentence1": "a", "sentence2": split, "label": "0"})
        (tmp_path / "afqmc" / f"{split}.json").write_text(row, encoding="utf-8")
    found = invoke("--data", tmp_path, "--json")
    assert found.exit_code == 0
    printed = json.loads(found.stdout)
    assert list(printed["tasks"]) == ["afqmc"]
    assert "no tnews/train.json" in printed["missing"]["tnews"]
    assert "not audited: tnews: " in invoke("--data", tmp_path).stdout
    with pytest.raises(ClueBenchError, match=r"no tnews/train\.json"):
        CliRunner().invoke(app, ["data", "audit", "--task", "tnews", "--data", str(tmp_path)], catch_exceptions=False)
    with pytest.raises(ClueBenchError, match=r"no data .*afqmc, c3, chid"):
        CliRunner().invoke(app, ["data", "audit", "--data", str(tmp_path / "x")], catch_exceptions=False)


# What stays: names of tasks, splits and labels, what is typed, percentiles and hashes.
KEPT = re.compile(
    r"--vocab|max_length|\bp\d\d\b|\bmd5\b|\b[0-9a-f]{32}\b|(afqmc|tnews|iflytek|cmnli)|\b(train|dev|test)\b|test1\.0|"
    r"news_\w+|\b(contradiction|entailment|neutral)\b|/\S+|\S+\.json\S*|\S+\.zip|\b(c3|chid|clue\w+|cmrc2018|csl|drcd|"
    r"ocnli|diagnostics)\b"
)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    names = {name: dict(zip((t := load_task(name)).labels, t.label_descriptions, strict=True)) for name in TASKS}
    write_tasks(folder, seed=1, labels=names)
    for split in ("train", "dev"):  # texts in both, blank ones, and one of two labels
        rows = [{"sentence1": "花呗", "sentence2": "借呗", "label": n} for n in "01"]
        rows.append({"sentence1": " ", "sentence2": split, "label": "0"})
        with (folder / "afqmc" / f"{split}.json").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "tnews" / "test1.0.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify"], ["不同：任务卡为 34,334 行，md5", "与任务卡对照", "缺"]),
        (["audit"], ["字符：p50", "非官方", "未审查：c3：", "另有 114 种", "没有 --vocab 就没有词元数"]),
        (
            ["audit", "--task", "afqmc", "--vocab"],
            ["词元：p50", "泄漏：train 和 dev 共有 1 个文本：", "有 1 行带空白文本"],
        ),
    ],
)
def test_verified_and_audited_data_have_no_english_left(synthetic, vocabulary_file, arguments, said):
    more = [vocabulary_file] if arguments[-1] == "--vocab" else []
    typed = ["--lang", "zh", "data", *arguments, *more, "--data", synthetic]
    printed = CliRunner().invoke(app, list(map(str, typed)), catch_exceptions=False).stdout
    for words in said:
        assert words in printed
    assert [line for line in printed.splitlines() if re.search("[a-z]{2}", KEPT.sub("", line))] == []


@pytest.mark.parametrize(
    ("compared", "chinese"),
    [
        ("differs: the card has 1,244 rows; the card has no md5", "不同：任务卡为 1,244 行；任务卡缺：md5"),
        ("differs: the card has md5 0a1b", "不同：任务卡为 md5 0a1b"),
        ("the card has no rows and no md5", "任务卡缺：行数、md5"),
    ],
)
def test_what_a_file_is_compared_with_has_chinese(compared, chinese):
    with using("zh"):
        assert translated(compared) == chinese


def test_every_finding_has_chinese(task, tmp_path, vocabulary_file):
    with using("zh"):
        found = [
            translated(line)
            for line in findings(audit_task(task, tmp_path, vocabulary=read_vocabulary(vocabulary_file)))
        ]
    assert found == [
        "泄漏：train 和 dev 共有 1 个文本：dev 4 行中的 2 行（50.00 %），train 5 行中的 1 行（20.00 %）；"
        "忽略空白则是 3 行和 2 行；共有文本中有 1 个带不止一种标签",
        "泄漏：train 和 test 共有 1 个文本：test 2 行中的 1 行（50.00 %），train 5 行中的 2 行（40.00 %）",
        "train 有 1 个文本各带不止一种标签，涉及 2 行",
        "总答“b”就能答对 dev 的 75.00 %：与它相近的准确率不算成绩",
        "train 没有这 1 种标签的行：'c'",
        "dev 没有这 1 种标签的行：'c'",
        "dev 有 1 行带空白文本",
        "max_length 8 会截断 test 2 行中的 1 行（50.00 %）；它们的词元有 66.67 % 被读到",
    ]


def test_help_says_how_everything_is_counted():
    printed = " ".join(invoke("--help").stdout.replace("\\\n", "").split())
    assert "rows minus distinct texts" in printed
    assert "distinct texts with more than one label" in printed
    assert "distinct texts in both splits" in printed
    assert "Example: clue-bench data audit --task afqmc,tnews --data clue --vocab vocab.txt" in printed


# The real data: published findings, and which count each of them is


@pytest.fixture(scope="module")
def real(real_data):
    @cache
    def audit(name: str) -> TaskAudit:
        return audit_task(load_task(name), real_data / "clue")

    return audit


def share(audit: TaskAudit, first: str, second: str) -> tuple[Shared, Shared]:
    (pair,) = [pair for pair in audit.overlaps if (pair.first, pair.second) == (first, second)]
    return pair.exact, pair.but_for_spaces


@pytest.mark.slow
def test_real_afqmc(real):
    audit = real("afqmc")
    assert audit.revision == "official"
    dev = audit.splits["dev"]
    assert dev.majority == Majority("0", 2_978, 4_316)
    assert (dev.majority.rounded, dev.majority.truncated) == ("69.00", "68.99")
    assert (dev.characters.p50, dev.characters.p95, dev.characters.p99) == (25, 46, 67)
    assert all(pair.exact.texts == pair.but_for_spaces.texts == 0 for pair in audit.overlaps)
    assert [line.split(" is right")[0] for line in findings(audit)] == ["always answering '0'"]


@pytest.mark.slow
def test_real_tnews(real):
    audit = real("tnews")
    dev, test = audit.splits["dev"], audit.splits["test"]
    assert (dev.majority.label, dev.majority.rounded) == ("109", "10.89")
    assert (dev.characters.p50, dev.characters.p99) == (23, 39)
    # "235 duplicate titles" are rows whose title stood already; "28 with conflicting labels" are distinct titles.
    assert (dev.duplicates.rows, dev.duplicates.conflicting_texts) == (235, 28)
    assert test.duplicates.rows == 1_174
    assert share(audit, "dev", "test1.0")[0].texts == 252
    assert share(audit, "dev", "test")[1].texts == share(audit, "test", "test1.0")[1].texts == 0
    # "2,211 train rows repeat a dev sentence" holds but for white space; character by character they are 2,210.
    assert [found.first_rows for found in share(audit, "train", "dev")] == [2_210, 2_211]


def test_real_iflytek(real):
    audit = real("iflytek")
    train, dev = audit.splits["train"], audit.splits["dev"]
    assert (dev.majority.label, dev.majority.rounded) == ("70", "14.93")
    assert (train.labels["70"], train.rows) == (784, 7_503)  # 10.4 %
    assert (dev.characters.p50, dev.characters.p95, dev.characters.max) == (249, 592, 1_755)
    assert dev.duplicates.conflicting_texts == 29
    assert share(audit, "dev", "test")[0].texts == 73
    assert share(audit, "train", "test")[0].first_rows == 175


@pytest.mark.slow
def test_real_cmnli(real):
    dev = real("cmnli").splits["dev"]
    assert dev.labels == {"contradiction": 4_038, "entailment": 4_277, "neutral": 3_926}
    assert dev.rows == 12_241


@pytest.mark.parametrize(("name", "train", "dev", "dropped"), [("csl", 160, 3_000, 0), ("ocnli", 21_572, 2_950, 50)])
def test_real_csl_and_ocnli(real, name, train, dev, dropped):
    splits = real(name).splits
    assert (splits["train"].rows, splits["dev"].rows, splits["dev"].file.dropped_rows) == (train, dev, dropped)


@pytest.mark.slow
def test_128_tokens_cut_most_of_the_real_iflytek(real_data):
    vocabulary = read_vocabulary(real_data / "vocab" / "google_zh_vocab_21128.txt")
    audit = audit_task(load_task("iflytek"), real_data / "clue", vocabulary=vocabulary)
    tokens = audit.splits["dev"].tokens
    assert tokens is not None
    # The median text has about twice the 126 tokens that are left for it: "128 tokens keep about half the text".
    assert 1.8 < (tokens.lengths.p50 - 2) / 126 < 2.2
    assert any(line.startswith("max_length 128 cuts ") for line in findings(audit))
