"""What stands behind a cell: runs, seeds, settings, code, data, machine; of a quoted one, source, split and note.

Input: the board and the records behind it. Output: address of a cell → plain values for JSON. The page's script writes
them as text and knows nothing of what they mean: {"title", "lead", "warnings", "sections"}; a section has a heading in
two languages and "facts" (Chinese, English, value), or a "table" (header of pairs, rows of text).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clue_bench.doors.records import MAJORITY_CLASS, RunRecord
from clue_bench.leaderboards.addresses import cell_address, measured_address, quoted_address
from clue_bench.leaderboards.measured.cells import Cell, MeasuredModel, MeasuredTable
from clue_bench.leaderboards.measured.floors import misses_floor, over_floor_text
from clue_bench.leaderboards.measured.optimism import optimism_text
from clue_bench.leaderboards.page.views import Ranked, quoted_row_names
from clue_bench.leaderboards.published.quoted import QuotedCell, QuotedTable
from clue_bench.leaderboards.sampling import error_of_mean
from clue_bench.leaderboards.scores import (
    MISSING,
    SCORE,
    SCORE_COLUMNS,
    SPLIT,
    half_up,
    percent_text,
    percentage,
    score_of,
)

Values = dict[str, Any]
Z95 = 1.959963984540054  # of the normal distribution

FLAGS = {
    MAJORITY_CLASS: "多数类：（几乎）只回答最多的一类，或不比这样做更好。 "
    "Majority class: no better than always answering it."
}
MISSES_FLOOR = "不高于无预训练的基线。 Not above the best model without any pretraining."
NOT_OFFICIAL = (
    "数据不是官方版本，不能与已发表的得分比较。 The data is not official: not comparable with published scores."
)


def measured_provenance(table: MeasuredTable, records: Mapping[str, RunRecord], ranks: Ranked) -> dict[str, Values]:
    """Return address → what stands behind it, for every cell of a table and every Score. `records` are by run_id."""
    found = {}
    address = measured_address(table)
    for model in table.models:
        for name, cell in model.cells.items():
            runs = [records[run_id] for run_id in cell.runs]
            found[cell_address(address, model.label, name)] = _measured(
                model, cell, table, runs, _rank(ranks, name, model)
            )
        if score_of(model.percents) is not None:
            found[cell_address(address, model.label, SCORE)] = _score(model, table, _rank(ranks, SCORE, model))
    return found


def quoted_provenance(table: QuotedTable) -> dict[str, Values]:
    """Return address → source, split and notes, for every cell that quotes something."""
    found = {}
    for name, row in zip(quoted_row_names(table), table.rows, strict=True):
        for column, cell in zip(table.header[1:], row[1:], strict=True):
            if cell.source and not cell.links:
                found[cell_address(quoted_address(table), name, column)] = _quoted(name, column, cell, table)
    return found


def wilson_interval(share: float, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `rows` independent rows (Wilson's score interval), as shares of 1."""
    middle = share + Z95**2 / (2 * rows)
    width = Z95 * math.sqrt(share * (1 - share) / rows + Z95**2 / (4 * rows**2))
    scale = 1 + Z95**2 / rows
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def _rank(ranks: Ranked, column: str, model: MeasuredModel) -> list[str]:
    """Return the fact of a rank."""
    return ["名次", "rank: the places that paired tests leave open", ranks.get(column, {}).get(model.label, MISSING)]


def _measured(
    model: MeasuredModel, cell: Cell, table: MeasuredTable, runs: Sequence[RunRecord], rank: list[str]
) -> Values:
    spread = "" if cell.deviation is None else f" ± {cell.deviation}"
    return {
        "title": f"{model.label} · {cell.column.name}",
        "kind": "measured",
        "lead": f"{percent_text(cell.percent)}{spread}",
        "warnings": _warnings(cell, table),
        "sections": [
            section("数字", "Number", [*_number_facts(cell, table), rank]),
            _runs_section(runs),
            section("模型", "Model", _model_facts(model, runs)),
            section("数据", "Data", _data_facts(cell, runs)),
            section("设置", "Settings", common_facts([run.effective for run in runs], leave="seed")),
            section("代码与版本", "Code and versions", code_facts(runs, cell.settings)),
            section("机器", "Hardware", common_facts([dict(run.hardware) for run in runs])),
        ],
    }


def _warnings(cell: Cell, table: MeasuredTable) -> list[str]:
    flags = [FLAGS.get(flag, flag.replace("_", " ")) + f" ({num}/{len(cell.runs)})" for flag, num in cell.flags]
    misses = [MISSES_FLOOR] if misses_floor(cell, table) else []
    return [*flags, *misses, *([] if cell.column.is_official else [NOT_OFFICIAL])]


