"""Draw the picture of README.md, docs/assets/pretraining.svg: what pretraining adds, task by task.

Input: the records in leaderboards/records. Output: the file, the same bytes for the same records; a test compares them.

    python docs/picture.py
"""

from pathlib import Path

import clue_bench as cb
from clue_bench.charts import Axis, Chart, sheet
from clue_bench.leaderboards.cells import MeasuredTable

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "assets" / "pretraining.svg"
MODEL = "roberta-tiny-2l128"
SHOWN = (  # label of a row in the measured table, name, style, place beside the middle of the task
    ("多数类", "多数类 majority class", "dot faint hollow", -0.27),
    (f"{MODEL}-untrained", "未预训练 untrained", "dot one hollow", -0.09),
    (MODEL, "预训练 pretrained", "dot one", 0.09),
    ("TF-IDF + 线性", "TF-IDF + 线性 linear", "dot two", 0.27),
)
RADIUS = 5.0


def draw() -> str:
    """Return the picture of the first measured table. Raises KeyError if a row of it is missing."""
    table = cb.leaderboard(ROOT / "leaderboards" / "records").measured[0]
    rows = {model.label: model for model in table.models}
    names = [column.name for column in table.columns if column.name in rows[MODEL].cells]
    places = [(float(place), name) for place, name in enumerate(names)]
    levels = [(float(level), str(level)) for level in range(0, 81, 20)]
    chart = Chart(
        "pretraining",
        title="",
        description=f"Accuracy on the dev sets of {', '.join(names)}; bars are the sampling error, one sigma.",
        x=Axis("任务 tasks of CLUE, the data of leaderboards/README.md", -0.5, len(names) - 0.5, places),
        y=Axis("dev 准确率 accuracy (%)", 0, 80, levels),
        width=860,
        height=300,
        heading=False,
    )
    _draw_dots(chart, table, names)
    chart.legend([(name, style) for _, name, style, _ in SHOWN])
    model = rows[MODEL]
    (seeds,) = {len(model.cells[name].seeds) for name in names}
    size = f"{model.parameters[0] / 1e6:.1f}M parameters, {seeds} seeds"
    title = f"预训练值多少 What pretraining is worth: {MODEL}, {size}"
    return sheet("readme", [chart], title=title, description="Drawn from leaderboards/records by docs/picture.py.")


def _draw_dots(chart: Chart, table: MeasuredTable, names: list[str]) -> None:
    rows = {model.label: model for model in table.models}
    for label, _, style, beside in SHOWN:
        for place, name in enumerate(names):
            cell = rows[label].cells[name]
            tip = f"{label}, {name}: {cell.percent} % ± {cell.sampling_error}"
            point = place + beside, float(cell.percent)
            chart.bubble(point, RADIUS, style.removeprefix("dot "), tip=tip, error=float(cell.sampling_error))


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
