"""Which rows were right survives the record, and damage to it is named."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.doors.results import RowBits


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_what_was_packed_is_unpacked(correct: list[bool]) -> None:
    assert RowBits.pack(correct).unpack() == correct


def test_the_bits_are_those_of_numpy() -> None:
    correct = np.random.default_rng(0).random(4316) < 0.7
    packed = RowBits.pack(correct)
    assert packed.rows == 4316
    assert packed.bits == base64.b64encode(np.packbits(correct).tobytes()).decode()
    assert len(packed.bits) == 720  # 4,316 bits are 540 bytes


@pytest.mark.parametrize(
    ("packed", "problem"),
    [
        (None, "RowBits"),
        ({"rows": 3}, "bits"),
        ({"rows": 3, "bits": "oA==", "more": 1}, "more"),
        ({"rows": 0, "bits": ""}, "rows"),
        ({"rows": True, "bits": "gA=="}, "rows"),
        ({"rows": "3", "bits": "oA=="}, "rows"),
        ({"rows": 3, "bits": "?"}, "not Base64"),
        ({"rows": 9, "bits": "oA=="}, "9 rows take 2 bytes, found 1"),
        ({"rows": 3, "bits": "sA=="}, "bits after the last of 3 rows"),
    ],
)
def test_damage_is_named(packed: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RowBits.model_validate(packed)
