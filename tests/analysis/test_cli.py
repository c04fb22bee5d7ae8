"""`analyse` and `compare` as they are typed."""

import json
import sys

import pytest

from clue_bench.cli import main

GOLD = ["108", "103", "104", "116", "104", "109"]
PREDICTED = ["108", "116", "109", "116", "109", "109"]


@pytest.fixture
def run(capfd, monkeypatch):
    """Return a function that types a command: exit code, stdout, stderr."""

    def typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        out, err = capfd.readouterr()
        return exited.value.code or 0, out, err

    return typed


@pytest.mark.parametrize("verb", ["analyse", "compare"])
def test_both_have_help_with_an_example_and_json(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert "--json" in out
    assert f"Example: clue-bench {verb}" in out


def test_analyse_writes_a_page_into_every_run(run, make_run, data):
    folders = make_run(GOLD, name="a"), make_run(PREDICTED, name="b")
    code, out, _ = run("analyse", *folders, "--data", data)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["100.00", "50.00"]
    assert all((folder / "report.html").is_file() for folder in folders)


def test_analyse_prints_one_json_object_and_writes_where_it_is_told(run, make_run, data, tmp_path):
    out_file = tmp_path / "page.html"
    code, out, _ = run("analyse", make_run(PREDICTED), "--data", data, "--out", out_file, "--json")
    (values,) = json.loads(out)["runs"]
    assert code == 0
    assert values["accuracy"] == 0.5
    assert values["report"] == str(out_file)
    assert out_file.is_file()


def test_analyse_takes_the_data_that_the_run_read(run, make_run, data, other_data, tmp_path, monkeypatch):
    folder = make_run(PREDICTED, asked={"data": "clue"})
    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    data.rename(tmp_path / "hidden")
    code, _, err = run("analyse", folder)
    assert code == 1
    assert "not in" in err
    assert "called clue then" in err
    other_data.rename(here / "clue")
    code, _, err = run("analyse", folder)
    assert code == 1
    assert "md5" in err
    (tmp_path / "hidden").rename(tmp_path / "clue")
    assert run("analyse", folder)[0] == 0


def test_analyse_refuses_one_file_for_two_runs(run, make_run, data, tmp_path):
    folders = make_run(GOLD, name="a"), make_run(GOLD, name="b")
    code, _, err = run("analyse", *folders, "--data", data, "--out", tmp_path / "page.html")
    assert code == 1
    assert "--out names one file, but 2 runs are given" in err


def test_compare_says_in_words_what_it_found(run, make_run):
    code, out, _ = run("compare", make_run(GOLD, name="a"), make_run(["100"] * 6, name="b"))
    assert code == 0
    assert "only A right 6 of 6 rows" in " ".join(out.split())
    assert "p = 0.0312, exact, two-sided" in out
    assert "A is better than B by 100.00 points" in out


def test_compare_takes_seeds_on_both_sides_of_against(run, make_run):
    a = [make_run(GOLD, name=f"a{seed}", seed=seed) for seed in (1, 2)]
    b = [make_run(PREDICTED, name=f"b{seed}", seed=seed, model="other") for seed in (1, 2, 3)]
    code, out, _ = run("compare", *a, "--against", *b, "--json")
    values = json.loads(out)
    assert code == 0
    assert (values["a"]["seeds"], values["b"]["seeds"]) == ([1, 2], [1, 2, 3])
    assert (values["a"]["model"], values["b"]["model"]) == ("tiny", "other")
    assert values["difference"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "error: 1 run: give two"),
        (["a", "b", "c"], "error: 3 runs: give two, or put --against between the two sides"),
        (["a", "--against"], "with runs before and after it"),
        (["a", "--against", "b", "--against", "c"], "give --against once, with runs before and after it"),
        (["a", "b", "--aganst"], "no option --aganst"),
    ],
)
def test_compare_refuses_what_are_not_two_sides(run, arguments, message):
    code, _, err = run("compare", *arguments)
    assert code == 2
    assert message in " ".join(err.split())
