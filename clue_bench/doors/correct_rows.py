"""Which rows of a split a run has right, small enough for its record, so that paired tests need no predictions.

Input: one boolean per row, in the order of the split's rows (those of dropped labels left out, as in predictions).
Output: `{"rows": 4316, "bits": "…"}`, and back. `bits` is Base64 of one bit per row, the first row in the highest bit
of the first byte; the bits that fill the last byte are 0. A dev set of 12,241 rows takes 2 KB.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any


def pack(correct: Iterable[bool]) -> dict[str, Any]:
    """Return what a record says of the rows `correct` is about."""
    text = "".join("1" if right else "0" for right in correct)
    padded = text + "0" * (-len(text) % 8)
    packed = int(padded or "0", 2).to_bytes(len(padded) // 8, "big")
    return {"rows": len(text), "bits": base64.b64encode(packed).decode("ascii")}


def unpack(packed: Any) -> list[bool]:
    """Return one boolean per row. Raises ValueError saying what is wrong."""
    if not isinstance(packed, dict) or packed.keys() != {"rows", "bits"}:
        raise ValueError("expected rows and bits")
    rows, bits = packed["rows"], packed["bits"]
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1 or not isinstance(bits, str):
        raise ValueError(f"expected a number of rows and text, found {rows!r} and {type(bits).__name__}")
    try:
        data = base64.b64decode(bits, validate=True)
    except binascii.Error as error:
        raise ValueError(f"bits are not Base64: {error}") from error
    if len(data) != -(-rows // 8):
        raise ValueError(f"{rows:,} rows take {-(-rows // 8):,} bytes, found {len(data):,}")
    text = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"
    if "1" in text[rows:]:
        raise ValueError(f"bits after the last of {rows:,} rows")
    return [bit == "1" for bit in text[:rows]]
