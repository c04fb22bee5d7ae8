"""Charts as SVG by hand: text stays text, colours are classes of `plots.css`, in light and in dark.

Input: numbers and words. Output: an `svg` element, escaped by the standard library's XML writer. The same numbers give
the same bytes. A chart names itself for screen readers by `title` and `desc`.
"""

import math
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from xml.etree import ElementTree

Element = ElementTree.Element
Point = tuple[float, float]

LATIN_WIDTH, CHINESE_WIDTH = 7.0, 13.0  # units that a character takes at 13 px
LINE = 15.0  # units that a line of text takes
ZERO_SHARE = 0.2  # of a logarithmic axis that zero, which has no logarithm, gets at its left end
WIDTH, HEIGHT = 440.0, 320.0


class Axis(NamedTuple):
    """One axis: what it measures, its ends, its ticks and their names; `with_zero` gives a logarithm a place for 0."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False
    with_zero: bool = False

    def place(self, value: float) -> float:
        """Return where `value` lies between the ends, as a share."""
        if not self.is_log:
            return (value - self.low) / (self.high - self.low)
        start = ZERO_SHARE if self.with_zero else 0.0
        if value <= 0:
            return ZERO_SHARE * 0.3
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return start + (1 - start) * share


class Box(NamedTuple):
    """A rectangle that something takes."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Return the area that both take."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)


