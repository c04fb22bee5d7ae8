"""Make measured tables of completed fine-tuning runs.

Input: run records. Output: `MeasuredTable`s, and the fine-tuning runs that are in none because they failed or were
interrupted. A cell is the mean over seeds of the setting that did best, with everything a reader needs to judge it. A
seed counts once: of several runs of one seed, the first by run_id counts, and the others are named.

Tables never mix data: runs are first grouped by data set ("clue", "synthetic", …), and within one table a column holds
only one task, one data revision and one number of dev rows. Of several, the official one goes to the first table, the
others, in alphabetical order, to tables of their own.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from clue_bench.doors.records import MAJORITY_CLASS, FileFacts, RunRecord, TaskRecord, in_force, told_apart
from clue_bench.doors.results import DevScores, TaskResults
from clue_bench.errors import ClueBenchError
from clue_bench.leaderboards.cells import (
    CLUE,
    FLOOR_LABELS,
    SYNTHETIC,
    MeasuredCell,
    MeasuredColumn,
    MeasuredModel,
    MeasuredTable,
    mean_of_shares,
)
from clue_bench.leaderboards.scores import COLUMN_ORDER, SCORE, exact
from clue_bench.stats.entity_scores import row_values
from clue_bench.stats.selection import selection_bias
from clue_bench.stats.significance import Bools, Groups, Right
from clue_bench.tasks.scores import kind_of


@dataclass(frozen=True)
class CompletedRun:
    """A completed fine-tuning run and its results: those at its best evaluation, whatever the record kept.

    Runs of older versions kept an evaluation that was not constant, though a constant one had scored more.
    """

    record: TaskRecord
    results: TaskResults

    @property
    def flags(self) -> set[str]:
        """Return the record's flags, and that of the evaluation that is shown where it is another one."""
        is_other = self.results is not self.record.results
        return {*self.record.flags, *([MAJORITY_CLASS] if is_other and self.results.dev.hits_majority else [])}

    @property
    def non_constant(self) -> Fraction | None:
        """Return the best score of an evaluation that is not constant; None if all are."""
        dev = self.results.non_constant if self.results.dev.is_constant else self.results.dev
        return None if dev is None else self._score(dev)

    @property
    def choices(self) -> Bools | None:
        """Return what was right in each score that could be chosen, (scores, rows); None if the record lacks one.

        Of entities, which rows are right says too little of the score.
        """
        if self.is_of_entities:
            return None
        bits = [each.right for each in self.results.choices] or [self.results.dev_correct]
        known = [each.unpack() for each in bits if each is not None]
        return np.array(known, dtype=np.bool_) if len(known) == len(bits) else None

    @property
    def settings(self) -> str:
        """Return the fingerprint of all effective settings but the seed, with the precision as requested."""
        return settings_fingerprint(self.record.effective, self.record.asked)

    @property
    def dataset(self) -> str:
        """Return the data set; data that is called synthetic anywhere counts as synthetic."""
        data = self.record.data
        return SYNTHETIC if SYNTHETIC in (data.name, data.revision) else data.name

    @property
    def column(self) -> MeasuredColumn:
        """Return the column of the run's score."""
        task = self.record.task
        return MeasuredColumn(task.column, task.name, self.record.data.revision, self.results.dev.rows)

    @property
    def accuracy(self) -> Fraction:
        """Return the share of rows that are right; of entities the macro-F1."""
        return self._score(self.results.dev)

    @property
    def is_of_entities(self) -> bool:
        """Return whether the score is the macro-F1 of entities."""
        return self.record.task.metric == "entity_f1"

    def _score(self, dev: DevScores) -> Fraction:
        return exact(dev.macro_f1) if self.is_of_entities else Fraction(dev.correct, dev.rows)

    @property
    def place(self) -> tuple[Any, ...]:
        """Return the cell that the run belongs to, for grouping and sorting."""
        column, model = self.column, self.record.model
        where = (self.dataset, column.revision, column.name, column.task, column.dev_rows)
        return (*where, model.name, model.sha256)


