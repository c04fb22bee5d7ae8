"""Convert, extend, examine and time checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, Runs, as_path, as_reference, as_settings, check_choice
from clue_bench.api.vocabularies import vocabulary_path
from clue_bench.doors.records import SpeedRecord, write_record
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded, refuse_unwritable
from clue_bench.tables import Column, Shown, Table, make_table, our_words

if TYPE_CHECKING:
    from clue_bench.conversion.convert import Conversion, SourceKind, TargetKind
    from clue_bench.conversion.extend import Exchange, Extension
    from clue_bench.diagnosis.result import Diagnosis
    from clue_bench.leaderboards.speed.tables import SpeedTable
    from clue_bench.weights.read import StoredType


def convert(
    source: Path | str | Run,
    destination: Path | str,
    *,
    source_kind: "SourceKind",
    target_kind: "TargetKind" = "hf",
    config: Path | str | None = None,
    vocabulary: Path | str | None = None,
    dtype: "StoredType" = "float32",
) -> "Conversion":
    """Convert a checkpoint of UER-py ("uer"), TensorFlow ("tf") or Hugging Face ("hf"), with the same outputs.

    `destination` is a new folder. `config` is the configuration that the model was trained with and `vocabulary` its
    vocab.txt or sentencepiece model, if the source does not include them. `dtype` "float16" or "bfloat16" halves the
    file and rounds the weights. Raises ClueBenchError if something in the source would be lost or contradicts the rest.
    """
    Progress(True).import_torch()
    from clue_bench.conversion.convert import SourceKind, TargetKind
    from clue_bench.conversion.convert import convert as convert_checkpoint
    from clue_bench.weights.read import StoredType

    check_choice("source_kind", source_kind, get_args(SourceKind))
    check_choice("target_kind", target_kind, get_args(TargetKind))
    check_choice("dtype", dtype, get_args(StoredType))
    return convert_checkpoint(
        as_path(source, "source"),
        as_path(destination, "destination"),
        source_kind=source_kind,
        target_kind=target_kind,
        config=None if config is None else expanded(config),
        vocabulary=None if vocabulary is None else vocabulary_path(vocabulary),
        stored_as=dtype,
    )


@dataclass(frozen=True, repr=False)
class ExtendedVocabulary(Shown):
    """A model's folder with tokens added to its vocabulary."""

    extension: "Extension"

    @property
    def folder(self) -> Path:
        """Return the folder that was written."""
        return self.extension.folder

    def to_json(self) -> dict[str, Any]:
        """Return what was written as plain values."""
        facts = self.extension._asdict()
        return {**facts, "folder": str(self.folder), "tokens": [token._asdict() for token in self.extension.tokens]}

    @property
    def tables(self) -> list[Table]:
        """Return a table of the new tokens."""
        extension = self.extension
        rows = [(token.text, token.id, " ".join(token.pieces) or our_words("all rows")) for token in extension.tokens]
        notes = [f"{extension.rows:,} embedding rows, {extension.rows_before:,} before; written to {self.folder}"]
        if extension.present:
            notes.append(f"in the vocabulary already: {', '.join(extension.present)}")
        return [make_table("", ["token", "id", "starts as the mean of"], rows, notes=notes)]


def extend_vocabulary(
    model: Path | str | Run, tokens: Sequence[str] | Path | str, *, out: Path | str
) -> ExtendedVocabulary:
    """Add tokens to a model's vocabulary: words of a domain, or marks like "[E1]"; write the model to the folder `out`.

    `tokens` is a list, or a file with one a line. Each gets a row of the embeddings that starts as the mean of the rows
    of its pieces; provenance.json says which. Raises ClueBenchError.
    """
    Progress(True).import_torch()
    from clue_bench.conversion.extend import extend

    listed = read_tokens(tokens) if isinstance(tokens, str | Path) else list(tokens)
    if not listed:
        raise ClueBenchError("no tokens to add", "give --token WORD, or --tokens FILE with one token a line")
    return ExtendedVocabulary(extend(as_reference(model, "model"), listed, out=expanded(out)))


@dataclass(frozen=True, repr=False)
class ExchangedVocabulary(Shown):
    """A model's folder with another vocabulary."""

    exchange: "Exchange"

    @property
    def folder(self) -> Path:
        """Return the folder that was written."""
        return self.exchange.folder

    def to_json(self) -> dict[str, Any]:
        """Return what was written as plain values."""
        facts = self.exchange._asdict()
        return {**facts, "folder": str(self.folder), "tokens": [token._asdict() for token in self.exchange.tokens]}

    @property
    def tables(self) -> list[Table]:
        """Return how many tokens kept their row, got a new one, or left."""
        exchange = self.exchange
        cut = [token for token in exchange.tokens if token.pieces]
        first = ", ".join(f"{token.text} ({' '.join(token.pieces)})" for token in cut[:5])
        rows = [
            ("in both: keep their rows", f"{exchange.shared:,}"),
            ("new: the mean of their pieces' rows", f"{len(cut):,}"),
            ("new, without known pieces: the mean of all rows", f"{len(exchange.tokens) - len(cut):,}"),
            ("of the old vocabulary, left out", f"{exchange.left_out:,}"),
        ]
        notes = [f"new tokens begin with {first}"] * bool(cut)
        notes.append(f"{exchange.rows:,} embedding rows, {exchange.rows_before:,} before; written to {self.folder}")
        return [make_table("", [Column("tokens", is_words=True), Column("number", is_number=True)], rows, notes=notes)]


