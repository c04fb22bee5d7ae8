"""Labelled pairs as a corpus: what is taken, what is refused, and what is in the folder."""

import pytest

from clue_bench.corpus.pairs import EMPTY, SEEN, LabelledPair, build_pairs
from clue_bench.errors import ClueBenchError

PAIRS = [
    LabelledPair("中国人来了", "中国的人", 1),
    LabelledPair("他有时来", "我不在这里。你在", 0),
    LabelledPair("学这个", "了不出", 0),
    LabelledPair("", "出来", 1),
    LabelledPair("上下", " \u200b ", 1),
    LabelledPair("大国", "小国", 1),
]


def build(vocabulary_file, out, *, pairs=PAIRS, evaluated_on=()):
    return build_pairs(
        pairs, task="toy", classes=["0", "1"], evaluated_on=evaluated_on, vocabulary=vocabulary_file, out=out
    )


def test_every_pair_is_a_document_of_two_sentences_with_its_label(vocabulary_file, tmp_path):
    corpus = build(vocabulary_file, tmp_path / "pairs")
    assert corpus.labels is not None
    assert corpus.labels.labels == [1, 0, 0, 1]
    assert corpus.labels.left_out == {EMPTY: 2}
    assert (corpus.documents[0] == corpus.sentences[0][::2]).all()
    assert len(corpus.sentences[0]) == 2 * 4 + 1
    assert corpus.damaged_files() == []
    assert corpus.manifest.counts.documents == 4


def test_rows_of_dev_and_test_are_refused_in_either_order(vocabulary_file, tmp_path):
    seen = [("中国人来了", "中国的人"), ("小国", "大国"), ("他有时来", "另外")]
    corpus = build(vocabulary_file, tmp_path / "pairs", evaluated_on=seen)
    assert corpus.labels is not None
    assert corpus.labels.labels == [0, 0]
    assert corpus.labels.left_out == {SEEN: 2, EMPTY: 2}


def test_a_dev_set_given_as_training_rows_is_an_error(vocabulary_file, tmp_path):
    with pytest.raises(ClueBenchError, match="4 in dev or test"):
        build(
            vocabulary_file,
            tmp_path / "pairs",
            pairs=PAIRS[:3] + PAIRS[5:],
            evaluated_on=[(pair.second, pair.first) for pair in PAIRS],
        )
    assert not (tmp_path / "pairs" / "manifest.json").exists()


def test_a_folder_in_use_is_left_alone(vocabulary_file, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="not empty"):
        build(vocabulary_file, tmp_path)


def test_running_text_has_no_labels(corpus_folder):
    from clue_bench.doors.shards import Corpus

    assert Corpus.open(corpus_folder).labels is None


@pytest.mark.slow
def test_no_row_of_afqmc_is_in_its_dev_or_test_set(real_data, tmp_path):
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    task = load_task("afqmc")
    rows = {split: read_split(task, split, real_data / "clue") for split in ("train", "dev", "test")}
    train = rows["train"]
    pairs = [LabelledPair(*texts, int(label)) for texts, label in zip(train.texts, train.labels, strict=True)]
    pairs += [LabelledPair(*texts, 0) for texts in rows["dev"].texts]  # a careless user's extra rows
    seen = [*rows["dev"].texts, *rows["test"].texts]
    corpus = build(real_data / "vocab" / "clue_vocab_8021.txt", tmp_path / "pairs", pairs=pairs, evaluated_on=seen)
    assert corpus.labels is not None
    assert corpus.labels.left_out == {SEEN: 4_316}
    assert len(corpus.labels.labels) == 34_334
