"""Compare two settings on the same rows of the same data.

Input: the folders of one run or of several seeds on each side. Output: a `Comparison`, with a verdict in words. Runs
on different tasks, data revisions, splits or rows are refused: their difference would mean nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clue_bench.analysis.finished import Bools, FinishedRun, read_run
from clue_bench.doors.records import in_force
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import count, percent, typed
from clue_bench.stats.significance import (
    ALPHA,
    ConfidenceInterval,
    Discordance,
    Groups,
    PairedTest,
    Right,
    accuracy_interval,
    mcnemar,
    p_text,
    paired_test,
)
from clue_bench.tables import Cell, Column, Shown, Table, make_table, our_words
from clue_bench.tasks.scores import kind_of, score_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Side:
    """One setting: its runs, one per seed, and their mean accuracy on the split, or macro-F1 of entities."""

    name: str  # "A" or "B"
    runs: list[FinishedRun]
    clean: Bools
    interval: ConfidenceInterval

    @property
    def correct(self) -> Right:
        """Return which rows are right, (seeds, rows); of entities, numbers whose mean is the score."""
        return _stacked(self.runs)

    @property
    def tested(self) -> Right:
        """Return the same of the rows that training does not repeat."""
        return _stacked(self.runs, self.clean)

    @property
    def model(self) -> str:
        """Return what the model is called."""
        return self.runs[0].record.model.name

    @property
    def accuracy(self) -> float:
        """Return the mean accuracy over seeds, as a share of 1."""
        return float(self.correct.mean())


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """A against B. `discordance` is None if a side has several seeds, or rows are not just right or wrong."""

    a: Side
    b: Side
    discordance: Discordance | None
    test: PairedTest
    """The paired test that leaderboards rank by, with the difference and its interval."""
    num_passages: int | None = None
    """Of questions: whole passages are drawn, so the test is over these, and McNemar's would be too sure."""

    @property
    def is_separated(self) -> bool:
        """Return whether the test tells the two sides apart."""
        return self.test.p_value < ALPHA

    @property
    def is_of_entities(self) -> bool:
        """Return whether the macro-F1 of entities is compared."""
        return self.a.runs[0].task.metric == "entity_f1"

    @property
    def num_repeated(self) -> int:
        """Return how many rows training repeats: the test leaves them out."""
        return int((~self.a.clean).sum())

    @property
    def differing(self) -> dict[str, tuple[Any, Any]]:
        """Return the settings of fine-tuning that differ, with both values: a verdict is on them, too."""
        return _differing(_settings(self.a.runs[0]), _settings(self.b.runs[0]))

    @property
    def covers(self) -> str:
        """Return what the interval of the difference takes into account."""
        counts = len(self.a.runs), len(self.b.runs)
        drawn = "another draw of dev rows" if self.num_passages is None else "another draw of dev passages"
        if min(counts) > 1:
            return f"{drawn}, and of seeds"
        if max(counts) > 1:
            several = "A" if counts[0] > 1 else "B"
            return f"{drawn}, and of seeds, which vary on the other side as {several}'s do"
        return f"{drawn}; not another seed: there is one on each side"

    @property
    def verdict(self) -> str:
        """Return the verdict in one sentence."""
        name, p_value, difference, interval = self.test
        low, high = 100 * interval.low, 100 * interval.high
        evidence = f"{percent(interval.level, 0)} interval of A minus B {low:+.2f} … {high:+.2f} points; "
        evidence += f"{'t-test ' * (self.num_passages is not None)}{name} p {p_text(p_value)}"
        if self.is_separated:
            better, worse = ("A", "B") if difference > 0 else ("B", "A")
            return f"{better} is better than {worse} by {100 * abs(difference):.2f} points ({evidence})"
        where = "lies inside the error" if low <= 0.0 <= high else "is at its edge"
        return f"not separated: the difference of {100 * difference:+.2f} points {where} ({evidence})"

    @property
    def tables(self) -> tuple[Table, Table]:
        """Return the sides, and the evidence."""
        return self.sides, self.evidence

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a row per side: model, accuracy, interval and runs."""
        return self.sides.to_dataframe()

    @property
    def sides(self) -> Table:
        """Return a row per side."""
        rows = []
        for side in (self.a, self.b):
            seeds, first = len(side.runs), side.runs[0].record.run_id
            interval = f"{percent(side.interval.low)} … {percent(side.interval.high)}"
            accuracy = Cell(percent(side.accuracy), side.accuracy)
            runs = first if seeds == 1 else our_words(f"{seeds} seeds: {first} …")
            share = float(side.tested.mean())
            clean = [Cell(percent(share), share)] if self.num_repeated else []
            rows.append([side.name, side.model, accuracy, interval, *clean, runs])
        split, level = self.a.runs[0].split, self.test.interval.level
        score = score_name(kind_of(self.a.runs[0].task))
        columns = ["", "model", f"{split} {score}", f"{percent(level, 0)} interval"]
        return make_table("", [*columns, *(["on clean rows"] if self.num_repeated else []), "runs"], rows)

    @property
    def evidence(self) -> Table:
        """Return the difference, its interval, the test, and the verdict."""
        interval = self.test.interval
        rows = [
            (
                f"{percent(interval.level, 0)} interval",
                f"{100 * interval.low:+.2f} … {100 * interval.high:+.2f} points",
            ),
            ("it covers", self.covers),
        ]
        if self.differing:
            both = (f"{key} {typed(a) or '–'} / {typed(b) or '–'}" for key, (a, b) in self.differing.items())
            rows.append(("settings, A / B", ", ".join(both)))
        if self.num_repeated:
            rows.append(("tested on", f"{count(self.a.clean.sum())} rows; {count(self.num_repeated)} are in training"))
        if self.discordance is not None:
            rows.append(("only A right", f"{self.discordance.only_a:,} of {len(self.a.tested[0]):,} rows"))
            rows.append(("only B right", f"{self.discordance.only_b:,} rows"))
        is_single = len(self.a.runs) == len(self.b.runs) == 1
        how = "t-test over rows" if is_single else "t-test over rows and seeds"
        how = "exact" if self.discordance is not None else how
        if self.num_passages is not None:
            num = count(self.num_passages)
            how = (
                f"t-test over {num} passages"
                if self.discordance is not None
                else f"t-test over {num} passages and seeds"
            )
        rows.append(
            (
                "test" if self.num_passages is not None else self.test.name,
                f"p {p_text(self.test.p_value)}, {how}, two-sided",
            )
        )
        rows.append(("verdict", self.verdict))
        columns = ("A minus B", f"{100 * self.test.difference:+.2f} points")
        return make_table("", [Column(name, is_words=True) for name in columns], rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; shares are of 1."""
        first = self.a.runs[0]
        return {
            "task": first.task.name,
            "metric": "entity_f1" if self.is_of_entities else "accuracy",
            "split": first.split,
            "rows": len(first.predictions),
            "repeated_rows": self.num_repeated,
            "data_revision": first.record.data.revision,
            "a": _side_json(self.a),
            "b": _side_json(self.b),
            "difference": self.test.difference,
            "interval": self.test.interval._asdict(),
            "interval_covers": self.covers,
            "discordant": None if self.discordance is None else self.discordance._asdict(),
            "mcnemar_p": None if self.discordance is None or self.num_passages else self.discordance.p_value,
            "welch_p": None if self.discordance is not None and self.num_passages is None else self.test.p_value,
            "passages": self.num_passages,
            "differing_settings": self.differing,
            "is_separated": self.is_separated,
            "verdict": self.verdict,
        }


