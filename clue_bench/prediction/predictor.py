"""A fine-tuned model in memory, which scores the labels of texts.

Input: the folder of a run or a checkpoint; rows of one or two texts, or of a passage, a question and its choices.
Output: for every row the labels, the numbers of the choices, or the answers found, the most probable first; or the
entities that a text names. The meaning
of the labels and the number of texts in a row come from the task's card, if it is found.
"""

import json
import threading
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from clue_bench.doors.checkpoint import PROVENANCE
from clue_bench.doors.records import CHECKPOINT, SUFFIX, FileFacts, read_record, record_paths
from clue_bench.doors.results import ReadTexts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import kind_of_model, nameless_labels, output_names
from clue_bench.finetuning.blanks import assigned
from clue_bench.finetuning.encode import Encoded, Tokeniser, encode, encode_tags, encode_task
from clue_bench.finetuning.predict import label_probabilities, predict_logits, probabilities
from clue_bench.finetuning.tags import FoundTags, scheme_of
from clue_bench.finetuning.windows import Windows
from clue_bench.numbers import counted
from clue_bench.tasks.entities import spelled_entities
from clue_bench.tasks.rows import UNLABELLED, Rows
from clue_bench.tasks.task import Task, carried_task, load_task
from clue_bench.training import hardware
from clue_bench.weights import CONFIG
from clue_bench.weights.configuration import read_object

MULTI_LABEL = "multi_label_classification"  # as config.json calls it
MANY_ROWS = 512  # from which on other GPUs take part
MAX_LENGTH = 512  # tokens, if neither provenance nor card says otherwise
Texts = tuple[str, ...]
"""The texts of one row: one text, or a pair."""


class EntityScore(NamedTuple):
    """An entity of a text, from character `start` to character `end`, which belongs to it, as in CLUENER's layout."""

    label: str
    description: str
    text: str
    start: int
    end: int
    probability: float


class LabelScore(NamedTuple):
    """A label, what it means ("" if no card says), and its probability.

    Of a question on a passage the label is the answer, which begins at character `start` of the passage. Of a text with
    entities it is these together, in CLUENER's layout as JSON.
    """

    label: str
    description: str
    probability: float
    start: int | None = None
    entities: tuple[EntityScore, ...] | None = None

    @property
    def value(self) -> Any:
        """Return the label as it stands in data: entities as an object."""
        return self.label if self.entities is None else json.loads(self.label)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values; only an answer has a start, only a text has entities."""
        if self.entities is not None:
            found = [each._asdict() for each in self.entities]
            return {"label": self.value, "probability": self.probability, "entities": found}
        return {key: value for key, value in self._asdict().items() if value is not None}


RowScores = tuple[LabelScore, ...]
"""The model's scores for one row: every label, the most probable first."""


class Scores(NamedTuple):
    """Scores in the rows' order; `truncated` says which were cut to the model's length, `lengths` are in tokens.

    `read` has what the model read of all of them, in numbers.
    """

    rows: list[RowScores]
    truncated: list[bool]
    lengths: list[int]
    read: ReadTexts

    @property
    def truncated_rows(self) -> int:
        """Return the number of rows that were cut."""
        return sum(self.truncated)


@dataclass(frozen=True)
class Description:
    """The description of a model: names, labels in the order of its outputs, and the rows that it accepts.

    `run_id` is that of the run, or the model's name if the folder has no record. Without a card, `num_texts` is None.
    The probabilities of a multi-label model are of each label by itself. Positions behind `pretrained_length` have seen
    fine-tuning only.
    """

    run_id: str
    model: str
    task: str
    title: str
    labels: tuple[str, ...]
    descriptions: tuple[str, ...]
    num_texts: int | None
    max_length: int  # tokens
    pretrained_length: int  # tokens
    is_multi_label: bool = False
    choices_from: int = 0  # the texts of a row from this number on are its choices; 0: it has none
    outputs: tuple[str, ...] = ()  # of a model of tags, whose labels are types of entities


