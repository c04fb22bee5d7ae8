"""Tell from position embeddings how long the rows of a pretraining were, where no file says it.

Input: the embeddings. Output: how many of them look trained.

Legend: R rows, H hidden.
"""

from torch import Tensor, cat
from torch.nn.functional import cosine_similarity

_MIN_DIMENSIONS = 64  # in fewer, random rows are not orthogonal enough to be told from trained ones

MIN_UNUSED = 8
"""Rows; the very last ones are rarely reached even by full-length training."""


def trained_rows(positions_RH: Tensor) -> int | None:
    """Return how many leading rows look trained; None where that cannot be told.

    A row that was never used keeps its random start: its cosine with its neighbour is 0 ± 1/√H, and its length that of
    the other unused ones, ± 1/√(2H) of it. Pretraining relates neighbours and changes lengths; fine-tuning is
    too short to show.
    """
    rows, hidden = positions_RH.shape
    if hidden < _MIN_DIMENSIONS or rows < 16 or not bool(positions_RH.isfinite().all()):
        return None
    lengths_R = positions_RH.norm(dim=1)
    usual = lengths_R[-rows // 4 :].median()
    # Eight and six standard deviations: no false alarm in a thousand rows.
    by_length_R = (lengths_R - usual).abs() > 8 * usual / (2 * hidden) ** 0.5
    related_R = cosine_similarity(positions_RH[1:], positions_RH[:-1]).abs() > min(6 / hidden**0.5, 0.5)
    by_neighbour_R = cat([related_R, related_R.new_zeros(1)]) | cat([related_R.new_zeros(1), related_R])
    trained = (by_length_R | by_neighbour_R).nonzero()
    return int(trained.max()) + 1 if len(trained) else 0
