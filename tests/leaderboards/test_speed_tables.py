"""The measured speed table has the cards' layout, and compares nothing that was not measured together."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from clue_bench.doors.records import DataFacts, ModelFacts, RunRecord, SpeedRecord, TaskFacts
from clue_bench.leaderboards.speed.columns import COLUMNS, shown
from clue_bench.leaderboards.speed.tables import NOTHING_MEASURED, speed_json, speed_section, speed_tables
from clue_bench.stats.timing import summarise

MACHINE = {"system": "Linux x86_64", "processor": "some processor", "cores": 2, "memory_mib": 24105, "threads": 2}
MakeSpeed = Callable[..., SpeedRecord]


def interval(middle: float, spread: float = 0.01) -> dict[str, Any]:
    return summarise([middle * (1 + spread * step) for step in (-2, -1, -0.5, 0, 0.5, 1, 2)]).model_dump()


def training(seconds: float = 404.0, *, spread: float = 0.01, **facts: Any) -> dict[str, Any]:
    return {
        "global_batch": 512,
        "micro_batch": 64,
        "max_length": 128,
        "measured_rows": 512,
        "steps_per_repetition": 1,
        "data": "synthetic rows",
        "precision": "fp32",
        "matrix_product_flops_per_second": 1.234e11,
        "seconds_per_1000_steps": interval(seconds, spread),
        "useful_tokens_per_second": interval(65_536_000 / seconds, spread),
        "mfu": interval(40.4 / seconds, spread),
        "hfu": interval(30.3 / seconds, spread),
        "memory": {"resident_mib": 1500, "device_mib": None},
        **facts,
    }


FINETUNING = {
    "batch_size": 32,
    "max_length": 128,
    "rows": 256,
    "precision": "fp32",
    "rows_per_second": interval(100.0),
    "memory": {"resident_mib": 1200, "device_mib": None},
}
PREDICTION = {
    "max_length": 128,
    "rows": 256,
    "precision": "fp32",
    "rows_per_second": interval(400.0),
    "latencies": [
        {"batch": 1, "calls": 50, "p50_ms": interval(4.0), "p95_ms": interval(6.0)},
        {"batch": 32, "calls": 50, "p50_ms": interval(80.0), "p95_ms": interval(96.0)},
    ],
    "memory": {"resident_mib": 800, "device_mib": None},
}


@pytest.fixture
def make_speed() -> MakeSpeed:
    def make(
        model: str = "bert-base",
        *,
        session: str = "20260101T000000Z-aaaa",
        position: int = 0,
        parameters: int = 102_267_648,
        machine: dict[str, Any] | None = None,
        status: str = "completed",
        **results: Any,
    ) -> SpeedRecord:
        values = {
            "session": session,
            "position": position,
            "is_baseline": position == 0,
            "vocab_size": 21128,
            "weights_mib": 390.0,
            "vocabulary": "the model's own",
            "training": training(),
            "finetuning": FINETUNING,
            "prediction": PREDICTION,
            "not_measured": {},
        }
        return SpeedRecord(
            run_id=f"speed-{session}-{model}",
            status=status,
            error="out of memory" if status == "failed" else None,
            started_at="2026-01-01T00:00:00Z",
            asked={"session": session},
            effective={"seconds": 2.0},
            seed=1,
            task=TaskFacts(name="afqmc", title="AFQMC", column="AFQMC", metric="accuracy"),
            data=DataFacts(name="clue", revision="official"),
            model=ModelFacts(name=model, parameters=parameters, sha256="a" * 64, layers=12, hidden_size=768),
            code={"version": "0.1.0", "commit": "0123456789abcdef", "dirty": True},
            packages={"python": "3.11.7", "torch": "2.13.0"},
            hardware=MACHINE if machine is None else machine,
            results={} if status == "failed" else {**values, **results},
        )

    return make


def cells(section: str, model: str) -> list[str]:
    """The cells of a model's row in the first table."""
    line = next(line for line in section.splitlines() if line.startswith(f"| {model} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_cards_own_row_comes_out_in_their_layout(make_speed: MakeSpeed) -> None:
    # CLUEPretrainedModels: 8021(↓62.04%) and 1k steps/350s(↑15.43%), on BERT-base with two vocabularies.
    clue = make_speed("bert-clue", position=1, parameters=92_201_472, vocab_size=8021, training=training(350.0))
    section = speed_section([clue, make_speed()])
    assert cells(section, "bert-base")[:5] == ["bert-base", "21128", "102M", "390 MiB", "1k steps/404s"]
    assert cells(section, "bert-clue")[:5] == [
        "bert-clue",
        "8021(↓62.04%)",
        "92.2M(↓9.84%)",
        "390 MiB(=)",
        "1k steps/350s(↑15.43%)",
    ]


def test_every_column_shows_its_number(make_speed: MakeSpeed) -> None:
    section = speed_section([make_speed()])
    assert cells(section, "bert-base")[5:] == [
        "162,218",
        "10.0%",
        "7.5%",
        "100",
        "400",
        "4.00",
        "6.00",
        "80.0",
        "96.0",
        "1,500 / 1,200 / 800",
    ]
    header = section.splitlines()[2]
    assert header == "| 模型 model | " + " | ".join(f"{column.name} {column.english}" for column in COLUMNS) + " |"


def test_a_session_prints_in_a_terminal_and_becomes_a_frame(make_speed: MakeSpeed) -> None:
    (table,) = speed_tables([make_speed(), make_speed("second", position=1, training=training(202.0))])
    text = table.in_full(None)
    assert "1k steps/202s(↑100.00 %)" in text
    assert text.index("useful tokens") < text.index("order statistics over 7 repetitions") < text.index("Conditions")
    frame = table.to_dataframe()
    assert list(frame["模型 model"]) == ["bert-base", "second"]
    assert list(frame["训练速度 training speed"]) == [404.0, 202.0]
    assert list(frame["内存峰值 MiB peak of memory"]) == ["1,500 / 1,200 / 800"] * 2
    assert table._repr_html_().count("<table>") == 3


def test_rates_that_rise_point_up_and_times_that_fall_do_too(make_speed: MakeSpeed) -> None:
    faster = make_speed(
        "fast", position=1, training=training(202.0), finetuning={**FINETUNING, "rows_per_second": interval(50.0)}
    )
    row = cells(speed_section([make_speed(), faster]), "fast")
    assert row[4:6] == ["1k steps/202s(↑100.00%)", "324,436(↑100.00%)"]
    assert row[8] == "50.0(↓50.00%)"


@pytest.mark.parametrize(
    "other",
    [
        {"session": "20260101T000001Z-bbbb"},
        {"machine": {**MACHINE, "threads": 1}},
        {"machine": {**MACHINE, "gpu": "H200"}},
    ],
)
def test_records_of_two_sessions_or_machines_never_share_a_table(make_speed: MakeSpeed, other: dict[str, Any]) -> None:
    records = [make_speed(), make_speed("second", position=1, training=training(101.0), **other)]
    tables = speed_tables(records)
    assert [len(table.rows) for table in tables] == [1, 1]
    section = speed_section(records)
    assert section.count("## ") == 2
    assert not re.search("[↑↓]", section), "nothing is there to hold anything against"
    together = speed_section([make_speed(), make_speed("second", position=1, training=training(101.0))])
    assert together.count("## ") == 1
    assert "↑300.00%" in together


def test_the_order_of_records_changes_nothing(make_speed: MakeSpeed) -> None:
    records = [
        make_speed(),
        make_speed("zeta", position=1),
        make_speed("alpha", position=2),
        make_speed("later", session="20260202T000000Z-cccc"),
    ]
    assert speed_section(records) == speed_section(records[::-1])
    names = [[row.record.model.name for row in table.rows] for table in speed_tables(records)]
    assert names == [["later"], ["bert-base", "zeta", "alpha"]]


def test_the_baseline_is_the_sessions_choice(make_speed: MakeSpeed) -> None:
    first = make_speed("first", is_baseline=False, training=training(808.0))
    chosen = make_speed("chosen", position=1, is_baseline=True)
    section = speed_section([first, chosen])
    assert cells(section, "first")[4] == "1k steps/808s(↓50.00%)"
    assert cells(section, "chosen")[4] == "1k steps/404s"


def test_steps_of_another_size_are_not_compared(make_speed: MakeSpeed) -> None:
    other = make_speed("other", position=1, training=training(50.0, global_batch=64, measured_rows=64))
    section = speed_section([make_speed(), other])
    row = cells(section, "other")
    assert row[4] == "1k steps/50.0s¶"
    assert "(↑" in row[5], "tokens per second do compare"
    assert "¶ No arrow" in section


def test_overlapping_noisy_and_scaled_numbers_are_marked(make_speed: MakeSpeed) -> None:
    near = make_speed("near", position=1, training=training(400.0, spread=0.05, measured_rows=128))
    section = speed_section([make_speed(), near])
    row = cells(section, "near")
    assert row[4] == "1k steps/400s(↑1.00%)≈‡§"
    for mark in "≈‡§":
        assert f"\n{mark} " in section
    assert "timed 128 rows" in section
    assert not re.search("[≈‡§¶]", speed_section([make_speed()]))


def test_what_was_not_measured_is_a_dash_with_its_reason(make_speed: MakeSpeed) -> None:
    foreign = make_speed(
        "foreign", position=1, training=None, not_measured={"training": "its provenance names no recipe"}
    )
    section = speed_section([make_speed(), foreign])
    assert cells(section, "foreign")[4:7] == ["–", "–", "–"]
    assert cells(section, "foreign")[-1] == "– / 1,200 / 800"
    assert "foreign: training was not measured: its provenance names no recipe" in section


def test_a_model_that_failed_is_named_below_its_session(make_speed: MakeSpeed) -> None:
    section = speed_section([make_speed(), make_speed("huge", position=1, status="failed")])
    assert "huge: failed: out of memory" in section


def test_intervals_and_conditions_stand_below(make_speed: MakeSpeed) -> None:
    section = speed_section([make_speed()])
    assert "Intervals of 98.4 %, order statistics over 7 repetitions:" in section
    assert "| bert-base | 396 – 412 |" in section
    for fact in (
        "some processor",
        "threads 2",
        "torch 2.13.0",
        "512 × 128, micro-batch 64",
        "01234567+",
        "clue, official",
        "123",
    ):
        assert fact in section, fact


def test_memory_of_a_gpu_is_the_gpus(make_speed: MakeSpeed) -> None:
    memory = {"resident_mib": 5000, "device_mib": 9000}
    section = speed_section([make_speed(machine={**MACHINE, "gpu": "H200"}, training=training(memory=memory))])
    assert cells(section, "bert-base")[-1].startswith("9,000 /")
    assert "allocated on the GPU" in section


def test_other_kinds_of_records_are_left_alone(make_record: Callable[..., RunRecord], make_speed: MakeSpeed) -> None:
    assert speed_section([make_record()]) == NOTHING_MEASURED
    assert speed_json([make_record()]) == {"tables": []}
    assert speed_section([make_record(), make_speed()]) == speed_section([make_speed()])


def test_json_says_what_the_table_says(make_speed: MakeSpeed) -> None:
    records = [make_speed(), make_speed("second", position=1, training=training(202.0))]
    (table,) = speed_json(records)["tables"]
    assert [row["is_baseline"] for row in table["rows"]] == [True, False]
    section = speed_section(records)
    for row in table["rows"]:
        texts = [cell["text"] + cell["change"] + cell["marks"] for cell in row["cells"].values()]
        assert texts == cells(section, row["model"])[1:]
    mfu = table["rows"][1]["cells"]["MFU"]
    assert (mfu["value"], mfu["interval"]) == (20.0, [19.6, 20.4])
    assert table["rows"][1]["cells"]["HFU"]["value"] == 15.0


def test_a_record_from_before_hfu_shows_none(make_speed: MakeSpeed) -> None:
    older = {key: value for key, value in training().items() if key != "hfu"}
    (table,) = speed_json([make_speed(training=older)])["tables"]
    found = table["rows"][0]["cells"]
    assert (found["MFU"]["value"], found["HFU"]["value"], found["HFU"]["text"]) == (10.0, None, "–")


@pytest.mark.parametrize(
    ("value", "text"),
    [(404.4, "404"), (15497.6, "15498"), (45.67, "45.7"), (1.005, "1.01"), (0.01234, "0.0123"), (100.0, "100")],
)
def test_numbers_have_three_significant_digits_and_all_before_the_point(value: float, text: str) -> None:
    assert str(shown(value)) == text
