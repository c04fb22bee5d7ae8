"""The provenance of a cell: runs, seeds, settings, code, data, machine; for a quoted cell, source, split and note.

Input: the board and the records behind it. Output: address of a cell → plain values for JSON. The page's script writes
them as text and does not know their meaning: {"title", "lead", "warnings", "sections"}; a section has a heading in
two languages and "facts" (Chinese, English, value), or a "table" (header of pairs, rows of text).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clue_bench.doors.records import MAJORITY_CLASS, RunRecord, TaskRecord, in_force
from clue_bench.leaderboards.against_published import ComparedScore, PublishedComparison, verdict_address
from clue_bench.leaderboards.cells import MeasuredCell, MeasuredModel, MeasuredTable, cell_address
from clue_bench.leaderboards.leaderboard import Leaderboard
from clue_bench.leaderboards.published.tables import PublishedCell, PublishedTable, error_text
from clue_bench.leaderboards.ranks import Ranks
from clue_bench.leaderboards.runs import at_best, commit_text
from clue_bench.leaderboards.scores import SCORE, SCORE_COLUMNS, SPLIT, error_of_mean, percent_text, percentage
from clue_bench.leaderboards.speed.columns import COLUMNS, NOTES, Measured, SpeedCell
from clue_bench.leaderboards.speed.tables import CONDITIONS, SpeedTable, conditions
from clue_bench.numbers import typed
from clue_bench.tables import MISSING
from clue_bench.tasks.scores import CHINESE, kind_of, score_name, score_names

Values = dict[str, Any]

FLAGS = {
    MAJORITY_CLASS: "多数类：（几乎）只回答最多的一类，或不比这样做更好。 "
    "Majority class: no better than always answering it."
}
MISSES_FLOOR = "不高于无预训练的基线。 Not above the best model without any pretraining."
NOT_OFFICIAL = (
    "数据不是官方版本，不能与已发表的得分比较。 The data is not official: not comparable with published scores."
)


def provenance(board: Leaderboard, records: Iterable[RunRecord], speeds: Iterable[SpeedTable]) -> dict[str, Values]:
    """Return address → provenance of the cell, for the whole board. `records` hold the runs of its cells."""
    by_id = {record.run_id: record for record in records if isinstance(record, TaskRecord)}
    found = _compared_cells(board.against_published)
    for table, ranks in zip(board.measured, board.ranks, strict=True):
        found |= _measured_cells(table, by_id, ranks)
    for table_of_speeds in speeds:
        found |= _speed_cells(table_of_speeds)
    for quoted in board.published:
        found |= _quoted_cells(quoted)
    return found


def _measured_cells(
    table: MeasuredTable, records: Mapping[str, TaskRecord], ranks: Sequence[Ranks]
) -> dict[str, Values]:
    """Return address → provenance, for every cell of a table and every Score."""
    found = {}
    by_column = {of_column.column: of_column for of_column in ranks}

    def rank(column: str, model: MeasuredModel) -> list[str]:
        text = by_column[column].rank_text(model.label) if column in by_column else ""
        return ["名次", "rank: the places that paired tests leave open", text or MISSING]

    for model in table.models:
        for name, cell in model.cells.items():
            runs = [records[run_id] for run_id in cell.runs]
            address = cell_address(table.address, model.label, name)
            found[address] = _measured(model, cell, table, runs, rank(name, model))
        if model.score is not None:
            found[cell_address(table.address, model.label, SCORE)] = _score(model, table, rank(SCORE, model))
    return found


def _quoted_cells(table: PublishedTable) -> dict[str, Values]:
    """Return address → source, split and notes, for every quoted cell."""
    return {
        table.cell_address(name, place): _quoted(name, table.header[place], cell, table)
        for name, row in zip(table.row_names, table.rows, strict=True)
        for place, cell in enumerate(row)
        if place and cell.source and not cell.links
    }


def _compared_cells(compared: PublishedComparison) -> dict[str, Values]:
    """Return address → both scores, source and the obstacles to comparing them."""
    return {verdict_address(row, place): _compared(row) for place, row in enumerate(compared.rows, start=1)}


def _speed_cells(table: SpeedTable) -> dict[str, Values]:
    """Return address → provenance of a measured speed."""
    return {
        cell_address(speed_address(table), row.record.model.name, column.name): _speed(column.name, cell, row, table)
        for row in table.rows
        for column, cell in zip(COLUMNS, table.cells(row), strict=True)
        if cell.text != MISSING
    }


def _measured(
    model: MeasuredModel, cell: MeasuredCell, table: MeasuredTable, runs: Sequence[TaskRecord], rank: list[str]
) -> Values:
    spread = "" if cell.deviation is None else f" ± {cell.deviation}"
    return {
        "title": f"{model.label} · {cell.column.name}",
        "lead": f"{percent_text(cell.percent)}{spread}",
        "warnings": _warnings(cell, table),
        "sections": [
            section("数字", "Number", [*_number_facts(cell, table), rank]),
            _runs_section(runs),
            section("模型", "Model", _model_facts(model, runs)),
            section("数据", "Data", _data_facts(cell, runs)),
            section("设置", "Settings", common_facts([in_force(run.effective) for run in runs], leave="seed")),
            section("代码与版本", "Code and versions", code_facts(runs, cell.settings)),
            section("机器", "Hardware", common_facts([dict(run.hardware) for run in runs])),
        ],
    }


def _warnings(cell: MeasuredCell, table: MeasuredTable) -> list[str]:
    flags = [FLAGS.get(flag, flag.replace("_", " ")) + f" ({num}/{len(cell.runs)})" for flag, num in cell.flags]
    misses = [MISSES_FLOOR] if table.misses_floor(cell) else []
    return [*flags, *misses, *([] if cell.column.is_official else [NOT_OFFICIAL])]


def _number_facts(cell: MeasuredCell, table: MeasuredTable) -> list[list[str]]:
    low, high = cell.interval
    score, (_, f1) = score_name(cell.kind), score_names([cell.kind])
    seeds = f"{len(cell.seeds)}: {', '.join(map(str, cell.seeds))}"
    return [
        [CHINESE[score], f"{score}, mean over seeds, {SPLIT}", percent_text(cell.percent)],
        ["种子", "seeds", seeds],
        ["种子间标准差", "sd over seeds, points", MISSING if cell.deviation is None else f"± {cell.deviation}"],
        ["抽样误差", "sampling error, 1σ, points", f"± {cell.sampling_error}"],
        ["95 % 区间", "interval, dev rows and seeds", f"{100 * low:.2f}% … {100 * high:.2f}%"],
        ["不含训练集中的行", "on rows that training does not repeat", cell.clean_text],
        ["非单一类的最好评估", "best evaluation that is not constant", cell.non_constant_text],
        *([[CHINESE[f1], f1, cell.f1_text]] if f1 and f1 != score else []),
        ["多数类", "majority share", " / ".join(percent_text(percentage(share)) for share in cell.majority_shares)],
        ["高于基线", "points over the best floor", table.over_floor_text(cell)],
        ["尝试的设置", "settings tried", "1" if cell.num_settings == 1 else f"best of {cell.num_settings}"],
        ["选择偏差", "selection bias of choosing on dev, points, about", cell.selection_text],
    ]


def _runs_section(runs: Sequence[TaskRecord]) -> Values:
    accuracy = score_name(kind_of(runs[0].task))
    header = [
        ["运行", "run"], ["种子", "seed"], ["正确 / 行数", "correct / rows"],
        [CHINESE[accuracy], accuracy],
        ["步", "best step / steps"], ["秒", "seconds"], ["完成", "finished"], ["提交", "commit"],
    ]  # fmt: skip
    rows = []
    for run in runs:
        results = at_best(run)
        dev = results.dev
        rows.append(
            [
                run.run_id,
                str(run.seed),
                f"{dev.correct:,} / {dev.rows:,}",
                f"{100 * (dev.macro_f1 if run.task.metric == 'entity_f1' else dev.correct / dev.rows):.2f}%",
                f"{results.best_step:,} / {results.total_steps:,}",
                f"{run.wall_seconds:,.0f}",
                run.finished_at or MISSING,
                commit_text(run.code) or MISSING,
            ]
        )
    return {"zh": "运行", "en": "Runs", "table": {"header": header, "rows": rows}}


def _model_facts(model: MeasuredModel, runs: Sequence[TaskRecord]) -> list[list[str]]:
    shapes = {f"{run.model.layers} × {run.model.hidden_size}" for run in runs}
    tokens = {run.model.pretraining_tokens for run in runs}
    asked = {str(run.asked["model"]) for run in runs if "model" in run.asked}
    said = [MISSING if number is None else f"{number:,}" for number in sorted(tokens, key=lambda n: (n is None, n))]
    return [
        ["名称", "name", model.name],
        ["权重", "weights it started from, SHA-256", model.sha256],
        ["参数", "parameters", ", ".join(sorted({f"{run.model.parameters:,}" for run in runs}))],
        ["层 × 宽", "layers × units", ", ".join(sorted(shapes))],
        ["预训练词元", "pretraining tokens", ", ".join(said)],
        *([["所给", "as asked", ", ".join(sorted(asked))]] if asked else []),
    ]


def _data_facts(cell: MeasuredCell, runs: Sequence[TaskRecord]) -> list[list[str]]:
    facts = [
        ["任务", "task", " / ".join(sorted({run.task.title for run in runs if run.task}))],
        ["数据", "data", ", ".join(sorted({run.data.name for run in runs}))],
        ["版本", "revision", cell.column.revision],
        ["dev 行数", "dev rows scored", f"{cell.column.dev_rows:,}"],
    ]
    for split, file in sorted(runs[0].data.files.items()):
        state = "官方 official" if file.is_official else f"≠ 官方 official ({file.expected_rows or '?'} rows)"
        dropped = f", {file.dropped_rows:,} 去掉 dropped" if file.dropped_rows else ""
        facts.append([split, "rows, md5", f"{file.rows:,}{dropped}, {file.md5}, {state}"])
    return facts


def code_facts(runs: Sequence[RunRecord], settings: str = "") -> list[list[str]]:
    """Return commits and versions; `settings` is the fingerprint of what was in force."""
    commits = sorted({commit_text(run.code, whole=True) or MISSING for run in runs})
    return [
        ["提交", "commit", ", ".join(commits)],
        *([["设置指纹", "fingerprint of the settings", settings]] if settings else []),
        *common_facts([dict(run.packages) for run in runs]),
        *common_facts([{"clue-bench": run.code.get("version", MISSING)} for run in runs]),
    ]


def common_facts(values: Sequence[Mapping[str, Any]], *, leave: str = "") -> list[list[str]]:
    """Return a fact per key; where runs differ, every value that occurs."""
    keys = dict.fromkeys(key for each in values for key in each if key != leave)
    return [[key, "", " / ".join(dict.fromkeys(_text(each.get(key)) for each in values))] for key in keys]


def _score(model: MeasuredModel, table: MeasuredTable, rank: list[str]) -> Values:
    """Return how a Score is computed, with the cells that it averages."""
    cells = [model.cells[name] for name in SCORE_COLUMNS]
    error = error_of_mean([cell.sampling_error for cell in cells])
    rows = [[c.column.name, percent_text(c.percent), f"± {c.sampling_error}", c.column.revision] for c in cells]
    header = [["任务", "task"], ["准确率", "accuracy"], ["抽样误差", "sampling error, 1σ"], ["版本", "revision"]]
    return {
        "title": f"{model.label} · {SCORE}",
        "lead": percent_text(model.score),
        "warnings": [] if all(cell.column.is_official for cell in cells) else [NOT_OFFICIAL],
        "sections": [
            section(
                "数字",
                "Number",
                [
                    ["平均", "mean of the four columns as shown, half up", percent_text(model.score)],
                    ["抽样误差", "sampling error, 1σ, points", error_text(error)],
                    rank,
                ],
            ),
            {
                "zh": "四列",
                "en": "Columns",
                "table": {"header": header, "rows": rows},
                "links": [cell_address(table.address, model.label, cell.column.name) for cell in cells],
            },
        ],
    }


def _quoted(name: str, column: str, cell: PublishedCell, table: PublishedTable) -> Values:
    facts = [
        ["所示", "shown", cell.text],
        ["原文", "as printed", cell.printed],
        ["来源", "source", cell.source],
        ["划分", "split", table.split or MISSING],
        ["备注", "note", cell.remark or MISSING],
        ["抽样误差", "sampling error, 1σ, points", error_text(cell.sampling_error)],
    ]
    quoted = "引用，不是 clue-bench 测得的。 Quoted, not measured by clue-bench."
    return {
        "title": f"{name} · {column}",
        "lead": cell.text,
        "warnings": [quoted, *cell.notes],
        "sections": [section("出处", "Source", facts)],
    }


def _compared(row: ComparedScore) -> Values:
    accuracy = score_name(row.cell.kind)
    here = [
        [CHINESE[accuracy], f"{accuracy}, {SPLIT}", percent_text(row.cell.percent)],
        ["种子", "seeds", str(len(row.cell.seeds))],
        ["抽样误差", "sampling error, 1σ, points", f"± {row.cell.sampling_error}"],
        ["数据版本", "data revision", row.cell.column.revision],
    ]
    there = [
        ["得分", "as printed", row.score.score],
        ["模型", "model", row.score.model],
        ["任务", "task", row.score.task],
        ["划分", "split", row.score.split],
        ["来源", "source", row.score.source],
        ["备注", "note", row.score.note or MISSING],
    ]
    return {
        "title": f"{row.model} · {row.cell.column.name}",
        "lead": f"{row.difference:+} · {row.chinese} {row.verdict}",
        "warnings": list(row.notes),
        "sections": [section("这里", "Here", here), section("那里", "There", there)],
    }


def _speed(column: str, cell: SpeedCell, row: Measured, table: SpeedTable) -> Values:
    record = row.record
    facts = [
        ["所示", "shown", f"{cell.text}{cell.change}"],
        ["运行", "run", record.run_id],
        ["会话", "session", table.session],
        ["开始", "started", record.started_at],
        ["权重", "weights, SHA-256", record.model.sha256 or MISSING],
    ]
    if cell.ends is not None:
        low, high = cell.ends
        facts.insert(1, ["区间", "interval of the median, as its unit", f"{low} … {high}"])
    named = zip(CONDITIONS.items(), conditions(row), strict=True)
    warnings = [note for mark, note in NOTES.items() if mark in cell.marks]
    return {
        "title": f"{record.model.name} · {column}",
        "lead": f"{cell.text}{cell.change}",
        "warnings": [*warnings, *(flag.replace("_", " ") for flag in record.flags)],
        "sections": [
            section("数字", "Number", facts),
            section("条件", "Conditions", [[name, english, text] for (name, english), text in named]),
            section("设置", "Settings", common_facts([record.effective])),
            section("代码与版本", "Code and versions", code_facts([record])),
            section("机器", "Hardware", common_facts([dict(record.hardware)])),
        ],
    }


def speed_address(table: SpeedTable) -> str:
    """Return the permalink name of a table of speeds: its session and digits of its machine's hash."""
    machine = hashlib.sha256(repr(sorted(table.machine.items())).encode()).hexdigest()
    return f"speed-{table.session}-{machine[:6]}"


def section(chinese: str, english: str, facts: Iterable[Sequence[str]]) -> Values:
    """Return a section of facts: (Chinese, English, value)."""
    return {"zh": chinese, "en": english, "facts": [list(fact) for fact in facts]}


def _text(value: Any) -> str:
    if value is None:
        return MISSING
    return typed(value) if isinstance(value, float) else str(value)
