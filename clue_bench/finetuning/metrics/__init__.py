"""CLUE's scores for the `evaluate` library: `evaluate.load(METRIC_PATH)`, `evaluate.load(CMRC2018_METRIC_PATH)`.

The first is that of the classification tasks, and of C3 and CHID, whose choices are numbers; the second that of
CMRC2018 and DRCD.
"""

from pathlib import Path

METRIC_PATH = str(Path(__file__).parent / "clue_classification.py")
CMRC2018_METRIC_PATH = str(Path(__file__).parent / "cmrc2018.py")
