"""Rows of running text from a corpus that lies in the device's memory.

Input: the rows of a corpus. Output: the same rows as `PackedRows.gather`, without a look at the host: the numbers of a
step's rows are all that has to travel. A token takes two bytes, four above 65,536 tokens of vocabulary, and one more
where words are masked. Texts in two parts (`pairs`) still come from the host.

Legend: B rows, S positions, W tokens of a row's block, T tokens of all shards' streams, N shards.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clue_bench.pretraining.batches import PackedRows, Rows, stream_of

MOST_MEMORY = 0.125  # of what is free before training: activations and moments come later


@dataclass(frozen=True)
class ResidentRows:
    """The shards' streams one after the other (`tokens_T`, of int16 where they fit: torch indexes no uint16)."""

    rows: PackedRows
    tokens_T: Tensor
    starts_word_T: Tensor | None
    first_rows_N: Tensor  # number of each shard's first row
    begins_N: Tensor  # where its stream begins
    sizes_N: Tensor  # its tokens

    @classmethod
    def if_they_fit(cls, rows: PackedRows, device: torch.device) -> "ResidentRows | None":
        """Return the rows in a GPU's memory; None if they would take too much of what is free."""
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return cls.of(rows, device) if _bytes(rows) <= MOST_MEMORY * free else None

    @classmethod
    def of(cls, rows: PackedRows, device: torch.device) -> "ResidentRows":
        """Copy the corpus to `device`."""
        sizes = rows.stream_sizes
        tokens_T = torch.empty(int(sizes.sum()), dtype=_token_type(rows), device=device)
        starts_T = torch.empty(len(tokens_T), dtype=torch.bool, device=device) if rows.with_words else None
        begins = np.cumsum(sizes) - sizes
        for shard, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
            tokens, starts = stream_of(rows, shard)
            tokens_T[begin : begin + size] = torch.from_numpy(tokens).to(device, tokens_T.dtype)
            if starts_T is not None and starts is not None:
                starts_T[begin : begin + size] = torch.from_numpy(starts).to(device)
        first, begins_N, sizes_N = (torch.from_numpy(x).to(device) for x in (rows.first_rows[:-1], begins, sizes))
        return cls(rows, tokens_T, starts_T, first, begins_N, sizes_N)

    def gather(self, samples_B: Tensor) -> Rows[Tensor]:
        """Return rows `samples_B`."""
        rows, vocabulary = self.rows, self.rows.vocabulary
        width = rows.width
        shards_B = torch.searchsorted(self.first_rows_N, samples_B, right=True) - 1
        sizes_B = self.sizes_N[shards_B]
        # A shard's last row reaches back to be full, as in `PackedRows`.
        wanted_B = (samples_B - self.first_rows_N[shards_B]) * width
        starts_B = torch.minimum(wanted_B, (sizes_B - width).clamp(min=0))
        columns_W = torch.arange(width, device=samples_B.device)
        is_inside_BW = columns_W < sizes_B[:, None]
        at_BW = torch.where(is_inside_BW, (self.begins_N[shards_B] + starts_B)[:, None] + columns_W, 0)
        found_BW = self.tokens_T[at_BW].long()
        if self.tokens_T.dtype == torch.int16:
            found_BW &= 0xFFFF
        blocks_BW = torch.where(is_inside_BW, found_BW, vocabulary.pad)
        start_B1 = torch.full_like(blocks_BW[:, :1], vocabulary.start)
        if rows.is_causal:
            return Rows(torch.cat((start_B1, blocks_BW[:, :-1]), dim=1), next_BS=blocks_BW)
        end_B1 = torch.where(is_inside_BW[:, -1:], vocabulary.separator, vocabulary.pad)
        starts_BS = None
        if self.starts_word_T is not None:
            true_B1 = torch.ones_like(is_inside_BW[:, :1])
            starts_BS = torch.cat((true_B1, self.starts_word_T[at_BW] | ~is_inside_BW, true_B1), dim=1)
        return Rows(torch.cat((start_B1, blocks_BW, end_B1), dim=1), starts_word_BS=starts_BS)


def _token_type(rows: PackedRows) -> torch.dtype:
    return torch.int16 if len(rows.vocabulary) <= 2**16 else torch.int32


def _bytes(rows: PackedRows) -> int:
    return int(rows.stream_sizes.sum()) * (_token_type(rows).itemsize + rows.with_words)