class Predictor:
    """A classifier in memory. Threads can share it and take turns."""

    def __init__(
        self,
        *,
        folder: Path,
        description: Description,
        task: Task | None,
        classifier: Classifier,
        tokeniser: Tokeniser,
        precision: hardware.Asked,
    ) -> None:
        self.folder, self.description, self.task = folder, description, task
        self._device = hardware.pick_device()
        if self._device.type == "cpu" and precision in ("fp16", "tf32"):  # a GPU's, where the model was trained
            precision = "auto"
        self._autocast = hardware.autocast_type(hardware.pick_precision(precision, self._device))
        self._classifier = classifier.to(self._device).eval()
        self._replicas: list[Classifier] = []
        self._tokeniser = tokeniser
        self._turn = threading.Lock()

    @classmethod
    def open(cls, path: Path | str, *, task: Task | None = None) -> Self:
        """Load a fine-tuned model of any family from a run's folder, a checkpoint folder or the hub.

        The default `task` is the card that the checkpoint's provenance carries or names. Raises ClueBenchError if the
        folder holds no classifier, or one whose labels differ from the card's.
        """
        hardware.keep_freed_memory()
        base = open_pretrained(path)
        labels = output_names(base.folder)
        kind = _refuse_regression(base.folder, labels)
        stated, where = base.provenance.get("card"), str(base.folder / PROVENANCE)
        card = task or carried_task(str(base.provenance.get("task", "")), stated, where=where)
        if card is not None and len(card.labels) == len(labels) and set(labels) == set(nameless_labels(len(labels))):
            raise ClueBenchError(
                f"{base.folder}: its labels have no names (LABEL_0 to LABEL_{len(labels) - 1}), and {card.name}'s are "
                f"{_short(card.labels)}: which is which?",
                f'write them into {base.folder / CONFIG} in the order of its training, as in "id2label": '
                f'{{"0": "{card.labels[0]}", "1": "{card.labels[1]}", …}}, or leave out --task',
            )
        if card is not None and sorted(card.outputs) != sorted(labels):
            raise ClueBenchError(
                f"{base.folder}: labels {_short(labels)}, but {card.name}'s card has {_short(card.outputs)}",
                "give the card that the model was fine-tuned with: --task CARD.toml",
            )
        settings = base.provenance.get("settings", {})
        length = settings.get("max_length", card.max_length if card else MAX_LENGTH)
        meanings = dict(zip(card.labels, card.label_descriptions, strict=True)) if card else {}
        kind_of = kind_of_model(base.folder)
        is_choice, is_tagger = kind_of == "choice", kind_of == "tags"
        if kind_of == "span":
            card = card or load_task("cmrc2018")  # of a model that names no task: its windows and longest answers
        named = tuple(card.labels) if card and is_choice else labels
        if is_tagger:
            named = scheme_of(labels, base.folder).labels
        description = Description(
            run_id=_run_id(base.folder) or base.name,
            model=base.name,
            task=card.name if card else str(base.provenance.get("task", "")),
            title=card.title if card else "",
            labels=named,
            descriptions=tuple(meanings.get(label, "") for label in named),
            num_texts=1 if is_tagger else len(card.text_fields) if card and not is_choice else None,
            max_length=min(length, base.sizes.max_positions),
            pretrained_length=base.pretrained_length,
            is_multi_label=kind == MULTI_LABEL,
            choices_from=(len(card.text_fields) if card else 2) if is_choice else 0,
            outputs=labels if is_tagger else (),
        )
        return cls(
            folder=base.folder,
            description=description,
            task=card,
            classifier=base.trained(),
            tokeniser=base.tokeniser,
            precision=settings.get("precision", "auto"),
        )

    @property
    def num_devices(self) -> int:
        """Return how many devices share many rows."""
        return 1 + len(hardware.other_devices())

    @property
    def trained_on(self) -> frozenset[str]:
        """Return the md5 of the files whose rows the run was trained on, as far as its record names them."""
        paths = record_paths(self.folder.parent) if self.folder.name == CHECKPOINT else []
        data = read_record(paths[0]).data if len(paths) == 1 else None
        train = data.files.get("train") if data else None
        return frozenset(md5 for md5 in (data and data.source_md5, train and train.md5) if md5)

    def check(self, rows: Sequence[Texts]) -> None:
        """Raise ClueBenchError that names the row (from 0) unless the model accepts `rows`."""
        if not rows:
            raise ClueBenchError("no texts, expected at least one row", "give a row of texts")
        wanted = self.description.num_texts
        for number, texts in enumerate(rows):
            if isinstance(texts, str) or not isinstance(texts, Sequence):
                raise ClueBenchError(
                    f"row {number}: found {type(texts).__name__}, expected a list of texts", "put the texts into a list"
                )
            least = self.description.choices_from + 2
            if least > 2 and len(texts) < least:
                raise ClueBenchError(
                    f"row {number}: {counted(len(texts), 'text')}, expected {least} or more",
                    f"give {counted(least - 2, 'text')} and two choices or more: (passage, question, choice, choice), "
                    "or with --text, --text-pair and --choice",
                )
            if least == 2 and (len(texts) != wanted if wanted else len(texts) not in (1, 2)):
                raise ClueBenchError(
                    f"row {number}: {counted(len(texts), 'text')}, expected {wanted or '1 or 2'}", self._hint()
                )
            for place, text in enumerate(texts):
                _check_text(text, f"row {number}, text {place}")

    def predict(self, rows: Sequence[Texts], lines: Sequence[int] = ()) -> Scores:
        """Predict the scores of `rows`, in their order. Raises ClueBenchError as `check` does.

        Of blanks, `lines` says which are of one line and share its candidates; without, each is alone.
        """
        self.check(rows)
        with self._turn:
            facts = FileFacts(rows=len(rows), md5="", expected_rows=None, expected_md5=None)
            labels = np.full(len(rows), UNLABELLED, dtype=np.int64)
            choices_from = self.description.choices_from
            given = [tuple(texts) for texts in rows]
            together = tuple(lines) or tuple(range(len(rows)))
            unlabelled = Rows(given, labels, list(range(len(rows))), facts, choices_from=choices_from, lines=together)
            length = self.description.max_length
            if outputs := self.description.outputs:
                scheme = scheme_of(outputs, self.folder)
                encoded = encode_tags(unlabelled, self._tokeniser, max_length=length, scheme=scheme)
            elif self.task is not None:
                encoded = encode_task(unlabelled, self._tokeniser, max_length=length, task=self.task)
            else:
                encoded = encode(unlabelled, self._tokeniser, max_length=length)
            if len(rows) >= MANY_ROWS and not self._replicas:
                self._replicas = [deepcopy(self._classifier).to(device) for device in hardware.other_devices()]
            logits = predict_logits(
                self._classifier,
                encoded,
                pad=self._tokeniser.layout.pad,
                device=self._device,
                autocast=self._autocast,
                replicas=self._replicas if len(rows) >= MANY_ROWS else (),
            )
        if not np.isfinite(logits).all():
            message = f"{self.description.run_id}: outputs that are no numbers"
            raise ClueBenchError(message, "check the weights: clue-bench doctor --model DIR")
        if encoded.windows is not None:
            answers = encoded.windows.best_answers(logits, encoded.offsets)
            scores = [tuple(LabelScore(e.text, "", e.probability, e.start) for e in each) for each in answers]
            return Scores(scores, *_of_rows(encoded.windows, encoded), encoded.read)
        if encoded.tagged is not None:
            tags = encoded.tagged.found(logits, encoded.offsets)
            scores = [(self._entities(text, each),) for (text,), each in zip(given, tags, strict=True)]
            return Scores(scores, encoded.truncated.tolist(), encoded.lengths.tolist(), encoded.read)
        shares_of = label_probabilities if self.description.is_multi_label else probabilities
        shares = shares_of(logits)
        if choices_from:
            choices = [texts[choices_from:] for texts in given]
            scores = [_ranked(map(str, range(len(c))), c, s) for c, s in zip(choices, shares, strict=True)]
            if encoded.lines is not None:  # the assignment goes first, whatever is more probable by itself
                chosen = map(str, assigned(logits, encoded.lines))
                scores = [_with_first(name, found) for name, found in zip(chosen, scores, strict=True)]
        else:
            labelled = self.description.labels, self.description.descriptions
            scores = [_ranked(*labelled, each) for each in shares]
        return Scores(scores, encoded.truncated.tolist(), encoded.lengths.tolist(), encoded.read)

    def _entities(self, text: str, found: FoundTags) -> LabelScore:
        about = self.description
        meanings = dict(zip(about.labels, about.descriptions, strict=True))
        entities = tuple(
            EntityScore(label, meanings[label], words, first, last, probability)
            for (first, last, label), words, probability in found.entities
        )
        spelled = spelled_entities([each.entity for each in found.entities], text)
        return LabelScore(spelled, "", found.probability, entities=entities)

    def _hint(self) -> str:
        task = self.description.task
        return (
            f"give {counted(self.description.num_texts or 1, 'text')} a row"
            if task
            else "give one text or a pair a row"
        )


