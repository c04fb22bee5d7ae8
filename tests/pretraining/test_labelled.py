"""Labelled pairs in pretraining: an explicit choice, recorded, learnt, and gone from the checkpoint."""

import pytest

from clue_bench.corpus.pairs import LabelledPair, build_pairs
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining

ORDER = {"sentence_order": "sentences", "labelled_share": 0.5, "dropout": 0.0}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, vocabulary_file):
    """Three hundred pairs, whose class depends on the first side."""
    sides = ["中国人有大地", "我们在学法", "他不会来了", "这个工作要时", "出来就能动"]
    rows = [LabelledPair(sides[n % 5], sides[(n // 5) % 5], int(n % 5 < 2)) for n in range(300)]
    out = tmp_path_factory.mktemp("pairs") / "pairs"
    return build_pairs(rows, task="toy", classes=["0", "1"], evaluated_on=[], vocabulary=vocabulary_file, out=out)


def start(recipe_file, corpus_folder, out, pairs, **overrides):
    recipe = load_recipe(str(recipe_file), {**ORDER, **overrides})
    return Pretraining(recipe, Corpus.open(corpus_folder), out, pairs=pairs)


def test_half_of_the_rows_are_labelled_pairs(recipe_file, corpus_folder, tmp_path, pairs):
    pretraining = start(recipe_file, corpus_folder, tmp_path, pairs)
    batch, keys = pretraining.feeds.assemble(pretraining.feeds.inputs(0, slice(0, 8)))
    labelled = (batch.labels_BC >= 0).any(1).tolist()
    assert labelled == [True] * 4 + [False] * 4
    assert (batch.orders_BC >= 0).any(1).tolist()[:4] == [False] * 4
    assert len(keys) == 8


def test_a_processes_rows_do_not_depend_on_how_many_there_are(recipe_file, corpus_folder, tmp_path, pairs):
    feeds = start(recipe_file, corpus_folder, tmp_path, pairs).feeds
    whole, _ = feeds.assemble(feeds.inputs(3, slice(0, 8)))
    for part in (slice(0, 3), slice(3, 8), slice(5, 8)):
        mine, _ = feeds.assemble(feeds.inputs(3, part))
        assert mine.ids_BS.tolist() == whole.ids_BS[part].tolist()
        assert mine.labels_BC.tolist() == whole.labels_BC[part].tolist()


@pytest.mark.slow
def test_labels_are_learnt_recorded_and_leave_no_head_behind(recipe_file, corpus_folder, tmp_path, pairs):
    pretraining = start(
        recipe_file, corpus_folder, tmp_path, pairs, steps=120, global_batch=32, micro_batch=32, learning_rate=5e-3
    )
    reports = list(run(pretraining, asked={}))
    late = [report.pair_accuracy for report in reports[-20:]]
    assert sum(late) / len(late) > 0.85  # three in five pairs are of class 0
    assert reports[-1].loss == pytest.approx(reports[-1].lm_loss + reports[-1].sop_loss + reports[-1].pair_loss)
    (record,) = read_records(tmp_path)
    chosen = record.effective["labelled_pairs"]
    assert (chosen["task"], chosen["split"], chosen["rows"]) == ("toy", "train", 300)
    checkpoint = read_checkpoint(tmp_path)
    assert not [name for name in checkpoint.tensors if name.startswith("pair.")]
    assert checkpoint.provenance["labelled_pairs"] == chosen


def test_without_pairs_the_record_says_so(recipe_file, corpus_folder, tmp_path):
    list(run(start(recipe_file, corpus_folder, tmp_path, None, steps=2), asked={}))
    (record,) = read_records(tmp_path)
    assert record.effective["labelled_pairs"] is None


def test_a_run_with_pairs_is_another_run(recipe_file, corpus_folder, tmp_path, pairs):
    with_pairs = start(recipe_file, corpus_folder, tmp_path, pairs).identity
    assert with_pairs != start(recipe_file, corpus_folder, tmp_path, None).identity


def test_a_recipe_without_a_share_refuses_pairs(recipe_file, corpus_folder, tmp_path, pairs):
    with pytest.raises(ClueBenchError, match="labelled pairs"):
        start(recipe_file, corpus_folder, tmp_path, pairs, labelled_share=0.0)


def test_running_text_as_pairs_is_refused(recipe_file, corpus_folder, tmp_path):
    with pytest.raises(ClueBenchError, match="without labels"):
        start(recipe_file, corpus_folder, tmp_path, Corpus.open(corpus_folder))


def test_pairs_longer_than_a_row_are_refused_if_none_is_left(recipe_file, corpus_folder, tmp_path, pairs):
    with pytest.raises(ClueBenchError, match="8 tokens"):
        start(recipe_file, corpus_folder, tmp_path, pairs, max_length=8)


def test_labelled_pairs_as_the_corpus_are_refused(recipe_file, tmp_path, pairs):
    with pytest.raises(ClueBenchError, match="labelled pairs, not running text"):
        start(recipe_file, pairs.folder, tmp_path, None)