def compare_runs(a: list[Path], b: list[Path], *, split: str = "dev") -> Comparison:
    """Compare the runs in the folders `a` with those in `b`; several on a side are seeds of one setting.

    Raises ClueBenchError if a folder holds no finished run, the rows are not the same, or a side mixes settings.
    """
    sides = {"A": [read_run(folder, split) for folder in a], "B": [read_run(folder, split) for folder in b]}
    first = sides["A"][0]
    for run in (*sides["A"][1:], *sides["B"]):
        _check_same_rows(first, run)
    for name, runs in sides.items():
        _check_one_setting(name, runs)
    clean = _clean_rows([run for runs in sides.values() for run in runs])
    passages = _passages([run for runs in sides.values() for run in runs])
    left, right = (
        Side(name, runs, clean, accuracy_interval(_stacked(runs), groups=passages)) for name, runs in sides.items()
    )
    single = len(left.runs) == len(right.runs) == 1
    return Comparison(
        a=left,
        b=right,
        discordance=mcnemar(left.tested[0], right.tested[0]) if single and first.entities is None else None,
        test=paired_test(
            left.tested,
            right.tested,
            is_fixed=(single, single),
            groups=None if passages is None else passages[clean],
        ),
        num_passages=None if passages is None else len(np.unique(passages[clean])),
    )


