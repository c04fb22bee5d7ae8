"""CLUE's scores for the `evaluate` library: `evaluate.load(METRIC_PATH)`."""

from pathlib import Path

METRIC_PATH = str(Path(__file__).parent / "clue_classification.py")