def _number_facts(cell: Cell, table: MeasuredTable) -> list[list[str]]:
    low, high = wilson_interval(float(cell.accuracy), cell.column.dev_rows)
    seeds = f"{len(cell.seeds)}: {', '.join(map(str, cell.seeds))}"
    return [
        ["准确率", f"accuracy, mean over seeds, {SPLIT}", percent_text(cell.percent)],
        ["种子", "seeds", seeds],
        ["种子间标准差", "sd over seeds, points", MISSING if cell.deviation is None else f"± {cell.deviation}"],
        ["抽样误差", "sampling error, 1σ, points", f"± {cell.sampling_error}"],
        ["95 % 区间", "Wilson, dev rows alone", f"{100 * low:.2f}% … {100 * high:.2f}%"],
        ["宏平均 F1", "macro-F1", percent_text(percentage(cell.macro_f1))],
        ["多数类", "majority share", " / ".join(percent_text(percentage(share)) for share in cell.majority_shares)],
        ["高于基线", "points over the best floor", over_floor_text(cell, table)],
        ["尝试的设置", "settings tried", "1" if cell.num_settings == 1 else f"best of {cell.num_settings}"],
        ["乐观偏差", "optimism of choosing on dev, points, about", optimism_text(cell)],
    ]


def _runs_section(runs: Sequence[RunRecord]) -> Values:
    header = [
        ["运行", "run"], ["种子", "seed"], ["正确 / 行数", "correct / rows"], ["准确率", "accuracy"],
        ["步", "best step / steps"], ["秒", "seconds"], ["完成", "finished"], ["提交", "commit"],
    ]  # fmt: skip
    rows = []
    for run in runs:
        dev = run.results["dev"]
        rows.append(
            [
                run.run_id,
                str(run.seed),
                f"{dev['correct']:,} / {dev['rows']:,}",
                f"{100 * dev['correct'] / dev['rows']:.2f}%",
                f"{run.results['best_step']:,} / {run.results['total_steps']:,}",
                f"{run.wall_seconds:,.0f}",
                run.finished_at or MISSING,
                _commit(run),
            ]
        )
    return {"zh": "运行", "en": "Runs", "table": {"header": header, "rows": rows}}


def _model_facts(model: MeasuredModel, runs: Sequence[RunRecord]) -> list[list[str]]:
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


def _data_facts(cell: Cell, runs: Sequence[RunRecord]) -> list[list[str]]:
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
    commits = sorted({_commit(run, whole=True) for run in runs})
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
    """Return how a Score is made, with the cells that it is the mean of."""
    cells = [model.cells[name] for name in SCORE_COLUMNS]
    error = error_of_mean([cell.sampling_error for cell in cells])
    rows = [[c.column.name, percent_text(c.percent), f"± {c.sampling_error}", c.column.revision] for c in cells]
    header = [["任务", "task"], ["准确率", "accuracy"], ["抽样误差", "sampling error, 1σ"], ["版本", "revision"]]
    return {
        "title": f"{model.label} · {SCORE}",
        "kind": "measured",
        "lead": percent_text(score_of(model.percents)),
        "warnings": [] if all(cell.column.is_official for cell in cells) else [NOT_OFFICIAL],
        "sections": [
            section(
                "数字",
                "Number",
                [
                    ["平均", "mean of the four columns as shown, half up", percent_text(score_of(model.percents))],
                    ["抽样误差", "sampling error, 1σ, points", MISSING if error is None else f"± {half_up(error)}"],
                    rank,
                ],
            ),
            {
                "zh": "四列",
                "en": "Columns",
                "table": {"header": header, "rows": rows},
                "links": [cell_address(measured_address(table), model.label, cell.column.name) for cell in cells],
            },
        ],
    }


def _quoted(name: str, column: str, cell: QuotedCell, table: QuotedTable) -> Values:
    error = MISSING if cell.sampling_error is None else f"± {half_up(cell.sampling_error)}"
    facts = [
        ["所示", "shown", cell.text],
        ["原文", "as printed", cell.printed],
        ["来源", "source", cell.source],
        ["划分", "split", table.split or MISSING],
        ["备注", "note", cell.remark or MISSING],
        ["抽样误差", "sampling error, 1σ, points", error],
    ]
    quoted = "引用，不是 clue-bench 测得的。 Quoted, not measured by clue-bench."
    return {
        "title": f"{name} · {column}",
        "kind": "published",
        "lead": cell.text,
        "warnings": [quoted, *cell.notes],
        "sections": [section("出处", "Source", facts)],
    }


def section(chinese: str, english: str, facts: Iterable[Sequence[str]]) -> Values:
    """Return a section of facts: (Chinese, English, value)."""
    return {"zh": chinese, "en": english, "facts": [list(fact) for fact in facts]}


def _commit(run: RunRecord, *, whole: bool = False) -> str:
    commit = str(run.code.get("commit") or "")
    if not commit:
        return f"v{run.code['version']}" if run.code.get("version") else MISSING
    return (commit if whole else commit[:7]) + ("+dirty" if run.code.get("dirty") is True else "")


def _text(value: Any) -> str:
    if value is None:
        return MISSING
    return f"{value:g}" if isinstance(value, float) else str(value)
