"""What goes in and out as JSON. Strict: no conversion, no unknown keys."""

import pydantic

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class PredictRequest(pydantic.BaseModel):
    """Rows to predict, each a list of one text, or of two for a task about pairs."""

    model_config = pydantic.ConfigDict(
        **_STRICT, json_schema_extra={"examples": [{"texts": [["怎么开通花呗", "花呗如何开通"]], "top": 2}]}
    )

    texts: list[list[str]] = pydantic.Field(min_length=1, description="Rows, each a list of one or two texts.")
    model: str | None = pydantic.Field(default=None, description="A run_id of GET /models; the first one if left out.")
    top: int | None = pydantic.Field(
        default=None, ge=1, description="Give so many labels of each row; all if left out."
    )


class Label(pydantic.BaseModel):
    """A label, what it means ("" if that is not known), and its probability."""

    model_config = _STRICT

    label: str
    description: str
    probability: float


class RowPrediction(Label):
    """The most probable label of one row, and all of them in order."""

    labels: list[Label]


class PredictResponse(pydantic.BaseModel):
    """Predictions in the order of the rows."""

    model_config = _STRICT

    model: str
    task: str
    predictions: list[RowPrediction]


class Model(pydantic.BaseModel):
    """A model that is served. `num_texts` is null where one or two are taken; `max_length` counts tokens."""

    model_config = _STRICT

    run_id: str
    name: str
    task: str
    title: str
    num_texts: int | None
    max_length: int
    labels: list[str]
    descriptions: list[str]


class Models(pydantic.BaseModel):
    """What is served, and what a request may hold."""

    model_config = _STRICT

    models: list[Model]
    max_texts: int
    max_text_chars: int
    max_body_bytes: int


class Health(pydantic.BaseModel):
    """Whether the server works, and how much there is to do."""

    model_config = _STRICT

    status: str
    waiting_rows: int
    predicted_rows: int
    batches: int


class Problem(pydantic.BaseModel):
    """Why a request was refused, and what to change."""

    model_config = _STRICT

    error: str
    hint: str
