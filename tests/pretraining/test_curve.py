"""The picture of a run, and the curve in its record: what they show; the same metrics give the same file."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from clue_bench.pretraining.curve import (
    MAX_POINTS,
    MAX_RECORDED,
    draw,
    read_reports,
    recorded_curve,
    running_mean,
    write_curve,
)

SVG = "{http://www.w3.org/2000/svg}"


def report(step, *, stage=1, sop=False, evaluated=False, loss=5.0):
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
        "bag_loss": None,
        "held_out_loss": loss + 0.1 if evaluated else None,
        "held_out_accuracy": 0.25 if evaluated else None,
        "held_out_sop_accuracy": 0.7 if evaluated and sop else None,
        "learning_rate": 1e-4,
        "tokens": step * 1024,
    }


def write(path, reports):
    path.write_text("".join(json.dumps(line) + "\n" for line in reports), encoding="utf-8")
    return path


def charts(reports, title="小型中文模型"):
    """Return the charts of losses, of the learning rate and of accuracies."""
    return ElementTree.fromstring(draw(reports, title=title)).findall(f"{SVG}svg")


def texts(chart):
    return [text.text for text in chart.iter(f"{SVG}text")]


def lines(chart, style):
    """Return the points of the chart's lines of one style, in the order they were drawn."""
    found = [line for line in chart.iter(f"{SVG}polyline") if line.get("class") == f"line {style}"]
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in found]


def legend(chart):
    names = {"loss", "tokens", "sentence order", "labelled pairs", "held-out tokens", "held-out order"}
    return {text for text in texts(chart) if text in names}


def test_the_same_metrics_give_the_same_bytes_and_the_title_is_text(tmp_path):
    metrics = write(tmp_path / "metrics.jsonl", [report(step, evaluated=step == 4) for step in range(1, 9)])
    for name in ("one.svg", "two.svg"):
        write_curve(metrics, tmp_path / name, title="小型 $x^2$ 50 % <b>")
    svg = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert svg == (tmp_path / "two.svg").read_text(encoding="utf-8")
    heading = ElementTree.fromstring(svg).find(f"{SVG}text").text
    assert heading == "小型 $x^2$ 50 % <b> · step 8 · loss 5.000 · held-out 5.100"
    assert "prefers-color-scheme: dark" in svg
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "one.svg", "two.svg"]


def test_losses_stand_apart_where_there_is_sentence_order():
    losses, rate, accuracies = charts([report(1, sop=True), report(2, sop=True, evaluated=True)])
    assert legend(losses) == {"loss", "tokens", "sentence order", "held-out tokens"}
    assert legend(rate) == set()
    assert legend(accuracies) == {"tokens", "sentence order", "held-out tokens", "held-out order"}


def test_the_loss_of_tokens_alone_is_drawn_once():
    losses, _, accuracies = charts([report(1), report(2)])
    assert legend(losses) == {"loss"}
    assert legend(accuracies) == {"tokens"}


def test_a_second_stage_is_marked_where_it_begins():
    losses = charts([report(1), report(2), report(3, stage=2), report(4, stage=2)])[0]
    assert [text for text in texts(losses) if text.startswith("stage")] == ["stage 2"]
    (mark,) = [line.get("x1") for line in losses.iter(f"{SVG}line") if line.get("class") == "line faint"]
    assert float(mark) == pytest.approx(lines(losses, "one")[0][1][0], abs=0.1)


def test_steps_have_the_tokens_up_to_them():
    reports = [report(500), {**report(1000), "tokens": 65_500_000}]
    assert "1,000 · 65.5M" in texts(charts(reports)[-1])


def test_a_long_line_is_faint_with_a_mean_of_each_stage_over_it():
    reports = [report(step, stage=1 + (step > 300), loss=9.0 if step > 300 else 5.0) for step in range(1, 601)]
    losses = charts(reports)[0]
    assert len(lines(losses, "one raw")) == 1
    first, second = lines(losses, "one")
    assert len(first) == len(second) == 300
    assert len({y for _, y in first}) == len({y for _, y in second}) == 1
    assert second[0][1] < first[0][1]  # a higher loss is higher up


def test_lines_have_no_more_points_than_can_be_seen():
    losses = charts([report(step) for step in range(1, 20_001)])[0]
    assert len(lines(losses, "one raw")[0]) == MAX_POINTS


def test_the_running_mean_is_that_of_the_neighbours():
    assert running_mean(np.array([1.0, 2.0, 6.0, 3.0]), 1).tolist() == [1.5, 3.0, 11 / 3, 4.5]


def test_whatever_stands_in_a_line_only_reports_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    report = '{"step": 2, "loss": 4.5, "tokens": 8}'
    lines = ["[" * 5_000, report, report.replace("2", '"2"'), "[1]", report[:9]]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert [each["step"] for each in read_reports(path)] == [2]


@pytest.mark.parametrize("losses", [[5.0, float("nan"), 4.0], [float("nan")] * 3])
def test_values_that_are_not_finite_are_not_drawn(losses):
    drawn = charts([report(step, loss=loss) for step, loss in enumerate(losses, 1)])[0]
    assert "nan" not in ElementTree.tostring(drawn, encoding="unicode")
    assert len(lines(drawn, "one")[0]) == sum(map(np.isfinite, losses))


def test_nothing_is_drawn_without_reports(tmp_path):
    write_curve(write(tmp_path / "metrics.jsonl", []), tmp_path / "loss.svg", title="test")
    assert not (tmp_path / "loss.svg").exists()


@pytest.mark.slow
def test_trackers_are_loaded_only_when_they_are_used():
    code = (
        "import sys, clue_bench.pretraining.run, clue_bench.pretraining.trackers\n"
        "assert not {'tensorboard', 'trackio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def recorded_report(step, loss, held_out=None):
    return {"tokens": 10 * step, "loss": loss, "held_out_loss": held_out}


def test_the_curve_in_the_record_of_a_long_run_has_few_points_and_their_means():
    reports = [recorded_report(n, float(n % 2), 4.0 if n % 1000 == 0 else None) for n in range(1, 2001)]
    curve = recorded_curve(reports)
    assert len(curve.tokens) == MAX_RECORDED
    assert curve.tokens[-1] == 20_000
    assert set(curve.loss) == {0.5}
    assert [loss for loss in curve.held_out_loss if loss is not None] == [4.0, 4.0]


@pytest.mark.parametrize("num", [1, 7, MAX_RECORDED])
def test_a_short_run_is_recorded_as_it_was(num):
    curve = recorded_curve([recorded_report(step, 1.0 / step) for step in range(1, num + 1)])
    assert curve.tokens == [10 * step for step in range(1, num + 1)]
    assert curve.loss == [round(1.0 / step, 5) for step in range(1, num + 1)]


def test_a_loss_that_is_no_number_is_not_recorded():
    assert recorded_curve([recorded_report(1, 2.0), recorded_report(2, float("nan"))]).tokens == [10]
    assert recorded_curve([recorded_report(1, float("nan"))]) is None
