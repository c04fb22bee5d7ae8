"""Tasks: the names of their files, what the files contain, and how they are scored; the model of `tasks/*.toml`.

Input: a card's name or path. Output: a frozen, checked `Task`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from clue_bench.cards import Card, Name, builtin_folder, card_paths, decode, find_card, load_card
from clue_bench.doors.records import TaskFacts

MEAN_COLUMN = "Score"
"""Heading of the mean of four tasks, which no task may use."""

MAX_LABELS_NAMED = 20  # in a hint

_MD5 = "^[0-9a-f]{32}$"

Kind = Literal["classification", "choice", "span", "cloze", "tags"]
"""What a model is asked for: a label of one or two texts; which of a question's choices is right; which words of a
passage answer a question; which candidate stands in which blank of a text; which entities a text names."""


CHOICE = "choice"
"""What the one output of a model of choices is called: the score of a choice."""

SPAN = ("start", "end")
"""What the two outputs of a model of spans are called: the scores of a token as the first and last of the answer."""

OUTSIDE = "O"
"""The tag of tokens in no entity; B-type is that of an entity's first token, I-type that of its others."""


class LateKeys(Card):
    """A card with keys that came later: they are written only where they say something, so that hashes stay."""

    late_keys: ClassVar[dict[str, Any]]  # with what they say by default

    @pydantic.model_serializer(mode="wrap")
    def _without_late_keys(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        return {key: value for key, value in values.items() if value != self.late_keys.get(key, ...)}


def _inside(name: str) -> str:
    """Refuse the name of a file that would lie outside the data folder: cards come from strangers, too."""
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise ValueError(f"found '{name}', expected the name of a file below the data folder")
    return name


FileName = Annotated[str, pydantic.AfterValidator(_inside)]


class Split(LateKeys):
    """One file of a task, as officially released: `rows` before dropping, `md5` of the uncompressed file.

    `more_files` are read behind it; `md5` is then of all of them, joined.

    Both are None where nothing official is known; a file that they are not known for is never official.
    """

    file: FileName
    other_files: list[FileName] = pydantic.Field(
        default_factory=list
    )  # other names that the split goes by, looked for in this order
    rows: pydantic.PositiveInt | None = None
    md5: str | None = pydantic.Field(default=None, pattern=_MD5)
    submission: FileName | None = None  # official name of the predictions, for splits without labels
    more_files: list[FileName] = pydantic.Field(default_factory=list)

    late_keys: ClassVar[dict[str, Any]] = {"more_files": []}


class Archive(Card):
    """The official zip, and where it can be fetched."""

    file: FileName  # in the data folder
    md5: list[str] = pydantic.Field(default_factory=list)  # of the releases that are known to be good, newest first
    mirrors: list[str] = pydantic.Field(default_factory=list)  # URLs, tried in order
    hub_dataset: str = ""  # of the Hugging Face hub, tried last; "" if there is none
    hub_config: str = ""


class Span(Card):
    """Words inside a text that the model must be shown: they are put between two marks."""

    field: str  # the text that they stand in
    start: str  # field with the place of their first character; "target.span1_index" reaches into an object
    text: str  # field that repeats them
    before: str
    after: str


class Task(LateKeys):
    """A task over one or two texts: a label for them; or a passage, a question, and its answer, chosen or cut out."""

    name: Name
    kind: Kind = "classification"
    title: str
    column: str  # heading in tables
    text_fields: list[str] = pydantic.Field(min_length=1, max_length=2)
    list_separator: str = " "  # between the parts of a text that is a list of strings
    spans: list[Span] = pydantic.Field(default_factory=list)
    choice_fields: list[str] = pydantic.Field(default_factory=list)  # one that lists the choices, or one for each
    id_field: str = "id"
    label_field: str
    label_description_field: str = ""  # "" if rows carry none
    labels: list[str] = pydantic.Field(default_factory=list)  # as they stand in the files; position = class number
    label_descriptions: list[str] = pydantic.Field(default_factory=list)
    dropped_labels: list[str] = pydantic.Field(
        default_factory=list
    )  # rows of train and dev that are left out, and counted
    metric: Literal["accuracy", "macro_f1", "exact_match", "entity_f1"]  # chooses the best dev checkpoint
    max_length: int = pydantic.Field(ge=8)  # tokens, special ones included
    stride: int = pydantic.Field(default=128, ge=0)  # tokens that neighbouring windows of a passage share
    max_answer: int = pydantic.Field(default=50, ge=1)  # tokens
    assignment: Literal["optimal", "greedy"] = "optimal"  # of candidates to the blanks of a line
    answered_by: list[str] = pydantic.Field(default_factory=list)  # tasks whose models do: it has no training data
    splits: dict[str, Split]
    archive: Archive | None = None

    late_keys: ClassVar[dict[str, Any]] = {
        "kind": "classification",
        "choice_fields": [],
        "stride": 128,
        "max_answer": 50,
        "assignment": "optimal",
        "answered_by": [],
    }

    @pydantic.field_validator("column")
    @classmethod
    def _is_its_own(cls, column: str) -> str:
        if column.strip() == MEAN_COLUMN:
            raise ValueError(f"{MEAN_COLUMN} is the mean of four tasks; no task's own column is called so")
        return column

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        least = {"span": 0, "tags": 1}.get(self.kind, 2)
        if len(self.labels) < least or (self.kind == "span" and self.labels):
            raise ValueError(f"{len(self.labels)} labels, expected 2 or more, and none for spans of a passage")
        if (self.kind == "span") != (self.metric == "exact_match") or (self.kind == "span" and self.num_texts != 2):
            raise ValueError("exact_match is the metric of spans, and passage and question are their text_fields")
        if (self.kind == "tags") != (self.metric == "entity_f1") or (self.kind == "tags" and self.num_texts != 1):
            raise ValueError("entity_f1 is the metric of tags, and a row of them has one text")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat themselves")
        if len(self.labels) != len(self.label_descriptions):
            raise ValueError(f"{len(self.labels)} labels but {len(self.label_descriptions)} label_descriptions")
        both = set(self.labels) & set(self.dropped_labels)
        if both:
            raise ValueError(f"{', '.join(sorted(both))} in labels and in dropped_labels")
        missing = {"train", "dev"} - self.splits.keys()
        if self.answered_by and len(missing) < 2:
            raise ValueError("answered_by names the tasks whose models answer a test set; it has no train and no dev")
        if missing and not self.answered_by:
            raise ValueError(f"splits lack {', '.join(sorted(missing))}")
        strangers = {span.field for span in self.spans} - set(self.text_fields)
        if self.has_choices != bool(self.choice_fields):
            raise ValueError("choice_fields belong to tasks of choices and of blanks, which need them")
        if strangers:
            raise ValueError(f"spans stand in {', '.join(sorted(strangers))}, which is not one of text_fields")
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of a model's outputs: classes, the score of a choice, those of an answer's ends, or tags."""
        if self.kind == "tags":
            return (OUTSIDE, *(f"{place}-{label}" for label in self.labels for place in "BI"))
        return SPAN if self.kind == "span" else (CHOICE,) if self.has_choices else tuple(self.labels)

    @property
    def has_choices(self) -> bool:
        """Return whether rows have choices, whose numbers are the labels."""
        return self.kind in ("choice", "cloze")

    @property
    def num_texts(self) -> int:
        """Return how many texts a row has, choices left out."""
        return len(self.text_fields)

    @property
    def fields(self) -> list[str]:
        """Return the fields that a row must have: texts, marked words and choices."""
        spans = [field for span in self.spans for field in (span.start, span.text)]
        return [*self.text_fields, *spans, *self.choice_fields]

    @property
    def facts(self) -> TaskFacts:
        """Return what records say about the task."""
        return TaskFacts(
            name=self.name,
            title=self.title,
            column=self.column,
            metric=self.metric,
            card_sha256=self.sha256,
            card=self.to_carry,
        )

    @property
    def to_carry(self) -> dict[str, Any] | None:
        """Return the card for records and checkpoints, so that nothing asks for it again; None for a built-in one."""
        return None if self.is_builtin else self.model_dump(mode="json")

    @property
    def labels_hint(self) -> str:
        """Return where to read what the labels are; those of a task without a card are named."""
        if self.is_builtin or len(self.labels) > MAX_LABELS_NAMED:
            return f"run clue-bench tasks show {self.name}"
        return f"change it to one of {', '.join(self.labels)}, or leave the row out"

    @property
    def sha256(self) -> str:
        """Return the hash of every value of the card."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def is_builtin(self) -> bool:
        """Return whether the card says the same as the built-in one of its name."""
        path = builtin_folder("tasks") / f"{self.name}.toml"
        return path.is_file() and load_card(path, type(self)) == self


def load_task(reference: str) -> Task:
    """Return the task called `reference`, a name or a path ending in .toml. Raises ClueBenchError."""
    return load_card(find_card("tasks", reference), Task)


def carried_task(name: str, card: Mapping[str, Any] | None, *, where: str) -> Task | None:
    """Return the task of a record or a checkpoint: its own card, else the one of that name; None if there is none.

    `where` names the file in errors. Raises ClueBenchError if its card is not valid.
    """
    if card is not None:
        return decode(Task, dict(card), where=where)
    return load_task(name) if name in card_paths("tasks") else None
