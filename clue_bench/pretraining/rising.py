"""Tell a loss that rises and stays up from one that is noisy, while there is a run to be saved.

Input: the losses of reports. Output: a warning, once for each time that the loss has left its lowest.
"""

REPORTS = 3  # in a row, before anything is said: one report of few steps may have hard rows
RISE, SHARE = 0.5, 0.1  # nats above the lowest loss, and of it; a healthy run rises so only where its stage changes


class Rising:
    """The lowest loss of a stage, and how many reports in a row have been far above it."""

    def __init__(self) -> None:
        self._stage, self._lowest, self._step, self._reports = 0, float("inf"), 0, 0

    def note(self, *, stage: int, step: int, loss: float) -> str | None:
        """Return what to warn of after a report, None if nothing is wrong or it has been said."""
        if stage != self._stage:
            self._stage, self._lowest = stage, float("inf")
        if loss < self._lowest:
            self._lowest, self._step = loss, step
        self._reports = self._reports + 1 if loss > self._lowest * (1 + SHARE) + RISE else 0
        if self._reports != REPORTS:
            return None
        return (
            f"the loss has risen to {loss:.3f} at step {step:,}, from {self._lowest:.3f} at step {self._step:,}: "
            "the run may be diverging"
        )
