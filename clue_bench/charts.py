"""Charts as SVG: the board's pictures, the run report's and the curve of a pretraining run.

Input: numbers and words. Output: an `svg` element, escaped by the standard library's XML writer. Text stays text, so
the reader's fonts write the Chinese; colours are classes of `charts.css`, in light and in dark; the same numbers give
the same bytes. A chart names itself for screen readers by `title` and `desc`.

Tried instead (matplotlib 3.11, Vega-Altair 6.3 with vl-convert 1.9, pygal 3.1): all give text and the same bytes, none
leaves the colours to a style sheet that knows dark mode, none keeps labels clear of each other or knows how wide
Chinese is.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib import resources
from typing import NamedTuple
from xml.etree import ElementTree

from clue_bench.language import kept

Element = ElementTree.Element
Point = tuple[float, float]

LATIN_WIDTH, CHINESE_WIDTH = 7.0, 13.0  # units that a character takes at 13 px
LINE = 15.0  # units that a line of text takes
ZERO_SHARE = 0.2  # of a logarithmic axis that zero, which has no logarithm, gets at its left end
WIDTH, HEIGHT = 440.0, 320.0
SHEET_HEAD = 34.0  # units above the charts of a file


class Axis(NamedTuple):
    """One axis: what it measures, its ends, its ticks and their names; `with_zero` adds a place for 0 to a log axis."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False
    with_zero: bool = False

    def share(self, value: float) -> float:
        """Return where `value` lies between the ends, from 0 to 1."""
        if not self.is_log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return ZERO_SHARE * 0.3
        start = ZERO_SHARE if self.with_zero else 0.0
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return start + (1 - start) * share


