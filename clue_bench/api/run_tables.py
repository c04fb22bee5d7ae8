"""Runs as tables: what a run gave, the list that says which was which, and everything about one.

Input: records with their folders. Output: tables. A list shows of the settings only those that differ among the runs
on the same task, or by the same recipe: what they share is no answer to "which run was which".
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from clue_bench.cards import Key
from clue_bench.doors.records import CHECKPOINT, MAJORITY_CLASS, RunRecord, is_running
from clue_bench.doors.results import DevScores, PretrainResults, TaskResults
from clue_bench.doors.speed_results import SpeedResults
from clue_bench.language import translated
from clue_bench.numbers import count, duration, percent, scaled, typed
from clue_bench.tables import Cell, Column, Table, make_cell, make_facts, make_table, our_words
from clue_bench.tasks.scores import WITH_CHOICES, kind_of, score_names

METRICS = "metrics.jsonl"  # of a pretraining run: a report a line
MAX_PERPLEXITY = 1e6  # above this the digits mean nothing
MAX_SHOWN = 6  # settings of a run in a list
NO_SETTINGS = ("seed", "name", "title", "processes", "held_out_tokens", "vocab_size", "tokenizer_check")
"""Facts among the effective settings that nobody chose, and the seed, which has a column of its own."""

FLAGS = {
    MAJORITY_CLASS: "(nearly) always the most frequent answer, or no better than that",
    "noisy_speed": "noisy: an interval is wider than a tenth of its median",
    "few_repetitions": "too few repetitions for an interval of 95 %",
}
"""The meaning of flags; others are shown unchanged."""

Found = Sequence[tuple[RunRecord, Path]]


def result_table(record: RunRecord, folder: Path) -> Table:
    """Return what a run gave, and where its files are."""
    results = record.results
    rows: list[tuple[object, object]]
    if isinstance(results, PretrainResults):
        rows = [("checkpoint", str(folder / CHECKPOINT)), ("loss curve", str(folder / "loss.svg"))]
        rows += [
            ("parameters", count(record.model.parameters)),
            *((name, our_words(value)) for name, value in pretraining_rows(results)),
        ]
    elif isinstance(results, TaskResults):
        dev = results.dev
        rows = [*score_rows("dev", dev, record)]
        for split, scores in results.test.items():
            rows += score_rows(split, scores, record)
        if (clean := results.dev_clean) is not None and clean.rows < dev.rows:
            rows += [(f"on the {count(clean.rows)} rows not in training", percent(clean.accuracy))]
        if dev.is_constant and results.evaluations:
            other = results.non_constant
            rows += [("best that is not constant", percent(other.accuracy) if other else our_words("no evaluation"))]
        rows += [_usual_row(dev, record_kind(record))]
        if results.total_steps:
            rows += [("best step", our_words(f"{count(results.best_step)} of {count(results.total_steps)}"))]
        rows += [("data", our_words(f"{record.data.name}, revision {record.data.revision}"))]
        rows += [("time", our_words(duration(record.wall_seconds))), ("folder", str(folder))]
    else:
        rows = [("status", our_words(record.status)), *([("error", our_words(record.error))] if record.error else [])]
        rows += [("folder", str(folder))]
    done = {"pretrain": "pretrained", "finetune": "finetuned", "speed": "measured"}[record.kind]
    return make_facts((done if record.status == "completed" else record.kind, record.run_id), rows)


def record_kind(record: RunRecord) -> str:
    """Return the kind of a run's task, that of texts with labels for a run on no task."""
    return "classification" if record.task is None else kind_of(record.task)


def score_rows(split: str, scores: DevScores, record: RunRecord) -> list[tuple[str, str]]:
    """Return the scores of a split, that of the task's metric first."""
    accuracy, f1 = score_names([record_kind(record)])
    rows = [(f"{split} {accuracy}", percent(scores.accuracy))]
    rows += [(f"{split} {f1}", percent(scores.macro_f1))] if f1 else []
    return rows[::-1] if record.task and record.task.metric in ("macro_f1", "entity_f1") else rows


def _usual_row(dev: DevScores, kind: str) -> tuple[str, Cell]:
    """Return what the answer scores that looks at no row."""
    share = percent(dev.majority_share)
    if kind in WITH_CHOICES:
        return "always the same choice", our_words(f"{share} with number {dev.majority_label} (from 0)")
    if kind == "tags":
        return "without an entity", our_words(f"{share} of dev")
    name = "most frequent answer" if kind == "span" else "majority class"
    return name, our_words(f"{share} of dev is '{dev.majority_label}'")