class Chart:
    """A drawing with a plot area and two axes. `link`s are places in the page that shows it."""

    def __init__(self, name: str, *, title: str, description: str, x: Axis, y: Axis) -> None:
        self.x, self.y = x, y
        self.left, self.right, self.top, self.bottom = 58.0, WIDTH - 24.0, 42.0, HEIGHT - 48.0
        self.root = drawing(name, WIDTH, HEIGHT, title=title, description=description)
        add(self.root, "text", title, x=12, y=20, style_class="heading")
        self._taken: list[Box] = []
        self._axes()

    def at(self, x: float, y: float) -> Point:
        """Return the place of a point in the drawing."""
        across = self.left + self.x.place(x) * (self.right - self.left)
        return across, self.bottom - self.y.place(y) * (self.bottom - self.top)

    def line(self, points: Sequence[Point], style: str) -> None:
        """Draw a line through `points`."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        add(self.root, "polyline", points=path, style_class=f"line {style}")

    def level(self, value: float, style: str) -> None:
        """Draw a level line over the whole width."""
        y = self.at(self.x.high, value)[1]
        add(self.root, "line", x1=self.left, x2=self.right, y1=y, y2=y, style_class=f"line {style}")

    def level_label(self, value: float, text: str) -> None:
        """Name a level at the end and on the side where there is most room. All bubbles have to be there already."""
        y = self.at(self.x.high, value)[1]
        across = ((self.right, "end"), (self.left + 4, "start"), ((self.left + self.right) / 2, "middle"))
        corners = [(x, down, anchor) for down in (self.top + LINE, self.bottom - 6) for x, anchor in across]
        near = [(x, y + down, anchor) for down in (-5, LINE, -5 - LINE, 2 * LINE) for x, anchor in across]
        self._put(text, [*near, *corners])

    def bubble(self, point: Point, radius: float, style: str, *, tip: str, link: str = "", error: float = 0.0) -> None:
        """Draw a point as a circle with an upright bar of ± `error`; `tip` is read out, and shown under the mouse."""
        x, y = self.at(*point)
        parent = add(self.root, "a", href=link) if link else add(self.root, "g")
        add(parent, "title", tip)
        if error > 0:
            low, high = (self._inside(self.at(point[0], point[1] + sign * error)[1]) for sign in (-1, 1))
            add(parent, "line", x1=x, x2=x, y1=low, y2=high, style_class=f"line {style} error")
            self._taken.append(Box(x - 1.5, high, x + 1.5, low))
        add(parent, "circle", cx=x, cy=y, r=radius, style_class=f"dot {style}")
        self._taken.append(Box(x - radius, y - radius, x + radius, y + radius))

    def label(self, point: Point, text: str, *, distance: float) -> None:
        """Name a point, on the side of it where there is most room. All bubbles have to be there already."""
        x, y = self.at(*point)
        gap = distance + 5
        places = [
            (x + gap, y + 4, "start"),
            (x - gap, y + 4, "end"),
            (x, y - gap, "middle"),
            (x, y + gap + 10, "middle"),
            (x + gap * 0.7, y - gap * 0.8, "start"),
            (x - gap * 0.7, y - gap * 0.8, "end"),
            (x + gap * 0.7, y + gap * 0.8 + 10, "start"),
            (x - gap * 0.7, y + gap * 0.8 + 10, "end"),
        ]
        self._put(text, places, "")

    def _put(self, text: str, places: Sequence[tuple[float, float, str]], style: str = "quiet") -> None:
        """Write `text` at the place where it covers least."""
        boxes = [_text_box(across, down, anchor, text_width(text)) for across, down, anchor in places]
        best = min(range(len(places)), key=lambda place: (round(self._cost(boxes[place]), 3), place))
        across, down, anchor = places[best]
        self._taken.append(boxes[best])
        add(self.root, "text", text, x=across, y=down, text_anchor=anchor, style_class=style)

    def legend(self, text: str, style: str, *, place: int) -> None:
        """Name a line at the plot's upper right, `place` lines down: a loss falls, so that there is room."""
        y = self.top + 12 + place * (LINE + 3)
        x = self.right - text_width(text) - 4
        add(self.root, "line", x1=x - 32, x2=x - 6, y1=y - 4, y2=y - 4, style_class=f"line {style}")
        add(self.root, "text", text, x=x, y=y)

    def _cost(self, box: Box) -> float:
        """Return how much of what is there already a label would cover; leaving the drawing costs more."""
        outside = box.right - box.left - max(0.0, min(box.right, WIDTH - 4) - max(box.left, self.left))
        above = max(0.0, self.top - box.top) + max(0.0, box.bottom - self.bottom)
        return sum(box.overlap(other) for other in self._taken) + 100 * outside + 100 * above

    def _inside(self, y: float) -> float:
        return min(max(y, self.top), self.bottom)

    def _axes(self) -> None:
        for value, label in self.y.ticks:
            y = self.at(self.x.high, value)[1]
            add(self.root, "line", x1=self.left, x2=self.right, y1=y, y2=y, style_class="grid")
            add(self.root, "text", label, x=self.left - 7, y=y + 4, text_anchor="end", style_class="quiet")
        for value, label in self.x.ticks:
            x = self.at(value, self.y.low)[0]
            add(self.root, "line", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4, style_class="axis")
            add(self.root, "text", label, x=x, y=self.bottom + 18, text_anchor="middle", style_class="quiet")
        add(self.root, "line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, style_class="axis")
        if self.x.with_zero:  # the axis is broken between 0 and its logarithms
            x = self.left + ZERO_SHARE * 0.65 * (self.right - self.left)
            for left, right in ((x - 6, x), (x, x + 6)):
                y = self.bottom
                add(self.root, "line", x1=left, x2=right, y1=y + 5, y2=y - 5, style_class="axis")
        across, down = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        add(self.root, "text", self.x.label, x=across, y=self.bottom + 38, text_anchor="middle")
        turned = f"rotate(-90 17 {down:.1f})"
        add(self.root, "text", self.y.label, x=17, y=down, text_anchor="middle", transform=turned)


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


def written(root: Element) -> str:
    """Return the picture as text."""
    return ElementTree.tostring(root, encoding="unicode")


def printable(text: str) -> str:
    """Return `text` without the control characters that XML 1.0 cannot hold."""
    return "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs"))


def text_width(text: str) -> float:
    """Return about how many units a line of text takes: Chinese characters are as wide as high."""
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


def ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return at most `most` + 2 round numbers, evenly apart, that reach from at most `low` to at least `high`."""
    span = Decimal(repr(high)) - Decimal(repr(low))
    if span <= 0:
        span = Decimal(1)
    unit = Decimal(1).scaleb((span / most).adjusted())
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= most)
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
