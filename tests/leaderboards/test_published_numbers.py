"""Every number that is written in `layouts.toml`, recomputed from the files of scores, facts and shapes."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pydantic
import pytest

from clue_bench.leaderboards.published.facts import Facts, Quotation, read_facts, read_published, read_quotations
from clue_bench.leaderboards.published.tables import (
    Layout,
    PublishedCell,
    PublishedTable,
    printed_size,
    published_tables,
    read_layouts,
)
from clue_bench.leaderboards.scores import (
    TEST_1_0,
    half_up,
    mean_of,
    percentage,
    points_change,
    relative_change,
    size_text,
    speed_change,
)
from clue_bench.models.config import ModelConfig, count_parameters

CARD = "CLUEbenchmark/CLUEPretrainedModels README (2020-05)"
V1 = "CLUEbenchmark/CLUE README, 分类任务(v1)"
READING = "CLUEbenchmark/CLUE README, 阅读理解任务"
PARTS = {
    "small table": ("small models",),
    "large table": ("large models",),
    "small+large tables": ("small models", "large models"),
    "pair table": ("pair models",),
}
"""How the note of a score of the card starts → the tables that print it."""
MAJORITY = percentage(Decimal(2978) / 4316)
"""Percent of the most frequent class of AFQMC, counted in the official dev.json."""
_SIZE = re.compile(r"(<?)([0-9]+(?:\.([0-9]+))?)M")


class Shape(Quotation):
    """The widths of a BERT."""

    model: str
    vocabulary: str = pydantic.Field(pattern="^(google_vocab|clue_vocab)$")
    layers: pydantic.PositiveInt
    hidden_size: pydantic.PositiveInt
    heads: pydantic.PositiveInt
    feed_forward_size: pydantic.PositiveInt
    vocab_size: pydantic.PositiveInt

    @property
    def parameters(self) -> int:
        sizes = self.model_dump(include={"vocab_size", "layers", "hidden_size", "heads", "feed_forward_size"})
        return count_parameters(ModelConfig(**sizes))


class Board(NamedTuple):
    tables: dict[str, PublishedTable]
    layouts: dict[str, Layout]
    facts: Facts
    shapes: list[Shape]


@pytest.fixture(scope="module")
def board() -> Board:
    from clue_bench.cards import builtin_folder

    folder = builtin_folder("leaderboards/published")
    return Board(
        {table.name: table for table in published_tables(folder)},
        {layout.name: layout for layout in read_layouts(folder)},
        read_facts(folder / "tables"),
        list(read_quotations(folder / "tables" / "shapes.csv", Shape)),
    )


def shape_of(board: Board, model: str, vocabulary: str | None = None) -> Shape | None:
    return next((s for s in board.shapes if s.model == model and vocabulary in (None, s.vocabulary)), None)


def agrees(printed: str, parameters: int) -> bool:
    """Whether a printed size such as `7.5M` or `<7.5M` is right to one unit of its last digit.

    One unit, not half: 325M for 325.52 is a truncation and 7.5M for 7.45 a rounding, neither a contradiction.
    """
    found = _SIZE.fullmatch(printed)
    if found is None:
        return False
    bound, number, decimals = found.groups()
    millions = Decimal(parameters).scaleb(-6)
    if bound:
        return millions < Decimal(number)
    return abs(millions - Decimal(number)) <= Decimal(1).scaleb(-len(decimals or ""))


@pytest.mark.parametrize(
    ("printed", "parameters", "is_right"),
    [
        ("102M", 102_267_648, True),
        ("108M", 102_267_648, False),
        ("7.5M", 7_449_936, True),  # 7.45, rounded once more
        ("325M", 325_522_432, True),  # truncated
        ("290M", 312_100_864, False),
        ("38M", 28_410_624, False),
        ("<7.5M", 6_277_752, True),
        ("<7.5M", 7_500_000, False),
        ("base", 1, False),
    ],
)
def test_a_size_agrees_to_one_unit_of_its_last_digit(printed: str, parameters: int, *, is_right: bool) -> None:
    assert agrees(printed, parameters) == is_right


@pytest.mark.parametrize(
    ("model", "vocabulary", "millions"),
    [
        ("BERT-base", "google_vocab", "102.27"),
        ("BERT-base", "clue_vocab", "92.20"),
        ("RoBERTa-tiny-clue", None, "7.45"),
        ("RoBERTa-tiny-pair", None, "7.45"),
        ("RoBERTa-tiny3L312-clue", None, "6.28"),
        ("RoBERTa-tiny3L768-clue", None, "28.41"),
        ("RoBERTa-large-clue", None, "312.10"),
        ("RoBERTa-large-pair", None, "312.10"),
        ("RoBERTa-wwm-ext-large", None, "325.52"),
    ],
)
def test_shapes_count_to_the_known_parameters(board: Board, model: str, vocabulary: str | None, millions: str) -> None:
    shape = shape_of(board, model, vocabulary)
    assert shape is not None
    assert f"{shape.parameters / 1e6:.2f}" == millions


def sizes(board: Board) -> Iterator[tuple[str, Shape, PublishedCell, str]]:
    """Yield every size beside a known shape: the board's table, the shape, the cell, and what it is called there."""
    for name, column in (("small-models", "参数"), ("large-models", "参数"), ("pair-models", "参数")):
        layout, table = board.layouts[name], board.tables[name]
        names = {shown[0]: model for model, shown in layout.rows.items()}
        for row in table.rows:
            shape = shape_of(board, names.get(row[0].text, row[0].text))
            if shape is not None:
                yield table.title, shape, row[layout.columns.index(column)], name
    for row in board.tables["speed"].rows:
        shape = shape_of(board, row[0].text, row[1].text)
        assert shape is not None
        yield "speed", shape, row[3], "speed"
    for row in board.tables["models"].rows:
        shape = shape_of(board, row[0].text)
        assert shape is not None
        yield "model list", shape, row[1], "models"


