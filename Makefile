# Each target does its own set-up: a virtual environment in .venv, pinned by constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# Two workers fit two cores and 6 GB; `make test WORKERS=8` on a larger machine.
WORKERS ?= 2
# A file's tests stay together, for the sake of the fixtures that they share.
# Without its compiled modules, every process that a test starts would compile all of ours again. The workers share the cores:
# threads of several workers on one core wait for each other.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: setup quickstart test test-slow lint docs clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	@echo "installing PyTorch into .venv: a download of some 200 MB (several GB where pip finds a CUDA build)"
	$(BIN)/pip install --quiet --progress-bar on --constraint constraints.txt torch
	@echo "installing clue-bench with its tools: one to five minutes"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

quickstart: setup
	$(BIN)/clue-bench quickstart

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/clue-bench leaderboard --records leaderboards/records --out leaderboards --check
	$(PYTEST)

# What takes longer and fails more rarely: every kill point, thousands of damaged files, properties on many examples.
test-slow: setup
	$(PYTEST) -m "slow or hypothesis" --hypothesis-profile many

# The site, to site/; a dead link, a page that is nowhere listed, a part that is gone stop it.
docs: setup
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv quickstart build dist site
