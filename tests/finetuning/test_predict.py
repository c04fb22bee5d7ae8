"""Predictions: rows come back in their order whatever batches they were in, with the weights of the moment."""

import threading
from copy import deepcopy

import numpy as np
import pytest
import torch

from clue_bench.finetuning import predict
from clue_bench.finetuning.encode import collate
from clue_bench.finetuning.predict import predict_logits


def predicted(run, autocast=None):
    return predict_logits(run.model, run.dev, pad=run.pad, device=run.device, autocast=autocast)


@pytest.mark.parametrize("tokens", [1, 40, 2048])
def test_logits_are_those_of_each_row_alone_in_the_rows_order(tiny_run, monkeypatch, tokens):
    monkeypatch.setattr(predict, "CPU_TOKENS", tokens)
    run = tiny_run()
    run.model.eval()
    with torch.no_grad():
        for number, logits in enumerate(predicted(run)):
            batch = collate(run.dev, np.array([number]), pad=run.pad, device=run.device)
            alone = run.model(batch.ids_BS, batch.segments_BS, batch.keep_BS)[0]
            torch.testing.assert_close(torch.from_numpy(logits), alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_replicas_of_a_model_take_part_and_change_no_logit(tiny_run, monkeypatch, autocast):
    monkeypatch.setattr(predict, "CPU_TOKENS", 40)
    run, taken = tiny_run(), []
    alone = predicted(run, autocast)
    replicas = [deepcopy(run.model) for _ in range(2)]
    gate = threading.Barrier(3)

    def noted(model, given):
        taken.append(model)
        if len(taken) <= 3:
            gate.wait(timeout=60)  # all three begin before one has done everything

    for model in (run.model, *replicas):
        model.register_forward_pre_hook(noted)
    together = predict_logits(run.model, run.dev, pad=run.pad, device=run.device, autocast=autocast, replicas=replicas)
    assert np.allclose(together, alone, rtol=0, atol=1e-2 if autocast else 1e-6)  # threads add up in other orders
    assert {id(model) for model in taken} == {id(model) for model in (run.model, *replicas)}


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_every_batch_has_products_of_the_type_asked_for(tiny_run, monkeypatch, seconds):
    # Inference mode around a generator's body ended autocast at the first yield: all batches but one were in fp32.
    monkeypatch.setattr(predict, "CPU_TOKENS", 40)
    monkeypatch.setattr(predict, "SECONDS_AT_ONCE", seconds)
    run, types = tiny_run(), []
    product = next(module for module in run.model.modules() if isinstance(module, torch.nn.Linear))
    product.register_forward_hook(lambda module, given, out: types.append(out.dtype))
    steps = predict.predict_in_steps(run.model, run.dev, pad=run.pad, device=run.device, autocast=torch.bfloat16)
    for _ in steps:
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
    assert len(types) > 3
    assert set(types) == {torch.bfloat16}


def test_weights_cast_for_one_prediction_are_not_used_for_the_next(tiny_run):
    run = tiny_run()
    before = predicted(run, torch.bfloat16)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.mul_(1.5)
    after = predicted(run, torch.bfloat16)
    assert not np.allclose(before, after, atol=1e-3)
    assert np.allclose(after, predicted(run), atol=0.05)  # of fp32


def test_a_model_in_training_is_in_training_afterwards(tiny_run):
    run = tiny_run()
    run.model.train()
    predicted(run)
    assert run.model.training
