"""Best-fit packing: every text once, nothing too long, and few rows."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.pretraining.pairs import pack

LENGTH = 32


def rows_of(order, starts):
    return [order[a:b].tolist() for a, b in itertools.pairwise(starts)]


@given(
    st.lists(st.integers(3, LENGTH), max_size=200),
    st.integers(1, 6),
)
def test_every_text_stands_in_one_row_and_rows_hold_them(sizes, most):
    sizes_T = np.array(sizes, dtype=np.int64)
    order, starts = pack(sizes_T, length=LENGTH, max_texts=most)
    rows = rows_of(order, starts)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    assert all(sizes_T[row].sum() <= LENGTH and 1 <= len(row) <= most for row in rows)


def one_by_one(sizes, most):
    """Best fit, longest first, as it is taught: the number of rows."""
    rows = []
    for size in sorted(sizes, reverse=True):
        fitting = [row for row in rows if sum(row) + size <= LENGTH and len(row) < most]
        if fitting:
            max(fitting, key=sum).append(size)
        else:
            rows.append([size])
    return len(rows)


@given(st.lists(st.integers(3, LENGTH), min_size=1, max_size=120), st.integers(1, 5))
def test_there_are_about_as_few_rows_as_the_classic_algorithm_needs(sizes, most):
    _, starts = pack(np.array(sizes, dtype=np.int64), length=LENGTH, max_texts=most)
    # Texts of one size are placed together, which may choose among equally full rows differently.
    assert len(starts) - 1 <= one_by_one(sizes, most) + 1


def test_complementary_texts_leave_no_gap():
    sizes_T = np.array([20, 12, 31, 16, 16, 12, 20, 8, 8, 8, 8])
    order, starts = pack(sizes_T, length=LENGTH, max_texts=4)
    assert sorted(sizes_T[row].sum() for row in rows_of(order, starts)) == [31, 32, 32, 32, 32]


def test_no_texts_make_no_rows():
    order, starts = pack(np.empty(0, dtype=np.int64), length=LENGTH, max_texts=4)
    assert len(order) == 0
    assert starts.tolist() == [0]
