"""The published tables, held cell by cell against the reference, and where they differ from it."""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.published.facts import Facts, PublishedScore, read_facts, read_published
from clue_bench.leaderboards.published.tables import (
    LAYOUTS,
    QUOTED,
    Layout,
    PublishedCell,
    PublishedTable,
    make_published_table,
    published_tables,
    read_layouts,
)
from clue_bench.leaderboards.scores import half_up

# Row, column, printed, shown: the only cells that may differ from the print. Each has a footnote.
DIFFERENCES = {
    "small-models": [
        ("BERT-base (baseline)", "参数", "108M", "102M"),
        ("RoBERTa-tiny-clue", "Score", "63.60%", "63.63%"),
    ],
    "large-models": [
        ("BERT-base (baseline)", "参数", "108M", "102M"),
        ("RoBERTa-large-clue", "参数", "290M", "312M"),
    ],
    "pair-models": [
        ("RoBERTa-large-clue", "参数", "92M", "312M"),
        ("RoBERTa-large-pair", "参数", "92M", "312M"),
    ],
    "speed": [
        ("RoBERTa-tiny-clue", "词汇表大小", "8021(↓62.05%)", "8021(↓62.04%)"),
        ("RoBERTa-tiny-clue", "参数量", "7.5M(↓92.6%)", "7.5M(↓92.65%)"),
        ("RoBERTa-tiny-clue", "训练速度", "1k steps/50s(↑708.0%)", "1k steps/50s(↑708.00%)"),
    ],
    "models": [
        ("RoBERTa-tiny3L768-clue", "参数量", "38M", "28.4M"),
        ("RoBERTa-large-clue", "参数量", "290M", "312M"),
        ("RoBERTa-large-pair", "参数量", "290M", "312M"),
    ],
    "vocabulary": [],
    "corpus-and-vocabulary": [],
    "clue-v1": [],
    "clue-reading": [],
    "paddlenlp": [("24L1024H", "AVG", "77.03", "77.02"), ("4L384H", "AVG", "64.21", "64.24")],
}
# Cells that are as printed, but that another table contradicts.
CONTRADICTED = {
    "large-models": [
        *(("RoBERTa-wwm-large", column) for column in ("AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI")),
        ("RoBERTa-large-clue", "AFQMC"),
    ],
    "pair-models": [("RoBERTa-large-clue", "AFQMC")],
    "clue-v1": [("RoBERTa-wwm-ext-large", column) for column in ("AFQMC", "TNEWS'", "IFLYTEK'", "CMNLI")],
}
V1_SOURCE = "CLUEbenchmark/CLUE README, 分类任务(v1)"
PADDLE_SOURCE = "PaddlePaddle/PaddleNLP examples/benchmark/clue/README.md (read 0025c3d)"
CORPUS_SOURCE = "CLUEbenchmark/CLUECorpus2020 README"


@pytest.fixture(scope="module")
def tables() -> dict[str, PublishedTable]:
    from clue_bench.cards import builtin_folder

    return {table.name: table for table in published_tables(builtin_folder("leaderboards/published"))}


@pytest.fixture(scope="module")
def reference(real_data: Path) -> Path:
    folder = real_data.parent / "reference"
    if not (folder / "seed_tables.md").is_file():
        pytest.skip(f"no reference tables: {folder / 'seed_tables.md'} is not there")
    return folder


@pytest.fixture
def scores(published_folder: Path) -> list[PublishedScore]:
    return read_published(published_folder)


@pytest.fixture
def facts(published_folder: Path) -> Facts:
    return read_facts(published_folder / "tables")


@pytest.fixture
def layouts(published_folder: Path) -> dict[str, Layout]:
    return {layout.name: layout for layout in read_layouts(published_folder)}