def exchange_vocabulary(model: Path | str | Run, vocabulary: Path | str, *, out: Path | str) -> ExchangedVocabulary:
    """Give a model another WordPiece vocabulary, a vocab.txt; write the model to the folder `out`.

    Tokens that both vocabularies have keep their rows; others start as the mean of the rows of their pieces. This makes
    a model of 21,128 tokens one of 8,021, say. Raises ClueBenchError.
    """
    Progress(True).import_torch()
    from clue_bench.conversion.extend import exchange

    return ExchangedVocabulary(exchange(as_reference(model, "model"), vocabulary_path(vocabulary), out=expanded(out)))


def read_tokens(file: Path | str) -> list[str]:
    """Return the lines of a file that are not blank. Raises ClueBenchError if there is no such file."""
    if not expanded(file).is_file():
        raise ClueBenchError(f"{file}: no such file", "give a file with one token a line")
    return [line.strip() for line in expanded(file).read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def doctor(model: Path | str | Run, *, texts: Sequence[str] = ()) -> "Diagnosis":
    """Check whether a checkpoint is what it claims to be: names, shapes, vocabulary, answers.

    `texts` are sentences with [MASK], or for GPT2 sentences to continue. Raises ClueBenchError without a checkpoint.
    """
    from clue_bench.doors.model_folders import find_folder

    show = Progress(True)
    name = str(as_reference(model, "model"))
    find_folder(name)  # a download has bars of its own
    show.import_torch()
    from clue_bench.diagnosis.examine import examine

    with show.status("examining the checkpoint"):
        return examine(name, texts=list(texts))


@dataclass(frozen=True, repr=False)
class Speeds(Shown):
    """The speeds of one session's models, a record for each; speeds of other sessions are not comparable."""

    runs: Runs

    @property
    def notes(self) -> list[str]:
        """Return what was not measured, and why."""
        return [
            f"{run.model}: {kind} was not measured: {reason}"
            for run in self.runs
            if isinstance(run.record, SpeedRecord) and run.record.results
            for kind, reason in run.record.results.not_measured.items()
        ]

    @property
    def in_detail(self) -> "list[SpeedTable]":
        """Return for each machine and session every number with its interval and its conditions, as speed.md has it."""
        from clue_bench.leaderboards.speed.tables import speed_tables

        return speed_tables([run.record for run in self.runs])

    @property
    def tables(self) -> list[Table]:
        """Return a table for each machine and session, with a sentence for each model: how much faster it is."""
        from clue_bench.leaderboards.speed.summary import speed_summary

        return [speed_summary(table) for table in self.in_detail]

    def to_json(self) -> dict[str, Any]:
        """Return the tables as plain values."""
        from clue_bench.leaderboards.speed.tables import speed_json

        return speed_json([run.record for run in self.runs])


def speed(
    models: str | Path | Run | Sequence[str | Path | Run],
    *,
    corpora: Sequence[Path | str] = (),
    task: str = "afqmc",
    data: Path | str | None = None,
    out: Path | str = "runs/speed",
    repetitions: int = 9,
    seconds: float = 2.0,
    baseline: str | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Speeds:
    """Measure the training, fine-tuning and prediction speed of models in turns; write a record for each to `out`.

    A model is a checkpoint folder, a hub id, or a recipe, which gets untrained weights. Without `corpora` the models
    train on random ids; without `data` the task's rows are synthetic. A repetition takes at least `seconds`, and
    `baseline` is the model that the others are compared with. Raises ClueBenchError if nothing could be measured.
    """
    from clue_bench.speed_measurement.request import check_request

    show = Progress(progress)
    refuse_unwritable(expanded(out))
    listed = list(models) if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    given = [str(as_reference(each, "models")) for each in listed]
    asked: dict[str, Any] = {
        "corpora": [expanded(path) for path in corpora],
        "task": task,
        "data": None if data is None else expanded(data),
        "baseline": baseline,
        "settings": as_settings(settings),
    }
    check_request(given, **asked)
    show.import_torch()
    from clue_bench.speed_measurement.session import measure

    again = "type the same command again: nothing is kept of this session"
    with show.bar("speed", 1.0, on_interrupt=again) as bar:
        records = measure(
            given,
            **asked,
            repetitions=repetitions,
            seconds=seconds,
            on_progress=lambda done, total, what: bar.update(done / total, what),
        )
    for record in records:
        show.note(f"record: {write_record(expanded(out), record)}")
    measured = Speeds(Runs(tuple(Run(record, expanded(out)) for record in records)))
    show.notes(measured.notes)
    failed = [record for record in records if record.status == "failed"]
    if len(failed) == len(records):
        raise ClueBenchError(f"nothing was measured: {failed[0].error}", f"read the errors in the records in {out}")
    return measured
