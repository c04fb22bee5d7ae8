"""Rows from shards: everything is there once, nothing is padding, and the layout is what the docstring says."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.held_out import MAX_HELD_OUT, hold_out
from clue_bench.pretraining.objectives import RowDraws, causal_batch
from clue_bench.pretraining.rows import IGNORED, PackedRows, Rows, samples_of_step
from clue_bench.vocab import read_vocabulary


def opened(folder, length):
    corpus = Corpus.open(folder)
    return PackedRows.from_corpus(corpus, read_vocabulary(corpus.tokenizer_folder), length=length)


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


@given(
    lengths=st.lists(
        st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=3), max_size=7), min_size=1, max_size=3
    ).filter(lambda shards: any(shards)),
    share=st.sampled_from([0.0, 0.005, 0.1, 0.5, 0.99]),
)
def test_training_and_held_out_documents_are_disjoint_and_together_all(make_corpus, lengths, share):
    corpus = make_corpus(lengths)
    train, held = hold_out(corpus, share=share)
    for number, (offsets, left, right) in enumerate(zip(corpus.documents, train, held, strict=True)):
        assert left[-1] == right[0]
        assert len(left) > 1, "something is always left to train on"
        end = int(offsets[-1])
        whole = max(start for start in offsets.tolist() if start <= end - share * end)
        if share and whole and end - whole <= MAX_HELD_OUT * share * end:
            assert right[0] == whole
        elif share:
            assert right[0] == min(at for at in corpus.sentences[number].tolist() if at >= end - share * end)
        else:
            assert right.tolist() == [end]
        assert sorted({*left.tolist(), *right.tolist()}) == sorted({*offsets.tolist(), int(right[0])})


def test_of_one_long_document_the_last_sentences_are_held_out(make_corpus):
    corpus = make_corpus([[[3, 4], [10] * 100]])
    (train,), (held,) = hold_out(corpus, share=0.02)
    assert held.tolist() == [987, 1007]
    assert train.tolist() == [0, 7, 987]


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("length", [8, 29])
def test_rows_of_a_part_hold_just_its_documents(corpus_folder, length, share):
    corpus = Corpus.open(corpus_folder)
    vocabulary = read_vocabulary(corpus.tokenizer_folder)
    for documents in hold_out(corpus, share=share):
        rows = PackedRows.from_corpus(corpus, vocabulary, length=length, documents=documents, with_words=True)
        got = rows.gather(np.arange(len(rows)), epochs_B=np.zeros(len(rows), dtype=np.int64), seed=1)
        for shard, offsets in enumerate(documents):
            expected, starts_word = [], corpus.starts_word(shard)
            for start, end in itertools.pairwise(offsets):
                expected += zip(corpus.ids[shard][start:end], starts_word[start:end], strict=True)
                expected.append((vocabulary.separator, True))
            first, last = rows.first_rows[shard : shard + 2]
            for number in range(last - first):
                at = max(0, min(number * (length - 2), len(expected) - (length - 2)))
                block = expected[at : at + length - 2]
                found = slice(1, 1 + len(block))
                assert got.ids_BS[first + number, found].tolist() == [token for token, _ in block]
                assert got.starts_word_BS[first + number, found].tolist() == [starts for _, starts in block]


def causal(make_corpus, vocabulary, lengths, length):
    """Rows and targets of causal rows over a made corpus; its first token is [UNK] now and then."""
    corpus = make_corpus(lengths)
    rows = PackedRows.from_corpus(corpus, vocabulary, length=length, is_causal=True)
    ignored = ~torch.from_numpy(vocabulary.is_ordinary)
    ignored[vocabulary.separator] = False
    samples = np.arange(len(rows))
    gathered_rows = rows.gather(samples, epochs_B=np.zeros_like(samples), seed=1)
    draws = RowDraws(np.zeros_like(samples), samples, 1)
    tensors = Rows(*(None if value is None else torch.from_numpy(value) for value in gathered_rows))
    return rows, gathered_rows, causal_batch(tensors, draws, is_ignored_V=ignored)


@pytest.mark.parametrize("length", [8, 16, 21])
def test_every_token_of_the_stream_is_a_target_once_and_the_last_row_reaches_back(make_corpus, vocabulary, length):
    rows, _, batch = causal(make_corpus, vocabulary, [[[9, 7], [30], [2]], [[25, 25]]], length)
    assert not rows.has_padding
    for shard, first in enumerate(rows.first_rows[:-1]):
        expected = stream(rows, shard)
        targets = batch.targets_BK[first : rows.first_rows[shard + 1]]
        assert len(targets) == -(-len(expected) // length)
        tail = len(expected) - (len(targets) - 1) * length
        assert [*targets[:-1].flatten().tolist(), *targets[-1, -tail:].tolist()] == expected
        assert targets[-1].tolist() == expected[-length:]
        assert batch.targets_BK[first, 0] == rows.corpus.ids[shard][0]


def test_a_causal_row_sees_the_start_and_then_the_targets_before(make_corpus, vocabulary):
    _, gathered_rows, batch = causal(make_corpus, vocabulary, [[[9, 7], [30], [2]]], 16)
    assert (batch.ids_BS[:, 0] == vocabulary.start).all()
    assert np.array_equal(gathered_rows.ids_BS[:, 1:], gathered_rows.next_BS[:, :-1])
    assert batch.at_BK is None


def test_where_documents_end_is_a_target_and_padding_and_unknown_tokens_are_none(corpus_folder):
    corpus = Corpus.open(corpus_folder)
    vocabulary = read_vocabulary(corpus.tokenizer_folder)
    rows, gathered_rows, batch = causal(lambda _: corpus, vocabulary, None, 5_000)
    assert rows.has_padding
    following, targets = gathered_rows.next_BS, batch.targets_BK.numpy()
    for shard in range(len(corpus.ids)):
        assert (targets[shard] == vocabulary.separator).sum() == len(corpus.documents[shard]) - 1
    ignored = np.isin(following, [vocabulary.pad, vocabulary.unknown])
    assert (following == vocabulary.unknown).any()
    assert np.array_equal(targets == IGNORED, ignored)
    assert np.array_equal(targets[~ignored], following[~ignored])
