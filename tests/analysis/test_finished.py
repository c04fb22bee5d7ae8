"""Which folders are finished runs, and which data are theirs."""

import pytest

from clue_bench.analysis.finished import read_run, rows_of
from clue_bench.doors.predictions import Prediction, predictions_path, read_predictions, write_predictions
from clue_bench.errors import ClueBenchError
from clue_bench.tasks.task import load_task

GOLD = ["108", "103", "104", "116", "104", "109"]


def test_rows_are_those_that_were_predicted(make_run, data):
    run = read_run(make_run([*GOLD[:5], "100"]), "dev")
    rows = rows_of(run, load_task("tnews"), data)
    assert run.correct.tolist() == [True] * 5 + [False]
    assert rows.texts[4] == ("创业公司拿到第二轮融资",)


def test_other_data_are_refused(make_run, other_data):
    run = read_run(make_run(GOLD), "dev")
    with pytest.raises(ClueBenchError, match=r"tnews's dev.* md5 .*finetune-tnews-tiny-run-s1"):
        rows_of(run, load_task("tnews"), other_data)


def test_predictions_in_another_order_are_refused(make_run, data):
    folder = make_run(GOLD)
    predictions = read_predictions(predictions_path(folder, "dev"))
    write_predictions(predictions_path(folder, "dev"), predictions[::-1])
    with pytest.raises(ClueBenchError, match=r"prediction 1 .*\(5, '109'\).*\(0, '108'\)"):
        rows_of(read_run(folder, "dev"), load_task("tnews"), data)


def test_a_label_that_the_task_lacks_is_refused(make_run, data):
    folder = make_run(["105", *GOLD[1:]])
    with pytest.raises(ClueBenchError, match=r"prediction 1: '105'.* tnews"):
        rows_of(read_run(folder, "dev"), load_task("tnews"), data)


def test_too_few_predictions_are_refused(make_run, data):
    folder = make_run(GOLD, dev={"rows": 5, "correct": 5, "accuracy": 1.0})
    predictions = read_predictions(predictions_path(folder, "dev"))
    write_predictions(predictions_path(folder, "dev"), predictions[:-1])
    with pytest.raises(ClueBenchError, match="5 predictions for 6 rows"):
        rows_of(read_run(folder, "dev"), load_task("tnews"), data)


def test_predictions_that_the_record_did_not_count_are_refused(make_run):
    folder = make_run(GOLD, dev={"correct": 5, "accuracy": 5 / 6})
    with pytest.raises(ClueBenchError, match="6 of 6 rows right, but the record says 5 of 6"):
        read_run(folder, "dev")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"status": "failed", "error": "diverged"}, "the run is failed"),
        ({"status": "interrupted"}, "the run is interrupted"),
    ],
)
def test_a_run_without_a_result_is_refused(make_run, changed, message):
    with pytest.raises(ClueBenchError, match=message):
        read_run(make_run(GOLD, **changed), "dev")


def test_a_pretraining_run_is_refused(make_run):
    with pytest.raises(ClueBenchError, match="a pretrain run; expected a fine-tuning run"):
        read_run(make_run(GOLD, kind="pretrain", task=None, status="interrupted", results={}), "dev")


def test_a_split_without_gold_labels_is_refused(make_run):
    folder = make_run(GOLD)
    write_predictions(predictions_path(folder, "train"), [Prediction(id=0, label="108", probability=0.5)])
    with pytest.raises(ClueBenchError, match="gold"):
        read_run(folder, "train")
    with pytest.raises(ClueBenchError, match=r"'test'.* train, dev"):
        read_run(folder, "test")


def test_a_folder_without_one_record_is_refused(make_run, tmp_path):
    with pytest.raises(ClueBenchError, match="no such folder"):
        read_run(tmp_path / "nowhere", "dev")
    make_run(GOLD, run_id="one")
    with pytest.raises(ClueBenchError, match="2 run records"):
        read_run(make_run(GOLD, run_id="two"), "dev")