def test_a_size_that_its_shape_contradicts_gives_way_to_the_counted_one_with_what_every_table_prints(
    board: Board,
) -> None:
    places: dict[tuple[str, str], dict[str, list[str]]] = {}
    found = list(sizes(board))
    for table, shape, cell, _ in found:
        size = re.sub(r"\(.*\)$", "", cell.printed)
        places.setdefault((shape.model, shape.vocabulary), {}).setdefault(size, []).append(table)
    for table, shape, cell, _ in found:
        printed = re.sub(r"\(.*\)$", "", cell.printed)
        if agrees(printed, shape.parameters):
            assert cell.text.startswith(printed), (table, shape.model)
            continue
        assert cell.text == size_text(shape.parameters)
        (note,) = cell.notes
        own = places[shape.model, shape.vocabulary]
        assert {
            (size, place) for size, where in re.findall(r"([0-9.]+M) \(([^)]*)\)", note) for place in where.split(", ")
        } == {(size, place) for size, where in own.items() for place in where}
        assert note.startswith(f"{shape.model}: the source prints ")
        assert note.endswith(
            f"; {shape.layers} layers, {shape.hidden_size} wide, over {shape.vocab_size} tokens have "
            f"{shape.parameters:,} parameters, counted with pooler and without a language-model head."
        )


def test_every_score_is_the_half_up_mean_of_its_columns_and_a_printed_one_that_is_not_has_a_footnote(
    board: Board,
) -> None:
    for name, layout in board.layouts.items():
        if not layout.mean:
            continue
        for row in board.tables[name].rows:
            cells = dict(zip(layout.columns, row, strict=True))
            columns = [column for column in layout.scores if column != layout.mean]
            values = {column: cells[column].value or Decimal(0) for column in columns}
            mean = cells[layout.mean]
            assert mean.value == mean_of(values, columns), (name, row[0].text)
            if mean.text != mean.printed:
                note = f"the source prints {mean.printed}; the mean of its columns is {mean.text}."
                model = cells.get("Model", row[0]).text
                assert mean.notes == (f"{model}: {note}",)


def test_arrows_are_computed_from_the_numbers_shown(board: Board) -> None:
    pairs = {row[0].text: row[1] for row in board.tables["pair-models"].rows}
    for name, cell in pairs.items():
        base = pairs.get(name.replace("-pair", "-clue"))
        assert cell.value is not None
        assert base is not None
        assert base.value is not None
        assert cell.text == f"{cell.value}%" + (points_change(cell.value, base.value) if base is not cell else "")
    first, *others = board.tables["speed"].rows
    for row in others:
        for place, change in ((2, relative_change), (3, relative_change), (5, speed_change)):
            new, old = row[place].value, first[place].value
            assert new is not None
            assert old is not None
            assert row[place].text.endswith(change(new, old))
            if row[place].text != row[place].printed:
                where = f"{row[0].text} {row[1].text}, {board.layouts['speed'].columns[place]}"
                printed, shown = row[place].printed, row[place].text
                assert row[place].notes == (f"{where}: the source prints {printed}; computed, it is {shown}.",)


def test_token_types_sum_to_their_total(board: Board) -> None:
    *kinds, total = board.tables["vocabulary"].rows
    assert total[0].text == "Total"
    for place in (1, 2):
        assert sum(int(row[place].text.replace("–", "0")) for row in kinds) == int(total[place].text)


