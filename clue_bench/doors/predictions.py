"""Door 3, second file: predictions, one per row of a split. `<run>/predictions/<split>.jsonl`.

Format. JSON Lines, UTF-8, in the order of the split's rows (those of dropped labels left out):

    id                the row's id as the data gives it, or its number
    label             the predicted label, as the card spells it; of a text its entities, as JSON in CLUENER's layout
    probability       of that label
    gold              the right label, where it is known
    gold_probability  of the right label, where it is known
    start             of an answer found in a passage, which is the label: the place of its first character
    is_exact          of such an answer: whether it is right as the official script compares it, with any right one

The run's record has the sha256 of each file. Writer: `write_predictions`. Reader: `read_predictions`, which refuses
anything else. No tensors, no torch.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import pydantic

from clue_bench import files
from clue_bench.doors.results import TaskResults
from clue_bench.errors import ClueBenchError

FOLDER = "predictions"


class Prediction(pydantic.BaseModel):
    """One row's prediction."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    id: int | str
    label: str
    probability: float = pydantic.Field(ge=0.0, le=1.0)
    gold: str | None = None
    gold_probability: float | None = pydantic.Field(default=None, ge=0.0, le=1.0)
    start: int | None = None
    is_exact: bool | None = None

    @property
    def is_right(self) -> bool:
        """Return whether the label is right; False if the right one is unknown."""
        return self.label == self.gold if self.is_exact is None else self.is_exact


def predictions_path(run: Path, split: str) -> Path:
    """Return the path of a run's predictions of `split`."""
    return run / FOLDER / f"{split}.jsonl"


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> str:
    """Write predictions atomically, one per line; return the sha256 of the file, for the run's record."""
    lines = (json.dumps(p.model_dump(exclude_none=True), ensure_ascii=False) + "\n" for p in predictions)
    text = "".join(lines)
    files.write_text(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def are_as_written(run: Path, results: TaskResults) -> bool:
    """Return whether every file of predictions that a record's `results` name is there, unchanged.

    Records from before `predictions_sha256` only say that there was a file.
    """
    hashes = results.predictions_sha256
    for split, file in results.predictions.items():
        path = run / file
        if not path.is_file() or (split in hashes and files.sha256(path) != hashes[split]):
            return False
    return True


def check_as_written(run: Path, split: str, results: TaskResults) -> None:
    """Raise ClueBenchError if a run's predictions of `split` are not those that its record describes."""
    path, expected = predictions_path(run, split), results.predictions_sha256.get(split)
    if expected is not None and path.is_file() and files.sha256(path) != expected:
        raise ClueBenchError(
            f"{path}: not the predictions that the run wrote: its record has another sha256",
            "repeat the command that made the run: it notices that the file has changed",
        )


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions. Raises ClueBenchError that names the wrong line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise ClueBenchError(f"{path}: no such predictions", "repeat the run that wrote them") from error
    except UnicodeDecodeError as error:
        raise ClueBenchError(f"{path}: invalid UTF-8 at byte {error.start}", "repeat the run") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found.append(Prediction.model_validate_json(line))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the line"
            raise ClueBenchError(f"{path}, line {number}: {key}: {first['msg']}", "repeat the run") from error
    if not found:
        raise ClueBenchError(f"{path}: no predictions", "repeat the run")
    return found