def split_line(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def plain(text: str) -> str:
    """Return a cell of Markdown without bold, links and the numbers of footnotes."""
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+( [⁰¹²³⁴⁵⁶⁷⁸⁹]+)*$", "", text).replace("**", "")
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("\\<", "<")


def markdown_tables(text: str) -> Iterator[list[list[str]]]:
    """Yield every Markdown table as lines of raw cells, its header first and its ruler left out."""
    lines: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(split_line(line))
        elif lines:
            assert all(re.fullmatch(r":?-+:?", cell) for cell in lines[1])
            yield [lines[0], *lines[2:]]
            lines = []


def shown(table: PublishedTable) -> list[list[str]]:
    """Return the first Markdown table of the section."""
    return next(markdown_tables(table.section()))


def printed_tables(reference: Path) -> dict[str, list[list[str]]]:
    """Return the tables under "Published tables" of the reference by name."""
    text = (reference / "seed_tables.md").read_text(encoding="utf-8").split("## Published tables")[1]
    names = ("small-models", "large-models", "pair-models", "speed")
    return dict(zip(names, markdown_tables(text), strict=True))


@pytest.mark.parametrize("name", ["small-models", "large-models", "pair-models", "speed"])
def test_a_published_table_is_the_printed_one_but_for_the_listed_cells(
    tables: dict[str, PublishedTable], reference: Path, name: str
) -> None:
    expected, found = printed_tables(reference)[name], shown(tables[name])
    assert found[0] == expected[0]
    assert len(found) == len(expected)
    differences = [
        (plain(is_row[0]), column, plain(was), plain(is_))
        for was_row, is_row in zip(expected[1:], found[1:], strict=True)
        for column, was, is_ in zip(expected[0], was_row, is_row, strict=True)
        if plain(was) != plain(is_)
    ]
    assert differences == DIFFERENCES[name]


def test_the_large_table_is_bold_where_the_print_is_but_for_the_size(
    tables: dict[str, PublishedTable], reference: Path
) -> None:
    def bold(table: list[list[str]]) -> set[tuple[int, int]]:
        return {(y, x) for y, row in enumerate(table) for x, cell in enumerate(row) if cell.startswith("**")}

    expected, found = printed_tables(reference)["large-models"], shown(tables["large-models"])
    assert bold(expected) - bold(found) == {(3, 2)}
    assert expected[3][2] == "**290M**"
    assert bold(found) < bold(expected)


def test_the_vocabulary_table_has_the_reference_counts(tables: dict[str, PublishedTable], reference: Path) -> None:
    text = (reference / "seed_tables.md").read_text(encoding="utf-8").replace("\n", " ")
    listed = text.split("token type counts Google/CLUE: ")[1].split(". ")[0].split(".")[0]
    expected = [re.fullmatch(r"([a-zA-Z ]+) (\d+)/(\d+|–)", entry).groups() for entry in listed.split(", ")]
    found = [[plain(cell) for cell in row] for row in shown(tables["vocabulary"])[1:]]
    assert [row[1:] for row in found] == [list(counts) for _, *counts in expected]
    for (name, *_), (kind, *_) in zip(expected, found, strict=True):
        assert kind.lower().startswith(name.lower())


def test_the_model_list_has_the_columns_sizes_and_links_of_the_card(
    tables: dict[str, PublishedTable], reference: Path
) -> None:
    text = (reference / "seed_tables.md").read_text(encoding="utf-8")
    (header,) = re.findall(r"Models: `(\|.*\|)`", text)
    table = tables["models"]
    assert list(table.header) == split_line(header)
    prints = {row[0].text: (row[1].printed, row[2].printed) for row in table.rows}
    systems = text.split("## Published tables")[0]
    card = dict(
        re.findall(r"^\| (RoBERTa-tiny-clue|RoBERTa-large-clue)(?: / -pair)? \|.*\| ([^|]+) \|$", systems, re.M)
    )
    assert card["RoBERTa-tiny-clue"] == "{}, {} file".format(*prints["RoBERTa-tiny-clue"])
    assert card["RoBERTa-large-clue"] == "{} (computed 312M), {} file".format(*prints["RoBERTa-large-clue"])
    (deep,) = re.findall(r"^\| RoBERTa-tiny3L768-clue / tiny3L312-clue \|.*\| ([^|]+) \|$", systems, re.M)
    assert deep == "{} (computed 28.4M), {} file · {}, {} file".format(
        *prints["RoBERTa-tiny3L768-clue"], *prints["RoBERTa-tiny3L312-clue"]
    )
    assert all([link.text for link in row[-1].links] == ["TensorFlow", "Hugging Face"] for row in table.rows)
    assert all(link.url.startswith("https://") for row in table.rows for cell in row for link in cell.links)


def reference_scores(reference: Path, source: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return model → task → row of `published_scores.csv`, for one source."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    with (reference / "published_scores.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == source:
                assert row["task"] not in found.setdefault(row["model"], {})
                found[row["model"]][row["task"]] = row
    return found


def test_clue_v1_is_the_reference_in_the_boards_layout(tables: dict[str, PublishedTable], reference: Path) -> None:
    facts = (reference / "facts.md").read_text(encoding="utf-8")
    (header,) = re.findall(r"Leaderboard columns: `(\|.*\|)`", facts)
    found = shown(tables["clue-v1"])
    assert found[0] == split_line(header)
    tasks = ("Score(6)", "AFQMC", "TNEWS", "IFLYTEK", "CMNLI", "CLUEWSC2020", "CSL")
    expected = []
    for model, scored in reference_scores(reference, V1_SOURCE).items():
        score, *columns = (f"{scored[task]['score']}%" for task in tasks)
        expected.append([model, score, scored["AFQMC"]["params"], *columns])
    assert [[plain(cell) for cell in row] for row in found[1:]] == expected
    assert len(expected) == 12


def test_the_effect_of_corpus_and_vocabulary_is_the_reference(
    tables: dict[str, PublishedTable], reference: Path
) -> None:
    text = (reference / "seed_tables.md").read_text(encoding="utf-8")
    (header,) = re.findall(r"^`(\| Model \|.*\|)`", text, re.M)
    found = shown(tables["corpus-and-vocabulary"])
    assert found[0] == split_line(header)
    expected = [
        [model, *(f"{scored[task]['score']}%" for task in ("AFQMC", "TNEWS", "IFLYTEK", "CMNLI", "AVG(4)"))]
        for model, scored in reference_scores(reference, CORPUS_SOURCE).items()
    ]
    joined = [
        [f"{row[0].replace(' ', '-')} vocab={row[1]} data={row[2].replace(' ', '')} {row[3]}", *row[4:]]
        for row in found[1:]
    ]
    assert joined == expected
    assert len(expected) == 8


def test_paddlenlps_grid_is_the_reference_and_its_means_are_those_of_ten_exact_columns(
    tables: dict[str, PublishedTable], reference: Path
) -> None:
    found = tables["paddlenlp"]
    tasks = ("AFQMC", "TNEWS", "IFLYTEK", "CMNLI", "OCNLI", "CLUEWSC2020", "CSL", "CMRC2018(EM/F1)", "CHID", "C3")
    expected = [
        [scored[task]["score"] for task in ("AVG(10)", *tasks)]
        for scored in reference_scores(reference, PADDLE_SOURCE).values()
    ]
    assert [[cell.printed for cell in row[2:]] for row in found.rows] == expected
    assert (len(expected), len(set(found.row_names))) == (29, 29)
    for row in found.rows:
        average, *values = (cell.value for cell in row[2:])
        assert average == half_up(sum(values) / 10)
    best = [cell.text for row in found.rows for cell in row if cell.is_best]
    assert " ".join(best) == "79.03 62.91 85.09 81.73 93.09 84.53 88.57 76.41 59.67 81.73 75.99/93.00 84.98"
    with (reference / "published_mrc_scores.csv").open(encoding="utf-8", newline="") as file:
        apart = {
            (row["model"], row["task"]): row["score"] for row in csv.DictReader(file) if row["source"] == PADDLE_SOURCE
        }
    for model, scored in reference_scores(reference, PADDLE_SOURCE).items():
        both = f"{apart[model, 'CMRC2018 EM']}/{apart[model, 'CMRC2018 F1']}"
        assert both == scored["CMRC2018(EM/F1)"]["score"]


def test_the_listed_differences_are_all_there_are(tables: dict[str, PublishedTable]) -> None:
    found = {
        name: [
            (row[0].text, column, cell.printed, cell.text)
            for row in table.rows
            for column, cell in zip(table.header, row, strict=True)
            if cell.text != cell.printed
        ]
        for name, table in tables.items()
    }
    assert found == DIFFERENCES


def test_footnotes_stand_at_the_differences_and_at_contradicted_cells_only(tables: dict[str, PublishedTable]) -> None:
    for name, table in tables.items():
        noted = [
            (row[0].text, column)
            for row in table.rows
            for column, cell in zip(table.header, row, strict=True)
            if cell.notes
        ]
        places = [(row, column) for row, column, *_ in DIFFERENCES[name]] + CONTRADICTED.get(name, [])
        assert sorted(noted) == sorted(places)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("small-models", "BERT-base: the source prints 108M (small models, large models), 102M (speed); 12 layers"),
        ("small-models", "RoBERTa-tiny-clue: the source prints 63.60%; the mean of its columns is 63.63%."),
        (
            "large-models",
            "RoBERTa-large-clue: the source prints 290M (large models, model list), 92M (pair models); 24",
        ),
        ("large-models", "pair models prints AFQMC 74.00% on the same split; here it is 74.41%."),
        ("large-models", "CLUE README v1 prints AFQMC 76.55%, TNEWS 58.61%, IFLYTEK 62.98%, CMNLI 82.12%"),
        ("pair-models", "large models prints AFQMC 74.41% on the same split; here it is 74.00%."),
        ("speed", "the source prints 8021(↓62.05%); computed, it is 8021(↓62.04%)."),
        ("speed", "the source prints 7.5M(↓92.6%); computed, it is 7.5M(↓92.65%)."),
        ("speed", "the source prints 1k steps/50s(↑708.0%); computed, it is 1k steps/50s(↑708.00%)."),
        ("models", "prints 38M (model list); 3 layers, 768 wide, over 8021 tokens have 28,410,624 parameters"),
    ],
)
def test_a_footnote_says_what_is_printed_where(tables: dict[str, PublishedTable], name: str, said: str) -> None:
    assert sum(said in note for note in tables[name].notes) == 1


