"""All pictures of the board, and why one is left out.

Input: records, the measured tables, the speeds of one machine and session. Output: `Picture`s, each a few charts of
one kind. They show the first measured table only: scores of other data do not stand beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

from clue_bench.doors.records import RunRecord
from clue_bench.leaderboards.measured.cells import MeasuredTable
from clue_bench.leaderboards.plots.curves import loss_charts, read_curves
from clue_bench.leaderboards.plots.points import ColumnPoints, column_points, pretraining_tokens
from clue_bench.leaderboards.plots.scatter import speed_chart, tokens_chart
from clue_bench.leaderboards.plots.session import Speeds
from clue_bench.leaderboards.plots.svg import HEIGHT, WIDTH, Chart, add, drawing, written
from clue_bench.leaderboards.scores import SPLIT

FOLDER = "plots"
SPEED, TOKENS, LOSS = PICTURES = ("score-speed", "score-tokens", "loss")
FEWEST = 2  # models in a chart: one point says nothing about how two things go together
HEAD = 34.0  # units above the charts of a file


@dataclass(frozen=True)
class Picture:
    """A picture: charts of one kind, or, without any, the sentence that says why it is left out."""

    name: str
    title: str
    english: str
    caption: str
    charts: tuple[tuple[str, str], ...] = ()  # (column or "", SVG) for a page, styled by it and linked to cells
    file: str = field(default="", repr=False)  # complete, styled by itself
    left_out: str = ""

    @property
    def path(self) -> str:
        """Where the file lies, relative to the board's folder."""
        return f"{FOLDER}/{self.name}.svg"


def draw_pictures(
    records: Sequence[RunRecord], tables: Sequence[MeasuredTable], speeds: Speeds | None
) -> tuple[Picture, ...]:
    """Return the three pictures, drawn or left out.

    Raises ClueBenchError naming the runs whose records contradict each other, or a curve that is not valid.
    """
    columns = column_points(tables[0], pretraining_tokens(records)) if tables else []
    where = f"{tables[0].dataset}, {SPLIT}, table {tables[0].number}" if tables else ""
    return _score_and_speed(columns, speeds, where), _score_and_tokens(columns, where), _losses(records)


def plot_style() -> str:
    """Return the style sheet of all charts."""
    return resources.files(__package__).joinpath("plots.css").read_text(encoding="utf-8")


def _score_and_speed(columns: Sequence[ColumnPoints], speeds: Speeds | None, where: str) -> Picture:
    name, title, english = SPEED, "得分与速度", "Score against speed"
    if speeds is None:
        why = "Left out: there are no speed records of one machine and one session."
        return Picture(name, title, english, "", left_out=why)
    shown = [each for each in columns if sum(point.sha256 in speeds.by_sha256 for point in each.points) >= FEWEST]
    if not shown:
        why = f"Left out: fewer than {FEWEST} models have both a score and a speed of one machine and session."
        return Picture(name, title, english, "", left_out=why)
    caption = (
        f"Measured on {where}. Speed: {speeds.condition}. The area of a bubble is the model's parameters; upright bars "
        "are the sampling error (1σ). The dashed staircase is the Pareto front: no model is faster and better than "
        "those on it (blue)."
    )
    largest = max(point.parameters for each in shown for point in each.points if point.sha256 in speeds.by_sha256)

    def draw(linked: bool) -> list[Chart]:
        return [
            speed_chart(f"{name}-{place}", each, speeds.by_sha256, unit=speeds.unit, largest=largest, linked=linked)
            for place, each in enumerate(shown)
        ]

    return _drawn(name, title, english, caption, draw(True), draw(False), [each.column for each in shown])


def _score_and_tokens(columns: Sequence[ColumnPoints], where: str) -> Picture:
    name, title, english = TOKENS, "得分与预训练词元", "Score against pretraining tokens"
    shown = [each for each in columns if sum(point.tokens is not None for point in each.points) >= FEWEST]
    if not shown:
        why = f"Left out: fewer than {FEWEST} measured models say on how many tokens they were pretrained."
        return Picture(name, title, english, "", left_out=why)
    unknown = sorted({point.label for each in shown for point in each.points if point.tokens is None})
    caption = f"Measured on {where}. Upright bars are the sampling error (1σ); hollow: never pretrained." + (
        f" Not shown, since their pretraining tokens are not known: {', '.join(unknown)}." if unknown else ""
    )

    def draw(linked: bool) -> list[Chart]:
        return [tokens_chart(f"{name}-{place}", each, linked=linked) for place, each in enumerate(shown)]

    return _drawn(name, title, english, caption, draw(True), draw(False), [each.column for each in shown])


def _losses(records: Sequence[RunRecord]) -> Picture:
    name, title, english = LOSS, "预训练损失", "Pretraining loss"
    curves, without = read_curves(records)
    missing = f" Without a curve in the record: {', '.join(without)}." if without else ""
    if not curves:
        why = f"Left out: no record of a completed pretraining run carries its curve.{missing}"
        return Picture(name, title, english, "", left_out=why)
    caption = f"Losses are comparable only for one objective and one vocabulary; dots: held-out part.{missing}"
    return _drawn(name, title, english, caption, loss_charts(name, curves), loss_charts(name, curves))


def _drawn(
    name: str,
    title: str,
    english: str,
    caption: str,
    charts: Sequence[Chart],
    for_file: Sequence[Chart],
    columns: Sequence[str] = (),
) -> Picture:
    texts = (written(chart.root) for chart in charts)
    pairs = tuple(zip(columns or [""] * len(charts), texts, strict=True))
    return Picture(name, title, english, caption, pairs, _file(name, f"{title} {english}", caption, for_file))


def _file(name: str, title: str, caption: str, charts: Sequence[Chart]) -> str:
    """Return one file with all charts, two a line, on a ground of its own: it is seen on light and on dark pages."""
    across = min(2, len(charts))
    width, height = WIDTH * across, HEAD + HEIGHT * -(-len(charts) // across)
    root = drawing(name, width, height, title=title, description=caption)
    root.set("width", f"{width:.0f}")
    root.set("height", f"{height:.0f}")
    add(root, "style", plot_style())
    add(root, "rect", width=width, height=height, rx=8, style_class="ground")
    add(root, "text", title, x=12, y=24, style_class="heading")
    for place, chart in enumerate(charts):
        inner = chart.root
        for key, value in (
            ("x", WIDTH * (place % across)),
            ("y", HEAD + HEIGHT * (place // across)),
            ("width", WIDTH),
            ("height", HEIGHT),
        ):
            inner.set(key, f"{value:.0f}")
        inner.attrib.pop("xmlns")
        root.append(inner)
    return written(root) + "\n"
