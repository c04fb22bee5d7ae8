"""`clue-bench speed`, end to end, on models of the smallest size."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from clue_bench.cli import app
from clue_bench.doors.records import FEW_REPETITIONS, SpeedRecord, read_records
from clue_bench.doors.speed_results import SYNTHETIC_ROWS, SpeedResults
from clue_bench.errors import ClueBenchError
from clue_bench.speed_measurement.models import MADE_UP, OWN_VOCABULARY, open_models
from clue_bench.speed_measurement.session import measure
from clue_bench.speed_measurement.worker import Worker, resident_peak_mib

SHORT = ["--repetitions", "2", "--seconds", "0.01"]


@pytest.fixture(scope="module")
def card(checkpoint_folder: Path) -> Path:
    """The recipe that the checkpoint was made by."""
    return checkpoint_folder.parent / "test.toml"


@pytest.fixture(scope="module")
def session(checkpoint_folder: Path, card: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """One real session of a recipe and a checkpoint."""
    out = tmp_path_factory.mktemp("speed") / "records"
    models = ["--model", str(card), "--model", str(checkpoint_folder)]
    return CliRunner().invoke(app, ["speed", *models, "--out", str(out), "--json", *SHORT]), out


def results_of(record: SpeedRecord) -> SpeedResults:
    return record.completed_results


def records_of(folder: Path) -> list[SpeedRecord]:
    """The records in the order in which the models were typed."""
    return sorted(read_records(folder), key=lambda record: results_of(record).position)


@pytest.mark.slow
def test_every_model_gets_a_record_of_one_session(session: tuple[Result, Path]) -> None:
    result, out = session
    assert result.exit_code == 0, result.output
    records = records_of(out)
    assert [record.model.name for record in records] == ["test", "test-2"]
    assert {(record.kind, record.status) for record in records} == {("speed", "completed")}
    results = [results_of(record) for record in records]
    assert len({each.session for each in results}) == 1
    assert [(each.position, each.is_baseline) for each in results] == [(0, True), (1, False)]
    for record in records:
        assert FEW_REPETITIONS in record.flags
        assert record.asked["session"] == results[0].session
        assert record.hardware["threads"] > 0
        assert {"python", "torch"} <= record.packages.keys()
        assert record.data.revision.startswith("synthetic-")
        assert record.data.corpus_sha256
        assert record.effective["recipe"]["stage1"]["global_batch"] == 8


@pytest.mark.slow
def test_every_measurement_is_there_with_its_repetitions(session: tuple[Result, Path]) -> None:
    for record in read_records(session[1]):
        results = results_of(record)
        assert not results.not_measured
        assert len(results.intervals) == 10
        assert {len(interval.values) for interval in results.intervals.values()} == {2}
        assert results.training is not None
        assert results.training.data == SYNTHETIC_ROWS
        assert results.training.global_batch == results.training.measured_rows == 8
        steps, tokens = results.training.seconds_per_1000_steps, results.training.useful_tokens_per_second
        for seconds, rate in zip(steps.values, tokens.values, strict=True):
            assert seconds / 1000 * rate == pytest.approx(8 * 32)
        assert results.training.hfu is not None
        for nominal, computed in zip(results.training.mfu.values, results.training.hfu.values, strict=True):
            assert 0 < computed < nominal < 1
        assert results.prediction is not None
        assert [latency.batch for latency in results.prediction.latencies] == [1, 32]
        for latency in results.prediction.latencies:
            for low, high in zip(latency.p50_ms.values, latency.p95_ms.values, strict=True):
                assert low <= high
        for part in (results.training, results.finetuning, results.prediction):
            assert part is not None
            assert part.memory.resident_mib > 50


@pytest.mark.slow
def test_a_recipe_gets_a_vocabulary_and_a_checkpoint_keeps_its_own(
    session: tuple[Result, Path], checkpoint_folder: Path
) -> None:
    recipe, checkpoint = records_of(session[1])
    assert (results_of(recipe).vocabulary, results_of(recipe).vocab_size) == (MADE_UP, 8000)
    assert results_of(checkpoint).vocabulary == OWN_VOCABULARY
    assert results_of(checkpoint).vocab_size < 100
    weights = (checkpoint_folder / "checkpoint" / "model.safetensors").stat().st_size / 2**20
    assert results_of(checkpoint).weights_mib == pytest.approx(weights)


@pytest.mark.slow
def test_stdout_is_one_json_object_with_the_table(session: tuple[Result, Path]) -> None:
    (table,) = json.loads(session[0].stdout)["tables"]
    assert [row["model"] for row in table["rows"]] == ["test", "test-2"]
    assert "speed 100 %" in session[0].stderr
    assert session[0].stderr.count("record: ") == 2


@pytest.mark.slow
def test_records_of_speed_are_listed(session: tuple[Result, Path]) -> None:
    listed = CliRunner().invoke(app, ["runs", "list", "--records", str(session[1])])
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.count("rows/s") == 2


@pytest.mark.slow
def test_a_table_and_a_sentence_say_how_much_faster_a_model_is(session: tuple[Result, Path]) -> None:
    from clue_bench.leaderboards.speed.summary import speed_summary
    from clue_bench.leaderboards.speed.tables import speed_tables

    (table,) = speed_tables(read_records(session[1]))
    text = speed_summary(table).in_full(80)
    assert max(map(len, text.splitlines())) <= 80
    (sentence,) = (note for note in speed_summary(table).notes if " against " in note)
    assert sentence.startswith("test-2 against test: ")
    for what in ("training", "fine-tuning", "prediction"):
        assert what in sentence


def opened(*references: Path | str, corpora: list[Path], scratch: Path, **overrides: Any) -> Any:
    return open_models(list(map(str, references)), corpora=corpora, overrides=overrides, scratch=scratch)


def test_each_model_trains_on_the_corpus_with_its_vocabulary(
    card: Path, checkpoint_folder: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    models = opened(card, checkpoint_folder, corpora=[corpus_folder], scratch=tmp_path, global_batch=4)
    for model in models:
        assert model.corpus.folder == corpus_folder
        assert model.data.startswith("corpus, ")
        assert model.recipe.stage1.global_batch == 4
    with pytest.raises(ClueBenchError, match=r"its vocabulary .* is no model's"):
        opened(card, corpora=[corpus_folder], scratch=tmp_path / "again", vocab_size=8000)


def test_a_checkpoint_without_a_recipe_is_not_trained(checkpoint_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    (folder / "provenance.json").unlink()
    (model,) = opened(folder, corpora=[], scratch=tmp_path)
    assert model.recipe is None
    assert model.reasons == {"training": "its provenance names no recipe"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--baseline", "other"], "--baseline other: none of the models"),
        (["--task", "ocnli"], "task ocnli: no synthetic data"),
        (["--set", "global_bath=4"], "did you mean"),
        (["--corpus", "missing"], "missing"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(
    card: Path, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    result = CliRunner().invoke(app, ["speed", "--model", str(card), "--out", str(tmp_path / "out"), *arguments])
    assert isinstance(result.exception, ClueBenchError), result.output
    assert complaint in result.exception.message
    assert not (tmp_path / "out").exists()


def test_without_a_model_there_is_nothing_to_measure() -> None:
    with pytest.raises(ClueBenchError, match="no model"):
        measure([])


@pytest.mark.slow
def test_a_job_that_fails_says_what_and_how(corpus_folder: Path, checkpoint_folder: Path) -> None:
    job = {"measurement": "prediction", "task": "afqmc", "data": "missing", "model": "x", "seconds": 0.01}
    with Worker(job, "tiny") as worker, pytest.raises(ClueBenchError, match="tiny, prediction: ") as caught:
        worker.answer()
    assert caught.value.hint


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_that_names_it() -> None:
    with (
        Worker({"measurement": "training"}, "tiny") as worker,
        pytest.raises(ClueBenchError, match="tiny, training: ended"),
    ):
        worker.answer()


@pytest.mark.slow
def test_a_workers_peak_of_memory_is_its_own(card: Path, tmp_path: Path) -> None:
    (model,) = opened(card, corpora=[], scratch=tmp_path)
    ballast = np.ones(2**30 // 8)  # 1 GiB, which getrusage of a child of this process would count in
    job = {
        "measurement": "training",
        "recipe": model.recipe.model_dump(),
        "corpus": str(model.corpus.folder),
        "folder": str(tmp_path),
        "seconds": 0.01,
    }
    with Worker(job, "tiny") as worker:
        worker.answer()
        memory = worker.end()["memory"]
    assert resident_peak_mib() > ballast.nbytes / 2**20
    assert 50 < memory["resident_mib"] < 900
    assert memory["device_mib"] is None or memory["device_mib"] > 0