class Box(NamedTuple):
    """A rectangle of the drawing that something occupies."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Return the area that both occupy."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)


class Chart:
    """A drawing with a plot area and two axes; `name` is unique in the page that shows it.

    Styles are classes of `charts.css`: "one" … "five" for data, "faint" for what they are compared with.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str,
        description: str,
        x: Axis,
        y: Axis,
        width: float = WIDTH,
        height: float = HEIGHT,
        margins: tuple[float, float] = (58.0, 24.0),
        heading: bool = True,
    ) -> None:
        """Prepare a drawing with `margins` left and right; without `heading` a line for a legend replaces the title."""
        self.x, self.y, self.width, self.height = x, y, width, height
        self.left, self.right = margins[0], width - margins[1]
        self.top, self.bottom = (42.0 if heading else 28.0), height - (48.0 if x.label else 12.0)
        self.root = drawing(name, width, height, title=title, description=description)
        if heading:
            add(self.root, "text", title, x=12, y=20, style_class="heading")
        self._occupied: list[Box] = []
        self._draw_axes()

    @property
    def svg(self) -> str:
        """Return the chart as it stands in a page."""
        return to_xml(self.root)

    def position(self, x: float, y: float) -> Point:
        """Return the position of a point in the drawing."""
        across = self.left + self.x.share(x) * (self.right - self.left)
        return across, self.bottom - self.y.share(y) * (self.bottom - self.top)

    def line(self, points: Iterable[Point], style: str, *, dots: bool = False) -> None:
        """Draw a line through `points`, with a small dot on each if asked."""
        points = list(points)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.position(*point) for point in points))
        add(self.root, "polyline", points=path, style_class=f"line {style}")
        if dots:
            self.dots(points, f"dot {style}")

    def dots(self, points: Iterable[Point], style: str) -> None:
        """Draw small dots."""
        for x, y in (self.position(*point) for point in points):
            add(self.root, "circle", cx=x, cy=y, r=3, style_class=style)

    def horizontal(self, value: float, style: str) -> None:
        """Draw a line over the whole width at `value` of the vertical axis."""
        y = self.position(self.x.high, value)[1]
        add(self.root, "line", x1=self.left, x2=self.right, y1=y, y2=y, style_class=f"line {style}")

    def vertical(self, value: float, style: str, label: str = "") -> None:
        """Draw a line over the whole height at `value` of the horizontal axis, named at its upper end."""
        x = self.position(value, self.y.low)[0]
        add(self.root, "line", x1=x, x2=x, y1=self.top, y2=self.bottom, style_class=f"line {style}")
        if label:
            add(self.root, "text", label, x=x + 4, y=self.top + 11, style_class="quiet")

    def bar(self, low: float, high: float, value: float, style: str, *, tip: str) -> None:
        """Draw a bar from the bottom up to `value`, between `low` and `high` on the horizontal axis."""
        (left, top), (right, bottom) = self.position(low, value), self.position(high, self.y.low)
        bar = add(self.root, "rect", x=left + 1, y=top, width=right - left - 2, height=bottom - top)
        bar.set("class", f"bar {style}")
        add(bar, "title", tip)

    def bubble(self, point: Point, radius: float, style: str, *, tip: str, link: str = "", error: float = 0.0) -> None:
        """Draw a point as a circle with a vertical bar of ± `error`; `tip` is read out, and shown under the mouse."""
        x, y = self.position(*point)
        parent = add(self.root, "a", href=link) if link else add(self.root, "g")
        add(parent, "title", tip)
        if error > 0:
            ends = (self.position(point[0], point[1] + sign * error)[1] for sign in (-1, 1))
            low, high = (min(max(end, self.top), self.bottom) for end in ends)
            add(parent, "line", x1=x, x2=x, y1=low, y2=high, style_class=f"line {style} error")
            self._occupied.append(Box(x - 1.5, high, x + 1.5, low))
        add(parent, "circle", cx=x, cy=y, r=radius, style_class=f"dot {style}")
        self._occupied.append(Box(x - radius, y - radius, x + radius, y + radius))

    def label(self, point: Point, text: str, *, distance: float) -> None:
        """Name a point, on the side with the most room. All bubbles must be drawn before."""
        x, y = self.position(*point)
        gap = distance + 5
        candidates = [(x + gap, y + 4, "start"), (x - gap, y + 4, "end")]
        candidates += [(x, y - gap, "middle"), (x, y + gap + 10, "middle")]
        for down in (y - gap * 0.8, y + gap * 0.8 + 10):
            candidates += [(x + gap * 0.7, down, "start"), (x - gap * 0.7, down, "end")]
        keep(self._write_in_free_space(text, candidates, ""))

    def horizontal_label(self, value: float, text: str) -> None:
        """Name a horizontal line, at the end and on the side with the most room."""
        y = self.position(self.x.high, value)[1]
        across = ((self.right, "end"), (self.left + 4, "start"), ((self.left + self.right) / 2, "middle"))
        heights = (*(y + down for down in (-5, LINE, -5 - LINE, 2 * LINE)), self.top + LINE, self.bottom - 6)
        self._write_in_free_space(text, [(x, down, anchor) for down in heights for x, anchor in across], "quiet")

    def legend(self, entries: Sequence[tuple[str, str]], *, stacked: bool = False, are_names: bool = False) -> None:
        """Name lines, dots and bars (text, style): above the plot from the right, or stacked in its upper right.

        `are_names`: the texts are names of models or runs, and none of ours.
        """
        x, y = self.right, self.top + 12 if stacked else self.top - 11
        for text, style in entries if stacked else reversed(entries):
            start = x - text_width(text) - 4
            if "dot" in style.split():
                add(self.root, "circle", cx=start - 12, cy=y - 4, r=3, style_class=style)
            elif "bar" in style.split():
                add(self.root, "rect", x=start - 28, y=y - 8, width=20, height=8, style_class=style)
            else:
                add(self.root, "line", x1=start - 32, x2=start - 6, y1=y - 4, y2=y - 4, style_class=f"line {style}")
            shown = add(self.root, "text", text, x=start, y=y)
            if are_names:
                keep(shown)
            x, y = (x, y + LINE + 3) if stacked else (start - 46, y)

    def _write_in_free_space(self, text: str, candidates: Sequence[tuple[float, float, str]], style: str) -> Element:
        """Return `text`, written at the one of `candidates` (x, y, anchor) where it covers least."""
        boxes = [_text_box(x, y, anchor, text_width(text)) for x, y, anchor in candidates]
        best = min(range(len(boxes)), key=lambda number: (round(self._cost(boxes[number]), 3), number))
        x, y, anchor = candidates[best]
        self._occupied.append(boxes[best])
        return add(self.root, "text", text, x=x, y=y, text_anchor=anchor, style_class=style)

    def _cost(self, box: Box) -> float:
        """Return how much of the drawing a label would cover; leaving the drawing costs more."""
        inside = max(0.0, min(box.right, self.width - 4) - max(box.left, self.left))
        outside = box.right - box.left - inside
        outside += max(0.0, self.top - box.top) + max(0.0, box.bottom - self.bottom)
        return sum(box.overlap(other) for other in self._occupied) + 100 * outside

    def _draw_axes(self) -> None:
        left, right, bottom = self.left, self.right, self.bottom
        for value, label in self.y.ticks:
            y = self.position(self.x.high, value)[1]
            add(self.root, "line", x1=left, x2=right, y1=y, y2=y, style_class="grid")
            add(self.root, "text", label, x=left - 7, y=y + 4, text_anchor="end", style_class="quiet")
        for value, label in self.x.ticks:
            x = self.position(value, self.y.low)[0]
            add(self.root, "line", x1=x, x2=x, y1=bottom, y2=bottom + 4, style_class="axis")
            if label:
                add(self.root, "text", label, x=x, y=bottom + 18, text_anchor="middle", style_class="quiet")
        add(self.root, "line", x1=left, x2=right, y1=bottom, y2=bottom, style_class="axis")
        if self.x.with_zero:  # the axis is broken between 0 and its logarithms
            x = left + ZERO_SHARE * 0.65 * (right - left)
            for start in (x - 6, x):
                add(self.root, "line", x1=start, x2=start + 6, y1=bottom + 5, y2=bottom - 5, style_class="axis")
        middle = (self.top + bottom) / 2
        if self.x.label:
            add(self.root, "text", self.x.label, x=(left + right) / 2, y=bottom + 38, text_anchor="middle")
        rotation = f"rotate(-90 17 {middle:.1f})"
        add(self.root, "text", self.y.label, x=17, y=middle, text_anchor="middle", transform=rotation)