def list_table(found: Found) -> Table:
    """Return a line per run, the latest last: model, task, seed, result, date, what differs, folder, error."""
    differing = _differing(found)
    this_year = len({_started(record).year for record, _ in found}) == 1
    rows = [
        [
            record.model.name,
            _task_of(record),
            record.seed,
            running_text(record, folder) or headline(record) + _marks(record),
            f"{_started(record):%m-%d %H:%M}" if this_year else f"{_started(record):%Y-%m-%d}",
            _settings_text(record, differing[place]),
            str(folder),
            record.error or "",
            record.run_id,
            _took(record, folder),
            record.data.revision,
            " ".join(record.flags),
        ]
        for place, (record, folder) in sorted(enumerate(found), key=lambda each: _started(each[1][0]))
    ]
    columns: list[str | Column] = ["model", "task", "seed", Column("result", is_number=True, is_words=True), "started"]
    columns += [Column(name, is_below=True, is_words=name == "error") for name in ("settings", "folder", "error")]
    columns += [
        Column(name, is_detail=True, is_words=name == "time") for name in ("run", "time", "data revision", "flags")
    ]
    marked = any(MAJORITY_CLASS in record.flags for record, _ in found)
    return make_table("", columns, rows, notes=[f"† {FLAGS[MAJORITY_CLASS]}"] * marked)


def detail_tables(record: RunRecord, folder: Path) -> list[Table]:
    """Return everything about one run: its result, how it was made, and every setting with its meaning."""
    model, data = record.model, record.data
    commit = str(record.code.get("commit") or "")[:8] + " with changes" * (record.code.get("dirty") is True)
    files = ", ".join(f"{name} {count(facts.rows)}" for name, facts in data.files.items())
    started = ", took ".join(filter(None, [f"{_started(record):%Y-%m-%d %H:%M}", _took(record, folder)]))
    facts: list[tuple[object, object]] = [
        ("status", our_words(running_text(record, folder) or record.status)),
        ("error", our_words(record.error or "")),
        ("flags", our_words("; ".join(FLAGS.get(flag, flag) for flag in record.flags))),
        ("task", record.task.title if record.task else ""),
        ("model", our_words(f"{model.name}, {count(model.parameters)} parameters, weights {model.sha256[:8]}")),
        ("pretrained on", our_words(f"{scaled(model.pretraining_tokens)} tokens" if model.pretraining_tokens else "")),
        ("data", our_words(f"{data.name}, revision {data.revision}" + f" ({files} rows)" * bool(files))),
        ("seed", str(record.seed)),
        ("started", our_words(started)),
        ("asked", _flat_text(record.asked)),
        ("clue-bench", f"{record.code.get('version', '')} {commit}".strip()),
        ("packages", ", ".join(f"{name} {version}" for name, version in record.packages.items())),
        ("machine", ", ".join(f"{name} {value}" for name, value in record.hardware.items())),
        ("folder", str(folder)),
    ]
    settings = [(key, typed(value), _meanings(record).get(key.rpartition(".")[2], "")) for key, value in flat(record)]
    tables = [result_table(record, folder)] if record.results is not None else []
    tables.append(make_facts(("run", record.run_id), [fact for fact in facts if make_cell(fact[1]).text]))
    return [*tables, make_table("", ["setting", "value", Column("meaning", is_words=True)], settings)]


def flat(record: RunRecord) -> list[tuple[str, Any]]:
    """Return the effective settings that have a value, those of a table within as table.key."""
    return [(key, value) for key, value in _flat(record.effective) if value not in (None, "")]


def headline(record: RunRecord) -> str:
    """Return the main number of a run of any kind, or its status if it has none."""
    results = record.results
    if isinstance(results, TaskResults):
        return percent(results.dev.macro_f1 if record_kind(record) == "tags" else results.dev.accuracy)
    if isinstance(results, PretrainResults):
        return f"loss {results.loss if results.held_out_loss is None else results.held_out_loss:.3f}"
    if isinstance(results, SpeedResults) and results.prediction:
        rate = results.prediction.rows_per_second.median
        return f"{count(rate) if rate >= 100 else f'{rate:.3g}'} rows/s"
    if isinstance(results, SpeedResults) and results.training:
        return f"{results.training.seconds_per_1000_steps.median:.3g} s/1k steps"
    return record.status


def running_text(record: RunRecord, folder: Path) -> str:
    """Return how far a run is that a process is doing at the moment, "" for any other."""
    if not is_running(folder, record):
        return ""
    reports = folder / METRICS
    text = reports.read_text(encoding="utf-8") if reports.is_file() else ""
    lines = text.rpartition("\n")[0].splitlines()  # the last one may be half written yet
    stages = [record.effective.get(stage) for stage in ("stage1", "stage2")]
    total = sum(stage["steps"] for stage in stages if stage)
    step = f", step {count(json.loads(lines[-1])['step'])} of {count(total)}" if lines else ""
    return f"running{step}"


def settings_line(settings: Mapping[str, Any], defaults: Mapping[str, Any] = {}) -> str:
    """Return settings as one line, as --set takes them; those that equal `defaults` are left out."""
    return " ".join(
        f"{key}={typed(value)}" for key, value in settings.items() if value is not None and value != defaults.get(key)
    )


def pretraining_rows(results: PretrainResults) -> list[tuple[str, str]]:
    """Return the displayed results of a finished pretraining run, in words and with units."""
    shown = []
    for key, (words, form) in PRETRAINING.items():
        value = getattr(results, key)
        is_the_loss = key == "lm_loss" and value == results.loss
        if value is not None and not is_the_loss:
            shown.append((words, form(value)))
    return shown


