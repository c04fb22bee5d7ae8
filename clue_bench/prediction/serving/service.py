"""Turn a request's body, whatever it is, into predictions.

Input: bytes. Output: predictions as JSON data, or a RefusedError that names the mistake and the text. The JSON
that goes in and out is strict: no conversion, no unknown keys.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

import pydantic

from clue_bench.errors import ClueBenchError, nearest
from clue_bench.prediction.predictor import LabelScore, Predictor, RowScores, Texts
from clue_bench.prediction.serving.batcher import Batcher, ClosedError, QueueFullError
from clue_bench.prediction.serving.limits import Limits, RefusedError

EXAMPLE = 'send {"texts": ["…", …]}, or for pairs {"texts": [["…", "…"], …]}'
Scored = tuple[RowScores, bool]
"""The scores of one row, and whether it was cut."""

log = logging.getLogger(__name__)
_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


Row = Annotated[
    list[str],
    pydantic.BeforeValidator(
        lambda row: [row] if isinstance(row, str) else row, json_schema_input_type=str | list[str]
    ),
]
"""A text alone is a row of one."""


class PredictRequest(pydantic.BaseModel):
    """Rows to predict, each a text, or a list of two for a task about pairs."""

    model_config = pydantic.ConfigDict(
        **_STRICT, json_schema_extra={"examples": [{"texts": [["怎么开通花呗", "花呗如何开通"]], "top": 2}]}
    )

    texts: list[Row] = pydantic.Field(min_length=1, description="Rows, each a text, or a list of one or two texts.")
    model: str | None = pydantic.Field(default=None, description="A run_id of GET /models; the first one if left out.")
    top: int | None = pydantic.Field(
        default=None, ge=1, description="Give so many labels of each row; all if left out."
    )


class Entity(pydantic.BaseModel):
    """An entity of a text: its type, its text, the places of its first and last character, and its probability."""

    model_config = _STRICT

    label: str
    description: str
    text: str
    start: int
    end: int
    probability: float


class Label(pydantic.BaseModel):
    """A label, what it means ("" if that is not known), and its probability.

    Of a text with entities, the label is these together, in CLUENER's layout as JSON.
    """

    model_config = _STRICT

    label: str
    description: str
    probability: float
    start: int | None = None  # of an answer found in a passage: its first character's place
    entities: list[Entity] | None = None


class RowPrediction(Label):
    """The most probable label of one row, and all of them in order.

    `truncated` says that the texts were longer than the model, which has not seen their end.
    """

    labels: list[Label]
    truncated: bool


class PredictResponse(pydantic.BaseModel):
    """Predictions in the order of the rows."""

    model_config = _STRICT

    model: str
    task: str
    predictions: list[RowPrediction]


class Model(pydantic.BaseModel):
    """A model that is served. `num_texts` is null where one or two are taken; `max_length` counts tokens.

    The probabilities of a multi-label model are of each label by itself. The texts of a row from number `choices_from`
    on are its choices, two or more; 0: it has none.
    """

    model_config = _STRICT

    run_id: str
    name: str
    task: str
    title: str
    num_texts: int | None
    max_length: int
    labels: list[str]
    descriptions: list[str]
    multi_label: bool
    choices_from: int


class Models(pydantic.BaseModel):
    """The models that are served, and the limits of a request."""

    model_config = _STRICT

    models: list[Model]
    max_texts: int
    max_text_chars: int
    max_body_bytes: int


class Health(pydantic.BaseModel):
    """Whether the server works, and how much work is waiting."""

    model_config = _STRICT

    status: str
    waiting_rows: int
    predicted_rows: int
    batches: int


class Problem(pydantic.BaseModel):
    """An error: why a request was refused, and what to change."""

    model_config = _STRICT

    error: str
    hint: str


class Service:
    """Models with a queue each, and one thread that runs them all: torch uses several cores for a batch itself."""

    def __init__(self, predictors: Sequence[Predictor], limits: Limits) -> None:
        """Prepare the queues. Raises ClueBenchError if two models have the same run_id."""
        self.limits = limits
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._predictors: dict[str, Predictor] = {}
        self._batchers: dict[str, Batcher[Texts, Scored]] = {}
        for predictor in predictors:
            run_id = predictor.description.run_id
            if run_id in self._predictors:
                raise ClueBenchError(f"two models are called {run_id}", "give each --model once")
            self._predictors[run_id] = predictor
            self._batchers[run_id] = Batcher(
                partial(_run, predictor),
                executor=self._executor,
                max_batch=limits.max_batch,
                max_wait=limits.max_wait_ms / 1000,
                max_queue=limits.max_queue,
            )

    async def start(self) -> None:
        """Start the queues, and run every model once, because the first batch is much slower than the others."""
        for run_id, batcher in self._batchers.items():
            batcher.start()
            about = self._predictors[run_id].description
            texts = ("好",) * (about.choices_from + 2 if about.choices_from else about.num_texts or 1)
            await batcher.submit([texts] * self.limits.max_batch)  # a full one does not wait for others

    async def close(self) -> None:
        """Finish the running batches and stop."""
        for batcher in self._batchers.values():
            await batcher.close()
        self._executor.shutdown()

    async def predict(self, body: bytes) -> PredictResponse:
        """Return the predictions for a request's body. Raises RefusedError."""
        request = _parse(body)
        run_id = request.model if request.model is not None else next(iter(self._predictors))
        if run_id not in self._predictors:
            raise RefusedError(
                404,
                f"no model is called '{run_id}'; {nearest(run_id, self._predictors)}",
                "send GET /models for the list",
            )
        predictor = self._predictors[run_id]
        rows = [tuple(texts) for texts in request.texts]
        self._check_sizes(rows, choices_from=predictor.description.choices_from)
        try:
            predictor.check(rows)
        except ClueBenchError as error:
            raise RefusedError(422, error.message, error.hint) from error
        scored = await self._scored(run_id, rows)
        task = predictor.description.task
        return PredictResponse(
            model=run_id, task=task, predictions=[_prediction(scores, request.top) for scores in scored]
        )

    def models(self) -> Models:
        """Return the models and the limits."""
        return Models(
            models=[_model(predictor) for predictor in self._predictors.values()],
            max_texts=self.limits.max_texts,
            max_text_chars=self.limits.max_text_chars,
            max_body_bytes=self.limits.max_body_bytes,
        )

    def health(self) -> Health:
        """Return how much work is waiting."""
        batchers = self._batchers.values()
        return Health(
            status="ok",
            waiting_rows=sum(batcher.waiting for batcher in batchers),
            predicted_rows=sum(batcher.rows for batcher in batchers),
            batches=sum(batcher.batches for batcher in batchers),
        )

    def _check_sizes(self, rows: list[Texts], *, choices_from: int) -> None:
        """Raise RefusedError for too much, or an empty text; beside a blank, one of the two may be empty."""
        most = self.limits.max_texts
        if len(rows) > most:
            raise RefusedError(422, f"{len(rows):,} rows, expected at most {most:,}", "split the request")
        longest = self.limits.max_text_chars
        for number, texts in enumerate(rows):
            for place, text in enumerate(texts):
                where = f"row {number}, text {place}"
                if len(text) > longest:
                    raise RefusedError(
                        422, f"{where}: {len(text):,} characters, expected at most {longest:,}", "shorten the text"
                    )
                if not text.strip() and not (place < choices_from and any(map(str.strip, texts[:choices_from]))):
                    raise RefusedError(422, f"{where}: an empty text", "give some text")

    async def _scored(self, run_id: str, rows: list[Texts]) -> list[Scored]:
        try:
            return await self._batchers[run_id].submit(rows)
        except QueueFullError as error:
            raise RefusedError(
                503, f"{self.limits.max_queue:,} rows are waiting already", "try again", {"Retry-After": "1"}
            ) from error
        except ClosedError as error:
            raise RefusedError(503, "the server is stopping", "try again", {"Retry-After": "5"}) from error
        except ClueBenchError as error:  # of this request's own rows: the others of its batch were run without them
            raise RefusedError(422, error.message, error.hint) from error
        except Exception as error:
            log.exception("a batch of %s failed", run_id)
            raise RefusedError(500, "the model failed on this batch", "read the server's log") from error