def test_scores_of_one_leaderboard_that_two_tables_print_otherwise_have_a_footnote(
    board: Board, published_folder: Path
) -> None:
    scores = [score for score in read_published(published_folder) if score.source in (CARD, V1)]

    def places(score_source: str, note: str) -> list[str]:
        if score_source == V1:
            return ["CLUE README v1"]
        return [f"CLUEPretrainedModels, {part}" for part in PARTS.get(note.split(";")[0], ())]

    for name in ("small-models", "large-models", "pair-models", "clue-v1"):
        layout, table = board.layouts[name], board.tables[name]
        for score in filter(layout.holds, scores):
            column = next((c for c, task in layout.scores.items() if task == score.task), None)
            if column is None or column == layout.mean:
                continue
            shown = layout.rows.get(score.model, [score.model])[0]
            row = next(row for row in table.rows if row[0].text == shown)
            notes = row[layout.columns.index(column)].notes
            expected = set()
            for other in scores:
                same = (other.model, other.split, other.task) == (score.model, score.split, score.task)
                if same and Decimal(other.score) != Decimal(score.score):
                    expected |= {(place, other.score) for place in places(other.source, other.note)}
            assert len(notes) == len(expected), (name, score)
            for place, theirs in expected:
                assert any(
                    note.startswith(f"{score.model}: {place} prints ") and f"{score.task} {theirs}%" in note
                    for note in notes
                )
                assert any(f"{score.score}%" in note.split("here it is")[1] for note in notes)


def leads(table: PublishedTable) -> Iterator[tuple[tuple[PublishedCell, ...], tuple[PublishedCell, ...]]]:
    """Yield which rows are compared: a pair model with its other, otherwise the best with the second."""
    if table.name == "pair-models":
        yield table.rows[1], table.rows[0]
        yield table.rows[3], table.rows[2]
    else:
        first, second, *_ = sorted(table.rows, key=lambda row: -(row[1].value or Decimal(0)))
        yield first, second


def test_remarks_hold_leads_against_their_sampling_error_and_name_who_is_near_the_majority_class(board: Board) -> None:
    for name in ("small-models", "large-models", "pair-models", "clue-v1"):
        table = board.tables[name]
        assert table.split == TEST_1_0
        for over, under in leads(table):
            values = [over[1].value, under[1].value, over[1].sampling_error, under[1].sampling_error]
            assert None not in values
            a, b, e, f = (value or Decimal(0) for value in values)
            error = (e**2 + f**2).sqrt()
            sentence = (
                f"{over[0].text} is {a - b} points of Score over {under[0].text}: {half_up((a - b) / error, places=1)} "
                f"times the sampling error of such a difference (± {half_up(error)}, unpaired; the predictions, "
                "which a paired test needs, are not published)."
            )
            assert sentence in table.remarks
        place = table.header.index("AFQMC")
        near = [
            row[0].text
            for row in table.rows
            if (row[place].value or Decimal(0)) - MAJORITY < 2 * (row[place].sampling_error or Decimal(0))
        ]
        said = [remark for remark in table.remarks if remark.startswith("AFQMC: ")]
        assert len(said) == bool(near)
        assert all(f"scores {MAJORITY}% on dev; " in one and one.endswith(f": {', '.join(near)}.") for one in said)


def test_remarks_say_what_counted_sizes_come_to(board: Board, published_folder: Path) -> None:
    google, clue = shape_of(board, "BERT-base", "google_vocab"), shape_of(board, "BERT-base", "clue_vocab")
    assert google is not None
    assert clue is not None
    change = relative_change(Decimal(clue.parameters), Decimal(google.parameters))
    assert f"BERT-base has {google.parameters:,} and {clue.parameters:,} {change}." in board.tables["speed"].remarks[0]
    files = []
    for row in board.tables["models"].rows:
        shape = shape_of(board, row[0].text)
        assert shape is not None
        files.append(f"{shape.model} {half_up(Decimal(shape.parameters * 4) / 2**20, places=1)} MiB")
    assert f"in fp32 take: {', '.join(files)}." in board.tables["models"].remarks[0]
    reading = {s.model: s.params for s in read_published(published_folder) if s.source == READING}
    others = [
        f"{row[0].text} {reading[row[0].text]}"
        for row in board.tables["clue-v1"].rows
        if printed_size(reading.get(row[0].text, row[2].text)) != row[2].text
    ]
    assert f"prints others: {', '.join(others)}. " in board.tables["clue-v1"].remarks[-1]