def _stacked(runs: list[FinishedRun], rows: Bools | None = None) -> Right:
    """Return (seeds, rows) what each run gives to its score, on `rows` alone."""
    values: Any = np.stack([run.values(rows) for run in runs])
    return cast(Right, values)


def _clean_rows(runs: list[FinishedRun]) -> Bools:
    """Return which rows training does not repeat, as far as a record of the same data says so; else all of them."""
    rows = len(runs[0].predictions)
    known = [run.record.data.repeated for run in runs if run.split == "dev" and run.record.data.repeated is not None]
    clean = ~np.array(known[0].unpack(), dtype=np.bool_) if known else np.ones(rows, dtype=np.bool_)
    return clean if clean.any() else ~clean


def _passages(runs: list[FinishedRun]) -> Groups:
    """Return the passage of each question of dev, as far as a record of the same data says so."""
    known = [run.record.data.passages for run in runs if run.split == "dev" and run.record.data.passages is not None]
    return np.cumsum(known[0].unpack()) if known else None


def _check_same_rows(first: FinishedRun, run: FinishedRun) -> None:
    """Raise ClueBenchError unless both runs were on the same task, data, split and rows."""
    facts = {
        "task": (first.task.name, run.task.name),
        "data set": (first.record.data.name, run.record.data.name),
        "data revision": (first.record.data.revision, run.record.data.revision),
        f"md5 of {first.split}": (first.md5, run.md5),
        "number of rows": (len(first.predictions), len(run.predictions)),
    }
    for what, (ours, theirs) in facts.items():
        if ours != theirs:
            raise ClueBenchError(
                f"{first.folder} and {run.folder} cannot be compared: {what} {ours} and {theirs}",
                "compare runs on the same data; run clue-bench runs list to find them",
            )
    for number, (one, other) in enumerate(zip(first.predictions, run.predictions, strict=True), 1):
        if (one.id, one.gold) != (other.id, other.gold):
            raise ClueBenchError(
                f"{first.folder} and {run.folder}: row {number} of {first.split} is id {one.id}, gold '{one.gold}' in "
                f"one and id {other.id}, gold '{other.gold}' in the other",
                "repeat the runs on the same data",
            )


def _check_one_setting(name: str, runs: list[FinishedRun]) -> None:
    """Raise ClueBenchError unless the runs of a side differ only in their seeds."""
    first = runs[0]
    seeds = [run.record.seed for run in runs]
    for run in runs[1:]:
        ours, theirs = ({"model": each.record.model.name, **_settings(each)} for each in (first, run))
        if differing := _differing(ours, theirs):
            key, (one, other) = next(iter(differing.items()))
            raise ClueBenchError(
                f"side {name} mixes settings: {key} is {one} in {first.folder} and {other} in {run.folder}",
                "give on each side only seeds of one setting, and put --against between the two sides",
            )
    if len(set(seeds)) != len(seeds):
        raise ClueBenchError(
            f"side {name} has a seed twice: {', '.join(map(str, sorted(seeds)))}",
            "give every seed once, and put --against between the two sides",
        )


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return both values of each key in which they differ, by name; None where one has none."""
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _settings(run: FinishedRun) -> dict[str, Any]:
    return {key: value for key, value in in_force(run.record.effective).items() if key != "seed"}


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "model": side.model,
        "runs": [run.record.run_id for run in side.runs],
        "seeds": [run.record.seed for run in side.runs],
        "accuracy": side.accuracy,
        "clean_accuracy": float(side.tested.mean()),
        "accuracies": [float(run.values().mean()) for run in side.runs],
        "interval": side.interval._asdict(),
    }
