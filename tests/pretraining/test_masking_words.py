"""Whole words, on made and on real rows: never partly chosen, shares exact, and the same for every length of word."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch

from clue_bench.pretraining.objectives import LONGEST_WORD, Masking, RowDraws
from clue_bench.pretraining.rows import IGNORED, PackedRows
from clue_bench.vocab import Vocabulary, read_vocabulary

CPU = torch.device("cpu")
LENGTH = 128


class Chosen(NamedTuple):
    """Rows before and after masking, and where the loss looks."""

    ids_BS: np.ndarray
    shown_BS: np.ndarray
    chosen_BS: np.ndarray
    words_3W: np.ndarray  # row, begin and end of every word (pieces of long ones), found the slow way


def mask(ids_BS, starts_BS, vocabulary: Vocabulary, *, rate: float = 0.15, words: bool = True) -> Chosen:
    masking = Masking.for_vocabulary(vocabulary, rate=rate, length=ids_BS.shape[1], device=CPU, whole_words=words)
    rows = np.arange(len(ids_BS))
    draws = RowDraws(np.zeros_like(rows), rows, 1)
    masked = masking(torch.from_numpy(ids_BS), draws, starts_word_BS=torch.from_numpy(starts_BS))
    counted_BK = masked.targets_BK != IGNORED
    chosen_BS = torch.zeros(ids_BS.shape, dtype=torch.bool).scatter(1, masked.at_BK, counted_BK)
    truth_BK = torch.from_numpy(ids_BS).gather(1, masked.at_BK)
    assert torch.equal(masked.targets_BK[counted_BK], truth_BK[counted_BK])
    found = words_of_rows(ids_BS, starts_BS, vocabulary.is_ordinary)
    return Chosen(ids_BS, masked.ids_BS.numpy(), chosen_BS.numpy(), found)


def words_of_rows(ids_BS, starts_BS, is_ordinary):
    words = []
    for number, (ids, starts) in enumerate(zip(ids_BS.tolist(), starts_BS.tolist(), strict=True)):
        begin = None
        for at, (token, starts_here) in enumerate(zip([*ids, -1], [*starts, True], strict=True)):
            inside = token >= 0 and is_ordinary[token]
            if begin is not None and (not inside or starts_here or at - begin == LONGEST_WORD):
                words.append((number, begin, at))
                begin = None
            if begin is None and inside:
                begin = at
    return np.array(words).T


@pytest.fixture(scope="module")
def made_rows() -> Callable[..., tuple[Vocabulary, np.ndarray, np.ndarray]]:
    """Rows of words of one to nine tokens with [SEP] and [UNK] in between."""

    def make(rows: int, length: int):
        generator = np.random.default_rng(5)
        vocabulary = Vocabulary(
            ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(0x4E00 + number) for number in range(995)))
        )
        ids = generator.integers(5, len(vocabulary), (rows, length))
        ids[generator.random(ids.shape) < 0.02] = vocabulary.unknown
        ids[generator.random(ids.shape) < 0.02] = vocabulary.separator
        ids[:, 0], ids[:, -1] = vocabulary.start, vocabulary.separator
        sizes = generator.choice([1, 2, 3, 4, 9], rows * length, p=[0.4, 0.35, 0.15, 0.07, 0.03])
        starts = np.zeros(rows * length, dtype=np.bool_)
        begins = np.cumsum(sizes)
        starts[begins[begins < rows * length]] = True
        return vocabulary, ids, starts.reshape(rows, length)

    return make


@pytest.fixture(
    scope="module", params=["made", *(pytest.param(name, marks=pytest.mark.slow) for name in ("wordpiece", "rjieba"))]
)
def masked(request, made_rows) -> tuple[Vocabulary, Chosen]:
    """A million tokens, masked: made words, and on real text WordPiece's and a segmenter's."""
    if request.param == "made":
        vocabulary, ids, starts = made_rows(8192, LENGTH)
        return vocabulary, mask(ids, starts, vocabulary)
    corpus = request.getfixturevalue("real_corpus")
    vocabulary = read_vocabulary(corpus.tokenizer_folder)
    rows = PackedRows.from_corpus(corpus, vocabulary, length=LENGTH, with_words=True)
    samples = np.arange(min(len(rows), 9000))
    gathered = rows.gather(samples, epochs_B=np.zeros_like(samples), seed=1)
    of_vocabulary = vocabulary.starts_word[gathered.ids_BS]  # what a corpus built without words has
    starts = of_vocabulary if request.param == "wordpiece" else gathered.starts_word_BS
    return vocabulary, mask(gathered.ids_BS, starts, vocabulary)


def test_words_are_chosen_whole_or_not_at_all(masked):
    _, chosen = masked
    rows, begins, ends = chosen.words_3W
    before = np.pad(chosen.chosen_BS.cumsum(1), ((0, 0), (1, 0)))
    counts = before[rows, ends] - before[rows, begins]
    assert ((counts == 0) | (counts == ends - begins)).all()
    assert counts.sum() == chosen.chosen_BS.sum()


def test_special_and_unknown_tokens_are_never_chosen_and_nothing_else_changes(masked):
    vocabulary, chosen = masked
    assert vocabulary.is_ordinary[chosen.ids_BS[chosen.chosen_BS]].all()
    assert (chosen.ids_BS == vocabulary.unknown).any()
    changed = chosen.ids_BS != chosen.shown_BS
    assert not (changed & ~chosen.chosen_BS).any()


def test_the_share_of_tokens_and_of_words_is_the_rate(masked):
    vocabulary, chosen = masked
    ordinary = vocabulary.is_ordinary[chosen.ids_BS]
    assert chosen.ids_BS.size > 1_000_000
    # A row's number of tokens varies by a word around 19 (rounding, and where its last word ends), so one sigma of
    # the share over 8,000 rows is below 0.0002; of words, with the spread of their sizes, below 0.0004.
    assert chosen.chosen_BS.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.001)
    rows, begins, _ = chosen.words_3W
    assert chosen.chosen_BS[rows, begins].mean() == pytest.approx(0.15, abs=0.0015)


def test_words_of_every_length_are_chosen_equally_often(masked):
    _, chosen = masked
    rows, begins, ends = chosen.words_3W
    is_chosen = chosen.chosen_BS[rows, begins]
    counted = 0
    for size in range(1, LONGEST_WORD + 1):
        of_size = is_chosen[ends - begins == size]
        if len(of_size) < 500:
            continue
        counted += 1
        sigma = np.sqrt(0.15 * 0.85 / len(of_size))
        assert of_size.mean() == pytest.approx(0.15, abs=4 * sigma), f"{size} tokens, {len(of_size)} words"
    assert counted >= 2


def test_a_word_is_masked_replaced_or_shown_as_a_whole(masked):
    vocabulary, chosen = masked
    counts = {"masked": 0, "shown": 0, "replaced": 0}
    is_chosen = chosen.chosen_BS[chosen.words_3W[0], chosen.words_3W[1]]
    for row, begin, end in chosen.words_3W[:, is_chosen].T:
        shown, truth = chosen.shown_BS[row, begin:end], chosen.ids_BS[row, begin:end]
        if (shown == vocabulary.mask).any():
            assert (shown == vocabulary.mask).all()
            counts["masked"] += 1
        elif (shown == truth).all():
            counts["shown"] += 1
        else:
            assert vocabulary.is_ordinary[shown].all()
            counts["replaced"] += 1
    total = sum(counts.values())
    # Four sigma over some 70,000 words or more: 0.006 and 0.0045. A replaced word of one token equals the truth once
    # in a thousand times.
    assert total > 60_000
    assert counts["masked"] / total == pytest.approx(0.8, abs=0.006)
    assert counts["shown"] / total == pytest.approx(0.1, abs=0.0045)
    assert counts["replaced"] / total == pytest.approx(0.1, abs=0.0045)


@pytest.mark.parametrize("length", [8, 16, 32, 512])
def test_short_and_long_rows_choose_long_words_no_less(made_rows, length):
    vocabulary, ids, starts = made_rows(2**18 // length, length)
    chosen = mask(ids, starts, vocabulary)
    rows, begins, ends = chosen.words_3W
    for size in (1, 2, 3, 4):
        of_size = chosen.chosen_BS[rows, begins][ends - begins == size]
        sigma = np.sqrt(0.15 * 0.85 / len(of_size))
        assert of_size.mean() == pytest.approx(0.15, abs=4 * sigma), f"{size} tokens, {len(of_size)} words"


@pytest.mark.parametrize("rate", [0.15, 0.5, 0.95])
def test_rows_of_one_long_word_choose_all_or_nothing_at_the_rate(rate):
    vocabulary = Vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "一", "二"))
    ids = np.full((20_000, 8), 5)
    ids[:, 0], ids[:, -1] = vocabulary.start, vocabulary.separator
    starts = np.zeros(ids.shape, dtype=np.bool_)
    chosen = mask(ids, starts, vocabulary, rate=rate)
    shares = chosen.chosen_BS[:, 1:7].mean(1)
    assert set(shares) == {0.0, 1.0}
    # One sigma is at most 0.0036.
    assert shares.mean() == pytest.approx(rate, abs=0.0142)


def test_rows_without_ordinary_tokens_choose_no_words(made_rows):
    vocabulary, ids, starts = made_rows(4, 16)
    ids[2:] = vocabulary.unknown
    chosen = mask(ids, starts, vocabulary, rate=0.5)
    assert chosen.chosen_BS[:2].any(1).all()
    assert not chosen.chosen_BS[2:].any()
    assert (chosen.shown_BS[2:] == ids[2:]).all()


def test_single_tokens_of_real_text_are_chosen_and_hidden_in_bert_s_shares(real_corpus):
    vocabulary = read_vocabulary(real_corpus.tokenizer_folder)
    rows = PackedRows.from_corpus(real_corpus, vocabulary, length=LENGTH)
    samples = np.arange(min(len(rows), 9000))
    ids = rows.gather(samples, epochs_B=np.zeros_like(samples), seed=1).ids_BS
    chosen = mask(ids, np.ones(ids.shape, dtype=np.bool_), vocabulary, words=False)
    ordinary = vocabulary.is_ordinary[ids]
    assert ordinary.sum() > 1_000_000
    assert not (chosen.chosen_BS & ~ordinary).any()
    assert chosen.chosen_BS.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.0005)
    shown, truth = chosen.shown_BS[chosen.chosen_BS], ids[chosen.chosen_BS]
    # 150,000 predictions: four sigma are 0.0041 and 0.0031.
    assert (shown == vocabulary.mask).mean() == pytest.approx(0.8, abs=0.0041)
    assert (shown == truth).mean() == pytest.approx(0.1, abs=0.0031)
    others = shown[(shown != vocabulary.mask) & (shown != truth)]
    assert vocabulary.is_ordinary[others].all()