def perplexity_text(value: float) -> str:
    """Return a perplexity in four digits."""
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" if value < MAX_PERPLEXITY else "above 1,000,000"


def _differing(found: Found) -> list[dict[str, Any]]:
    """Return for every run the settings in which the runs on its task, or by its recipe, differ."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, (record, _) in enumerate(found):
        name = record.task.name if record.task else str(record.asked.get("recipe", record.model.name))
        groups.setdefault((record.kind, name), []).append(place)
    values = [
        {key: value for key, value in flat(record) if key not in NO_SETTINGS}
        if record.kind != "speed" and not record.model.is_floor  # what these say is no choice of the user's
        else {}
        for record, _ in found
    ]
    different: list[dict[str, Any]] = [{} for _ in found]
    for places in groups.values():
        keys = dict.fromkeys(key for place in places for key in values[place])
        # A key that an older record lacks is unknown there, and no difference.
        varied = [key for key in keys if len({str(values[p][key]) for p in places if key in values[p]}) > 1]
        for place in places:
            different[place] = {key: values[place][key] for key in varied if key in values[place]}
    return different


def _settings_text(record: RunRecord, differing: Mapping[str, Any]) -> str:
    """Return what differs as text, of many settings first those that were asked for."""
    asked = [key.rpartition(".")[2] for key, _ in _flat(record.asked)]
    keys = sorted(differing, key=lambda key: key.rpartition(".")[2] not in asked)
    shown = settings_line({key: differing[key] for key in keys[:MAX_SHOWN]})
    return shown + f" and {len(keys) - MAX_SHOWN} more" * (len(keys) > MAX_SHOWN)


def _flat(values: Mapping[str, Any], outer: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{outer}{key}.")
        else:
            yield f"{outer}{key}", value


def _flat_text(values: Mapping[str, Any]) -> str:
    facts = ((key.removeprefix("settings."), value) for key, value in _flat(values))
    return " ".join(f"{key}={typed(value)}" for key, value in facts if value not in (None, False, "", []))


def _meanings(record: RunRecord) -> dict[str, str]:
    keys: list[Key] = []
    if record.kind == "finetune" and not record.model.is_floor:
        from clue_bench.finetuning.settings import setting_keys

        keys = setting_keys()
    elif record.kind == "pretrain":
        from clue_bench.pretraining.recipe import recipe_keys

        keys = recipe_keys()
    return {key.name: key.meaning for key in keys}


def _task_of(record: RunRecord) -> str:
    return record.task.name if record.task else translated({"pretrain": "pretraining"}.get(record.kind, record.kind))


def _marks(record: RunRecord) -> str:
    return "†" * (MAJORITY_CLASS in record.flags)


def _took(record: RunRecord, folder: Path) -> str:
    """Return how long a run took, or has been going on; nothing for one that was interrupted: nobody wrote it down."""
    if is_running(folder, record):
        return duration((datetime.now().astimezone() - _started(record)).total_seconds())
    return "" if record.status == "interrupted" else duration(record.wall_seconds)


def _started(record: RunRecord) -> datetime:
    """Return when a run started, in this machine's time; the beginning of time if the record has no date."""
    try:
        return datetime.fromisoformat(record.started_at).astimezone()
    except ValueError:
        return datetime(1970, 1, 2).astimezone()


def _nats(loss: float) -> str:
    return f"{loss:.3f}"


def _percent(share: float) -> str:
    return percent(share, 1)


PRETRAINING: dict[str, tuple[str, Callable[[float], str]]] = {
    "step": ("steps", count),
    "tokens": ("tokens trained on", count),
    "epochs": ("epochs of the last stage", lambda number: f"{number:.3g}"),
    "loss": ("loss (nats)", _nats),
    "lm_loss": ("loss, tokens", _nats),
    "sop_loss": ("loss, sentence order", _nats),
    "pair_loss": ("loss, labelled pairs", _nats),
    "bag_loss": ("loss, bag of words", _nats),
    "lm_accuracy": ("accuracy, tokens", _percent),
    "sop_accuracy": ("accuracy, sentence order", _percent),
    "pair_accuracy": ("accuracy, labelled pairs", _percent),
    "held_out_loss": ("held-out loss (nats)", _nats),
    "held_out_perplexity": ("held-out perplexity", perplexity_text),
    "held_out_accuracy": ("held-out accuracy, tokens", _percent),
    "held_out_sop_accuracy": ("held-out accuracy, order", _percent),
    "skipped": ("steps skipped", count),
    "loss_scale": ("loss scale, fp16", count),
    "seconds": ("training time", duration),
    "mean_tokens_per_second": ("tokens per second", count),
    "matrix_product_flops_per_second": ("matrix products reach", lambda number: f"{scaled(number)}FLOP/s"),
    "mfu": ("MFU, of that", _percent),
    "hfu": ("HFU, computed of that", _percent),
    "peak_memory_mib": ("peak memory", lambda mib: f"{mib:,} MiB"),
    "peak_gpu_memory_mib": ("peak memory of the GPU", lambda mib: f"{mib:,} MiB"),
}
"""Results by key: their display names, and how their values are formatted. Results that are None are left out."""