def _of_rows(windows: Windows, encoded: Encoded) -> tuple[list[bool], list[int]]:
    """Return of each question whether it was cut, and the tokens of its longest window."""
    truncated, lengths = [False] * len(windows.rows), [0] * len(windows.rows)
    for row, is_cut, length in zip(windows.row_W, encoded.truncated, encoded.lengths, strict=True):
        truncated[row] |= bool(is_cut)
        lengths[row] = max(lengths[row], int(length))
    return truncated, lengths


def _ranked(labels: Iterable[str], descriptions: Iterable[str], shares: npt.NDArray[np.float64]) -> RowScores:
    """Return labels with their probabilities, the most probable first, and of equals the first, as argmax takes it."""
    found = [
        LabelScore(label, description, round(float(share), 6))
        for label, description, share in zip(labels, descriptions, shares.tolist(), strict=False)
    ]
    return tuple(sorted(found, key=lambda each: -each.probability))


def _with_first(label: str, ranked: RowScores) -> RowScores:
    """Return the scores with that of `label` in front."""
    return tuple(sorted(ranked, key=lambda each: each.label != label))


def _check_text(text: object, where: str) -> None:
    if not isinstance(text, str):
        raise ClueBenchError(f"{where}: found {type(text).__name__}, expected a string", "give texts as strings")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ClueBenchError(f"{where}: half a character at place {error.start}", "give whole characters") from error