@dataclass(frozen=True)
class UnfinishedRun:
    """A fine-tuning run that has no result. `status` is "failed" or "interrupted"."""

    run_id: str
    model: str
    task: str
    status: str
    error: str


def measured_tables(records: Iterable[RunRecord], shown: Collection[str] = ()) -> list[MeasuredTable]:
    """Return the tables of all completed runs: CLUE first, synthetic data last, each run in exactly one table.

    `shown` are the run_ids of settings that were chosen before; other cells show the best of those with the most seeds.
    Raises ClueBenchError as `completed_runs` does.
    """
    groups: dict[tuple[Any, ...], list[CompletedRun]] = {}
    clean: dict[MeasuredColumn, Bools] = {}  # a revision is the same rows, so one record that says so is enough
    passages: dict[MeasuredColumn, Groups] = {}
    for run in completed_runs(records):
        groups.setdefault(run.place, []).append(run)
        repeated = run.record.data.repeated
        if repeated is not None and repeated.rows == run.column.dev_rows:
            clean.setdefault(run.column, ~np.array(repeated.unpack(), dtype=np.bool_))
        begins = run.record.data.passages
        if begins is not None and begins.rows == run.column.dev_rows:
            passages.setdefault(run.column, np.cumsum(begins.unpack()))
    cells = [
        replace(_cell(runs, clean.get(runs[0].column), shown), passages=passages.get(runs[0].column))
        for _, runs in sorted(groups.items())
    ]
    labels = _labels(cells)
    tables = []
    for dataset in sorted({cell.dataset for cell in cells}, key=lambda name: (name != CLUE, name == SYNTHETIC, name)):
        of_dataset = [cell for cell in cells if cell.dataset == dataset]
        numbers = _table_numbers({cell.column for cell in of_dataset})
        for number in range(1, max(numbers.values()) + 1):
            columns = tuple(column for column, its in numbers.items() if its == number)
            inside = [cell for cell in of_dataset if cell.column in columns]
            tables.append(MeasuredTable(dataset, number, columns, _models(inside, labels)))
    return tables


def completed_runs(records: Iterable[RunRecord]) -> list[CompletedRun]:
    """Return the completed fine-tuning runs among `records`, sorted by run_id.

    Raises ClueBenchError that names a run_id if a record is given twice, or its task has the column of the mean.
    """
    by_id: dict[str, RunRecord] = {}
    for record in records:
        if record.run_id in by_id:
            raise ClueBenchError(f"run '{record.run_id}' is given twice", "remove one of the two records")
        if isinstance(record, TaskRecord) and record.task.column == SCORE:
            raise ClueBenchError(
                f"run '{record.run_id}': its task {record.task.name} has the column {SCORE}, that of the mean",
                "change `column` in the task card and in the record",
            )
        by_id[record.run_id] = record
    return [
        CompletedRun(record, at_best(record))
        for _, record in sorted(by_id.items())
        if isinstance(record, TaskRecord) and record.status == "completed"
    ]


def at_best(record: TaskRecord) -> TaskResults:
    """Return the results of a completed run with the scores of its best evaluation by the task's metric."""
    results, metric = record.completed_results, record.task.metric
    best = max(results.evaluations, key=lambda each: float(getattr(each, metric)), default=None)
    if best is None or getattr(best, metric) <= getattr(results.dev, metric):
        return results
    shown = {"dev": best, "dev_correct": best.right, "best_step": best.step, "best_epoch": best.epoch}
    shown["dev_entities"] = None
    return results.model_copy(update=shown)


def unfinished_runs(records: Iterable[RunRecord]) -> list[UnfinishedRun]:
    """Return the fine-tuning runs among `records` that failed or were interrupted, sorted by run_id."""
    unfinished = [
        UnfinishedRun(
            run_id=record.run_id,
            model=record.model.name,
            task=record.task.name,
            status=record.status,
            error=record.error or "",
        )
        for record in records
        if isinstance(record, TaskRecord) and record.status != "completed"
    ]
    return sorted(unfinished, key=lambda run: run.run_id)


