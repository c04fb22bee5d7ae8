"""Floors: they learn what a linear model can, repeat themselves, and leave records like any other run."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import log_softmax as scipy_log_softmax
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.svm import LinearSVC
from typer.testing import CliRunner

from clue_bench.cli import app
from clue_bench.doors.predictions import predictions_path, read_predictions
from clue_bench.doors.records import MAJORITY_CLASS, read_record, record_path
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.baselines import FLOORS, floor_run_id, run_floor
from clue_bench.finetuning.linear_baselines import featurize, fit_tfidf, log_softmax
from clue_bench.leaderboards.runs import completed_runs, unfinished_runs
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task

LETTERS = list("的一是在了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过")


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def pairs(number, *, seed):
    """Pairs of questions that are about the same words (label 1, a third of them) or not."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        letters = draw.permutation(LETTERS)
        label = int(draw.random() < 1 / 3)
        second = draw.permutation(letters[:8]) if label else letters[8:16]
        made.append({"sentence1": "".join(letters[:8]), "sentence2": "".join(second), "label": str(label)})
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC-like pairs, and TNEWS-like titles of three of the fifteen classes, each with a word of its own."""
    folder = tmp_path_factory.mktemp("data")
    for number, (split, size) in enumerate({"train": 600, "dev": 200, "test": 40}.items()):
        rows = pairs(size, seed=number)
        if split == "test":
            rows = [{"id": n, "sentence1": r["sentence1"], "sentence2": r["sentence2"]} for n, r in enumerate(rows)]
        write(folder / "afqmc" / f"{split}.json", rows)
    draw = np.random.default_rng(9)
    for split, classes in {"train": ("100", "103", "103", "112"), "dev": ("100", "103", "112", "116")}.items():
        words = {"100": "故事", "103": "足球", "112": "旅行", "116": "游戏"}
        titles = [
            {"sentence": "".join(draw.permutation(LETTERS)[:6]) + words[name], "label": name, "label_desc": ""}
            for name in classes * 30
        ]
        write(folder / "tnews" / f"{split}.json", titles)
    return folder


def run(data, out, kind, task="afqmc", seed=1):
    card = load_task(task)
    return run_floor(card, read_rows(card, data), data=data, kind=kind, seed=seed, out=out, asked={"task": task})


def labels(out, split="dev"):
    return [prediction.label for prediction in read_predictions(predictions_path(out, split))]


def test_the_linear_floor_sees_what_two_texts_share_where_a_bag_of_both_does_not(data, tmp_path):
    record = run(data, tmp_path, "tfidf")
    rows = read_rows(load_task("afqmc"), data)
    bag = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    joined = {split: ["".join(pair) for pair in part.texts] for split, part in rows.items()}
    model = LinearSVC().fit(bag.fit_transform(joined["train"]), rows["train"].labels)
    of_bag = accuracy_score(rows["dev"].labels, model.predict(bag.transform(joined["dev"])))
    assert record.completed_results.dev.accuracy > 0.99 > 0.9 > of_bag


def test_the_majority_floor_is_scikit_learns(data, tmp_path):
    record = run(data, tmp_path, "majority")
    card = load_task("afqmc")
    rows = read_rows(card, data)
    oracle = DummyClassifier(strategy="prior").fit(np.zeros((600, 1)), rows["train"].labels)
    predicted = oracle.predict(np.zeros((200, 1)))
    assert labels(tmp_path) == [card.labels[label] for label in predicted]
    assert record.completed_results.dev.accuracy == accuracy_score(rows["dev"].labels, predicted)
    first = read_predictions(predictions_path(tmp_path, "dev"))[0]
    assert first.probability == pytest.approx(oracle.predict_proba([[0]]).max(), abs=2 / 600)
    assert record.flags == [MAJORITY_CLASS]
    assert record.model.parameters == 0


@pytest.mark.parametrize("kind", FLOORS)
def test_a_floor_is_recorded_and_predicted_like_any_run(data, tmp_path, kind):
    record = run(data, tmp_path, kind)
    assert read_record(record_path(tmp_path, record.run_id)) == record
    assert (record.status, record.model.name, record.model.is_floor) == ("completed", f"floor-{kind}", True)
    assert record.run_id.startswith(f"finetune-afqmc-floor-{kind}-")
    assert record.run_id.endswith("-s1")
    dev = read_predictions(predictions_path(tmp_path, "dev"))
    assert sum(prediction.is_right for prediction in dev) == record.completed_results.dev.correct
    assert -np.log([prediction.gold_probability for prediction in dev]).mean() == pytest.approx(
        record.completed_results.dev.loss, abs=1e-3
    )
    test = read_predictions(predictions_path(tmp_path, "test"))
    assert [prediction.id for prediction in test] == list(range(40))
    assert {prediction.gold for prediction in test} == {None}
    (completed,) = completed_runs([record])
    assert (completed.record.model.is_floor, completed.column.dev_rows) == (True, 200)


def test_a_floor_is_one_model_whatever_the_task(data, tmp_path):
    first, second = run(data, tmp_path / "a", "tfidf"), run(data, tmp_path / "b", "tfidf", task="tnews")
    assert first.model.sha256 == second.model.sha256
    assert first.effective == second.effective
    assert first.model.parameters == first.completed_results.num_features + 1  # two classes: one margin
    assert second.model.parameters == 3 * (second.completed_results.num_features + 1)


def test_a_class_that_train_lacks_is_never_predicted_and_has_a_probability(data, tmp_path):
    record = run(data, tmp_path, "tfidf", task="tnews")
    assert set(labels(tmp_path)) == {"100", "103", "112"}
    assert record.completed_results.dev.accuracy == 0.75  # everything but class 116
    strangers = [p for p in read_predictions(predictions_path(tmp_path, "dev")) if p.gold == "116"]
    assert len(strangers) == 30
    assert all(0 < p.gold_probability <= p.probability for p in strangers)


def test_the_same_seed_gives_the_same_predictions_byte_for_byte(data, tmp_path):
    for name in ("a", "b"):
        run(data, tmp_path / name, "tfidf")
    first, second = (predictions_path(tmp_path / name, "test").read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_completed_floor_is_not_repeated_and_one_that_lost_a_file_is(data, tmp_path):
    record = run(data, tmp_path, "tfidf")
    path = predictions_path(tmp_path, "test")
    before = path.stat().st_mtime_ns
    assert run(data, tmp_path, "tfidf") == record
    assert path.stat().st_mtime_ns == before
    path.unlink()
    assert run(data, tmp_path, "tfidf").run_id == record.run_id
    assert path.is_file()


def test_kind_seed_card_and_data_are_part_of_a_floors_name(data):
    card = load_task("afqmc")
    rows = read_rows(card, data)
    swapped = {**rows, "dev": rows["test"]}
    other = card.model_copy(update={"metric": "macro_f1"})
    names = [
        *(floor_run_id(card, rows, kind=kind, seed=seed) for kind in FLOORS for seed in (1, 2)),
        floor_run_id(card, swapped, kind="tfidf", seed=1),
        floor_run_id(other, rows, kind="tfidf", seed=1),
    ]
    assert len(set(names)) == 6


def test_a_floor_never_writes_over_another_run(data, tmp_path):
    run(data, tmp_path, "majority")
    with pytest.raises(ClueBenchError, match="holds another run"):
        run(data, tmp_path, "tfidf")


def test_an_unknown_floor_is_an_error_with_the_nearest_name(data, tmp_path):
    with pytest.raises(ClueBenchError, match=r"'tf-idf': .*'tfidf'"):
        run(data, tmp_path, "tf-idf")


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ([{"sentence1": "的一", "sentence2": "是在", "label": "0"}] * 4, "one class only"),
        (
            [
                {"sentence1": "的", "sentence2": "一", "label": "0"},
                {"sentence1": "是", "sentence2": "在", "label": "1"},
            ],
            "no features",
        ),
    ],
)
def test_train_rows_that_no_linear_model_can_learn_from_fail_and_are_recorded(tmp_path, train, problem):
    write(tmp_path / "data" / "afqmc" / "train.json", train)
    write(tmp_path / "data" / "afqmc" / "dev.json", pairs(5, seed=1))
    with pytest.raises(ClueBenchError, match=problem):
        run(tmp_path / "data", tmp_path / "run", "tfidf")
    (path,) = (tmp_path / "run").glob("*.record.json")
    record = read_record(path)
    assert record.status == "failed"
    assert record.error is not None
    assert problem in record.error
    assert [unfinished.run_id for unfinished in unfinished_runs([record])] == [record.run_id]
    assert run(tmp_path / "data", tmp_path / "majority", "majority").status == "completed"


def test_blocks_of_a_pair_add_up_to_the_tf_idf_of_its_texts(data):
    rows = read_rows(load_task("afqmc"), data)
    oracle = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    oracle.fit([text for pair in rows["train"].texts for text in pair])
    features = featurize(rows).others["dev"].toarray()
    size = len(oracle.vocabulary_)
    both, first, second, numbers = np.split(features, [size, 2 * size, 3 * size], axis=1)
    sides = [oracle.transform([pair[side] for pair in rows["dev"].texts]).toarray() for side in (0, 1)]
    np.testing.assert_allclose(both + first, sides[0], atol=1e-6)
    np.testing.assert_allclose(both + second, sides[1], atol=1e-6)
    assert not (first * second).any()  # what both have in part is left over on one side only
    np.testing.assert_allclose(numbers[:, 0], (sides[0] * sides[1]).sum(axis=1), atol=1e-5)
    assert ((numbers[:, 1:4] >= 0) & (numbers[:, 1:4] <= 1 + 1e-5)).all()


def test_c_and_temperature_are_the_best_of_those_tried_on_dev(data):
    rows = read_rows(load_task("afqmc"), data)
    fitted = fit_tfidf(rows, featurize(rows), num_classes=2, metric="accuracy", seed=1)
    best = max(fitted.choices["tried"], key=lambda tried: tried["accuracy"])
    assert fitted.choices["C"] == best["C"]
    shares = fitted.answers["dev"].probabilities
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    loss = sklearn_log_loss(rows["dev"].labels, shares)
    assert loss < sklearn_log_loss(rows["dev"].labels, [rows["dev"].labels.mean()] * 200)
    for factor in (0.5, 2.0):  # a sharper and a flatter temperature
        other = np.exp(log_softmax(np.log(shares) * factor))
        assert sklearn_log_loss(rows["dev"].labels, other) >= loss


def test_log_softmax_is_scipys():
    logits = np.random.default_rng(0).normal(size=(20, 7)) * 300
    np.testing.assert_allclose(log_softmax(logits), scipy_log_softmax(logits, axis=1), atol=1e-9)


def test_the_floor_never_loads_torch():
    code = "import clue_bench.finetuning.baselines, sys; assert 'torch' not in sys.modules, 'torch was loaded'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_runs_both_floors_of_every_task_and_gives_one_json_object(data, tmp_path):
    arguments = ["floor", "--task", "afqmc", "--task", "tnews", "--data", str(data), "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    runs = json.loads(done.stdout)["runs"]
    found = [(record["task"]["name"], record["model"]["name"]) for record in runs]
    assert found == [(task, f"floor-{kind}") for task in ("afqmc", "tnews") for kind in FLOORS]
    assert all(record_path(tmp_path / record["run_id"], record["run_id"]).is_file() for record in runs)


@pytest.mark.slow
def test_on_real_data_the_linear_floor_learns_inference_and_is_at_the_majority_on_afqmc(real_data, tmp_path):
    ocnli = run(real_data / "clue", tmp_path / "ocnli", "tfidf", task="ocnli").completed_results.dev
    assert ocnli.accuracy > 0.55 > 0.4 > ocnli.majority_share
    afqmc = [run(real_data / "clue", tmp_path / kind, kind).completed_results.dev.accuracy for kind in FLOORS]
    assert afqmc[0] == pytest.approx(0.68999, abs=1e-5)
    assert afqmc[1] == pytest.approx(afqmc[0], abs=0.01)
