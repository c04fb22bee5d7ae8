"""SVG by hand: text stays text, so the page's fonts write the Chinese and its style sheet chooses the colours.

Input: numbers and words. Output: an `<svg>` element as a string, escaped by the standard library's XML writer.
"""

from typing import NamedTuple
from xml.etree import ElementTree

LEGEND_PITCH = 8.0  # units per character of a legend, at the page's font size
LINE = 14.0  # units that a line of text takes


class Axis(NamedTuple):
    """One axis of a chart: what it measures, its ends, and where its ticks stand with what they say."""

    label: str
    low: float
    high: float
    ticks: list[tuple[float, str]]

    def place(self, value: float) -> float:
        """Return where `value` lies between the ends, as a share."""
        return (value - self.low) / (self.high - self.low)


class Chart:
    """A drawing with a plot area and two axes; `x` and `y` are the horizontal and vertical one.

    Colours are classes of the page's style sheet: "one", "two", "three" for data, "faint" for what it is held against.
    """

    def __init__(self, *, title: str, description: str, x: Axis, y: Axis, width: int = 480, height: int = 300) -> None:
        self.x, self.y = x, y
        self.left, self.right, self.top, self.bottom = 62.0, width - 24.0, 30.0, height - 42.0
        self.root = drawing(width, height, title=title, description=description)
        self._legend_end = self.left
        self._axes()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point in the drawing."""
        across = self.left + self.x.place(x) * (self.right - self.left)
        return across, self.bottom - self.y.place(y) * (self.bottom - self.top)

    def line(self, points: list[tuple[float, float]], style: str, *, dots: bool = False) -> None:
        """Draw a line through `points`, with a dot on each if asked."""
        placed = [self.at(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        add(self.root, "polyline", points=path, style_class=f"line {style}")
        for x, y in placed if dots else ():
            add(self.root, "circle", cx=x, cy=y, r=3, style_class=f"dot {style}")

    def bar(self, low: float, high: float, value: float, style: str, *, tip: str) -> None:
        """Draw a bar from the bottom up to `value`, between `low` and `high` on the horizontal axis."""
        (left, top), (right, bottom) = self.at(low, value), self.at(high, self.y.low)
        bar = add(self.root, "rect", x=left + 1, y=top, width=right - left - 2, height=bottom - top, style_class=style)
        add(bar, "title", tip)

    def upright(self, value: float, style: str) -> None:
        """Draw a vertical line at `value` of the horizontal axis."""
        x = self.at(value, self.y.low)[0]
        add(self.root, "line", x1=x, x2=x, y1=self.top, y2=self.bottom, style_class=f"line {style}")

    def legend(self, label: str, style: str) -> None:
        """Name a line above the plot, to the right of the names that stand there already."""
        x = self._legend_end
        add(self.root, "line", x1=x, x2=x + 22, y1=13, y2=13, style_class=f"line {style}")
        add(self.root, "text", label, x=x + 28, y=17)
        self._legend_end = x + 28 + LEGEND_PITCH * len(label) + 14

    def text(self) -> str:
        """Return the picture."""
        return written(self.root)

    def _axes(self) -> None:
        for value, label in self.y.ticks:
            y = self.at(self.x.low, value)[1]
            add(self.root, "line", x1=self.left, x2=self.right, y1=y, y2=y, style_class="grid")
            add(self.root, "text", label, x=self.left - 7, y=y + 4, text_anchor="end")
        for value, label in self.x.ticks:
            x = self.at(value, self.y.low)[0]
            add(self.root, "line", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4, style_class="axis")
            add(self.root, "text", label, x=x, y=self.bottom + 4 + LINE, text_anchor="middle")
        add(self.root, "line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, style_class="axis")
        middle = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        add(self.root, "text", self.x.label, x=middle[0], y=self.bottom + 36, text_anchor="middle")
        turned = f"rotate(-90 9 {middle[1]:.1f})"
        add(self.root, "text", self.y.label, x=9, y=middle[1] + 4, text_anchor="middle", transform=turned)


def drawing(width: float, height: float, *, title: str, description: str) -> ElementTree.Element:
    """Return an empty picture with what a screen reader says of it."""
    root = ElementTree.Element("svg", {"viewBox": f"0 0 {width:.0f} {height:.0f}", "role": "img"})
    root.set("width", f"{width:.0f}")
    root.set("aria-label", f"{title}. {description}")
    return root


def add(
    parent: ElementTree.Element, name: str, text: str = "", *, style_class: str = "", **attributes: str | float
) -> ElementTree.Element:
    """Add an element; underscores in attribute names become hyphens, numbers get one decimal."""
    values = {
        key.replace("_", "-"): value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        for key, value in attributes.items()
    }
    if style_class:
        values["class"] = style_class
    element = ElementTree.SubElement(parent, name, values)
    element.text = text or None
    return element


def written(root: ElementTree.Element) -> str:
    """Return the picture as it stands in a page."""
    return ElementTree.tostring(root, encoding="unicode")


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return about five round numbers that cover low … high; the first and last may lie outside."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], integer=whole)
    return [float(value) for value in locator.tick_values(low, high)]
