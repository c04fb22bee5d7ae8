"""Models without their pretraining: the same network and vocabulary, weights from the run's seed."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from clue_bench.doors.records import read_record, record_path
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import Untrained, untrained
from clue_bench.finetuning.run import Plan, prepare, run
from clue_bench.finetuning.settings import make_settings
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "afqmc").mkdir()
    rows = [{"sentence1": "的一是", "sentence2": "在了" + "不" * (n % 2), "label": str(n % 2)} for n in range(32)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    for split in ("train", "dev"):
        (folder / "afqmc" / f"{split}.json").write_text(text, encoding="utf-8")
    return folder


def plan_of(start, data, seed=1):
    task = load_task("afqmc")
    rows = read_rows(task, data)
    settings = make_settings(task, start.sizes, {"steps": 2, "precision": "fp32"}, train_rows=len(rows["train"]))
    return Plan(task=task, start=start, settings=settings, seed=seed, rows=rows, data=data)


def weights(plan):
    return {name: tensor.clone() for name, tensor in prepare(plan).model.state_dict().items()}


def test_the_architecture_is_the_same_and_no_weight_is(checkpoint_folder, data):
    own = open_pretrained(checkpoint_folder)
    bare = untrained(own)
    ours, theirs = weights(plan_of(bare, data)), weights(plan_of(own, data))
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}
    assert (bare.num_parameters, bare.sizes) == (own.num_parameters, own.sizes)
    encoder = [name for name in ours if name.endswith("weight") and "norm" not in name.lower() and ours[name].ndim == 2]
    assert len(encoder) > 10
    head = {name for name in encoder if torch.equal(ours[name], theirs[name])}
    assert all("classifier" in name or "pooler" in name for name in head)  # what is drawn anew for both


def test_weights_are_another_draw_for_every_seed_and_the_same_for_the_same(checkpoint_folder, data):
    bare = untrained(open_pretrained(checkpoint_folder))
    first, again, other = (weights(plan_of(bare, data, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    matrices = [name for name in first if first[name].ndim == 2]
    assert not any(torch.equal(first[name], other[name]) for name in matrices)


def test_its_record_and_provenance_say_that_nothing_was_learnt_before(checkpoint_folder, data, tmp_path):
    own = open_pretrained(checkpoint_folder)
    plan = plan_of(untrained(own), data)
    list(run(plan, prepare(plan), out=tmp_path, asked={}))
    record = read_record(record_path(tmp_path, plan.run_id))
    assert record.model.name == "test-untrained"
    assert record.model.pretraining_tokens == 0
    assert record.model.parameters == own.num_parameters
    assert record.model.sha256 != own.sha256
    provenance = json.loads((tmp_path / "checkpoint" / "provenance.json").read_text(encoding="utf-8"))
    assert (provenance["model"], provenance["tokens_seen"], provenance["task"]) == ("test-untrained", 0, "afqmc")
    assert "recipe" not in provenance
    assert load_file(tmp_path / "checkpoint" / "model.safetensors")
    after = open_pretrained(tmp_path)
    assert after.name == "test-untrained-after-afqmc"
    assert untrained(after).name == "test-untrained-untrained"


def test_tasks_that_came_before_are_forgotten_with_the_weights(checkpoint_folder, data, tmp_path):
    own = open_pretrained(checkpoint_folder)
    plan = plan_of(own, data)
    list(run(plan, prepare(plan), out=tmp_path, asked={}))
    after = open_pretrained(tmp_path)
    assert after.name == "test-after-afqmc"
    assert untrained(after).name == untrained(own).name == "test-untrained"
    assert plan_of(untrained(after), data).run_id == plan_of(untrained(own), data).run_id


def test_architecture_and_vocabulary_are_its_identity(checkpoint_folder, data):
    own = open_pretrained(checkpoint_folder)
    wider = replace(own, checkpoint=replace(own.checkpoint, config=replace(own.checkpoint.config, heads=2)))
    other_weights = replace(own, checkpoint=replace(own.checkpoint, sha256="0" * 64))
    assert untrained(wider).sha256 != untrained(own).sha256
    assert untrained(other_weights).sha256 == untrained(own).sha256
    assert plan_of(untrained(own), data).run_id != plan_of(own, data).run_id


def test_it_cannot_predict_and_a_network_of_transformers_cannot_be_untrained(checkpoint_folder, tmp_path):
    import transformers

    with pytest.raises(ClueBenchError, match="never been trained"):
        untrained(open_pretrained(checkpoint_folder)).trained()
    config = transformers.ElectraConfig(
        vocab_size=100, num_hidden_layers=1, num_attention_heads=2, hidden_size=8, intermediate_size=8, embedding_size=8
    )
    transformers.ElectraModel(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "的"]) + "\n")
    with pytest.raises(ClueBenchError, match="network of transformers"):
        untrained(open_pretrained(tmp_path))
    assert isinstance(untrained(open_pretrained(checkpoint_folder)), Untrained)
