"""The board's pictures: what they show, when they are left out, and that they are SVG with text."""

import itertools
import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from clue_bench.charts import stylesheet
from clue_bench.doors.records import RunRecord
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.plots.pictures import Picture, draw_pictures
from clue_bench.leaderboards.plots.points import Speeds, pareto_front, pretraining_tokens, staircase
from clue_bench.leaderboards.runs import measured_tables

MakeRecord = Callable[..., RunRecord]
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert('坏')</script>&\x00"
TASKS = ("afqmc", "tnews", "iflytek", "cmnli")


def with_model(record: RunRecord, **facts: Any) -> RunRecord:
    return record.model_copy(update={"model": record.model.model_copy(update=facts)})


@pytest.fixture
def records(make_record: MakeRecord) -> list[RunRecord]:
    """Return a board of a pretrained, a larger and a never pretrained model, and a floor."""
    models = {
        "小-tiny": ("1", 7_450_000, 26_624_000, 6000),
        HOSTILE: ("2", 102_000_000, 1_000_000_000, 7000),
        "never": ("3", 7_450_000, 0, 5000),
    }
    found = [
        with_model(
            make_record(task, correct, model=name, sha256=digit * 64, parameters=size), pretraining_tokens=tokens
        )
        for name, (digit, size, tokens, correct) in models.items()
        for task in TASKS
    ]
    return [*found, *(make_record(task, 6900, model="floor-tfidf", sha256="4" * 64, is_floor=True) for task in TASKS)]


@pytest.fixture
def make_pretraining(make_record: MakeRecord) -> MakeRecord:
    def make(name: str = "tiny", *, curve: dict[str, Any] | None = None, **facts: Any) -> RunRecord:
        rates = ("learning_rate", "gradient_norm", "tokens_per_second", "model_flops_per_second", "seconds", "epochs")
        counts = {"step": 1, "tokens": 100, "peak_memory_mib": 1, "mean_tokens_per_second": 1.0}
        results = {**dict.fromkeys(rates, 1.0), **counts, "loss": 3.0, "curve": curve}
        effective = {"objective": facts.pop("objective", "mlm"), "bag_weight": facts.pop("bag_weight", 0.0)}
        return make_record(
            kind="pretrain",
            model=name,
            run_id=f"pretrain-{name}",
            task="",
            results=results,
            effective=effective,
            **facts,
        )

    return make


CURVE = {"tokens": [100, 200, 300], "loss": [9.0, 5.0, 4.0], "held_out_loss": [None, None, 4.2]}


def draw(records: list[RunRecord], speeds: Speeds | None = None) -> dict[str, Picture]:
    pictures = draw_pictures(records, measured_tables(records), speeds)
    return {picture.name: picture for picture in pictures}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_an_axis_is_called_what_the_score_is(make_record: MakeRecord) -> None:
    records = [
        with_model(make_record("cmrc2018", model=name, sha256=name * 64), pretraining_tokens=tokens)
        for name, tokens in (("1", 1_000_000), ("2", 9_000_000))
    ]
    drawn = [svg for picture in draw(records).values() for _, svg in picture.charts]
    axes = {text for svg in drawn for text in texts(svg) if text.startswith("dev ") and "%" in text}
    assert axes == {"dev 完全匹配 exact match (%)"}


def test_a_picture_is_svg_whose_text_is_text_and_which_says_what_it_is(records: list[RunRecord]) -> None:
    picture = draw(records)["score-tokens"]
    root = ElementTree.fromstring(picture.file)
    assert (root[0].tag, root[0].text) == (f"{SVG}title", "得分与预训练词元 Score against pretraining tokens")
    assert root[1].tag == f"{SVG}desc"
    assert {"小-tiny", "never"} <= set(texts(picture.file))
    assert "@media (prefers-color-scheme: dark)" in picture.file
    assert "Noto Sans CJK SC" in picture.file
    assert "http" not in picture.file.replace("http://www.w3.org/2000/svg", "")
    assert not list(root.iter(f"{SVG}script"))


def test_every_chart_has_a_title_and_a_description_under_ids_of_its_own(records: list[RunRecord]) -> None:
    root = ElementTree.fromstring(draw(records)["score-tokens"].file)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) == 2 * 6  # the file, Score and four tasks
    for element in root.iter(f"{SVG}svg"):
        assert set((element.get("aria-labelledby") or "").split()) <= set(ids)


def test_score_stands_first_and_every_column_has_a_chart_with_its_floor(records: list[RunRecord]) -> None:
    charts = draw(records)["score-tokens"].charts
    assert [column for column, _ in charts] == ["Score", "AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI"]
    for _, chart in charts:
        assert "无预训练 floor: TF-IDF + 线性 69.00%" in texts(chart)
        assert len(list(ElementTree.fromstring(chart).iter(f"{SVG}circle"))) == 3


def test_points_of_the_page_lead_to_their_cells_and_those_of_a_file_do_not(records: list[RunRecord]) -> None:
    picture = draw(records)["score-tokens"]
    links = [link.get("href") for link in ElementTree.fromstring(picture.charts[1][1]).iter(f"{SVG}a")]
    assert "#cell=clue-1%2F%E5%B0%8F-tiny%2FAFQMC" in links
    assert not list(ElementTree.fromstring(picture.file).iter(f"{SVG}a"))


