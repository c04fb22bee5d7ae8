"""The picture of a run: what it shows, readable on any page; the same metrics give the same file."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager

from clue_bench.pretraining import curve
from clue_bench.pretraining.curve import draw, running_mean, write_curve

BACKGROUNDS = ("#ffffff", "#0d1117")  # GitHub's pages


def report(step, *, stage=1, sop=False, looked=False, loss=5.0):
    return {
        "step": step,
        "stage": stage,
        "loss": loss,
        "lm_loss": loss - 0.5 if sop else loss,
        "lm_accuracy": 0.3,
        "sop_loss": 0.5 if sop else None,
        "sop_accuracy": 0.8 if sop else None,
        "pair_loss": None,
        "pair_accuracy": None,
        "held_out_loss": loss + 0.1 if looked else None,
        "held_out_accuracy": 0.25 if looked else None,
        "held_out_sop_accuracy": 0.7 if looked and sop else None,
        "learning_rate": 1e-4,
        "tokens": step * 1024,
    }


def write(path, reports):
    path.write_text("".join(json.dumps(line) + "\n" for line in reports), encoding="utf-8")
    return path


def labels(axes):
    return axes.get_legend_handles_labels()[1]


def contrast(one, other):
    """Return the contrast of two colours, as WCAG 2 defines it."""

    def luminance(colour):
        channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_colour_is_readable_on_white_and_on_a_dark_page(background):
    for colour in (curve.TOTAL, curve.MODEL, curve.ORDER, curve.PAIRS, curve.HELD_OUT, curve.RATE):
        assert contrast(colour, background) >= 3.0, colour
    assert contrast(curve.TEXT, background) >= 4.2


def test_the_same_metrics_give_the_same_bytes_without_a_date_or_a_background(tmp_path):
    metrics = write(tmp_path / "metrics.jsonl", [report(step, looked=step == 4) for step in range(1, 9)])
    for name in ("one.svg", "two.svg"):
        write_curve(metrics, tmp_path / name, title="test", name="test")
    svg = (tmp_path / "one.svg").read_bytes()
    assert svg == (tmp_path / "two.svg").read_bytes()
    assert b"dc:date" not in svg
    assert b"#ffffff" not in svg
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "one.svg", "two.svg"]


def test_settings_of_the_user_change_nothing_and_stay_as_they_were(tmp_path):
    metrics = write(tmp_path / "metrics.jsonl", [report(1), report(2)])
    write_curve(metrics, tmp_path / "one.svg", title="test", name="test")
    with matplotlib.rc_context({"lines.linewidth": 9.0, "svg.hashsalt": "mine", "axes.grid.axis": "x"}):
        write_curve(metrics, tmp_path / "two.svg", title="test", name="test")
        assert matplotlib.rcParams["svg.hashsalt"] == "mine"
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_losses_stand_apart_where_there_is_sentence_order():
    losses, rates, accuracies = draw([report(1, sop=True), report(2, sop=True, looked=True)], title="t", name="t").axes
    assert labels(losses) == ["loss", "tokens", "sentence order", "held-out tokens"]
    assert labels(rates) == []
    assert labels(accuracies) == ["tokens", "sentence order", "held-out tokens", "held-out order"]


def test_the_loss_of_tokens_alone_is_drawn_once():
    losses, _, accuracies = draw([report(1), report(2)], title="t", name="t").axes
    assert labels(losses) == ["loss"]
    assert labels(accuracies) == ["tokens"]


def test_a_second_stage_is_marked_where_it_begins():
    reports = [report(1), report(2), report(3, stage=2), report(4, stage=2)]
    losses = draw(reports, title="t", name="t").axes[0]
    assert [(text.get_text().strip(), text.get_position()[0]) for text in losses.texts] == [("stage 2", 2)]


def test_a_long_line_is_faint_with_a_mean_of_each_stage_over_it():
    reports = [report(step, stage=1 + (step > 300), loss=9.0 if step > 300 else 5.0) for step in range(1, 601)]
    raw, first, second, *_ = draw(reports, title="t", name="t").axes[0].lines
    assert raw.get_alpha() < 0.5
    assert np.allclose(first.get_ydata(), 5.0)
    assert np.allclose(second.get_ydata(), 9.0)
    assert len(first.get_xdata()) == len(second.get_xdata()) == 300


def test_lines_have_no_more_points_than_can_be_seen():
    raw = draw([report(step) for step in range(1, 20_001)], title="t", name="t").axes[0].lines[0]
    assert len(raw.get_xdata()) == curve.MOST_POINTS


def test_the_running_mean_is_that_of_the_neighbours():
    assert running_mean(np.array([1.0, 2.0, 6.0, 3.0]), 1).tolist() == [1.5, 3.0, 11 / 3, 4.5]


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    metrics = write(tmp_path / "metrics.jsonl", [report(1), report(2, loss=float("nan")), report(3)])
    write_curve(metrics, tmp_path / "loss.svg", title="test", name="test")
    assert (tmp_path / "loss.svg").is_file()


def test_nothing_is_drawn_without_reports(tmp_path):
    write_curve(write(tmp_path / "metrics.jsonl", []), tmp_path / "loss.svg", title="test", name="test")
    assert not (tmp_path / "loss.svg").exists()


@pytest.mark.parametrize("title", ["50 % of $x^2$", "naïve Δ"])
def test_a_title_is_written_as_it_is(title):
    figure = draw([report(1)], title=title, name="test")
    assert figure.get_suptitle() == title
    assert figure._suptitle.get_parse_math() is False


def test_a_title_that_no_font_can_write_is_replaced_by_the_name(monkeypatch, tmp_path):
    latin = [font for font in font_manager.fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", latin)
    assert draw([report(1)], title="小型中文模型", name="tiny").get_suptitle() == "tiny"
    write_curve(write(tmp_path / "metrics.jsonl", [report(1)]), tmp_path / "loss.svg", title="小型", name="tiny")


def test_a_chinese_title_is_written_where_there_is_a_font():
    here = {font.name for font in font_manager.fontManager.ttflist} & set(curve.CHINESE_FONTS)
    if not here:
        pytest.skip(f"none of these fonts is installed: {', '.join(curve.CHINESE_FONTS)}")
    assert draw([report(1)], title="小型中文模型", name="tiny").get_suptitle() == "小型中文模型"


def test_pictures_and_trackers_are_loaded_only_when_they_are_used():
    code = (
        "import sys, clue_bench.pretraining.run, clue_bench.pretraining.trackers\n"
        "assert not {'matplotlib', 'tensorboard', 'trackio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
