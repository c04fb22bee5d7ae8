"""New rows of the embeddings: each starts as the mean of the rows of the pieces that stood for its token before.

Input: a model's tensors under our names, and ids of an extended or another vocabulary with the ids of their pieces.
Output: the tensors with these rows.
The mean keeps what the model knows of the word's characters; a row as it is drawn would be a word that it never saw.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_OF_VOCABULARY = ("encoder.embeddings.word.weight", "word.weight", "decoder.weight", "bias")


def with_rows(tensors: Mapping[str, Tensor], pieces: Mapping[int, Sequence[int]], *, size: int) -> dict[str, Tensor]:
    """Return the tensors with at least `size` rows for tokens, those of `pieces` as the means of their pieces' rows.

    An id without pieces gets the mean of all rows. Rows between the old ones and `size` that are not named are zero.
    """
    changed = dict(tensors)
    for name in _OF_VOCABULARY:
        if name not in tensors:
            continue
        old = tensors[name]
        table = torch.zeros(max(size, len(old)), *old.shape[1:], dtype=old.dtype)
        table[: len(old)] = old
        for index, parts in pieces.items():
            table[index] = (old[list(parts)] if parts else old).mean(0)
        changed[name] = table
    return changed


def exchanged_rows(tensors: Mapping[str, Tensor], pieces: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Return the tensors with the rows of another vocabulary: row i is the mean of the old rows `pieces[i]`.

    Without pieces it is the mean of all rows.
    """
    changed = dict(tensors)
    for name in _OF_VOCABULARY:
        if name in tensors:
            old = tensors[name]
            whole = old.mean(0)
            changed[name] = torch.stack([old[list(parts)].mean(0) if parts else whole for parts in pieces])
    return changed