def test_the_arrows_are_those_of_the_cards(tables: dict[str, PublishedTable]) -> None:
    assert tables["pair-models"].rows[1][1].text == "69.93%(↑0.41)"
    assert [cell.text for cell in tables["speed"].rows[1][2:]] == [
        *("8021(↓62.04%)", "92M(↓9.80%)", "TPU V3-8", "1k steps/350s(↑15.43%)")
    ]


def test_sampling_errors_come_from_the_test_rows(tables: dict[str, PublishedTable]) -> None:
    baseline = [cell.sampling_error for cell in tables["small-models"].rows[0]]
    # BERT-base on 3,861, 10,000, 2,600 and 13,880 rows, and of the mean of four
    expected = [None, 0.33, None, 0.71, 0.50, 0.96, 0.34]
    assert [error if error is None else round(float(error), 2) for error in baseline] == expected
    coreference = tables["clue-v1"].rows[0][tables["clue-v1"].header.index("CLUEWSC2020")]
    assert round(float(coreference.sampling_error or 0), 2) == 2.85  # the 290 rows of test 1.0, not the 2,574 of 1.1
    for name in ("corpus-and-vocabulary", "speed", "models", "vocabulary"):
        assert all(cell.sampling_error is None for row in tables[name].rows for cell in row)
    assert "± 0.71" in tables["small-models"].section()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("large-models", "RoBERTa-large-clue is 0.22 points of Score over RoBERTa-wwm-large: 0.5 times the sampling"),
        ("pair-models", "RoBERTa-tiny-pair is 0.41 points of Score over RoBERTa-tiny-clue: 0.4 times the sampling"),
        ("small-models", "69.00% on dev; within two sampling errors of that: ALBERT-tiny, RoBERTa-tiny-clue."),
        ("small-models", "not comparable with dev scores"),
        ("clue-v1", "nor with scores that read TNEWS's keywords (UER's cards)"),
        ("clue-v1", "XLNet-mid 209M, ALBERT-xxlarge 221M"),
        ("corpus-and-vocabulary", "does not say on which split"),
    ],
)
def test_remarks_say_what_a_reader_has_to_know(tables: dict[str, PublishedTable], name: str, said: str) -> None:
    assert sum(said in remark for remark in tables[name].remarks) == 1


