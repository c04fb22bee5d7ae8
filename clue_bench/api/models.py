"""Fine-tuned models in use: predictions for texts, files and splits."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench import files
from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run
from clue_bench.errors import ClueBenchError
from clue_bench.tables import Shown, Table, make_table

if TYPE_CHECKING:
    import pandas as pd

    from clue_bench.prediction.input_rows import InputRows
    from clue_bench.prediction.predictor import Answer, Predictor

ROWS_PER_UPDATE = 512  # of the progress bar; rows of similar length are batched together within them

Texts = Sequence[str | Sequence[str]]
"""Rows of one text, or of the two of a pair."""


@dataclass(frozen=True)
class Predictions(Shown, Sequence[dict[str, Any]]):
    """The labels of rows, in their order. `truncated` rows were longer than the model takes, and cut."""

    model: str
    task: str
    texts: list[tuple[str, ...]]
    rows: list[dict[str, Any]]
    answers: "list[Answer]" = field(repr=False)
    truncated: int
    max_length: int
    top: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        """Return a row, or some: id, label, description and probability, and the right label where it is known."""
        return self.rows[number]

    @property
    def labels(self) -> list[str]:
        """The predicted labels."""
        return [row["label"] for row in self.rows]

    @property
    def probabilities(self) -> list[float]:
        """How probable the model says each predicted label is."""
        return [row["probability"] for row in self.rows]

    @cached_property
    def accuracy(self) -> float | None:
        """The share of right labels among the rows whose label is known, None if there are none."""
        right = [row["label"] == row["gold"] for row in self.rows if "gold" in row]
        return sum(right) / len(right) if right else None

    @property
    def notes(self) -> list[str]:
        """What a person must know beside the labels."""
        found = []
        if self.truncated:
            found.append(f"{self.truncated:,} of {len(self):,} rows were cut to {self.max_length} tokens")
        if self.accuracy is not None:
            labelled = sum("gold" in row for row in self.rows)
            right = round(self.accuracy * labelled)
            found.append(f"accuracy {self.accuracy:.2%}: {right:,} of {labelled:,} labelled rows")
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """Model, task and counts."""
        found = {"model": self.model, "task": self.task, "num_rows": len(self), "truncated_rows": self.truncated}
        if self.accuracy is None:
            return found
        labelled = sum("gold" in row for row in self.rows)
        right = round(self.accuracy * labelled)
        return {**found, "labelled_rows": labelled, "correct": right, "accuracy": self.accuracy}

    def to_json(self) -> dict[str, Any]:
        """Return the summary and the rows as plain values."""
        return {**self.summary, "rows": self.rows}

    @property
    def tables(self) -> list[Table]:
        """One table, with a line for each label that is shown."""
        rows = [
            (" | ".join(texts) if place == 0 else "", candidate.label, candidate.description, _four(candidate))
            for texts, answer in zip(self.texts, self.answers, strict=True)
            for place, candidate in enumerate(answer.candidates[: self.top])
        ]
        return [make_table("", ["text", "label", "description", "probability"], rows)]

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a pandas frame with a row for each row."""
        import pandas as pd

        return pd.DataFrame([{"text": " | ".join(t), **row} for t, row in zip(self.texts, self.rows, strict=True)])

    def write(self, path: Path | str) -> None:
        """Write the rows as JSON Lines."""
        files.write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows))