def _run(predictor: Predictor, rows: list[Texts]) -> list[Scored]:
    scores = predictor.predict(rows)
    return list(zip(scores.rows, scores.truncated, strict=True))


def _parse(body: bytes) -> PredictRequest:
    """Parse a request. Invalid UTF-8, NaN, half characters and deep nesting are errors of the JSON parser."""
    try:
        return PredictRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = next((each for each in error.errors() if each["type"] == "extra_forbidden"), error.errors()[0])
        if first["type"] == "json_invalid":
            raise RefusedError(400, f"not JSON: {first['ctx']['error']}", EXAMPLE) from error
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            message = f"unknown key; {nearest(key, PredictRequest.model_fields)}"
        else:
            message = first["msg"][0].lower() + first["msg"][1:]
        raise RefusedError(422, f"{key or 'the body'}: {message}", EXAMPLE) from error


def _prediction(scored: Scored, top: int | None) -> RowPrediction:
    scores, truncated = scored
    labels = [Label.model_construct(**_fields(score)) for score in scores[:top]]
    return RowPrediction.model_construct(**_fields(scores[0]), labels=labels, truncated=truncated)


def _fields(score: LabelScore) -> dict[str, Any]:
    if score.entities is None:
        return score._asdict()
    return {**score._asdict(), "entities": [Entity.model_construct(**each._asdict()) for each in score.entities]}


def _model(predictor: Predictor) -> Model:
    described = predictor.description
    return Model(
        run_id=described.run_id,
        name=described.model,
        task=described.task,
        title=described.title,
        num_texts=described.num_texts,
        max_length=described.max_length,
        labels=list(described.labels),
        descriptions=list(described.descriptions),
        multi_label=described.is_multi_label,
        choices_from=described.choices_from,
    )
