import csv
import re
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.published.facts import FACTS, read_facts, read_published
from clue_bench.leaderboards.scores import SCORE_COLUMNS, score_of
from clue_bench.vocab.token_types import PUBLISHED

HEADER = "model,params,task,split,score,source,note"
GOOD = "tiny,7.5M,AFQMC,dev,69.52,a README,"


def write(folder: Path, *lines: str) -> Path:
    (folder / "some.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return folder


def test_every_row_is_kept(published_folder: Path) -> None:
    assert len(read_published(published_folder)) == 1000


def test_every_fact_of_the_reference_is_there_and_nothing_else(published_folder: Path, real_data: Path) -> None:
    path = real_data.parent / "reference" / "published_scores.csv"
    if not path.is_file():
        pytest.skip(f"no {path}: the reference that the quoted scores were collected in")

    def fact(row: dict[str, str]) -> tuple[str, ...]:
        # The reference names the collection, "seed 001", beside or instead of the README that the cards are from.
        source = row["source"].removeprefix("seed 001 / ")
        source = source.replace("seed 001 ", "CLUEbenchmark/CLUEPretrainedModels README (2020-05), ")
        note = re.sub(r"^pair table\. ?(pair table; )?", "pair table; ", row["note"]).removesuffix("; ")
        return (row["model"], row["params"], row["task"], row["split"], row["score"], source, note)

    with path.open(encoding="utf-8", newline="") as file:
        expected = Counter(fact(row) for row in csv.DictReader(file))
    assert Counter(fact(score.model_dump()) for score in read_published(published_folder)) == expected
    assert expected.total() == 1000


def test_the_readme_counts_the_rows_of_every_file(published_folder: Path) -> None:
    text = (published_folder / "README.md").read_text(encoding="utf-8")
    counted = {name: int(rows) for name, rows in re.findall(r"^\| `([\w/]+\.csv)` \| ([0-9]+) \|", text, re.MULTILINE)}
    found = {
        path.relative_to(published_folder).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) - 1
        for path in published_folder.rglob("*.csv")
    }
    assert counted == found


def test_scores_stay_the_text_of_the_source(published_folder: Path) -> None:
    scores = {score.score for score in read_published(published_folder)}
    assert {"73.70", "74.22/91.88", "56.8 (0.4)", "1k steps/350s (+15.43%)"} <= scores


def test_only_released_models_without_any_score_have_an_empty_one(published_folder: Path) -> None:
    empty = [score.model for score in read_published(published_folder) if not score.score]
    assert empty == ["RoBERTa-tiny3L768-clue", "RoBERTa-tiny3L312-clue"]


def test_the_corpus_comparison_prints_the_half_up_mean_of_its_columns(published_folder: Path) -> None:
    four = dict(zip(("AFQMC", "TNEWS", "IFLYTEK", "CMNLI"), SCORE_COLUMNS, strict=True))
    quoted: dict[str, dict[str, Decimal]] = {}
    for row in read_published(published_folder):
        if row.source == "CLUEbenchmark/CLUECorpus2020 README":
            quoted.setdefault(row.model, {})[four.get(row.task, row.task)] = Decimal(row.score)
    assert len(quoted) == 8
    for columns in quoted.values():
        assert score_of(columns) == columns["AVG(4)"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tiny,7.5M,AFQMC,dev,69.52,a README", "expected 7 values, found 6"),
        ("tiny,7.5M,AFQMC,dev,69.52,a README,note,more", "expected 7 values, found 8"),
        ("", "expected 7 values, found 0"),
        (",7.5M,AFQMC,dev,69.52,a README,", "model"),
        ("tiny,7.5M,AFQMC,,69.52,a README,", "split"),
        ("tiny,7.5M,AFQMC,dev,69.52,,", "source"),
        ("tiny,7.5M,AFQMC,dev,about 70,a README,", "score"),
        ("tiny,7.5M,AFQMC,dev,69.52%,a README,", "score"),
        ("tiny,7.5M,AFQMC,dev,٦٩,a README,", "score"),
        ("tiny,7.5M,AFQMC,dev,,a README,", 'expected a score, or task "-"'),
        ("tiny,7.5M,-,-,69.52,a README,", 'expected a score, or task "-"'),
        ("tiny ,7.5M,AFQMC,dev,69.52,a README,", "model: expected one line without blanks around it"),
        (GOOD, "repeats line 2"),
    ],
)
def test_a_bad_row_is_an_error_that_names_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ClueBenchError) as caught:
        read_published(write(tmp_path, GOOD, line))
    assert f"{tmp_path / 'some.csv'}: line 3" in caught.value.message
    assert problem in caught.value.message
    assert caught.value.hint


def test_another_header_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("model,task,score\ntiny,AFQMC,69.52\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"line 1: .*model,params,task"):
        read_published(tmp_path)


def test_a_file_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_bytes(f"{HEADER}\n分类,,AFQMC,dev,69.52,a,\n".encode("gbk"))
    with pytest.raises(ClueBenchError, match="CSV file in UTF-8"):
        read_published(tmp_path)


def test_a_folder_without_scores_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="no CSV file"):
        read_published(tmp_path)


def test_every_cell_has_a_source(published_folder: Path) -> None:
    facts = read_facts(published_folder / "tables")
    assert tuple(facts.tables) == FACTS
    assert all(cell.source for rows in facts.tables.values() for cells in rows.values() for cell in cells.values())


def test_the_token_types_are_those_that_vocab_stats_quotes(published_folder: Path) -> None:
    rows = list(read_facts(published_folder / "tables").tables["vocabulary"].values())
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
    ],
)
def test_a_bad_line_is_an_error_that_names_the_file(folder: Path, file: str, line: str, problem: str) -> None:
    with (folder / file).open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(ClueBenchError) as caught:
        read_facts(folder)
    assert file in caught.value.message
    assert problem in caught.value.message


def test_a_missing_file_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "models.csv").unlink()
    with pytest.raises(ClueBenchError, match=r"models\.csv: no such file"):
        read_facts(folder)
