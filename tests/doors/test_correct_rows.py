"""Which rows were right survives the record, and damage to it is named."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.doors.correct_rows import pack, unpack


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_what_was_packed_is_unpacked(correct: list[bool]) -> None:
    assert unpack(pack(correct)) == correct


def test_the_bits_are_those_of_numpy() -> None:
    correct = np.random.default_rng(0).random(4316) < 0.7
    packed = pack(correct)
    assert packed == {"rows": 4316, "bits": base64.b64encode(np.packbits(correct).tobytes()).decode()}
    assert len(packed["bits"]) == 720  # 4,316 bits are 540 bytes


@pytest.mark.parametrize(
    ("packed", "problem"),
    [
        (None, "expected rows and bits"),
        ({"rows": 3}, "expected rows and bits"),
        ({"rows": 3, "bits": "oA==", "more": 1}, "expected rows and bits"),
        ({"rows": 0, "bits": ""}, "expected a number of rows"),
        ({"rows": True, "bits": "gA=="}, "expected a number of rows"),
        ({"rows": "3", "bits": "oA=="}, "expected a number of rows"),
        ({"rows": 3, "bits": "?"}, "not Base64"),
        ({"rows": 9, "bits": "oA=="}, "9 rows take 2 bytes, found 1"),
        ({"rows": 3, "bits": "sA=="}, "bits after the last of 3 rows"),
    ],
)
def test_damage_is_named(packed: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack(packed)
