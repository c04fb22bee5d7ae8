"""Rows from shards: everything is there once, nothing is padding, and the layout is what the docstring says."""

import itertools

import numpy as np
import pytest

from clue_bench.engine.batches import PackedRows, samples_of_step
from clue_bench.shards import Corpus
from clue_bench.vocab import read_vocabulary


def opened(folder, length):
    corpus = Corpus.open(folder)
    return PackedRows.of(corpus, read_vocabulary(corpus.tokenizer_folder), length=length)


def gathered(rows, samples):
    return rows.gather(samples, epochs_B=np.zeros_like(samples), seed=1).ids_BS


def stream(rows, shard):
    """A shard as one list of ids with [SEP] after each document, made the slow way."""
    ids, documents = rows.corpus.ids[shard], rows.corpus.documents[shard]
    tokens = []
    for start, end in itertools.pairwise(documents):
        tokens += [*ids[start:end].tolist(), rows.vocabulary.separator]
    return tokens


@pytest.mark.parametrize("length", [8, 32, 64])
def test_rows_are_consecutive_blocks_between_start_and_separator(corpus_folder, length):
    rows = opened(corpus_folder, length)
    assert len(rows.corpus.ids) > 1
    for shard, first in enumerate(rows.first_rows[:-1]):
        expected = stream(rows, shard)
        got = gathered(rows, np.arange(first, rows.first_rows[shard + 1]))
        assert (got[:, 0] == rows.vocabulary.start).all()
        assert (got[:, -1] == rows.vocabulary.separator).all()
        for number, row in enumerate(got):
            at = min(number * (length - 2), len(expected) - (length - 2))
            assert row[1:-1].tolist() == expected[at : at + length - 2]


def test_every_token_of_the_corpus_stands_in_some_row(corpus_folder):
    rows = opened(corpus_folder, 32)
    got = gathered(rows, np.arange(len(rows)))
    for shard, first in enumerate(rows.first_rows[:-1]):
        expected = stream(rows, shard)
        blocks = got[first : rows.first_rows[shard + 1], 1:-1]
        tail = len(expected) - (len(blocks) - 1) * 30
        assert [*blocks[:-1].ravel().tolist(), *blocks[-1].tolist()[-tail:]] == expected


def test_a_shard_shorter_than_a_row_is_padded(corpus_folder):
    rows = opened(corpus_folder, 5_000)
    assert rows.has_padding
    row = gathered(rows, np.array([0]))[0]
    expected = stream(rows, 0)
    assert row[1 : 1 + len(expected)].tolist() == expected
    assert (row[1 + len(expected) :] == rows.vocabulary.pad).all()


def test_full_rows_have_no_padding(corpus_folder):
    rows = opened(corpus_folder, 32)
    assert not rows.has_padding
    assert (gathered(rows, np.arange(len(rows))) != rows.vocabulary.pad).all()


def test_an_epoch_is_every_row_once_and_epochs_differ():
    batches = [samples_of_step(step, global_batch=7, num_rows=50, seed=3) for step in range(15)]
    epochs = np.concatenate([epochs for epochs, _ in batches])
    samples = np.concatenate([samples for _, samples in batches])
    assert sorted(samples[epochs == 0]) == list(range(50))
    assert sorted(samples[epochs == 1]) == list(range(50))
    assert samples[epochs == 0].tolist() != samples[epochs == 1].tolist()


def test_a_step_is_the_same_however_it_is_reached():
    later = samples_of_step(9, global_batch=8, num_rows=23, seed=1)
    parts = [samples_of_step(step, global_batch=4, num_rows=23, seed=1) for step in (18, 19)]
    assert later[1].tolist() == np.concatenate([samples for _, samples in parts]).tolist()