def test_every_table_says_that_it_is_quoted_and_from_where(tables: dict[str, PublishedTable]) -> None:
    for table in tables.values():
        assert table.sources
        assert QUOTED in table.section()


def test_every_table_is_of_one_split(tables: dict[str, PublishedTable]) -> None:
    splits = {name: table.split for name, table in tables.items() if table.split}
    test = "test(1.0, leaderboard)"
    names = ("small-models", "large-models", "pair-models", "clue-v1")
    others = {"corpus-and-vocabulary": "unspecified", "clue-reading": "test", "paddlenlp": "dev"}
    assert splits == {**dict.fromkeys(names, test), **others}


def test_a_dev_score_never_stands_beside_test_scores(
    scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]
) -> None:
    small = next(score for score in scores if score.note == "small table")
    with pytest.raises(ClueBenchError, match="expected one split"):
        make_published_table(layouts["small-models"], [*scores, small.model_copy(update={"split": "dev"})], facts)


def test_a_score_with_keywords_never_enters_tnews(
    scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]
) -> None:
    small = next(score for score in scores if score.note == "small table")
    keywords = small.model_copy(update={"task": "TNEWS(+keywords)", "score": "64.10"})
    with pytest.raises(ClueBenchError, match=r"no column for TNEWS\(\+keywords\)"):
        make_published_table(layouts["small-models"], [*scores, keywords], facts)