def settings_fingerprint(effective: dict[str, Any], asked: dict[str, Any] | None = None) -> str:
    """Return 12 hex digits of the SHA-256 of all effective settings but the seed, whatever the order of the keys.

    Precision counts as it was requested in `asked`: what "auto" became depends on the machine, and two machines that
    share a sweep have tried no more settings than one.
    """
    settings = {key: value for key, value in told_apart(effective).items() if key != "seed"}
    if "precision" in settings:
        chosen = (asked or {}).get("settings")
        settings["precision"] = chosen.get("precision", "auto") if isinstance(chosen, dict) else "auto"
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def _table_numbers(columns: Iterable[MeasuredColumn]) -> dict[MeasuredColumn, int]:
    """Return column → number of its table, in display order; official columns are placed first."""
    order = {name: place for place, name in enumerate(COLUMN_ORDER)}
    taken: Counter[str] = Counter()
    numbers = {}
    for column in sorted(columns, key=lambda c: (not c.is_official, c.revision, -c.dev_rows, c.task)):
        taken[column.name] += 1
        numbers[column] = taken[column.name]
    return dict(sorted(numbers.items(), key=lambda item: (order.get(item[0].name, len(order)), item[0].name, item[1])))


def _models(cells: list[MeasuredCell], labels: dict[tuple[str, str], str]) -> tuple[MeasuredModel, ...]:
    """Return the rows made of `cells`."""
    models = []
    for key in sorted({(cell.model, cell.model_sha256) for cell in cells}):
        own = [cell for cell in cells if (cell.model, cell.model_sha256) == key]
        by_column = {cell.column.name: cell for cell in own}
        assert len(by_column) == len(own), "two cells in one place"
        models.append(MeasuredModel(labels[key], *key, own[0].is_floor, by_column))
    return tuple(sorted(models, key=_rank))


def _rank(model: MeasuredModel) -> tuple[bool, bool, Decimal, int, str, str]:
    """Return the sorting key of a row: floor or not, Score, else how many columns there are, else the name."""
    score = model.score
    return (model.is_floor, score is None, -(score or Decimal(0)), -len(model.cells), model.name, model.sha256)


def _labels(cells: Iterable[MeasuredCell]) -> dict[tuple[str, str], str]:
    """Return (model, sha256) → displayed name, with the hash if several sets of weights share a name."""
    names = {
        (cell.model, cell.model_sha256): FLOOR_LABELS.get(cell.model, cell.model) if cell.is_floor else cell.model
        for cell in cells
    }
    uses = Counter(names.values())
    return {key: name if uses[name] == 1 else f"{name} ({key[1][:7]})" for key, name in names.items()}


def _cell(runs: Sequence[CompletedRun], clean: Bools | None, shown: Collection[str]) -> MeasuredCell:
    """Return the cell of all runs of one model on one column: the best mean among the settings with the most seeds.

    A search tries every setting with one seed and repeats the best with others: a single lucky seed of another setting
    does not compete with a mean over several.
    """
    settings: dict[str, dict[int, CompletedRun]] = {}
    for run in runs:  # in the order of their run_id
        settings.setdefault(run.settings, {}).setdefault(run.record.seed, run)
    means = {name: mean_of_shares(run.accuracy for run in seeds.values()) for name, seeds in settings.items()}
    most = max(map(len, settings.values()))
    best = min((name for name in settings if len(settings[name]) == most), key=lambda name: (-means[name], name))
    best = next((run.settings for run in runs if run.record.run_id in shown), best)
    chosen = [run for _, run in sorted(settings[best].items())]
    records, dev = [run.record for run in chosen], [run.results.dev for run in chosen]
    first = records[0]
    machines = (str(record.hardware.get("gpu") or record.hardware.get("processor", "")) for record in records)
    repeats = {run.record.run_id for run in runs if run.settings == best} - {record.run_id for record in records}
    return MeasuredCell(
        dataset=chosen[0].dataset,
        kind=kind_of(first.task),
        model=first.model.name,
        model_sha256=first.model.sha256,
        parameters=first.model.parameters,
        is_floor=first.model.is_floor,
        column=chosen[0].column,
        runs=tuple(record.run_id for record in records),
        repeats=_distinct(repeats),
        seeds=tuple(record.seed for record in records),
        settings=best,
        effective=in_force(first.effective),
        num_settings=len(settings),
        accuracies=tuple(run.accuracy for run in chosen),
        non_constant=tuple(run.non_constant for run in chosen),
        has_constant=any(run.results.dev.is_constant for run in chosen),
        macro_f1=mean_of_shares(exact(each.macro_f1) for each in dev),
        majority_shares=_distinct(exact(each.majority_share) for each in dev),
        best_steps=_distinct(run.results.best_step for run in chosen),
        total_steps=_distinct(run.results.total_steps for run in chosen),
        commits=_distinct(commit_text(record.code) for record in records),
        flags=tuple(sorted(Counter(flag for run in chosen for flag in run.flags).items())),
        dev_scores=sum(max(len(run.results.choices) or 1 for run in seeds.values()) for seeds in settings.values()),
        bias=_selection_bias(settings, best),
        precisions=_distinct(filter(None, (str(record.effective.get("precision", "")) for record in records))),
        machines=_distinct(filter(None, machines)),
        seconds=sum(record.wall_seconds for record in records),
        pretraining_tokens=first.model.pretraining_tokens,
        origin=first.model.origin or first.model.name,
        other_files=_other_files(first.data.files),
        correct=_correct(chosen),
        correct_clean=None if clean is None or not clean.any() else _correct(chosen, clean),
        clean=clean,
    )


