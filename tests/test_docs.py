"""The README says what is there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clue_bench.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "tasks/README.md", "pretrain/README.md"]
MORE = ["CHANGELOG.md", "RELEASING.md", "SECURITY.md", "pretrain/LOG.md", "benchmarks/README.md"]


def test_every_module_and_folder_of_the_tree_exists():
    tree = README.split("```\nclue-bench/\n")[1].split("```")[0]
    names = set(re.findall(r"(?<![\w/])([a-z_]+(?:/|\.py))", tree))
    present = {path.name + "/" * path.is_dir() for path in ROOT.rglob("*") if ".venv" not in path.parts}
    assert names
    assert names <= present, names - present


def test_every_room_and_shelf_stands_in_the_tree():
    tree = README.split("```\nclue-bench/\n")[1].split("```")[0]
    for init in (ROOT / "clue_bench").glob("*/__init__.py"):
        assert f"── {init.parent.name}/ " in tree


def test_every_top_level_module_stands_in_the_tree():
    for module in (ROOT / "clue_bench").glob("[a-z]*.py"):
        assert module.name in README


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_shown_is_one(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    shown = set(re.findall(r"(?:`|\$ |bin/|^)clue-bench ([a-z]+)(?: ([a-z]+)\b)?", text, re.MULTILINE))
    assert shown
    for verb, second in shown:
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0, verb
        if verb in ("tasks", "recipes", "corpus", "vocab", "data", "runs") and second:
            assert CliRunner().invoke(app, [verb, second, "--help"]).exit_code == 0, f"{verb} {second}"


@pytest.mark.parametrize("document", [*DOCUMENTS, *MORE])
def test_every_relative_link_leads_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target