def test_a_cell_is_quoted_once(scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]) -> None:
    v1 = next(score for score in scores if score.source == V1_SOURCE)
    with pytest.raises(ClueBenchError, match="two scores for BERT-base"):
        make_published_table(layouts["clue-v1"], [*scores, v1.model_copy(update={"score": "99.99"})], facts)


def test_a_missing_cell_is_an_error_that_names_it(
    scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]
) -> None:
    left = [score for score in scores if (score.model, score.note) != ("RoBERTa-tiny-pair", "pair table; up 0.41")]
    assert len(left) == len(scores) - 1
    assert [row[0].text for row in make_published_table(layouts["pair-models"], left, facts).rows].count(
        "RoBERTa-tiny-pair"
    ) == 0
    left = [score for score in scores if (score.source, score.model, score.task) != (V1_SOURCE, "XLNet-mid", "CSL")]
    with pytest.raises(ClueBenchError, match="XLNet-mid lacks CSL"):
        make_published_table(layouts["clue-v1"], left, facts)


def test_a_row_whose_conditions_are_not_named_is_an_error(
    scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]
) -> None:
    first = next(score for score in scores if score.source == CORPUS_SOURCE)
    tasks = ("AFQMC", "TNEWS", "IFLYTEK", "CMNLI", "AVG(4)")
    odd = [first.model_copy(update={"model": "odd", "task": task}) for task in tasks]
    with pytest.raises(ClueBenchError, match="nothing says what Vocab of odd is"):
        make_published_table(layouts["corpus-and-vocabulary"], odd, facts)


def test_a_footnote_at_no_cell_is_an_error(
    scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]
) -> None:
    left = [score for score in scores if score.model != "RoBERTa-tiny-clue"]
    with pytest.raises(ClueBenchError, match="no cell Score of RoBERTa-tiny-clue"):
        make_published_table(layouts["small-models"], left, facts)


@pytest.mark.parametrize("text", ["tables = 1", "[[tables]]\nname = 'x'", "[[tables]\n", "other = []"])
def test_a_layout_that_is_none_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / LAYOUTS).write_text(text, encoding="utf-8")
    with pytest.raises(ClueBenchError, match=re.escape(str(tmp_path / LAYOUTS))):
        read_layouts(tmp_path)


def test_another_best_number_is_bold(scores: list[PublishedScore], facts: Facts, layouts: dict[str, Layout]) -> None:
    changed = [
        score.model_copy(update={"score": "99.00"})
        if (score.model, score.task, score.note) == ("ALBERT-tiny", "AFQMC", "small table")
        else score
        for score in scores
    ]
    row = make_published_table(layouts["small-models"], changed, facts).rows[1]
    assert (row[3].is_best, row[3].value, row[3].text) == (True, Decimal("99.00"), "99.00%")


def test_a_difference_without_a_footnote_cannot_be_made(tables: dict[str, PublishedTable]) -> None:
    table = tables["vocabulary"]
    silent = PublishedCell("1", "2")
    with pytest.raises(AssertionError, match="footnote"):
        replace(table, rows=((*table.rows[0][:2], silent),))