def _selection_bias(settings: Mapping[str, Mapping[int, CompletedRun]], best: str) -> float | None:
    """Return by what share of 1 choosing flatters the setting `best`; None if a record does not say what was right."""
    common = sorted(set.intersection(*(set(seeds) for seeds in settings.values())))
    first = common or sorted(settings[best])[:1]  # settings without a common seed: each counts with its first
    names = sorted(settings)
    runs = [[settings[name].get(seed) or min(settings[name].items())[1] for seed in first] for name in names]
    further = [run for seed, run in sorted(settings[best].items()) if seed not in first]
    shared = [[run.choices for run in of_setting] for of_setting in runs]
    rest = [run.choices for run in further]
    known = [[each for each in of_setting if each is not None] for of_setting in shared]
    known_rest = [each for each in rest if each is not None]
    if any(len(one) != len(first) for one in known) or len(known_rest) != len(rest):
        return None
    return selection_bias(known, known_rest)


def _correct(runs: Sequence[CompletedRun], rows: Bools | None = None) -> Right | None:
    """Return which dev rows, or which of `rows`, each run has right; of entities, numbers whose mean is the score.

    None if one of the records lacks it.
    """
    chosen = slice(None) if rows is None else rows
    if runs[0].is_of_entities:
        counts = [found.unpack()[chosen] for run in runs if (found := run.results.dev_entities) is not None]
        is_known = len(counts) == len(runs) and all(each[:, :, 1:].any() for each in counts)
        return np.stack([row_values(each) for each in counts]) if is_known else None
    packed = [correct for run in runs if (correct := run.results.dev_correct) is not None]
    if len(packed) != len(runs):
        return None
    right: Bools = np.array([each.unpack() for each in packed], dtype=np.bool_)[:, chosen]
    return right


def commit_text(code: Mapping[str, Any], *, whole: bool = False) -> str:
    """Return the commit, 7 characters unless `whole`, and `+dirty`, or the version if there was no checkout."""
    commit, version = str(code.get("commit") or ""), str(code.get("version") or "")
    if not commit:
        return f"v{version}" if version else ""
    return (commit if whole else commit[:7]) + "+dirty" * (code.get("dirty") is True)


def _other_files(files: dict[str, FileFacts]) -> str:
    """Return `train 7,503 of 12,133 rows, test (another md5)`: the files that are not those of the task card."""
    found = []
    for split, facts in files.items():
        if facts.is_official or facts.expected_rows is None:
            continue
        is_short = facts.rows + facts.dropped_rows != facts.expected_rows
        what = f"{facts.rows:,} of {facts.expected_rows:,} rows" if is_short else "(another md5)"
        found.append(f"{split} {what}")
    return ", ".join(found)


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))
