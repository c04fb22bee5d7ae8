"""README and documentation say what is there, and the site builds."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

import clue_bench
from clue_bench.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
READMES = ["README.md", "README.zh.md"]
DOCUMENTS = [*READMES, "CONTRIBUTING.md", "tasks/README.md", "pretrain/README.md"]
MORE = ["CHANGELOG.md", "RELEASING.md", "SECURITY.md", "pretrain/LOG.md", "benchmarks/README.md"]


def tree(text=README):
    """The names in the annotated tree, without what is said about them."""
    lines = text.split("```\nclue-bench/\n")[1].split("```")[0].splitlines()
    return [name for line in lines if "──" in line for name in re.split(r"\s{2,}", line.partition("── ")[2])[0].split()]


@pytest.mark.parametrize("readme", READMES)
def test_everything_in_the_tree_exists_and_every_package_and_module_is_in_it(readme):
    names = tree((ROOT / readme).read_text(encoding="utf-8"))
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "clue_bench" / name).exists(), name
    packages = {f"{init.parent.name}/" for init in (ROOT / "clue_bench").glob("*/__init__.py")}
    modules = {module.name for module in (ROOT / "clue_bench").glob("[a-z]*.py")}
    assert packages | modules <= set(names), (packages | modules) - set(names)


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_is_short(readme):
    assert len((ROOT / readme).read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("readme", READMES)
def test_every_figure_of_the_results_is_one_that_was_measured(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    results = text.partition(" AFQMC |")[2].partition("\n## ")[0]
    sources = [
        "leaderboards/README.md",
        "benchmarks/README.md",
        "benchmarks/LOG.md",
        "pretrain/LOG.md",
        "docs/coming-from.md",
    ]
    measured = "\n".join((ROOT / source).read_text(encoding="utf-8") for source in sources)
    figures = set(re.findall(r"\d+\.\d+", results))
    assert len(figures) > 20
    assert {figure for figure in figures if not re.search(rf"(?<![\d.]){figure}(?!\d)", measured)} == set()


def transcript(document, *, about=""):
    """The commands of a document's console blocks, each with the lines that are shown as its output."""
    found = []
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)
    for block in (each for each in blocks if about in each):
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


# What a reader does before: a test of its own has it, below and in test_wheel.py.
INSTALLED = ("make quickstart ", "make test ")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Return a function that runs a command as it is typed, where the quickstart has left its data."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "bin").mkdir()
    for name, command in {"clue-bench": f"{sys.executable} -m clue_bench", "python": sys.executable}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    text, _ = clue_bench.example_data(folder / "quickstart")
    clue_bench.train_vocabulary(text, out=folder / "quickstart" / "vocab.txt", progress=False)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}

    def run(command):
        typed = ["bash", "-c", command]
        done = subprocess.run(typed, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


def missing_lines(shown, printed):
    """The shown lines whose beginning was not printed: the first cell of a table's row, whatever its numbers."""
    heads = [re.split(r"\s{2,}", line.strip())[0] for line in shown if line.strip() not in ("", "…")]
    patterns = {head: r"[\d.,]+".join(map(re.escape, re.split(r"[\d.,]*\d", head))) for head in heads}
    return [head for head, pattern in patterns.items() if not re.search(pattern, printed)]


@pytest.fixture(scope="module")
def printed(shell):
    """What every command of the READMEs prints, run in order, as it is written; then their Python."""
    commands = dict.fromkeys(command for readme in READMES for command, _ in transcript(readme))
    done = {command: shell(command) for command in commands if not command.startswith(INSTALLED)}
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert block in (ROOT / "README.zh.md").read_text(encoding="utf-8")
    done["python"] = shell(f"python - <<'END'\n{block}END")
    return done


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES)
def test_the_commands_of_a_readme_run_as_they_are_written_and_print_what_is_shown(readme, printed):
    for command, shown in transcript(readme):
        if not command.startswith(INSTALLED):
            assert missing_lines(shown, printed[command]) == [], printed[command]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/own-data.md", "docs/domain.md"])
def test_what_a_page_does_with_the_quickstarts_data_runs_as_it_is_written(page, shell):
    shell(
        "clue-bench corpus build quickstart/synthetic-corpus.txt --vocab quickstart/vocab.txt --out quickstart/corpus"
    )
    shell("clue-bench pretrain debug --corpus quickstart/corpus --out quickstart/pretrain --steps 10")
    commands = transcript(page, about="quickstart/")
    assert commands
    for command, shown in commands:
        printed = shell(command)
        assert missing_lines(shown, printed) == [], printed


@pytest.mark.slow
def test_python_finds_the_runs_of_the_commands(printed):
    assert printed["python"].count("is complete already") == 2
    assert re.search(r"^0\.\d+", printed["python"], re.M)


@pytest.mark.parametrize("command", INSTALLED)
def test_make_has_what_the_readme_types(command):
    dry = subprocess.run(
        ["make", "--dry-run", command.split()[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "clue-bench quickstart" in dry.stdout or "pytest" in dry.stdout


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


@pytest.fixture(scope="module")
def written():
    """Return a function that gives a page with its markers replaced, as the site has it."""
    replaced = runpy.run_path(str(ROOT / "docs" / "generate.py"))["on_page_markdown"]

    def page_as_written(page):
        file = SimpleNamespace(file=SimpleNamespace(src_uri=Path(page).relative_to("docs").as_posix()))
        text = (ROOT / page).read_text(encoding="utf-8")
        return replaced(text, config={"repo_url": "https://its"}, page=file)

    return page_as_written


def test_the_reference_has_every_verb_with_every_option(written):
    text = written("docs/reference/cli.md")
    headings = re.findall(r"^#{3,4} clue-bench ([\w ]+)$", text, re.M)
    verbs = typer.main.get_command(app).commands
    words = [[name, *below] for name, verb in verbs.items() for below in ([], *([n] for n in _below(verb)))]
    assert sorted(headings) == sorted(map(" ".join, words))
    assert {option for each in words for option in options_of(each) if option not in text} == set()


def _below(verb):
    return getattr(verb, "commands", {})


def test_the_reference_has_every_public_name(written):
    headings = re.findall(r"^### (\w+)$", written("docs/reference/python.md"), re.M)
    assert sorted(headings) == sorted(name for name in clue_bench.__all__ if name != "__version__")


@pytest.mark.parametrize("page", PAGES)
def test_every_marker_of_a_page_is_replaced_and_every_link_leads_somewhere(page, written):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / page).parent.joinpath(target).exists(), target  # in the repository, as it lies there
    text = written(page)
    assert not re.search(r"REPOSITORY|^<!-- \w+", text, re.M)
    for target in re.findall(r"\]\(https://its/blob/main/([^)#]+)", text):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 5
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"?(https?:[^\">]+)", page.read_text("utf-8")
        )
        assert loaded == [], page.name


def test_the_picture_is_what_the_records_give():
    drawn = runpy.run_path(str(ROOT / "docs" / "picture.py"))
    assert drawn["FILE"].read_text(encoding="utf-8") == drawn["draw"](), "type: python docs/picture.py"
