"""Fine-tuning runs: they learn, repeat themselves exactly, keep the best, and leave what transformers can use."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from clue_bench.api.progress import evaluation_words
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import MAJORITY_CLASS, read_record, record_path
from clue_bench.errors import ClueBenchError, Interrupted
from clue_bench.finetuning import predict, train
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.encode import prediction_batches, training_batches
from clue_bench.finetuning.run import Plan, completed_record, prepare, run, write_failure
from clue_bench.finetuning.settings import make_settings
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task
from clue_bench.vocab import Vocabulary, read_vocabulary

FAST = {"learning_rate": 1e-2, "epochs": 4, "batch_size": 16, "precision": "fp32", "evaluations_per_epoch": 2}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC-like rows whose label is whether the second question holds the character 不."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "afqmc").mkdir()
    generator = np.random.default_rng(0)
    others = list("的一是在了有和人这中大为上个国我以要他时来用们")

    def rows(number):
        made = []
        for _ in range(number):
            label = int(generator.random() < 0.4)
            first, second = ("".join(generator.choice(others, generator.integers(3, 9))) for _ in range(2))
            made.append({"sentence1": first, "sentence2": second + "不不" * label, "label": str(label)})
        return made

    write(folder / "afqmc" / "train.json", rows(400))
    write(folder / "afqmc" / "dev.json", rows(120))
    tests = [{"id": n, "sentence1": r["sentence1"], "sentence2": r["sentence2"]} for n, r in enumerate(rows(30))]
    write(folder / "afqmc" / "test.json", tests)
    return folder


def plan_of(data, checkpoint_folder, seed=1, **overrides):
    task, start = load_task("afqmc"), open_pretrained(checkpoint_folder)
    rows = read_rows(task, data)
    settings = make_settings(task, start.sizes, {**FAST, **overrides}, train_rows=len(rows["train"]))
    return Plan(task=task, start=start, settings=settings, seed=seed, rows=rows, data=data)


def with_checkpoint(plan, **changes):
    """The plan with another checkpoint in memory."""
    return replace(plan, start=replace(plan.start, checkpoint=replace(plan.start.checkpoint, **changes)))


def finish(plan, out):
    list(run(plan, prepare(plan), out=out, asked={}))
    return read_record(record_path(out, plan.run_id))


def test_a_run_learns_and_records_everything(data, checkpoint_folder, tmp_path):
    record = finish(plan_of(data, checkpoint_folder), tmp_path)
    dev = record.completed_results.dev
    assert record.status == "completed"
    assert dev.accuracy > 0.95
    assert dev.correct == round(dev.accuracy * dev.rows)
    assert record.flags == []
    assert record.task is not None
    assert record.task.column == "AFQMC"
    assert record.effective["epochs"] == 4
    assert record.effective["steps"] == 100
    assert len(record.completed_results.evaluations) == 8
    assert record.model.sha256 == read_checkpoint(checkpoint_folder).sha256
    assert record.data.files["train"].rows == 400


TIMED = ("train_seconds", "train_rows_per_second", "evaluation_rows_per_second", "peak_memory_mib")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends other signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_ends_its_update_saves_and_continues_to_the_same_numbers(
    data, checkpoint_folder, tmp_path, number
):
    plan, out = plan_of(data, checkpoint_folder, epochs=1), tmp_path / "stopped"
    whole = finish(plan, tmp_path / "whole")
    reports = run(plan, prepare(plan), out=out, asked={})
    while next(reports).step < 7:
        pass
    os.kill(os.getpid(), number)
    assert next(reports).step == 8
    with pytest.raises(Interrupted) as caught:
        next(reports)
    assert caught.value.message == "finetune afqmc: stopped and saved at step 8 of 25"
    assert read_record(record_path(out, plan.run_id)).status == "interrupted"
    assert (out / "state.pt").is_file()
    continued = run(plan, prepare(plan), out=out, asked={})
    assert [report.step for report in continued] == list(range(9, 26))
    found = read_record(record_path(out, plan.run_id)).completed_results
    assert found.model_dump(exclude=set(TIMED)) == whole.completed_results.model_dump(exclude=set(TIMED))
    assert not (out / "state.pt").exists()


def test_states_by_time_change_nothing_and_none_is_left(data, checkpoint_folder, tmp_path):
    plan = plan_of(data, checkpoint_folder, epochs=1)
    whole = finish(plan, tmp_path / "whole")
    reports = run(plan, prepare(plan), out=tmp_path / "saved", asked={}, seconds_between_saves=0.0)
    assert next(reports).step == 1
    assert (tmp_path / "saved" / "state.pt").is_file()
    list(reports)
    found = read_record(record_path(tmp_path / "saved", plan.run_id)).completed_results
    assert found.weights_sha256 == whole.completed_results.weights_sha256
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(data, checkpoint_folder, tmp_path):
    plans = [plan_of(data, checkpoint_folder, seed=seed, epochs=1) for seed in (1, 1, 2)]
    results = [finish(plan, tmp_path / str(number)).results for number, plan in enumerate(plans)]
    curves = [[evaluation.train_loss for evaluation in result.evaluations] for result in results]
    assert curves[0] == curves[1] != curves[2]
    assert plans[0].run_id == plans[1].run_id != plans[2].run_id


def test_a_completed_run_is_found_and_other_settings_are_another_run(data, checkpoint_folder, tmp_path):
    plan = plan_of(data, checkpoint_folder, steps=3)
    finish(plan, tmp_path)
    assert completed_record(plan, tmp_path) is not None
    with pytest.raises(ClueBenchError, match="holds another run"):
        completed_record(plan_of(data, checkpoint_folder, steps=4), tmp_path)


@pytest.mark.parametrize("lost", ["checkpoint/model.safetensors", "predictions/test.jsonl"])
def test_a_run_whose_files_are_gone_is_not_complete(data, checkpoint_folder, tmp_path, lost):
    plan = plan_of(data, checkpoint_folder, steps=3)
    finish(plan, tmp_path)
    (tmp_path / lost).unlink()
    assert completed_record(plan, tmp_path) is None
    finish(plan, tmp_path)
    assert completed_record(plan, tmp_path) is not None


def test_fine_tuning_never_writes_over_a_pretraining_run(data, checkpoint_folder):
    before = (checkpoint_folder / "checkpoint" / "model.safetensors").read_bytes()
    plan = plan_of(data, checkpoint_folder, steps=3)
    with pytest.raises(ClueBenchError, match="holds another run"):
        finish(plan, checkpoint_folder)
    assert (checkpoint_folder / "checkpoint" / "model.safetensors").read_bytes() == before


def test_card_vocabulary_and_architecture_are_part_of_a_runs_name(data, checkpoint_folder):
    plan = plan_of(data, checkpoint_folder)
    checkpoint = plan.start.checkpoint
    others = [
        replace(plan, task=plan.task.model_copy(update={"metric": "macro_f1"})),
        with_checkpoint(plan, vocabulary=Vocabulary(checkpoint.vocabulary.tokens[::-1])),
        with_checkpoint(plan, config=replace(checkpoint.config, heads=2)),
    ]
    assert len({plan.run_id, *(other.run_id for other in others)}) == 4


@pytest.mark.parametrize("layers", [1, 3])
def test_another_number_of_layers_than_config_says_is_refused(data, checkpoint_folder, layers):
    plan = plan_of(data, checkpoint_folder)
    wrong = with_checkpoint(plan, config=replace(plan.start.checkpoint.config, layers=layers))
    with pytest.raises(ClueBenchError, match="encoder parameters"):
        prepare(wrong)


def test_prediction_of_a_test_set_says_how_far_it_is_and_changes_nothing(
    data, checkpoint_folder, tmp_path, monkeypatch
):
    plan = plan_of(data, checkpoint_folder, epochs=1)
    finish(plan, tmp_path / "plain")
    monkeypatch.setattr(train, "SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(predict, "CPU_TOKENS", 64)
    reports = list(run(plan, prepare(plan), out=tmp_path / "told", asked={}))
    told = [report for report in reports if report.split == "test"]
    assert [report.evaluated for report in told] == sorted({report.evaluated for report in told})
    assert {(report.of_split, report.step) for report in told} == {(30, plan.total_steps)}
    assert told[-1].evaluated == 30
    assert evaluation_words(told[-1], kind="classification") == "  test 30 of 30 rows"
    files = [tmp_path / out / "predictions" / "test.jsonl" for out in ("plain", "told")]
    labels = [[json.loads(line)["label"] for line in file.read_text().splitlines()] for file in files]
    assert labels[0] == labels[1]


def test_saved_predictions_are_those_of_transformers_on_the_saved_checkpoint(data, checkpoint_folder, tmp_path):
    from transformers import BertForSequenceClassification, BertTokenizer

    plan = plan_of(data, checkpoint_folder, epochs=1)
    finish(plan, tmp_path)
    folder = tmp_path / "checkpoint"
    model, tokenizer = BertForSequenceClassification.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    assert model.config.id2label == {0: "0", 1: "1"}
    for split, count in (("dev", 120), ("test", 30)):
        lines = (tmp_path / "predictions" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == count
        for number in range(0, count, 7):
            line, texts = json.loads(lines[number]), plan.rows[split].texts[number]
            with torch.no_grad():
                logits = model.eval()(**tokenizer(*texts, return_tensors="pt")).logits[0]
            assert line["id"] == number
            assert line["label"] == str(int(logits.argmax()))
            assert line["probability"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-4)
            assert ("gold" in line) == (split == "dev")


def small_model(family, folder, vocabulary_file):
    """A model of transformers with random weights, and CLUE's kind of vocabulary beside it."""
    import transformers

    vocabulary = read_vocabulary(vocabulary_file)
    sizes = {"vocab_size": len(vocabulary), "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 64, "pad_token_id": vocabulary.pad}
    config = {
        "albert": lambda: transformers.AlbertConfig(**sizes, embedding_size=16),
        "roformer": lambda: transformers.RoFormerConfig(**sizes),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=len(vocabulary), n_layer=2, n_head=4, n_embd=32, n_positions=64, pad_token_id=vocabulary.pad
        ),
        "electra": lambda: transformers.ElectraConfig(**sizes, embedding_size=16),
    }[family]()
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    vocabulary.save(folder, max_length=64)
    return folder


