"""Use fine-tuned models: predict labels for texts, files and splits, and serve predictions."""

import json
import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.api.inputs import check_model
from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, as_reference
from clue_bench.api.unread import notes_on
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded, refuse_input
from clue_bench.language import translated
from clue_bench.numbers import article, counted, percent
from clue_bench.tables import Shown, Table, make_table

if TYPE_CHECKING:
    import pandas as pd

    from clue_bench.doors.results import ReadTexts
    from clue_bench.prediction.input_rows import InputRows
    from clue_bench.prediction.predictor import Description, EntityScore, Predictor, RowScores
    from clue_bench.tasks.columns import Columns

log = logging.getLogger(__name__)

ROWS_PER_UPDATE = 512  # of the progress bar; rows of similar length are batched together within them
QUESTIONS_PER_UPDATE = 64  # each is several rows to a model: windows of its passage, or choices

TRAINED_ON = "rows that this model was trained on: the accuracy on them says little of new ones"

Texts = Sequence[str | Sequence[str]]
"""Rows of one text, or of the two of a pair."""


@dataclass(frozen=True)
class PredictedRow:
    """One row: its most probable labels, the best first, and the right label if it is known.

    `columns` are those of the file that it was read from.
    """

    id: int | str
    texts: tuple[str, ...]
    scores: "RowScores"
    gold: str | None = None
    columns: Mapping[str, Any] | None = None
    taken: frozenset[str] = frozenset()  # names of columns in any row of the file
    answers: tuple[str, ...] = ()  # every right one of a question on a passage

    @property
    def label(self) -> str:
        """Return the predicted label."""
        return self.scores[0].label

    @property
    def is_right(self) -> bool:
        """Return whether the label is right; an answer is compared as the official script does."""
        if self.answers:
            from clue_bench.finetuning.metrics.spans import span_score

            return span_score(self.label, self.answers).exact == 1
        return self.label == self.gold

    @property
    def description(self) -> str:
        """Return what the predicted label means, if a card says so."""
        return self.scores[0].description

    @property
    def probability(self) -> float:
        """Return the model's probability of the predicted label."""
        return self.scores[0].probability

    @property
    def entities(self) -> "tuple[EntityScore, ...] | None":
        """Return the entities that the text names, with places and probabilities; None of other tasks."""
        return self.scores[0].entities

    def to_json(self) -> dict[str, Any]:
        """Return plain values; keys of an unknown right label or of no further labels are left out.

        A row of a file keeps every column, and gets "predicted", "probability" and, where labels have a meaning besides
        their name, "predicted_description".
        """
        top = {"top": [score.to_json() for score in self.scores]} if len(self.scores) > 1 else {}
        if self.columns is not None:
            return self._beside_columns(top)
        row = {"id": self.id, **self.scores[0].to_json()}
        gold = {} if self.gold is None else {"gold": self.gold}
        if gold and self.entities is not None:
            gold = {"gold": json.loads(self.gold or "")}
        return row | gold | top

    def to_cells(self) -> dict[str, Any]:
        """Return the row for a table: its further labels in columns of their own."""
        if self.columns is None:
            row = self.to_json()
            row.pop("top", None)
            return {**dict(zip(("text", "text_pair"), self.texts, strict=False)), **row, **self._further("label")}
        return self._beside_columns(self._further("predicted"))

    def _further(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, score in enumerate(self.scores[1:], 2):
            found |= {f"{name}_{number}": score.label, f"probability_{number}": score.probability}
        return found

    def _beside_columns(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Return the file's columns and the answer's."""
        best = self.scores[0]
        answer: dict[str, Any] = {"predicted": best.value}
        answer |= {"predicted_description": best.description} if best.description not in ("", best.label) else {}
        answer |= {} if best.start is None else {"start": best.start}
        answer |= {} if best.entities is None else {"entities": [each._asdict() for each in best.entities]}
        answer |= {"probability": best.probability, **more}
        return beside_columns(self.columns or {}, answer, taken=self.taken)


def beside_columns(columns: Mapping[str, Any], answer: Mapping[str, Any], *, taken: Container[str]) -> dict[str, Any]:
    """Return a file's row with an answer beside it; what the file has already a name for gets another."""
    row = dict(columns)
    for name, value in answer.items():
        free = name
        while free in row or free in taken:
            free += "_new"
        row[free] = value
    return row


@dataclass(frozen=True, repr=False)
class Predictions(Shown, Sequence[PredictedRow]):
    """The labels of rows, in their order. `truncated_rows` counts rows that were cut to the model's length."""

    model: str
    task: str
    rows: tuple[PredictedRow, ...]
    truncated_rows: int
    max_length: int
    is_multi_label: bool = False
    about_file: tuple[str, ...] = ()  # what was recognised in it
    read: "ReadTexts | None" = None
    for_excel: bool = False  # CSV and TSV begin with a byte order mark, as their file did, or since it was GBK

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        """Return a row, or a slice of them."""
        return self.rows[number]

    @property
    def labels(self) -> list[str]:
        """Return the predicted labels."""
        return [row.label for row in self.rows]

    @property
    def probabilities(self) -> list[float]:
        """Return the model's probability of each predicted label."""
        return [row.probability for row in self.rows]

    @property
    def accuracy(self) -> float | None:
        """Return the share of right labels among the rows with a known label, None if there are none."""
        right = [row.is_right for row in self.rows if row.gold is not None]
        return sum(right) / len(right) if right else None

    @property
    def notes(self) -> list[str]:
        """Return what to know beside the labels."""
        found = list(self.about_file)
        if empty := sum(not all(text.strip() for text in row.texts) for row in self.rows):
            found.append(f"{empty:,} of {counted(len(self), 'row')} without a text: such labels mean little")
        if self.is_multi_label:
            found.append("a multi-label model: each probability is of that label alone, and they do not add up to 1")
        found += notes_on({"": self.read}, max_length=self.max_length) if self.read is not None else []
        if "accuracy" in (summary := self.summary):
            right, labelled = summary["correct"], summary["labelled_rows"]
            name = "exact match" if any(row.answers for row in self.rows) else "accuracy"
            name = "texts with all entities right" if any(row.entities is not None for row in self.rows) else name
            found.append(f"{name} {percent(self.accuracy or 0.0)}: {right:,} of {counted(labelled, 'labelled row')}")
        if "entity_f1" in summary:
            found.append(f"macro-F1 {percent(summary['entity_f1'])} over the types of entities")
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """Return model, task and counts."""
        found = {"model": self.model, "task": self.task, "num_rows": len(self), "truncated_rows": self.truncated_rows}
        if self.read is not None:
            found |= self.read.model_dump(include={"tokens", "unknown_tokens", "unknown_rows"})
        right = [row.is_right for row in self.rows if row.gold is not None]
        counts = {"labelled_rows": len(right), "correct": sum(right), "accuracy": self.accuracy}
        return {**found, **(counts if right else {}), **self._entity_f1()}

    def _entity_f1(self) -> dict[str, float]:
        """Return the macro-F1 of the entities of labelled texts; nothing where there are none."""
        from clue_bench.stats.entity_scores import entity_f1
        from clue_bench.tasks.entities import NO_ENTITIES, Entity, count_entities, entities_in

        labelled = [row for row in self.rows if row.gold is not None and row.entities is not None]
        found = [[Entity(each.start, each.end, each.label) for each in row.entities or ()] for row in labelled]
        right = [entities_in(row.gold or NO_ENTITIES) for row in labelled]
        labels = sorted({entity.label for side in (found, right) for entities in side for entity in entities})
        return {"entity_f1": entity_f1(count_entities(found, right, labels))} if labels else {}

    def to_json(self) -> dict[str, Any]:
        """Return the summary, the notes and the rows as plain values."""
        return {**self.summary, "notes": self.notes, "rows": [row.to_json() for row in self.rows]}

    @property
    def tables(self) -> list[Table]:
        """Return one table, with a line for each label that is shown; descriptions only where they say more."""
        if any(row.entities is not None for row in self.rows):
            return [self._entity_table()]
        # Labels of one's own have no description, or are their own: a column would say nothing more.
        is_described = any(score.description not in ("", score.label) for row in self.rows for score in row.scores)
        lines = []
        for row in self.rows:
            for number, score in enumerate(row.scores):
                text, probability = "" if number else " | ".join(row.texts), f"{score.probability:.4f}"
                place = [] if score.start is None else [str(score.start)]
                lines.append((text, score.label, *[score.description] * is_described, *place, probability))
        is_found = any(score.start is not None for row in self.rows for score in row.scores)
        columns = ["text", "label", *["description"] * is_described, *["at character"] * is_found, "probability"]
        return [make_table("", columns, lines)]

    def _entity_table(self) -> Table:
        """Return a line for each entity, and one for each text without any."""
        lines = []
        for row in self.rows:
            found = row.entities or ()
            for number, each in enumerate(found):
                text = "" if number else row.texts[0]
                place = f"{each.start}–{each.end}"
                lines.append((text, each.text, each.label, each.description, place, f"{each.probability:.4f}"))
            if not found:
                lines.append((row.texts[0], "", "", "", "", f"{row.probability:.4f}"))
        return make_table("", ["text", "entity", "label", "description", "at characters", "probability"], lines)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a pandas frame, one line per row."""
        import pandas as pd

        return pd.DataFrame([{"text": " | ".join(row.texts), **row.to_json()} for row in self.rows])

    def has_mark(self, path: Path) -> bool:
        """Return whether a file of this name would begin with a byte order mark."""
        return self.for_excel and path.suffix.lower() in (".csv", ".tsv")

    def write(self, path: Path | str) -> None:
        """Write the rows in the format that the name ends in: .jsonl, .csv, .tsv, .xlsx or .parquet.

        Rows of a file keep all its columns. CSV and TSV are UTF-8, with a byte order mark if the file had one, or was
        GBK: then Excel opens both. Raises ClueBenchError for another ending.
        """
        from clue_bench.tasks.formats import JSON_LINES, check_writable, write_rows

        is_nested = check_writable(expanded(path)) in JSON_LINES
        rows = [row.to_json() if is_nested else row.to_cells() for row in self.rows]
        write_rows(expanded(path), rows, for_excel=self.for_excel)


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
        """Return the labels that the model can give."""
        return self.predictor.description.labels

    def predict(self, texts: str | Texts, *, top: int = 1, progress: bool = True) -> Predictions:
        """Predict the labels of `texts`, each a text or a pair. Raises ClueBenchError naming the first bad row."""
        from clue_bench.prediction.input_rows import InputRows

        given: Texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(given, list | tuple):
            raise ClueBenchError(
                f"texts: found {article(type(given).__name__)}, expected a text or a list of them",
                'give a list, of a frame for example frame["text"].tolist()',
            )
        if not isinstance(top, int) or top < 1:
            raise ClueBenchError(f"top: found {top!r}, expected a number of labels from 1", "give top=1, for example")
        for number, row in enumerate(given):
            if not isinstance(row, str) and not (
                isinstance(row, list | tuple) and all(isinstance(t, str) for t in row)
            ):
                raise ClueBenchError(
                    f"texts, row {number}: found {article(type(row).__name__)}, expected a text or a pair of texts",
                    "give each row as a text, or as a tuple of two",
                )
        rows = [(row,) if isinstance(row, str) else tuple(row) for row in given]
        return self.predict_rows(InputRows(rows, list(range(len(rows))), [None] * len(rows)), top, progress)

    def predict_file(
        self, path: Path | str, *, text: "Columns | None" = None, top: int = 1, progress: bool = True
    ) -> Predictions:
        """Predict the rows of a file (CSV, TSV, JSON Lines, Parquet, Excel, .txt) with the card's fields.

        `text` is the column of the texts, or the two of pairs, where they are called otherwise than in training. Every
        row keeps its columns. Raises ClueBenchError.
        """
        from clue_bench.prediction.input_rows import file_rows

        about = self.predictor.description
        rows = file_rows(expanded(path), task=self.predictor.task, num_texts=about.num_texts, text=text)
        if rows.md5 in self.predictor.trained_on and any(rows.gold):
            rows.notes.append(TRAINED_ON)
        return self.predict_rows(rows, top, progress)

    def predict_split(
        self, split: str, *, data: Path | str | None = None, top: int = 1, progress: bool = True
    ) -> Predictions:
        """Predict the rows of a split of the model's task.

        `data` is a folder of tasks or a file of rows, by default the rows that the run read. Raises ClueBenchError.
        """
        from clue_bench.prediction.input_rows import split_rows
        from clue_bench.tasks.run_data import data_of_run

        task = self.predictor.task
        if task is None:
            raise ClueBenchError("--split: the model names no known task", "give --task NAME or --task CARD.toml")
        run = self.predictor.folder.parent  # of its checkpoint
        is_known = data is None and split in task.splits
        rows = split_rows(task, split, data_of_run(task, split, run) if is_known else expanded(data or "data"))
        rows.notes.extend([TRAINED_ON] if split == "train" else [])
        return self.predict_rows(rows, top, progress)

    def predict_rows(self, rows: "InputRows", top: int, progress: bool) -> Predictions:
        """Predict rows; show a progress bar if that may take a while."""
        scored: list[RowScores] = []
        read: ReadTexts | None = None
        longer_rows = 0
        is_question = self.predictor.task is not None and self.predictor.task.kind != "classification"
        size = QUESTIONS_PER_UPDATE if is_question else ROWS_PER_UPDATE
        show = Progress(progress and len(rows) > size)
        with show.bar("predict", len(rows), count=True, on_interrupt="nothing was written; start again") as bar:
            began = time.monotonic()
            for start, end in _parts(rows, size * self.predictor.num_devices):
                found = self.predictor.predict(rows.texts[start:end], rows.lines[start:end])
                scored += found.rows
                read = found.read if read is None else read + found.read
                longer_rows += sum(length > self.predictor.description.pretrained_length for length in found.lengths)
                bar.update(len(scored), f"{len(scored) / max(time.monotonic() - began, 1e-6):,.1f} rows/s")
        about = self.predictor.description
        columns = rows.columns if rows.columns is not None else [None] * len(rows)
        taken = frozenset(key for row in columns if row is not None for key in row)
        predicted = tuple(
            PredictedRow(each, texts, scores[:top], gold, cells, taken, answers)
            for each, texts, scores, gold, cells, answers in zip(
                rows.ids, rows.texts, scored, rows.gold, columns, rows.answers or [()] * len(rows), strict=True
            )
        )
        return Predictions(
            about.run_id,
            about.task,
            predicted,
            read.truncated_rows if read else 0,
            about.max_length,
            read=read,
            for_excel=rows.for_excel,
            is_multi_label=about.is_multi_label,
            about_file=(*rows.notes, *([_beyond_pretraining(about, longer_rows)] if longer_rows else [])),
        )


def _parts(rows: "InputRows", size: int) -> Iterator[tuple[int, int]]:
    """Yield first row and end of parts of about `size` rows; a line of blanks is never divided."""
    start = 0
    while start < max(len(rows), 1):
        end = min(start + size, len(rows))
        while rows.lines and end < len(rows) and rows.lines[end] == rows.lines[end - 1]:
            end += 1
        yield start, end
        start = max(end, 1)


def warn_of_lengths(predictors: "Sequence[Predictor]") -> None:
    """Log which models take longer rows than their pretraining had."""
    for about in (each.description for each in predictors):
        if about.pretrained_length < about.max_length:
            log.warning("%s: %s", about.run_id, translated(_beyond_pretraining(about)))


def _beyond_pretraining(about: "Description", rows: int | None = None) -> str:
    """Return what to know of `rows` rows (None: any) that are longer than those of the model's pretraining."""
    which = "longer rows" if rows is None else counted(rows, "row")
    return (
        f"pretrained on rows of {about.pretrained_length:,} tokens, reads up to {about.max_length:,}: the end of "
        f"{which} has seen fine-tuning only. Shorter: finetune again with --set max_length={about.pretrained_length}"
    )


def check_writable(path: Path, *inputs: Path | None) -> None:
    """Raise ClueBenchError unless predictions can be written under this name, which is that of none of `inputs`."""
    from clue_bench.tasks import formats

    formats.check_writable(path)
    refuse_input(expanded(path), [expanded(each) for each in inputs if each is not None])


def check_rows(file: Path | None, data: Path | None) -> None:
    """Raise ClueBenchError unless there are a file of rows, and a folder or file of data, to predict later."""
    from clue_bench.prediction.input_rows import check_file

    if file is not None:
        check_file(expanded(file))
    if data is not None and not expanded(data).exists():
        raise ClueBenchError(f"{data}: no such file or folder", "check the path")


def load_model(model: Path | str | Run, *, task: str | None = None) -> Model:
    """Load a fine-tuned model from a run or its folder, a checkpoint folder, or the hub.

    `task` is its card, by default the one that the checkpoint names. Raises ClueBenchError if it is not a classifier.
    """
    from clue_bench.doors.model_folders import find_folder
    from clue_bench.tasks.task import load_task

    card = load_task(task) if task else None
    folder = find_folder(as_reference(model, "model"))
    Progress(True).import_torch()
    from clue_bench.prediction.predictor import Predictor

    return Model(Predictor.open(folder, task=card))


@dataclass(frozen=True, repr=False)
class Served(Shown):
    """A running server: its address and its models."""

    url: str
    models: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return address and models as plain values."""
        return {"url": self.url, "models": self.models}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each model."""
        rows = [(each["run_id"], each["task"], str(len(each["labels"]))) for each in self.models]
        return [make_table("", ["model", "task", "labels"], rows)]


def serve(
    models: Sequence[Path | str | Run],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_host: Iterable[str] = (),
    on_ready: Callable[[Served], None] = lambda served: None,
    **limits: Any,
) -> None:
    """Answer POST /predict for fine-tuned models until interrupted; `limits` are those of `serving.limits.Limits`.

    `allow_host` are names besides its own that clients may call it by, such as those of a proxy.

    Raises ClueBenchError if the packages of the extra `serve` are missing, or a model is not a classifier.
    """
    try:
        for package in ("fastapi", "starlette", "uvicorn"):
            import_module(package)
    except ModuleNotFoundError as error:
        raise ClueBenchError(f"{error.name} is not installed", "run pip install 'clue-bench[serve]'") from error
    from clue_bench.prediction.serving import address
    from clue_bench.prediction.serving.limits import Limits

    bounds = Limits(**limits)
    for model in models:
        check_model(model)
    with address.listen(host, port) as bound:
        hosts = address.hosts_of(bound, host, tuple(allow_host))
        predictors = [load_model(model).predictor for model in models]
        from clue_bench.prediction.serving import app
        from clue_bench.prediction.serving.service import Service

        warn_of_lengths(predictors)
        service = Service(predictors, bounds)
        url = address.url_of(bound)

        def ready() -> None:
            on_ready(Served(url, [each.model_dump() for each in service.models().models]))

        app.serve(app.make_app(service, on_ready=ready, hosts=hosts), bound)
