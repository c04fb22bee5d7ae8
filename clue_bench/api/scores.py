"""Score a file of predictions that anybody made."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.files import expanded
from clue_bench.numbers import count, percent
from clue_bench.tables import Column, Shown, Table, make_table

if TYPE_CHECKING:
    from clue_bench.api.inputs import Data
    from clue_bench.prediction.scoring import Scored
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.task import Task


@dataclass(frozen=True, repr=False)
class PredictionScores(Shown):
    """The scores of a file of predictions on a split with labels, the official metric first."""

    predictions: Path
    scored: "Scored"

    @property
    def value(self) -> float:
        """Return the official metric, as a share of 1."""
        return self.scored.metrics[0].value

    @property
    def notes(self) -> list[str]:
        """Return what to know: faults of data and file, another order, a model that says one thing only."""
        return list(self.scored.notes)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain values, shares of 1."""
        scored, guess = self.scored, self.scored.guess
        metrics = {
            metric.key: {"value": metric.value, "interval": metric.interval and metric.interval._asdict()}
            for metric in scored.metrics
        }
        return {
            "predictions": str(self.predictions),
            "task": scored.task,
            "split": scored.split,
            "rows": scored.rows,
            "metric": scored.metrics[0].key,
            "metrics": metrics,
            "majority_class": None if guess is None or guess.label is None else guess._asdict(),
            "chance": None if guess is None or guess.label is not None else guess.share,
            "data_revision": scored.revision or None,
            "md5": scored.md5,
            "notes": scored.notes,
        }

    @property
    def tables(self) -> list[Table]:
        """Return one table: a line for each metric, and for what looks at no row."""
        scored, guess = self.scored, self.scored.guess
        rows = [
            (metric.name, percent(metric.value), i and f"{percent(i.low)} … {percent(i.high)}")
            for metric in scored.metrics
            for i in [metric.interval]
        ]
        if guess is not None:
            name = "chance" if guess.label is None else f"always '{guess.label}', the majority class"
            rows.append((name, percent(guess.share), None))
        columns: list[str | Column] = ["", Column("score", is_number=True), Column("95 % interval", is_number=True)]
        data = f", data revision {scored.revision}" if scored.revision else ""
        return [make_table(f"{scored.split} of {scored.task}: {count(scored.rows)} rows{data}", columns, rows)]


def score(
    predictions: Path | str,
    *,
    task: "str | Task | None" = None,
    data: "Data" = "data",
    text: "Columns | None" = None,
    label: str | None = None,
    split: str = "dev",
) -> PredictionScores:
    """Score a file of predictions on a split with labels: the official metric, its interval, the majority class.

    The file has a row with an id and a label for each row of the split, in any order: our own predictions/dev.jsonl,
    lines as CLUE's server takes them, a table with the columns id and label; or one JSON object of ids and answers.
    An id is the data's, or the row's number from 0. `data`, `text` and `label` are as for `finetune`: rows of one's own
    need no `task`. Raises ClueBenchError for missing, doubled and unknown ids and for labels that the task does not
    have.
    """
    from dataclasses import replace

    from clue_bench.api.inputs import open_card
    from clue_bench.prediction.scoring import score_task
    from clue_bench.tasks.own import rows_of
    from clue_bench.tasks.own_about import about_held_out
    from clue_bench.tasks.own_task import own_task_of

    path = expanded(predictions)
    if task is not None and text is None and label is None:
        return PredictionScores(path, score_task(path, open_card(task, data), split, data))
    given, recognised = rows_of(data, None, text=text, label=label)
    card, rows, found = own_task_of(task, given, data, text=text, label=label)
    notes = [*recognised, *found, *about_held_out(card.name, card, rows.held_out)]
    scored = score_task(path, card, split, rows)
    return PredictionScores(path, replace(scored, notes=[*notes, *scored.notes]))
