"""The wheel, in an empty environment: cards are inside, and the command line works away from the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_cards_published_scores_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for card in (*ROOT.glob("tasks/*.toml"), *ROOT.glob("pretrain/*.toml")):
        assert f"clue_bench/builtin/{card.relative_to(ROOT).as_posix()}" in names
    for table in ROOT.glob("leaderboards/published/*.csv"):
        assert f"clue_bench/builtin/leaderboards/published/{table.name}" in names
    for words in (ROOT / "clue_bench" / "synthetic").glob("*.toml"):
        assert f"clue_bench/synthetic/{words.name}" in names
    assert "clue_bench/py.typed" in names


@pytest.mark.slow
def test_the_installed_command_works_away_from_the_checkout(wheel, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # Dependencies come from the running environment. A path in a .pth file is searched, but its own .pth files are not
    # read, so the editable install of the checkout stays out of sight.
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "dependencies.pth").write_text(here + "\n", encoding="utf-8")
    program = (
        "import clue_bench, sys\n"
        f"assert clue_bench.__file__.startswith({str(environment)!r}), clue_bench.__file__\n"
        "from clue_bench.cli import main\n"
        "main()\n"
    )

    def run(*arguments):
        command = [str(environment / "bin" / "python"), "-c", program, *arguments]
        # A checkout on PYTHONPATH would go before the wheel.
        without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, env=without).stdout

    assert "tnews" in run("tasks", "list")
    assert "roberta-tiny-clue" in run("recipes", "list")
    (tmp_path / "runs").mkdir()
    assert "RoBERTa-tiny-clue" in run("leaderboard", "--published")
