"""Rows from a corpus in the device's memory are the rows that the host gathers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.rows import PackedRows, ResidentRows
from clue_bench.pretraining.train import Pretraining
from clue_bench.vocab import Vocabulary, read_vocabulary

CPU = torch.device("cpu")
SHARDS = [[[[9, 7], [30], [2]], [[25, 25]]], [[[3]], [[40, 2, 2], [1]], [[60]]]]  # [[3]]: shorter than a row


def assert_same(rows: PackedRows) -> ResidentRows:
    resident = ResidentRows.from_rows(rows, CPU)
    samples = np.random.default_rng(0).permutation(len(rows))
    expected = rows.gather(samples, epochs_B=np.zeros_like(samples), seed=1)
    found = resident.gather(torch.from_numpy(samples))
    for name, value in expected._asdict().items():
        got = getattr(found, name)
        assert (got is None) == (value is None), name
        assert got is None or np.array_equal(got.numpy(), value), name
    return resident


@pytest.mark.parametrize("lengths", SHARDS)
@pytest.mark.parametrize("length", [8, 21, 50])
@pytest.mark.parametrize("kind", [{}, {"with_words": True}, {"is_causal": True}], ids=["tokens", "words", "causal"])
def test_rows_are_those_of_the_host(make_corpus, vocabulary, lengths, length, kind):
    assert_same(PackedRows.from_corpus(make_corpus(lengths), vocabulary, length=length, **kind))


def test_so_are_those_of_a_part_of_the_documents(words_folder):
    corpus = Corpus.open(words_folder)
    documents = tuple(part[1:-1] for part in corpus.documents)
    vocabulary = read_vocabulary(corpus.tokenizer_folder)
    assert_same(PackedRows.from_corpus(corpus, vocabulary, length=32, documents=documents, with_words=True))


@pytest.mark.parametrize(("size", "dtype"), [(2**16, torch.int16), (2**16 + 1, torch.int32)])
def test_tokens_take_two_bytes_as_long_as_ids_fit_into_them(make_corpus, vocabulary, size, dtype):
    corpus = make_corpus(SHARDS[0])
    # The largest id of all, which is negative as an int16.
    corpus.ids[0] = np.where(corpus.ids[0] == 7, size - 1, corpus.ids[0].astype(np.int64))
    many = Vocabulary((*vocabulary.tokens, *(f"[{number}]" for number in range(size - len(vocabulary)))))
    assert assert_same(PackedRows.from_corpus(corpus, many, length=16)).tokens_T.dtype == dtype


@pytest.mark.parametrize("objective", ["mlm", "wwm", "clm"])
def test_batches_are_the_same_and_no_row_travels(objective, recipe_file, words_folder, tmp_path):
    overrides = {"objective": objective}
    if objective == "clm":
        overrides |= {"family": "gpt2", "mask_rate": 0.0, "activation": "gelu_tanh"}
    pretraining = Pretraining(load_recipe(str(recipe_file), overrides), Corpus.open(words_folder), tmp_path)
    host = pretraining.feeds
    assert host.train.resident is None
    train = replace(host.train)
    object.__setattr__(train, "resident", ResidentRows.from_rows(host.train.rows, pretraining.device))
    device = replace(host, train=train)
    assert device.inputs(3, slice(0, 8))[0].rows is None
    (expected, expected_keys), (found, keys) = (
        feeds.assemble(feeds.inputs(3, slice(0, 8))) for feeds in (host, device)
    )
    assert torch.equal(keys, expected_keys)
    for one, other in zip(found, expected, strict=True):
        assert one is other is None or torch.equal(one, other)
