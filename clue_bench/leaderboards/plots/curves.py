"""Loss curves of pretraining runs, from the curve that their records carry.

Input: pretraining records with `results.curve`. Output: a chart per training objective and vocabulary, since losses
of others are not comparable. A record's curve is at most a few hundred points: lists of one length under "tokens" (seen
so far, rising) and "loss" (nats per predicted token, mean of the reports in between), and "held_out_loss", null where
the run did not look.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pydantic

from clue_bench.doors.records import RunRecord
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.plots.svg import Axis, Chart, cut, short, ticks

STYLES = ("one", "two", "three", "four")
MOST_RUNS = len(STYLES)  # in one chart: more lines are not told apart
HELD_OUT_DOT = 2.6  # units


class Curve(pydantic.BaseModel):
    """The losses of one run over the tokens that it had seen."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    tokens: list[int] = pydantic.Field(min_length=1)
    loss: list[float]
    held_out_loss: list[float | None] = []

    @pydantic.model_validator(mode="after")
    def _lists_agree(self) -> "Curve":
        if len(self.loss) != len(self.tokens) or len(self.held_out_loss) not in (0, len(self.tokens)):
            raise ValueError("lists of different lengths")
        if any(later <= earlier for earlier, later in zip(self.tokens, self.tokens[1:], strict=False)):
            raise ValueError("tokens do not rise")
        return self


@dataclass(frozen=True)
class RunCurve:
    """A run's curve and what it may be compared with: runs of one objective over one vocabulary."""

    run_id: str
    model: str
    objective: str
    vocabulary: str
    curve: Curve


def read_curves(records: Iterable[RunRecord]) -> tuple[list[RunCurve], list[str]]:
    """Return the curves of the completed pretraining runs, and the run_ids of those whose record carries none.

    Raises ClueBenchError naming the run whose curve is not valid.
    """
    found, without = [], []
    for record in sorted(records, key=lambda record: record.run_id):
        if record.kind != "pretrain" or record.status != "completed":
            continue
        if "curve" not in record.results:
            without.append(record.run_id)
            continue
        try:
            curve = Curve.model_validate(record.results["curve"])
        except pydantic.ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ClueBenchError(f"run '{record.run_id}': results.curve: {message}", "repeat the run") from error
        objective = str(record.effective.get("objective", "not known"))
        vocabulary = (record.data.vocabulary_sha256 or "")[:8]
        found.append(RunCurve(record.run_id, record.model.name, objective, vocabulary, curve))
    return found, without


def loss_charts(name: str, curves: Iterable[RunCurve]) -> list[Chart]:
    """Return a chart for every `MOST_RUNS` runs of one objective and vocabulary."""
    groups: dict[tuple[str, str], list[RunCurve]] = {}
    for curve in curves:
        groups.setdefault((curve.objective, curve.vocabulary), []).append(curve)
    charts: list[Chart] = []
    for _, runs in sorted(groups.items()):
        for start in range(0, len(runs), MOST_RUNS):
            charts.append(_loss_chart(f"{name}-{len(charts) + 1}", runs[start : start + MOST_RUNS]))
    return charts


def _loss_chart(name: str, runs: list[RunCurve]) -> Chart:
    losses = [loss for run in runs for loss in (*run.curve.loss, *_held_out(run.curve).values())]
    last = max(run.curve.tokens[-1] for run in runs)
    across, upward = ticks(0.0, float(last)), ticks(min(losses), max(losses))
    said = "; ".join(
        f"{run.model} ends at {run.curve.loss[-1]:.3f} after {run.curve.tokens[-1]:,} tokens" for run in runs
    )
    chart = Chart(
        name,
        title=f"{runs[0].objective} · 词表 vocabulary {runs[0].vocabulary or '?'}",
        description=f"Loss over tokens trained on: {said}. Dots are the held-out part.",
        x=Axis("训练词元 tokens trained on", 0.0, across[-1], [(mark, short(mark)) for mark in across]),
        y=Axis("损失 loss (nats)", upward[0], upward[-1], [(mark, f"{mark:g}") for mark in upward]),
    )
    for run, style in zip(runs, STYLES, strict=False):
        chart.line(
            [(float(tokens), loss) for tokens, loss in zip(run.curve.tokens, run.curve.loss, strict=True)], style
        )
        for tokens, loss in _held_out(run.curve).items():
            tip = f"{run.model}, held-out part: {loss:.3f} after {tokens:,} tokens"
            chart.bubble((float(tokens), loss), HELD_OUT_DOT, style, tip=tip)
    for place, (run, style) in enumerate(zip(runs, STYLES, strict=False)):
        text = f"{cut(run.model, 200)} {run.curve.loss[-1]:.3f}"
        chart.legend(text, style, place=place)
    return chart


def _held_out(curve: Curve) -> dict[int, float]:
    pairs = zip(curve.tokens, curve.held_out_loss, strict=False)
    return {tokens: loss for tokens, loss in pairs if loss is not None}