@pytest.mark.parametrize(
    "family", ["albert", "gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("roformer", "electra"))]
)
def test_every_family_learns_repeats_itself_and_predicts_as_transformers(data, family, tmp_path, vocabulary_file):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    plan = plan_of(data, small_model(family, tmp_path / f"small-{family}", vocabulary_file), epochs=2)
    records = [finish(plan, tmp_path / out) for out in ("a", "b")]
    curves = [[evaluation.train_loss for evaluation in record.completed_results.evaluations] for record in records]
    assert curves[0] == curves[1]
    assert curves[0][-1] < curves[0][0]
    assert records[0].model.name == f"small-{family}"
    assert (records[0].model.layers, records[0].model.hidden_size) == (2, 32)
    folder = tmp_path / "a" / "checkpoint"
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.id2label == {0: "0", 1: "1"}
    rows = [json.loads(line) for line in (tmp_path / "a" / "predictions" / "test.jsonl").read_text().splitlines()]
    texts = plan.rows["test"].texts
    batch = tokenizer(*map(list, zip(*texts, strict=True)), padding=True, return_tensors="pt")
    if family == "gpt2":
        batch.pop("token_type_ids", None)
    with torch.no_grad():
        shares = model.eval()(**batch).logits.softmax(-1).max(-1)
    assert [row["label"] for row in rows] == [str(label) for label in shares.indices.tolist()]
    assert [row["probability"] for row in rows] == pytest.approx(shares.values.tolist(), abs=1e-4)


def test_a_task_after_another_says_so_in_name_record_and_provenance(data, checkpoint_folder, tmp_path):
    first = plan_of(data, checkpoint_folder, steps=3)
    finish(first, tmp_path / "first")
    second = plan_of(data, tmp_path / "first", steps=3)
    record = finish(second, tmp_path / "second")
    assert record.model.name == "test-after-afqmc"
    assert second.run_id.startswith("finetune-afqmc-test-after-afqmc-")
    assert record.model.pretraining_tokens == 24 * 8 * 32
    provenance = json.loads((tmp_path / "second" / "checkpoint" / "provenance.json").read_text(encoding="utf-8"))
    assert [run["task"] for run in provenance["earlier"]] == ["afqmc"]
    assert provenance["earlier"][0]["started_from_sha256"] == first.start.sha256
    assert provenance["started_from_sha256"] == second.start.sha256 != first.start.sha256


def test_the_best_evaluation_is_kept_not_the_last(data, checkpoint_folder, tmp_path):
    finetuning = prepare(plan_of(data, checkpoint_folder))
    list(finetuning.reports())
    best = max(finetuning.evaluations, key=lambda e: e.scores.accuracy)
    assert finetuning.best is not None
    assert finetuning.best.scores.accuracy == best.scores.accuracy
    first = next(e for e in finetuning.evaluations if e.scores.accuracy == best.scores.accuracy)
    assert finetuning.best.step == first.step


@pytest.mark.parametrize("patience", [0, 2])
def test_a_record_says_whether_patience_ended_the_run_and_after_which_step(data, checkpoint_folder, tmp_path, patience):
    results = finish(plan_of(data, checkpoint_folder, epochs=6, patience=patience), tmp_path).results
    looks = [look.step for look in results.evaluations]
    assert results.total_steps == 150
    assert results.last_step == looks[-1]
    assert results.stopped_early == (patience == 2)
    if patience:
        assert looks.index(results.best_step) == len(looks) - 1 - patience
        assert results.last_step < 150
    else:
        assert results.last_step == 150


def test_a_result_at_the_majority_class_is_flagged(data, checkpoint_folder, tmp_path):
    record = finish(plan_of(data, checkpoint_folder, steps=1, learning_rate=1e-9), tmp_path)
    dev = record.completed_results.dev
    assert (MAJORITY_CLASS in record.flags) == (dev.accuracy <= dev.majority_share)
    assert record.flags == [MAJORITY_CLASS]


def test_divergence_is_an_error_and_a_failed_record(data, checkpoint_folder, tmp_path):
    plan = plan_of(data, checkpoint_folder)
    finetuning = prepare(plan)
    with torch.no_grad():
        finetuning.model.classifier.bias.fill_(float("nan"))
    with pytest.raises(ClueBenchError, match="diverged"):
        list(run(plan, finetuning, out=tmp_path, asked={}))
    record = read_record(record_path(tmp_path, plan.run_id))
    assert record.status == "failed"


def test_every_row_trains_once_an_epoch_in_batches_of_similar_length():
    lengths = np.random.default_rng(0).integers(5, 128, 5_000)
    batches = training_batches(lengths, batch_size=32, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(5_000))
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert lengths.sum() / padded > 0.95
    again = training_batches(lengths, batch_size=32, seed=1, epoch=1)
    assert [rows.tolist() for rows in again] != [rows.tolist() for rows in batches]


def test_prediction_batches_hold_every_row_once_within_their_size():
    lengths = np.random.default_rng(0).integers(5, 600, 1_000)
    batches = list(prediction_batches(lengths, tokens=512))
    assert sorted(np.concatenate(batches)) == list(range(1_000))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= 512 for rows in batches)


def test_any_end_by_an_exception_is_a_failed_record(data, checkpoint_folder, tmp_path):
    plan = plan_of(data, checkpoint_folder, steps=3)
    write_failure(plan, tmp_path / "early", asked={"model": "tiny"}, error="out of memory")
    reports = run(plan, prepare(plan), out=tmp_path / "late", asked={"model": "tiny"})
    next(reports)
    write_failure(plan, tmp_path / "late", asked={}, error="out of memory")
    for folder in ("early", "late"):
        record = read_record(record_path(tmp_path / folder, plan.run_id))
        assert (record.status, record.error, record.asked) == ("failed", "out of memory", {"model": "tiny"})
        assert record.effective["steps"] == plan.total_steps == 3
    assert completed_record(plan, tmp_path / "late") is None
    assert finish(plan, tmp_path / "late").status == "completed"
