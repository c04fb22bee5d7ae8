"""The page as a file: what is in it, without a browser."""

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clue_bench.doors.records import RunRecord, SpeedRecord
from clue_bench.leaderboards.files import CSV, board_files
from clue_bench.leaderboards.leaderboard import build
from clue_bench.leaderboards.page.render import page_tables, provenance
from clue_bench.leaderboards.plots.points import session_speeds
from clue_bench.leaderboards.speed.tables import speed_tables
from clue_bench.stats.significance import wilson_interval

HOSTILE = "<img src=x onerror=window.hacked=1>\"'&</script><script>window.hacked=2</script>"  # as in conftest.py
VOID = {"meta", "link", "input", "br", "img"}


class Elements(HTMLParser):
    """Every start tag with its attributes, the text of scripts, and tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def elements(page: Path) -> Elements:
    return Elements(page.read_text(encoding="utf-8"))


def test_every_element_is_closed_in_order(elements: Elements) -> None:
    assert elements.open == []


def test_nothing_in_the_page_is_fetched_from_elsewhere(elements: Elements) -> None:
    assert not [1 for _, attributes in elements.found if {"src", "srcset", "poster"} & set(attributes)]
    assert [link["href"] for link in elements.all("link")] == ["data:,"]
    policy = next(meta["content"] for meta in elements.all("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_every_id_is_unique_and_every_reference_leads_somewhere(elements: Elements) -> None:
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements.found:
        for key in ("aria-labelledby", "for"):
            assert set((attributes.get(key) or "").split()) <= set(ids)


def data_of(page: str) -> dict[str, Any]:
    """Return the JSON that the page writes its tables from."""
    found: dict[str, Any] = json.loads(Elements(page).scripts[0])
    return found


def cells_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for table in data["tables"] for row in table["rows"] for cell in row["cells"]]


def test_every_cell_with_an_address_has_one_of_its_own_and_a_provenance(page: Path) -> None:
    data = data_of(page.read_text(encoding="utf-8"))
    addresses = [cell["address"] for cell in cells_of(data) if "address" in cell]
    assert len(addresses) == len(set(addresses)) == len(data["provenance"])
    assert set(addresses) == set(data["provenance"])


def test_the_tables_of_the_page_are_those_of_the_readme(records: list[RunRecord], published_folder: Path) -> None:
    board = build(records, published_folder)
    for each in page_tables(board, []):
        assert each.table.to_markdown() in board.markdown


def test_what_stands_behind_a_measured_number_is_all_there(records: list[RunRecord], published_folder: Path) -> None:
    known = provenance(build(records, published_folder), records, [])
    told = json.dumps(known["clue-1/tiny/AFQMC"], ensure_ascii=False)
    runs = [record for record in records if record.task and record.task.name == "afqmc" and record.model.name == "tiny"]
    assert len(runs) == 3
    for run in runs:
        assert run.run_id in told
    expected = ("learning_rate", "1e-4", "1" * 64, "official", "10,000", "0123456789abcdef", "2.13.0+cpu", "EPYC <9>")
    for text in (*expected, "26,624,000", "f" * 32, "sd over seeds", "± 0.01", "69.02%", "6,901 / 10,000"):
        assert text in told, text


def test_what_stands_behind_a_quoted_number_is_source_split_and_note(
    records: list[RunRecord], published_folder: Path
) -> None:
    board = build(records, published_folder)
    told = provenance(board, records, [])["published-small-models/RoBERTa-tiny-clue/Score"]
    facts = {english: value for section in told["sections"] for _, english, value in section["facts"]}
    assert (facts["shown"], facts["as printed"]) == ("63.63%", "63.60%")
    assert facts["source"].startswith("CLUEbenchmark/CLUEPretrainedModels")
    assert facts["split"] == "test(1.0, leaderboard)"
    assert any("the source prints 63.60%" in warning for warning in told["warnings"])


def test_rows_of_one_name_have_addresses_of_their_own(published_folder: Path) -> None:
    board = build([], published_folder)
    speed = next(table for table in board.published if table.name == "speed")
    assert speed.row_names[:2] == ("BERT-base google_vocab", "BERT-base clue_vocab")
    addresses = [c.address for t in page_tables(board, []) for row in t.table.rows for c in row.cells if c.address]
    assert len(addresses) == len(set(addresses)) > 100


def test_the_same_records_in_any_order_give_the_same_files(records: list[RunRecord], published_folder: Path) -> None:
    there, back = board_files(records, published_folder), board_files(records[::-1], published_folder)
    assert there.texts == back.texts


def test_the_interval_is_wilsons() -> None:
    from scipy.stats import binomtest

    for correct, rows in ((69, 100), (0, 7), (7, 7), (2978, 4316)):
        expected = binomtest(correct, rows).proportion_ci(method="wilson")
        assert wilson_interval(correct / rows, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_without_records_the_page_says_that_nothing_was_measured(published_folder: Path) -> None:
    text = board_files([], published_folder).texts["index.html"]
    assert "There are no measured rows" in text
    assert "Left out: " in text


def test_measured_speeds_are_a_table_of_their_own(
    published_folder: Path, speed_record: SpeedRecord, records: list[RunRecord]
) -> None:
    board = board_files([*records, speed_record], published_folder)
    data = data_of(board.texts["index.html"])
    addresses = {table["name"] for table in data["tables"]}
    (address,) = (each for each in addresses if each.startswith("speed-20260101T000000Z-aaaa"))
    told = data["provenance"][f"{address}/tiny/训练速度"]
    assert speed_record.run_id in json.dumps(told)
    assert "some processor" in board.texts["speed.md"]
    assert json.loads(board.texts["leaderboard.json"])["speed"]["tables"]


def test_a_speed_belongs_to_the_same_weights_else_to_the_same_name_and_shape(
    records: list[RunRecord], speed_record: SpeedRecord
) -> None:
    def speeds(**model: object) -> dict[str, float]:
        changed = speed_record.model_copy(update={"model": speed_record.model.model_copy(update=model)})
        found = session_speeds([*records, changed])
        assert found is not None
        return dict(found.by_sha256)

    assert speeds() == {"1" * 64: 404.0}
    assert speeds(name="renamed") == {"1" * 64: 404.0}
    assert speeds(sha256="8" * 64) == {"1" * 64: 404.0}
    assert speeds(sha256="8" * 64, layers=5) == {}
    assert session_speeds(records) is None


def test_the_session_with_most_of_the_models_is_drawn_and_never_two(
    records: list[RunRecord], speed_record: SpeedRecord, published_folder: Path
) -> None:
    def session(name: str, *models: tuple[str, str]) -> list[RunRecord]:
        return [
            speed_record.model_copy(
                update={
                    "run_id": f"speed-{name}-{model}",
                    "model": speed_record.model.model_copy(update={"name": model, "sha256": digit * 64}),
                    "results": speed_record.completed_results.model_copy(
                        update={"session": name, "position": place, "is_baseline": place == 0}
                    ),
                }
            )
            for place, (model, digit) in enumerate(models)
        ]

    tiny, base = ("tiny", "1"), ("base", "2")
    apart = [*session("20260101T000000Z-a", tiny), *session("20260102T000000Z-b", base)]
    board = board_files([*records, *apart], published_folder)
    assert "plots/score-speed.svg" not in board.texts
    assert "fewer than 2 models have both a score and a speed of one machine and session" in board.texts["README.md"]
    board = board_files([*records, *apart, *session("20251231T000000Z-c", tiny, base)], published_folder)
    assert "session 20251231T000000Z-c" in board.texts["plots/score-speed.svg"]


def test_the_csv_has_a_line_per_measured_cell_and_nothing_published(
    records: list[RunRecord], published_folder: Path
) -> None:
    lines = list(csv.DictReader(io.StringIO(board_files(records, published_folder).texts["leaderboard.csv"])))
    assert len(lines) == 10
    (tiny,) = [line for line in lines if (line["model"], line["task"]) == ("tiny", "afqmc")]
    assert (tiny["accuracy_percent"], tiny["sd_points"], tiny["seeds"]) == ("69.02", "0.01", "1 2 3")
    assert {line["split"] for line in lines} == {"dev"}
    assert HOSTILE in {line["model"] for line in lines}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_name_in_the_csv_is_a_formula_to_a_spreadsheet(
    make_record: Callable[..., RunRecord], published_folder: Path, start: str
) -> None:
    name = f'{start}HYPERLINK("https://example.org")'
    lines = list(csv.reader(io.StringIO(board_files([make_record(model=name)], published_folder).texts[CSV])))
    assert f"'{name}" in lines[1]
    assert not [cell for cell in lines[1] if re.match(r"[=@\t+-]", cell)]


def test_a_number_below_zero_stays_a_number(make_record: Callable[..., RunRecord], published_folder: Path) -> None:
    records = [
        make_record(correct=6000),
        make_record(correct=6500, model="floor-tfidf", is_floor=True, sha256="f" * 64),
    ]
    (line, _) = csv.DictReader(io.StringIO(board_files(records, published_folder).texts[CSV]))
    assert line["points_over_floor"] == "-5.00"


def test_marks_are_explained_under_the_table_in_both_languages(
    make_record: Callable[..., RunRecord], published_folder: Path
) -> None:
    floor = make_record(correct=9000, model="floor-tfidf", is_floor=True, sha256="f" * 64)
    marked = data_of(board_files([make_record(flags=["majority_class"]), floor], published_folder).texts["index.html"])
    legend = marked["tables"][0]["legend"]
    assert len(legend) == 3
    for mark, (chinese, english) in zip(("†", "▽", "无预训练"), legend, strict=True):
        assert chinese.startswith(mark)
        assert re.search("[\u4e00-\u9fff]{4}", chinese)
        assert re.search("[a-z ]{20}", english)
    plain = data_of(board_files([make_record()], published_folder).texts["index.html"])
    assert not plain["tables"][0]["legend"]


def test_no_heading_is_chinese_only(
    records: list[RunRecord], speed_record: SpeedRecord, published_folder: Path
) -> None:
    board = build(records, published_folder)
    columns = [column for t in page_tables(board, speed_tables([speed_record])) for column in t.table.columns]
    assert len(columns) > 50
    assert not [each.name for each in columns if re.search("[\u4e00-\u9fff]", each.name) and not each.note]


def test_published_scores_are_not_said_to_be_on_test(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "已发表（test）" not in text
    assert "已发表的划分写在各行" in text


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground", "least"),
    [
        *((text, ground, 4.5) for text in ("ink", "quiet", "link") for ground in ("page", "panel")),
        *((text, "best", 4.5) for text in ("ink", "quiet", "other")),
        *(("other", ground, 4.5) for ground in ("page", "panel")),
        ("warn", "warn-panel", 4.5),
        ("on-link", "link", 4.5),
        ("plot-ink", "plot-ground", 4.5),
        ("plot-quiet", "plot-ground", 4.5),
        *((f"plot-{line}", "plot-ground", 3.0) for line in ("one", "two", "three", "four", "axis")),
    ],
)
def test_colours_keep_the_contrast_that_reading_needs(
    page: Path, text: str, ground: str, least: float, dark: bool
) -> None:
    style = page.read_text(encoding="utf-8")
    values = {name: re.findall(rf"--{name}: (#[0-9a-f]{{6}})", style) for name in (text, ground)}
    assert [len(found) for found in values.values()] == [2, 2]
    assert contrast(values[text][dark], values[ground][dark]) >= least