def sheet(name: str, charts: Sequence[Chart], *, title: str, description: str, across: int = 1) -> str:
    """Return charts, several per line, as a standalone file with styles and background, for light and dark pages."""
    across = min(across, len(charts))
    width = max(chart.width for chart in charts) * across
    lines = [charts[start : start + across] for start in range(0, len(charts), across)]
    height = SHEET_HEAD + sum(max(chart.height for chart in line) for line in lines)
    root = drawing(name, width, height, title=title, description=description)
    root.set("width", f"{width:.0f}")
    root.set("height", f"{height:.0f}")
    add(root, "style", stylesheet())
    add(root, "rect", width=width, height=height, rx=8, style_class="ground")
    add(root, "text", title, x=12, y=24, style_class="heading")
    y = SHEET_HEAD
    for line in lines:
        for column, chart in enumerate(line):
            for key, value in (("x", column * chart.width), ("y", y), ("width", chart.width), ("height", chart.height)):
                chart.root.set(key, f"{value:.0f}")
            chart.root.attrib.pop("xmlns")
            root.append(chart.root)
        y += max(chart.height for chart in line)
    return to_xml(root) + "\n"


def stylesheet() -> str:
    """Return the style sheet of all charts."""
    return resources.files(__package__).joinpath("charts.css").read_text(encoding="utf-8")


def drawing(name: str, width: float, height: float, *, title: str, description: str) -> Element:
    """Return an empty picture with what a screen reader says of it. `name` is unique in a page."""
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:.0f} {height:.0f}"})
    root.set("class", "plot")
    root.set("role", "group")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    add(root, "title", title, id=f"{name}-title")
    add(root, "desc", description, id=f"{name}-desc")
    return root


def add(parent: Element, tag: str, text: str = "", *, style_class: str = "", **attributes: str | float) -> Element:
    """Add an element; underscores in attribute names become hyphens, numbers get one decimal."""
    values = {
        key.replace("_", "-"): value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
        for key, value in attributes.items()
    }
    if style_class:
        values["class"] = style_class
    element = ElementTree.SubElement(parent, tag, values)
    element.text = printable(text) or None
    return element


def keep(element: Element) -> None:
    """Mark an element's text as a name or label of users or data, which no language words otherwise."""
    if kept():
        element.set("translate", "no")


def to_xml(root: Element) -> str:
    """Return the picture as text."""
    return ElementTree.tostring(root, encoding="unicode")


def printable(text: str) -> str:
    """Return `text` without the control characters that XML 1.0 cannot hold."""
    return "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs"))


def text_width(text: str) -> float:
    """Return roughly how many units a line of text takes: Chinese characters are as wide as high."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return wide * CHINESE_WIDTH + (len(text) - wide) * LATIN_WIDTH


def cut(text: str, width: float) -> str:
    """Return `text`, with an ellipsis if it is wider than `width` units."""
    if text_width(text) <= width:
        return text
    kept = text
    while kept and text_width(kept) > width - CHINESE_WIDTH:
        kept = kept[:-1]
    return kept + "…"


def ticks(low: float, high: float, *, most: int = 5, least_step: float = 0.0) -> list[float]:
    """Return at most `most` + 2 round numbers, evenly apart, that reach from at most `low` to at least `high`."""
    span = Decimal(repr(high)) - Decimal(repr(low))
    if span <= 0:
        span = Decimal(1)
    unit = Decimal(1).scaleb((span / most).adjusted())
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= most)
    step = max(step, Decimal(repr(least_step)))
    first = math.floor(Decimal(repr(low)) / step)
    last = max(first + 1, math.ceil(Decimal(repr(high)) / step))
    return [float(step * number) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten, or 1, 2, 5 times such, from at most `low` to at least `high`, both above zero."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    dense = [float(Decimal(factor).scaleb(power)) for power in range(first, last + 1) for factor in (1, 2, 5)]
    marks = dense if last - first <= 3 else [float(Decimal(1).scaleb(power)) for power in range(first, last + 2)]
    below = max((mark for mark in marks if mark <= low), default=marks[0])
    above = min((mark for mark in marks if mark >= high), default=marks[-1])
    if below == above:
        above = next(mark for mark in [*marks, marks[-1] * 10] if mark > below)
    return [mark for mark in marks if below <= mark <= above] or [below, above]


def short(number: float) -> str:
    """Return `65.5M`, `2B`, `500`: three significant digits and a unit."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def _text_box(x: float, y: float, anchor: str, width: float) -> Box:
    left = {"start": x, "end": x - width, "middle": x - width / 2}[anchor]
    return Box(left, y - 12, left + width, y + 4)
