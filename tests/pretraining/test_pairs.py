"""Rows of texts in two parts, against a slow plain re-implementation; what they are per epoch; labelled pairs."""

import itertools
import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.corpus.build import build_corpus
from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.held_out import hold_out
from clue_bench.pretraining.pairs import PairRows
from clue_bench.pretraining.rows import IGNORED
from clue_bench.vocab import read_vocabulary

LENGTHS = st.lists(  # shards, documents, sentences in tokens
    st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=6), min_size=1, max_size=6), min_size=1, max_size=3
)


def filled(pieces, *, width, most):
    """Texts of a document's sentences (begin, end), each as many as fit, from the first one on."""
    pieces, texts = list(pieces), []
    while pieces:
        text = [pieces.pop(0)]
        while pieces and len(text) < (most or len(pieces) + len(text)) and pieces[0][1] - text[0][0] <= width:
            text.append(pieces.pop(0))
        texts.append(text)
    return texts


def lean_of(texts):
    """How many texts have the longer part first, less those that have it last, all splits being as likely."""
    total = 0.0
    for text in texts:
        sizes = [(cut - text[0][0], text[-1][1] - cut) for _, cut in text[:-1]]
        total += sum((a > b) - (a < b) for a, b in sizes) / len(sizes) if sizes else 0.0
    return total


def texts_of(sentences, documents, *, length, most):
    """A shard's texts, each a list of sentences (begin, end); long sentences are cut."""
    width, total = length - 3, 0.0
    bounds = list(itertools.pairwise(np.asarray(sentences).tolist()))
    for begin, end in itertools.pairwise(np.asarray(documents).tolist()):
        pieces = [
            (at, min(at + width, last))
            for first, last in bounds
            if begin <= first < end
            for at in range(first, last, width)
        ]
        forward = filled(pieces, width=width, most=most)
        mirror = filled([(-last, -first) for first, last in reversed(pieces)], width=width, most=most)
        backward = [[(-last, -first) for first, last in reversed(text)] for text in reversed(mirror)]
        chosen = min((forward, backward), key=lambda texts: abs(total + lean_of(texts)))
        total += lean_of(chosen)
        yield from chosen


def gathered(rows, samples=None, *, epoch=0, seed=1):
    samples = np.arange(len(rows)) if samples is None else np.asarray(samples, dtype=np.int64)
    return rows.gather(samples, epochs_B=np.full_like(samples, epoch), seed=seed)


def sides_of(ids, vocabulary):
    """Split a laid-out text at its [SEP], and check the frame."""
    assert ids[0] == vocabulary.start
    assert ids[-1] == vocabulary.separator
    sides = [[]]
    for token in ids[1:-1]:
        if token == vocabulary.separator:
            sides.append([])
        else:
            sides[-1].append(token)
    assert all(sides), "no side is empty"
    return sides


def check_row(got, number, expected, *, corpus, shard, rows):
    """Hold one row against its expected texts."""
    vocabulary, at = rows.vocabulary, 0
    for column, text in enumerate(expected):
        begin, end = text[0][0], text[-1][1]
        size = end - begin + 2 + (len(text) > 1)
        place = slice(at, at + size)
        assert got.starts_BC[number, column] == at
        assert (got.blocks_BS[number, place] == column + 1).all()
        assert got.positions_BS[number, place].tolist() == list(range(size))
        ids = got.ids_BS[number, place].tolist()
        sides = sides_of(ids, vocabulary)
        order = int(got.orders_BC[number, column])
        assert len(sides) == min(len(text), 2)
        assert order == IGNORED if len(text) == 1 else order in (0, 1)
        left = len(sides[0]) + 2
        assert got.segments_BS[number, place].tolist() == [0] * min(left, size) + [1] * (size - left)
        swapped = order == 1
        sources = list(range(begin, end))
        if len(text) > 1:
            cut = begin + len(sides[1 if swapped else 0])
            assert cut in [last for _, last in text[:-1]], "the split lies between two sentences"
            sources = [*range(cut, end), *range(begin, cut)] if swapped else sources
        assert list(itertools.chain(*sides)) == corpus.ids[shard][sources].tolist()
        starts = got.starts_word_BS[number, place]
        special = np.isin(ids, [vocabulary.start, vocabulary.separator])
        assert starts[special].all()
        assert starts[~special].tolist() == corpus.starts_word(shard)[sources].tolist()
        at += size
    assert at <= rows.length
    assert (got.ids_BS[number, at:] == vocabulary.pad).all()
    assert (got.blocks_BS[number, at:] == 0).all()
    assert (got.orders_BC[number, len(expected) :] == IGNORED).all()