@dataclass(frozen=True)
class Model:
    """A fine-tuned model in memory."""

    predictor: "Predictor"

    def __repr__(self) -> str:
        """Name the model, its task and its labels."""
        about = self.predictor.description
        return f"Model({about.run_id}, task {about.task or 'unknown'}, {len(about.labels)} labels)"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it can give."""
        return self.predictor.description.labels

    def predict(self, texts: str | Texts, *, top: int = 1, progress: bool = True) -> Predictions:
        """Predict the labels of `texts`: a text or a pair for each row. Raises ClueBenchError naming a bad row."""
        from clue_bench.prediction.input_rows import InputRows

        given: Texts = [texts] if isinstance(texts, str) else texts
        rows = [(row,) if isinstance(row, str) else tuple(row) for row in given]
        return self.predict_rows(InputRows(rows, list(range(len(rows))), [None] * len(rows)), top, progress)

    def predict_file(self, path: Path | str, *, top: int = 1, progress: bool = True) -> Predictions:
        """Predict the rows of a .jsonl, .csv, .tsv or .txt file with the card's fields. Raises ClueBenchError."""
        from clue_bench.prediction.input_rows import file_rows

        about = self.predictor.description
        rows = file_rows(Path(path), task=self.predictor.task, num_texts=about.num_texts)
        return self.predict_rows(rows, top, progress)

    def predict_split(
        self, split: str, *, data: Path | str = "data", top: int = 1, progress: bool = True
    ) -> Predictions:
        """Predict the rows of a split of the model's task. Raises ClueBenchError."""
        from clue_bench.prediction.input_rows import split_rows

        if self.predictor.task is None:
            raise ClueBenchError("--split: the model names no task that is known", "--task NAME or --task CARD.toml")
        return self.predict_rows(split_rows(self.predictor.task, split, Path(data)), top, progress)

    def predict_rows(self, rows: "InputRows", top: int, progress: bool) -> Predictions:
        """Predict rows; a bar is shown if that may take a while."""
        answers: list[Answer] = []
        truncated = 0
        is_long = len(rows) > ROWS_PER_UPDATE
        show = Progress(progress and is_long)
        with show.bar("predict", len(rows), count=True, on_interrupt="nothing was written; start again") as bar:
            for start in range(0, max(len(rows), 1), ROWS_PER_UPDATE):
                found = self.predictor.predict(rows.texts[start : start + ROWS_PER_UPDATE])
                answers += found.rows
                truncated += found.truncated_rows
                bar.update(len(answers))
        about = self.predictor.description
        lines = [_line(rows, number, answer, top) for number, answer in enumerate(answers)]
        return Predictions(about.run_id, about.task, rows.texts, lines, answers, truncated, about.max_length, top)


def load_model(model: Path | str | Run, *, task: str | None = None) -> Model:
    """Load a fine-tuned model: a run or its folder, a checkpoint folder, or an id of the hub.

    `task` is its card, by default the one that the checkpoint names. Raises ClueBenchError if it is no classifier.
    """
    from clue_bench.prediction.predictor import Predictor
    from clue_bench.tasks.task import load_task

    reference = model.folder if isinstance(model, Run) else model
    return Model(Predictor.open(reference, task=load_task(task) if task else None))


@dataclass(frozen=True)
class Served(Shown):
    """A server that answers: its address, and what each model is."""

    url: str
    models: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return address and models as plain values."""
        return {"url": self.url, "models": self.models}

    @property
    def tables(self) -> list[Table]:
        """One table with a line for each model."""
        rows = [(each["run_id"], each["task"], str(len(each["labels"]))) for each in self.models]
        return [make_table("", ["model", "task", "labels"], rows)]


def serve(
    models: Sequence[Path | str | Run],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[Served], None] = lambda served: None,
    **limits: Any,
) -> None:
    """Answer POST /predict for fine-tuned models until interrupted; `limits` are those of `serving.limits.Limits`.

    Raises ClueBenchError without the packages of the extra `serve`, or for a model that is none.
    """
    try:
        from clue_bench.prediction.serving import app
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn"):
            raise
        raise ClueBenchError(f"{error.name} is not installed", "pip install 'clue-bench[serve]'") from error
    from clue_bench.prediction.serving.limits import Limits
    from clue_bench.prediction.serving.service import Service

    bounds = Limits(**limits)
    with app.listen(host, port) as bound:
        service = Service([load_model(model).predictor for model in models], bounds)
        url = app.url_of(bound)

        def ready() -> None:
            on_ready(Served(url, [each.model_dump() for each in service.models().models]))

        app.serve(app.make_app(service, on_ready=ready), bound)


def _line(rows: "InputRows", number: int, answer: "Answer", top: int) -> dict[str, Any]:
    line: dict[str, Any] = {"id": rows.ids[number], **answer.best._asdict()}
    if rows.gold[number] is not None:
        line["gold"] = rows.gold[number]
    if top > 1:
        line["top"] = [candidate._asdict() for candidate in answer.candidates[:top]]
    return line


def _four(candidate: Any) -> str:
    return f"{candidate.probability:.4f}"
