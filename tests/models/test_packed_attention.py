"""Attention within packed texts by a kernel of its own: here a plain loop over texts stands for the GPU's."""

import pytest
import torch
import torch.nn.functional as F

from clue_bench.models import encoder, packed_attention
from clue_bench.models.attention import Packing
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.models.packed_attention import has_packed_kernel, texts_of_rows

BLOCKS = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 3], [1, 1, 2, 2, 2, 0, 0, 0], [1] * 8])


def loop(q_XNH, k_XNH, v_XNH, starts, most):
    """What PyTorch's kernel does, text by text."""
    mixed = []
    for start, end in zip(starts.tolist(), starts.tolist()[1:], strict=False):
        assert end - start <= most
        part = (x[start:end].transpose(0, 1) for x in (q_XNH, k_XNH, v_XNH))
        mixed.append(F.scaled_dot_product_attention(*part).transpose(0, 1))
    return torch.cat(mixed)


@pytest.fixture(autouse=True)
def _kernel_of_a_cpu(monkeypatch):
    monkeypatch.setattr(packed_attention, "_kernel", loop)


def test_texts_begin_where_the_number_changes_and_the_end_is_repeated():
    texts = texts_of_rows(BLOCKS, most_texts=3)
    assert texts.starts.tolist() == [0, 3, 7, 8, 10, 13, 16, *[24] * 6]
    assert (texts.starts.dtype, texts.most) == (torch.int32, 8)


def test_texts_are_found_without_waiting_for_the_device(kernels):
    assert kernels(lambda: texts_of_rows(BLOCKS, most_texts=3))


@pytest.mark.parametrize("family", ["bert", "roformer"])
@pytest.mark.parametrize("has_predictions", [True, False])
def test_hidden_states_and_gradients_are_those_of_masked_attention(family, has_predictions, monkeypatch):
    config = ModelConfig(
        family=family, vocab_size=50, layers=3, hidden_size=24, heads=3, feed_forward_size=40, dropout=0
    )
    torch.manual_seed(0)
    model = MaskedLanguageModel(config, sentence_order=True).double()
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0], [0, 1, 0, 1, 2, 0, 1, 2], list(range(8))])
    given = {"packing": Packing(BLOCKS, positions), "starts_BC": torch.tensor([[0, 3, 7], [0, 2, 0], [0, 0, 0]])}
    if has_predictions:
        given["at_BK"] = torch.tensor([[1, 4], [3, 0], [7, 2]])
    ids = torch.randint(5, 50, BLOCKS.shape)
    found = []
    for is_packed in (True, False):
        monkeypatch.setattr(encoder, "has_packed_kernel", lambda x, drop, head_size, found=is_packed: found)
        out = model(ids, **given)
        loss = out.hidden[BLOCKS > 0].pow(2).sum() if not has_predictions else out.hidden.pow(2).sum()
        (loss + out.order_BC2.sum()).backward()
        found.append(
            [loss.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]
        )
        model.zero_grad()
    for packed, masked in zip(*found, strict=True):
        torch.testing.assert_close(packed, masked, atol=1e-8, rtol=1e-6)


def test_a_kernel_is_used_only_if_it_agrees_with_masked_attention(monkeypatch):
    asked = torch.device("cpu"), torch.bfloat16, 8
    is_right = packed_attention._is_right.__wrapped__
    assert is_right(*asked)
    monkeypatch.setattr(packed_attention, "_kernel", lambda q, k, v, starts, most: v + 0 * (q + k))
    assert not is_right(*asked)
    monkeypatch.undo()
    assert not is_right(*asked)  # PyTorch's own has no code for CPUs


def test_a_cpu_has_no_such_kernel():
    assert not has_packed_kernel(torch.ones(2, 3, 4, dtype=torch.bfloat16), None, head_size=8)
