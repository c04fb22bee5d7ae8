"""README and documentation say what is there, and the site builds."""

import os
import re
import runpy
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import clue_bench
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


PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


def options_of(words):
    """The options of the verb that `words` begin with."""
    command, known = typer.main.get_command(app), set()
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
        known |= {each for parameter in command.params for each in parameter.opts if each.startswith("-")}
    return known | {"--help"}


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_every_option_shown_is_one_of_its_verb(document):
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"(?:^\$ .*?|`)clue-bench ([^`\n]+)", text, re.MULTILINE):
        shown = set(re.findall(r"(?<=\s)--[a-z-]+", line.partition("#")[0]))
        assert shown <= options_of(line.split()) | {"--against"}, line


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation, built strictly: dead links and pages that no list names are errors."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text_of(page):
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_the_reference_has_every_verb_with_every_option(site):
    page = site / "reference" / "cli.html"
    headings = re.findall(r"<h[34][^>]*>clue-bench ([\w ]+)<", page.read_text(encoding="utf-8"))
    verbs = typer.main.get_command(app).commands
    words = [[name, *below] for name, verb in verbs.items() for below in ([], *([n] for n in _below(verb)))]
    assert sorted(headings) == sorted(map(" ".join, words))
    assert {option for each in words for option in options_of(each) if option not in text_of(page)} == set()


def _below(verb):
    return getattr(verb, "commands", {})


def test_the_reference_has_every_public_name(site):
    headings = re.findall(r"<h3[^>]*>(\w+)<", (site / "reference" / "python.html").read_text(encoding="utf-8"))
    assert sorted(headings) == sorted(name for name in clue_bench.__all__ if name != "__version__")


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 5
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"?(https?:[^\">]+)", page.read_text("utf-8")
        )
        assert loaded == [], page.name


def test_every_marker_in_the_pages_is_replaced(site):
    for page in site.rglob("*.html"):
        assert "REPOSITORY" not in page.read_text(encoding="utf-8"), page.name


def test_the_picture_is_what_the_records_give():
    drawn = runpy.run_path(str(ROOT / "docs" / "picture.py"))
    assert drawn["FILE"].read_text(encoding="utf-8") == drawn["draw"](), "type: python docs/picture.py"
