"""Charts: axes, ticks, labels that keep clear of each other, and files that are readable in light and dark."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from clue_bench.charts import Axis, Box, Chart, cut, log_ticks, sheet, short, stylesheet, text_width, ticks

SVG = "{http://www.w3.org/2000/svg}"


def test_more_tokens_stand_further_right_and_none_at_the_left_end() -> None:
    axis = Axis("", 1e6, 1e9, [], is_log=True, with_zero=True)
    places = [axis.share(value) for value in (0, 1e6, 1e7, 1e8, 1e9)]
    assert places == sorted(places)
    assert places[0] < places[1] - 0.05
    assert places[-1] == 1.0
    assert places[3] - places[2] == pytest.approx(places[2] - places[1])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (48.3, 58), (0.01, 0.011), (0, 26_624_000), (5, 5), (-3, 2)])
def test_ticks_are_round_evenly_apart_and_reach_over_the_values(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 7
    steps = {round(b - a, 9) for a, b in itertools.pairwise(marks)}
    assert len(steps) == 1


@pytest.mark.parametrize(("low", "high"), [(1, 10), (16e6, 105e6), (500, 9000), (3, 3), (1, 1e12), (0.02, 0.7)])
def test_logarithmic_ticks_reach_over_the_values(low: float, high: float) -> None:
    marks = log_ticks(low, high)
    assert marks == sorted(set(marks))
    assert marks[0] <= low
    assert marks[-1] >= high
    assert len(marks) >= 2


def test_labels_of_near_points_keep_clear_of_each_other() -> None:
    axis = Axis("", 0.0, 1.0, [])
    chart = Chart("x", title="", description="", x=axis, y=axis)
    points = [(0.5, 0.5), (0.52, 0.5), (0.5, 0.55)]
    for point in points:
        chart.bubble(point, 5.0, "one", tip="")
    for number, point in enumerate(points):
        chart.label(point, f"模型-{number}", distance=5.0)
    boxes = [box for box in chart._occupied if box.right - box.left > 20]
    assert len(boxes) == 3
    assert all(one.overlap(other) == 0 for one, other in itertools.combinations(boxes, 2))


def test_chinese_characters_are_taken_for_as_wide_as_high() -> None:
    assert text_width("模型") > text_width("mm")
    assert cut("模型模型模型", 45.0).endswith("…")
    assert text_width(cut("模型模型模型", 45.0)) <= 45.0
    assert cut("模型", 45.0) == "模型"
    assert Box(0, 0, 2, 2).overlap(Box(1, 1, 3, 3)) == 1


@pytest.mark.parametrize(("number", "text"), [(26_624_000, "26.6M"), (2e9, "2B"), (5000, "5k"), (0.25, "0.25")])
def test_large_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text


def chart(name: str = "x", **facts: float) -> Chart:
    return Chart(name, title="", description="", x=Axis("", 0.0, 1.0, []), y=Axis("", 0.0, 1.0, []), **facts)


def test_charts_of_a_sheet_stand_side_by_side_and_below_each_other() -> None:
    charts = [chart("a"), chart("b"), chart("c", height=100.0)]
    root = ElementTree.fromstring(sheet("s", charts, title="图", description="", across=2))
    places = [(inner.get("x"), inner.get("y")) for inner in root.iter(f"{SVG}svg") if inner.get("x")]
    assert places == [("0", "34"), ("440", "34"), ("0", "354")]
    assert (root.get("width"), root.get("height")) == ("880", "454")


def test_names_in_a_legend_keep_clear_of_each_other() -> None:
    drawn = chart()
    drawn.legend([("训练 train", "one"), ("dev", "dot two"), ("held-out", "three")])
    words = [(float(word.get("x", 0)), text_width(word.text or "")) for word in drawn.root.iter("text") if word.text]
    spans = sorted((x, x + width) for x, width in words if width)
    assert len(spans) == 3
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))


def test_text_that_xml_cannot_hold_is_left_out_and_markup_is_text() -> None:
    drawn = chart()
    drawn.label((0.5, 0.5), "</svg>&\x00", distance=1.0)
    assert [word.text for word in ElementTree.fromstring(drawn.svg).iter(f"{SVG}text")][-1] == "</svg>&"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("colour", "least"),
    [("ink", 4.5), ("quiet", 4.5), *((name, 3.0) for name in ("one", "two", "three", "four", "five", "axis"))],
)
def test_every_colour_stands_out_against_its_ground(colour: str, least: float, dark: bool) -> None:
    one, other = (re.findall(rf"--plot-{name}: #([0-9a-f]{{6}})", stylesheet())[dark] for name in (colour, "ground"))
    low, high = sorted(luminance(each) for each in (one, other))
    assert (high + 0.05) / (low + 0.05) >= least


def luminance(colour: str) -> float:
    """Return a colour's relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
