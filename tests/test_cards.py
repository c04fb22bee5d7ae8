"""Cards: found by name or path, decoded strictly, and every mistake names file, key and what was expected."""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
import pytest

from clue_bench.cards import Card, builtin_folder, card_paths, find_card, load_card, parse_overrides
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.tasks.task import load_task

TASKS = sorted(path.stem for path in builtin_folder("tasks").glob("*.toml"))
RECIPES = sorted(path.stem for path in builtin_folder("pretrain").glob("*.toml"))


class Part(Card):
    """An inner table."""

    rows: int
    submission: str | None = None


class Example(Card):
    """A card with every kind of value."""

    title: str
    steps: pydantic.PositiveInt
    learning_rate: float
    objective: Literal["mlm", "clm"]
    vocab_size: pydantic.PositiveInt | Literal["corpus"]
    labels: list[str]
    parts: dict[str, Part]

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.steps == 13:
            raise ValueError("steps = 13 brings bad luck")
        return self


GOOD = """
title = "标题"
steps = 10
learning_rate = 1
objective = "mlm"
vocab_size = "corpus"
labels = ["a", "b"]
[parts.train]
rows = 3
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "example.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def complaint(path: Path, overrides: dict[str, Any] | None = None) -> str:
    """Return the message and hint of the error that loading the card at `path` raises."""
    with pytest.raises(ClueBenchError) as caught:
        load_card(path, Example, overrides)
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


def test_a_card_is_decoded_and_frozen(card: Path) -> None:
    example = load_card(card, Example)
    assert (example.title, example.steps, example.learning_rate) == ("标题", 10, 1.0)
    assert example.parts == {"train": Part(rows=3)}
    with pytest.raises(pydantic.ValidationError):
        example.steps = 11  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("[parts", "stepps = 9\n[parts", "stepps: unknown key; did you mean 'steps'?", id="one more"),
        pytest.param("steps =", "stepps =", "stepps: unknown key; did you mean 'steps'?", id="instead of a right one"),
        pytest.param(
            "rows = 3",
            'rows = 3\nsubmision = "a"',
            "parts.train.submision: unknown key; did you mean 'submission'?",
            id="in an inner table",
        ),
    ],
)
def test_an_unknown_key_names_file_and_nearest_key(card: Path, old: str, new: str, expected: str) -> None:
    card.write_text(GOOD.replace(old, new), encoding="utf-8")
    assert complaint(card).startswith(f"{card}: {expected}")


def test_an_unknown_key_that_is_near_to_none_lists_all(card: Path) -> None:
    card.write_text(f"zzz = 1\n{GOOD}", encoding="utf-8")
    expected = "zzz: unknown key; known: labels, learning_rate, objective, parts, steps, title, vocab_size"
    assert expected in complaint(card)


@pytest.mark.parametrize(("line", "key"), [("steps = 10", "steps"), ("rows = 3", "parts.train.rows")])
def test_a_missing_key_is_named_with_the_line_to_add(card: Path, line: str, key: str) -> None:
    card.write_text(GOOD.replace(line, ""), encoding="utf-8")
    assert complaint(card) == f"{card}: {key}: the key is missing | add a line: {key.split('.')[-1]} = …"


@pytest.mark.parametrize(
    ("line", "wrong", "key", "found"),
    [
        ("steps = 10", 'steps = "10"', "steps", "'10'"),
        ("steps = 10", "steps = 10.0", "steps", "10.0"),
        ("steps = 10", "steps = true", "steps", "True"),
        ("steps = 10", "steps = 0", "steps", "0"),
        ("learning_rate = 1", 'learning_rate = "1e-4"', "learning_rate", "'1e-4'"),
        ('title = "标题"', "title = 3", "title", "3"),
        ('objective = "mlm"', 'objective = "rtd"', "objective", "'rtd'"),
        ('"a", "b"', '"a", 2', "labels.1", "2"),
        ("rows = 3", 'rows = "3"', "parts.train.rows", "'3'"),
        ("[parts.train]\nrows = 3", "parts = 3", "parts", "3"),
        ('vocab_size = "corpus"', 'vocab_size = "text"', "vocab_size", "'text'"),
        ('vocab_size = "corpus"', "vocab_size = -1", "vocab_size", "-1"),
    ],
)
def test_a_wrong_value_names_file_key_and_what_was_found(
    card: Path, line: str, wrong: str, key: str, found: str
) -> None:
    card.write_text(GOOD.replace(line, wrong), encoding="utf-8")
    assert complaint(card).startswith(f"{card}: {key}: found {found}, expected ")


def test_values_that_do_not_fit_together_name_the_file(card: Path) -> None:
    card.write_text(GOOD.replace("10", "13"), encoding="utf-8")
    assert complaint(card).startswith(f"{card}: steps = 13 brings bad luck |")


@pytest.mark.parametrize("text", [b"steps = ", b"steps = 1\nsteps = 2", b"[parts", b'title = "\xff"', b"\x00"])
def test_broken_toml_names_the_file(card: Path, text: bytes) -> None:
    card.write_bytes(text)
    assert complaint(card).startswith(f"{card}: not valid TOML: ")


def test_a_line_of_broken_toml_is_named(card: Path) -> None:
    card.write_text("title = 'a'\nsteps 10\n", encoding="utf-8")
    assert "line 2" in complaint(card)


def test_overrides_lie_over_the_card(card: Path) -> None:
    example = load_card(card, Example, parse_overrides(["steps=20", "title=plain text", "vocab_size=8021"]))
    assert (example.steps, example.title, example.vocab_size, example.learning_rate) == (20, "plain text", 8021, 1.0)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("stepz=1", "--set: stepz: unknown key; did you mean 'steps'?"),
        ("steps=1e3", "--set: steps: found 1000.0, expected "),
        ("objective=rtd", "--set: objective: found 'rtd', expected "),
        ("vocab_size=text", "--set: vocab_size: found 'text', expected "),
    ],
)
def test_mistakes_in_overrides_are_those_of_set_not_of_the_file(card: Path, setting: str, expected: str) -> None:
    assert complaint(card, parse_overrides([setting])).startswith(expected)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("key=3", 3),
        ("key=1_000", 1000),
        ("key=1e-4", 1e-4),
        ("key=true", True),
        ('key="3"', "3"),
        ("key=mlm", "mlm"),
        ("key=a=b", "a=b"),
        ('key=["a", "b"]', ["a", "b"]),
        (" key = 3 ", 3),
        ("key=", ""),
        ("key=1\nother=2", "1\nother=2"),
    ],
)
def test_settings_are_toml_values_or_else_text(setting: str, value: object) -> None:
    (parsed,) = parse_overrides([setting]).values()
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["steps"], "--set steps: expected key=value"),
        (["=3"], "expected key=value"),
        (["a=1", "a=2"], "a is given twice"),
    ],
)
def test_settings_that_are_none_are_errors(settings: list[str], message: str) -> None:
    with pytest.raises(ClueBenchError, match=message):
        parse_overrides(settings)


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two folders in CLUE_BENCH_PATH, each with empty tasks/ and pretrain/."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        (folder / "tasks").mkdir(parents=True)
        (folder / "pretrain").mkdir()
    monkeypatch.setenv("CLUE_BENCH_PATH", os.pathsep.join(map(str, folders)))
    return folders


def test_a_users_card_is_found_by_name_in_its_folder(own_folders: list[Path]) -> None:
    mine = own_folders[1] / "tasks" / "mine.toml"
    mine.write_text(GOOD, encoding="utf-8")
    assert find_card("tasks", "mine") == mine
    assert set(card_paths("tasks")) == {*TASKS, "mine"}
    with pytest.raises(ClueBenchError, match=r"recipe .*'mine'"):
        find_card("pretrain", "mine")


@pytest.mark.parametrize("name", ["mine", "afqmc"], ids=["both the user's", "a built-in one too"])
def test_two_cards_of_one_name_are_both_named(own_folders: list[Path], name: str) -> None:
    paths = [folder / "tasks" / f"{name}.toml" for folder in own_folders]
    for path in paths:
        path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(ClueBenchError) as caught:
        find_card("tasks", name)
    assert f"'{name}'" in caught.value.message
    assert all(str(path) in caught.value.message for path in paths)
    assert find_card("tasks", str(paths[0])) == paths[0]


def test_a_folder_named_twice_is_searched_once(own_folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_folders[0]
    (folder / "tasks" / "mine.toml").write_text(GOOD, encoding="utf-8")
    monkeypatch.setenv("CLUE_BENCH_PATH", os.pathsep.join([str(folder), f"{folder}/", str(folder / ".." / "one"), ""]))
    assert find_card("tasks", "mine").samefile(folder / "tasks" / "mine.toml")


def test_a_card_is_found_by_its_path(card: Path) -> None:
    assert find_card("tasks", str(card)) == card
    with pytest.raises(ClueBenchError, match=r"missing\.toml: no such"):
        find_card("pretrain", str(card.with_name("missing.toml")))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ClueBenchError, match=r"task .*'afqcm': .*'afqmc'") as caught:
        find_card("tasks", "afqcm")
    assert caught.value.hint == "run clue-bench tasks list"


def test_a_name_that_is_near_to_none_lists_the_tasks() -> None:
    with pytest.raises(ClueBenchError) as caught:
        find_card("tasks", "nix")
    assert caught.value.message == f"no task is called 'nix': known: {', '.join(sorted(card_paths('tasks')))}"


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("stepz", ["seed", "steps"], "did you mean 'steps'?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("nix", ["cmnli", "ocnli"], "known: cmnli, ocnli"),
        ("zzz", [], "known: (none)"),
    ],
)
def test_the_nearest_name_is_suggested_or_all_are_listed(name: str, known: list[str], expected: str) -> None:
    assert nearest(name, known) == expected


def test_there_are_built_in_cards() -> None:
    assert {"afqmc", "tnews", "iflytek", "cmnli"} <= set(TASKS)
    assert {"debug", "roberta-tiny-clue"} <= set(RECIPES)


def test_a_card_that_windows_saved_has_a_byte_order_mark_and_is_read(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(GOOD.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert load_card(card, Example).title
    card.write_text(GOOD, encoding="utf-16")
    with pytest.raises(ClueBenchError, match="not UTF-8 at byte"):
        load_card(card, Example)


@pytest.mark.parametrize("name", TASKS)
def test_every_built_in_task_decodes_and_has_its_files_name(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.title
    assert tomllib.loads(find_card("tasks", name).read_text(encoding="utf-8"))["column"] == task.column


@pytest.mark.parametrize("name", RECIPES)
def test_every_built_in_recipe_decodes_and_has_its_files_name(name: str) -> None:
    recipe = load_recipe(name, {})
    assert recipe.name == name
    assert recipe.title
    steps = {f"stage{number}.steps": stage.steps for number, stage in enumerate(recipe.stages, 1)}
    assert load_recipe(name, steps) == recipe