def _refuse_regression(folder: Path, labels: tuple[str, ...]) -> str:
    """Return what config.json says that the outputs are. Raises ClueBenchError if they are numbers, not labels."""
    if kind_of_model(folder) != "classification":
        return ""
    kind = str(read_object(folder / CONFIG).get("problem_type") or "")
    if kind == "regression" or len(labels) == 1:
        raise ClueBenchError(
            f"{folder}: a regression model: {counted(len(labels), 'output')}, numbers, and no label has a probability",
            f"fine-tune a classifier from it: clue-bench finetune --model {folder} --task TASK",
        )
    if kind not in ("", MULTI_LABEL, "single_label_classification"):
        raise ClueBenchError(
            f"{folder / CONFIG}: problem_type is '{kind}', which transformers does not have",
            f'write "single_label_classification", or "{MULTI_LABEL}" where a text may have several labels',
        )
    return kind


def _run_id(folder: Path) -> str | None:
    """Return the id of the run whose folder contains a checkpoint."""
    records = record_paths(folder.parent) if folder.name == CHECKPOINT else []
    return records[0].name.removesuffix(SUFFIX) if len(records) == 1 else None


def _short(labels: Sequence[str]) -> str:
    shown = ", ".join(sorted(labels)[:4])
    return f"{shown}, … ({len(labels)})" if len(labels) > 4 else shown