def test_models_whose_tokens_nobody_knows_are_named_and_not_drawn(
    records: list[RunRecord], make_record: MakeRecord
) -> None:
    picture = draw([*records, make_record("afqmc", 8000, model="foreign", sha256="9" * 64)])["score-tokens"]
    assert "not known: foreign." in picture.caption
    assert "foreign" not in texts(picture.file)


def test_one_model_gives_no_picture_and_the_sentence_says_why(make_record: MakeRecord) -> None:
    for picture in draw([with_model(make_record(), pretraining_tokens=5)]).values():
        assert picture.left_out.startswith("Left out: ")
        assert (picture.file, picture.charts) == ("", ())
    assert all(picture.left_out for picture in draw([]).values())


def test_a_pretraining_record_says_the_tokens_of_the_weights_that_it_wrote(
    make_record: MakeRecord, make_pretraining: MakeRecord
) -> None:
    pretraining = with_model(make_pretraining(sha256="5" * 64), pretraining_tokens=77)
    assert pretraining_tokens([make_record(sha256="5" * 64), pretraining]) == {"5" * 64: 77}
    contradicting = with_model(make_record(sha256="5" * 64), pretraining_tokens=78)
    with pytest.raises(ClueBenchError, match="the same weights, 55555555, pretrained on 78 and on 77 tokens"):
        pretraining_tokens([contradicting, pretraining])


def test_without_speeds_of_one_session_there_is_no_picture_of_them(records: list[RunRecord]) -> None:
    assert draw(records)["score-speed"].left_out == (
        "Left out: there are no speed records of one machine and one session."
    )


def test_a_bubble_s_area_is_the_models_parameters_and_the_front_is_drawn(records: list[RunRecord]) -> None:
    speeds = Speeds({"1" * 64: 5000.0, "2" * 64: 400.0, "3" * 64: 4000.0}, "one session")
    picture = draw(records, speeds)["score-speed"]
    assert "one session" in picture.caption
    root = ElementTree.fromstring(dict(picture.charts)["AFQMC"])
    radii = {link[0].text: float(link[-1].get("r", 0)) for link in root.iter(f"{SVG}a")}
    (large,) = [radius for tip, radius in radii.items() if str(tip).startswith("</svg>")]
    small = {radius for tip, radius in radii.items() if not str(tip).startswith("</svg>")}
    assert len(small) == 1
    assert (large / small.pop()) ** 2 == pytest.approx(102 / 7.45, rel=0.05)
    styles = {str(link[0].text)[:5]: link[-1].get("class") for link in root.iter(f"{SVG}a")}
    assert styles["小-tin"] == "dot one"  # the fastest
    assert styles["never"] == "dot two"  # slower and worse than it
    assert len([line for line in root.iter(f"{SVG}polyline") if "front" in str(line.get("class"))]) == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_pareto_front_is_what_nothing_beats(seed: int) -> None:
    draws = random.Random(seed)
    points = [(draws.randint(1, 6), draws.randint(1, 6)) for _ in range(draws.randint(1, 12))]

    def beaten(point: tuple[int, int]) -> bool:
        return any(o != point and o[0] >= point[0] and o[1] >= point[1] for o in points)

    front = pareto_front(points, speed=lambda p: p[0], score=lambda p: p[1])
    assert sorted(front) == sorted(point for point in points if not beaten(point))
    line = staircase([(float(speed), float(score)) for speed, score in front])
    for (x1, y1), (x2, y2) in itertools.pairwise(line):
        assert x1 == x2 or y1 == y2
        assert (x2, y1) <= (x1, y2)


def test_losses_of_one_objective_share_a_chart_and_others_do_not(make_pretraining: MakeRecord) -> None:
    runs = [
        make_pretraining("a", curve=CURVE),
        make_pretraining("b", curve={"tokens": [100], "loss": [4.5]}),
        make_pretraining("c", curve=CURVE, objective="clm"),
        make_pretraining("d", curve=CURVE, bag_weight=0.2),
        make_pretraining("old"),
    ]
    picture = draw(runs)["loss"]
    assert len(picture.charts) == 3
    assert any("mlm + bag" in text for _, chart in picture.charts for text in texts(chart))
    assert "Without a curve in the record: pretrain-old." in picture.caption
    charts = [texts(chart) for _, chart in picture.charts]
    assert any("a 4.000" in chart and "b 4.500" in chart for chart in charts)
    assert any("c 4.000" in chart and "a 4.000" not in chart for chart in charts)


def test_without_a_curve_the_runs_that_lack_one_are_named(make_pretraining: MakeRecord) -> None:
    assert draw([make_pretraining("old")])["loss"].left_out == (
        "Left out: no record of a completed pretraining run carries its curve. "
        "Without a curve in the record: pretrain-old."
    )


def test_the_same_numbers_give_the_same_bytes(records: list[RunRecord]) -> None:
    assert [p.file for p in draw(records).values()] == [p.file for p in draw(records[::-1]).values()]


def test_every_class_that_is_drawn_with_has_a_style(records: list[RunRecord], make_pretraining: MakeRecord) -> None:
    speeds = Speeds({"1" * 64: 5000.0, "2" * 64: 400.0, "3" * 64: 4000.0}, "one session")
    used = set()
    for picture in draw([*records, make_pretraining(curve=CURVE)], speeds).values():
        for _, chart in picture.charts:
            used |= {
                name for element in ElementTree.fromstring(chart).iter() for name in element.get("class", "").split()
            }
    assert used
    assert not [name for name in used if f".{name}" not in stylesheet()]