@given(lengths=LENGTHS, length=st.integers(8, 40), most=st.sampled_from([None, 2]), share=st.sampled_from([0.0, 0.3]))
def test_rows_are_those_of_the_plain_implementation(make_corpus, vocabulary, lengths, length, most, share):
    corpus = make_corpus(lengths)
    for documents in hold_out(corpus, share=share):
        rows = PairRows.from_corpus(
            corpus, vocabulary, length=length, documents=documents, max_sentences=most, with_words=True
        )
        got = gathered(rows)
        for shard, (part, index) in enumerate(zip(documents, rows.indices, strict=True)):
            texts = {text[0][0]: text for text in texts_of(corpus.sentences[shard], part, length=length, most=most)}
            covered = [token for text in texts.values() for begin, end in text for token in range(begin, end)]
            assert covered == list(range(part[0], part[-1])), "every token of every document, once"
            begins = index.sentences[index.first_T].tolist()
            assert sorted(begins) == sorted(texts), "every text, once"
            for number, (first, last) in enumerate(itertools.pairwise(index.rows_R)):
                expected = [texts[begin] for begin in begins[first:last]]
                check_row(got, rows.first_rows[shard] + number, expected, corpus=corpus, shard=shard, rows=rows)


@given(lengths=LENGTHS, data=st.data())
def test_a_row_does_not_depend_on_the_batch_around_it(make_corpus, vocabulary, lengths, data):
    rows = PairRows.from_corpus(make_corpus(lengths), vocabulary, length=16, with_words=True)
    whole = gathered(rows, epoch=3)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    for all_rows, some in zip(whole, gathered(rows, chosen, epoch=3), strict=True):
        assert (all_rows is None) == (some is None)
        assert all_rows is None or np.array_equal(all_rows[chosen], some)


@pytest.fixture(scope="module")
def long_rows(make_corpus, vocabulary):
    """Rows of 2,000 texts of six sentences each."""
    return PairRows.from_corpus(make_corpus([[[3, 2, 4, 1, 3, 2]] * 1000] * 2), vocabulary, length=18)


def test_half_of_the_texts_are_swapped(long_rows):
    orders = gathered(long_rows).orders_BC
    assert len(orders) == 2000
    # One sigma is 0.011.
    assert (orders == 1).mean() == pytest.approx(0.5, abs=0.045)
    assert (orders == 0).mean() == pytest.approx(0.5, abs=0.045)


def test_every_split_is_as_likely_and_splits_and_swaps_vary_by_epoch_and_seed(long_rows):
    first, second, other = gathered(long_rows), gathered(long_rows, epoch=1), gathered(long_rows, seed=2)
    swapped = first.orders_BC == 1
    firsts = np.where(swapped[:, 0], first.segments_BS.sum(1) - 1, (first.segments_BS == 0).sum(1) - 2)
    assert sorted(set(firsts)) == [3, 5, 9, 10, 13]
    # A fifth of 2,000 each: one sigma is 18.
    assert all(abs(count - 400) < 72 for count in np.bincount(firsts)[[3, 5, 9, 10, 13]])
    for changed in (second, other):
        # Order and split agree by chance in half and a fifth of the rows.
        assert (first.orders_BC == changed.orders_BC).mean() == pytest.approx(0.5, abs=0.045)
        assert (first.ids_BS == changed.ids_BS).all(1).mean() == pytest.approx(0.1, abs=0.027)
    assert np.array_equal(gathered(long_rows).ids_BS, first.ids_BS)


