"""What is printed besides scores, read strictly, and which printed sizes their configuration contradicts."""

import shutil
from pathlib import Path

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.published.printed import TABLES, read_printed, size_agrees, size_text
from clue_bench.vocab.token_types import PUBLISHED


@pytest.mark.parametrize(
    ("printed", "parameters", "agrees"),
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
def test_a_size_agrees_to_one_unit_of_its_last_digit(printed: str, parameters: int, *, agrees: bool) -> None:
    assert size_agrees(printed, parameters) == agrees


@pytest.mark.parametrize(
    ("parameters", "text"), [(312_100_864, "312M"), (28_410_624, "28.4M"), (7_449_936, "7.45M"), (99_950_000, "100.0M")]
)
def test_counted_sizes_have_three_significant_digits(parameters: int, text: str) -> None:
    assert size_text(parameters) == text


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
def test_shapes_count_to_the_known_parameters(
    published_folder: Path, model: str, vocabulary: str | None, millions: str
) -> None:
    shape = read_printed(published_folder / "tables").shape(model, vocabulary)
    assert shape is not None
    assert f"{shape.parameters / 1e6:.2f}" == millions


def test_every_cell_has_a_source(published_folder: Path) -> None:
    printed = read_printed(published_folder / "tables")
    assert tuple(printed.tables) == TABLES
    assert all(cell.source for rows in printed.tables.values() for cells in rows.values() for cell in cells.values())


def test_the_token_types_are_those_that_vocab_stats_quotes(published_folder: Path) -> None:
    rows = list(read_printed(published_folder / "tables").tables["vocabulary"].values())
    for column, name in (("Google", "google_vocab"), ("CLUE", "clue_vocab")):
        (known,) = (one.counts for one in PUBLISHED.values() if one.name == name)
        counts = [row[column].printed.replace("–", "0") for row in rows]
        assert [*map(int, counts)] == [*known, sum(known)]


@pytest.fixture
def folder(published_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published_folder / "tables", tmp_path / "tables"))


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("speed.csv", "BERT-base google_vocab,模型,again,a README,", "two cells for BERT-base google_vocab × 模型"),
        ("speed.csv", "a,b,c,,", "source"),
        ("speed.csv", "a,b,,a README,", "printed"),
        ("shapes.csv", "a,google_vocab,0,1,1,1,1,a README,", "layers"),
        ("shapes.csv", "a,my_vocab,1,1,1,1,1,a README,", "vocabulary"),
    ],
)
def test_a_bad_line_is_an_error_that_names_the_file(folder: Path, file: str, line: str, problem: str) -> None:
    with (folder / file).open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(ClueBenchError) as caught:
        read_printed(folder)
    assert file in caught.value.message
    assert problem in caught.value.message


def test_a_missing_file_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "models.csv").unlink()
    with pytest.raises(ClueBenchError, match=r"models\.csv: no such file"):
        read_printed(folder)