def longer_was_first(rows, *, epochs=1):
    """Return the share of texts whose first part was the longer one before a swap (equal: half), and how many texts."""
    right, texts = 0.0, 0
    parts = np.array_split(np.arange(len(rows)), -(-len(rows) // 500))
    for epoch, some in itertools.product(range(epochs), parts):
        got = gathered(rows, some, epoch=epoch)
        for column in range(rows.max_texts):
            order, at = got.orders_BC[:, column], got.blocks_BS == column + 1
            second = (got.segments_BS * at).sum(1) - 1
            first = at.sum(1) - second - 3
            has_order = order != IGNORED
            difference = np.where(order == 1, second - first, first - second)[has_order]
            right += (difference > 0).sum() + (difference == 0).sum() / 2
            texts += has_order.sum()
    return right / texts, texts


@pytest.mark.parametrize("most", [None, 2])
def test_lengths_do_not_tell_the_order_even_where_documents_begin_with_a_short_line(make_corpus, vocabulary, most):
    draw = np.random.default_rng(5)
    documents = [[4, *draw.integers(5, 60, size=draw.integers(1, 20)).tolist()] for _ in range(1500)]
    rows = PairRows.from_corpus(make_corpus([documents]), vocabulary, length=128, max_sentences=most)
    share, texts = longer_was_first(rows)
    assert share == pytest.approx(0.5, abs=2.6 * 0.5 / texts**0.5)  # sigmas of as many coins


@pytest.fixture(scope="module")
def real_corpus(real_data, tmp_path_factory):
    """Three million characters of real text."""
    folder = tmp_path_factory.mktemp("real")
    with lzma.open(real_data / "corpus" / "part-000.txt.xz", "rt", encoding="utf-8") as file:
        (folder / "text.txt").write_text(file.read(3_000_000), encoding="utf-8")
    vocabulary = real_data / "vocab" / "google_zh_vocab_21128.txt"
    list(build_corpus([folder / "text.txt"], vocabulary=vocabulary, out=folder / "corpus", workers=1))
    return Corpus.open(folder / "corpus")


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 2])
@pytest.mark.parametrize("length", [128, 512])
def test_lengths_do_not_tell_the_order_of_real_texts(real_corpus, length, most):
    vocabulary = read_vocabulary(real_corpus.tokenizer_folder)
    rows = PairRows.from_corpus(real_corpus, vocabulary, length=length, max_sentences=most)
    share, texts = longer_was_first(rows, epochs=3)
    assert texts > 15_000
    assert share == pytest.approx(0.5, abs=0.01)


def test_documents_of_one_sentence_have_no_order(make_corpus, vocabulary):
    rows = PairRows.from_corpus(make_corpus([[[4], [1], [13], [5]]]), vocabulary, length=16)
    got = gathered(rows)
    assert (got.orders_BC == IGNORED).all()
    assert (got.segments_BS == 0).all()
    assert (got.ids_BS == vocabulary.separator).sum() == 4


def test_shards_with_nothing_in_them_and_nothing_left_of_them_make_no_rows(make_corpus, vocabulary):
    corpus = make_corpus([[[4, 4]], [], [[5, 5], [6]]])
    train, held = hold_out(corpus, share=0.5)
    rows = [PairRows.from_corpus(corpus, vocabulary, length=16, documents=part) for part in (train, held)]
    assert [len(each) for each in rows] == [2, 2]
    empty = PairRows.from_corpus(make_corpus([[[4, 4]]]), vocabulary, length=16, documents=(np.array([8]),))
    assert len(empty) == 0


def test_no_rows_asked_for_are_no_rows(make_corpus, vocabulary):
    rows = PairRows.from_corpus(make_corpus([[[4, 4]]]), vocabulary, length=16)
    assert gathered(rows, []).ids_BS.shape == (0, 16)


def test_labelled_pairs_keep_their_order_and_those_that_do_not_fit_are_left_out(make_corpus, vocabulary):
    corpus = make_corpus([[[2, 3], [9, 9], [4, 1], [20, 1], [1, 12]]], labels=[1, 0, 0, 1, 1])
    rows = PairRows.from_corpus(
        corpus,
        vocabulary,
        length=16,
        max_sentences=2,
        labels=corpus.labels.by_shard,
        documents=tuple(corpus.documents),
    )
    got = gathered(rows, epoch=5)
    assert (got.orders_BC == IGNORED).all()
    assert got.labels_BC.tolist() == [[1, 0], [1, IGNORED]]
    for row, expected in ((0, [[(0, 2), (2, 5)], [(23, 27), (27, 28)]]), (1, [[(49, 50), (50, 62)]])):
        at = 0
        for (begin, cut), (_, end) in expected:
            sides = sides_of(got.ids_BS[row, at : at + end - begin + 3].tolist(), vocabulary)
            assert sides == [corpus.ids[0][begin:cut].tolist(), corpus.ids[0][cut:end].tolist()]
            at += end - begin + 3
