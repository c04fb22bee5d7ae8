"""Every family against transformers: logits and gradients, padded and packed; the pruned last layer; names."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from clue_bench.doors.checkpoint import read_checkpoint, write_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.models import attention, gpt2
from clue_bench.models.attention import Packing, bias_of, rotary_angles
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.models.gpt2 import CausalLanguageModel
from clue_bench.vocab import read_vocabulary
from clue_bench.weights.hf_config import pretraining_class
from clue_bench.weights.names import from_hugging_face, to_hugging_face

SIZES = {"layers": 3, "hidden_size": 36, "heads": 6, "feed_forward_size": 52, "max_positions": 40, "dropout": 0.0}
ALBERT = {"family": "albert", "embedding_size": 20}
FAMILIES = {
    "bert": {"family": "bert"},
    "bert, sentence order": {"family": "bert", "sentence_order": True},
    "bert, untied, relu": {"family": "bert", "tied_head": False, "activation": "relu"},
    "albert": {**ALBERT, "activation": "gelu_tanh"},
    "albert, sentence order": {**ALBERT, "activation": "gelu_tanh", "sentence_order": True},
    "albert, untied, relu": {**ALBERT, "activation": "relu", "tied_head": False, "sentence_order": True},
    "roformer": {"family": "roformer"},
    "gpt2": {"family": "gpt2", "activation": "gelu_tanh", "layer_norm_eps": 1e-5, "segment_types": 0},
}
ROWS, LENGTH = 5, 24


def build(options: dict, vocab_size: int, **overrides):
    """Our model, with weights that are not near zero."""
    settings = {**SIZES, **options, **overrides}
    sentence_order = settings.pop("sentence_order", False)
    config = ModelConfig(vocab_size=vocab_size, **settings)
    torch.manual_seed(0)
    if config.family == "gpt2":
        model = CausalLanguageModel(config)
    else:
        model = MaskedLanguageModel(config, sentence_order=sentence_order)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def write(model, folder: Path, vocabulary_file: Path) -> str:
    architecture = pretraining_class(model.config.family, sentence_order=getattr(model, "order", None) is not None)
    write_checkpoint(
        folder,
        model.state_dict(),
        architecture=architecture,
        config=model.config,
        vocabulary=read_vocabulary(vocabulary_file),
        provenance={},
    )
    return architecture


@pytest.fixture(params=FAMILIES)
def pair(request, tmp_path, vocabulary_file):
    """Our model and transformers' reading of its checkpoint."""
    import transformers

    ours = build(FAMILIES[request.param], len(read_vocabulary(vocabulary_file)))
    architecture = write(ours, tmp_path / "checkpoint", vocabulary_file)
    loader = getattr(transformers, architecture)
    theirs, info = loader.from_pretrained(
        tmp_path / "checkpoint", attn_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    return ours, theirs.eval()


def inputs_of(model):
    """Ids, segments (None for GPT2) and padding of a batch."""
    torch.manual_seed(1)
    ids = torch.randint(6, model.config.vocab_size, (ROWS, LENGTH))
    lengths = torch.tensor([24, 20, 11, 3, 24])
    keep = torch.arange(LENGTH)[None, :] < lengths[:, None]
    segments = (torch.arange(LENGTH) >= 10).long().expand(ROWS, -1).contiguous()
    return ids, None if model.config.family == "gpt2" else segments, keep


def packing_of_rows() -> Packing:
    """Three texts in every row, of different lengths, and some padding."""
    ends = torch.tensor([[7, 15, 22], [3, 20, 24], [12, 13, 20], [1, 2, 24], [9, 18, 24]])
    at = torch.arange(LENGTH)
    blocks = 1 + (at[None, :, None] >= ends[:, None, :]).sum(-1)
    blocks = torch.where(at[None, :] >= ends[:, -1:], 0, blocks)
    firsts = torch.where(torch.nn.functional.pad(blocks[:, :-1], (1, 0), value=-1) != blocks, at, 0).cummax(1).values
    return Packing(blocks, at[None, :] - firsts)


def our_logits(model, ids, segments, **kwargs):
    if segments is not None:
        kwargs["segments_BS"] = segments
    return model(ids, **kwargs)


def their_logits(model, outputs):
    return outputs.logits if "logits" in outputs else outputs.prediction_logits


def their_inputs(model, ids, segments):
    inputs = {"input_ids": ids}
    return inputs if segments is None else {**inputs, "token_type_ids": segments}


def packed_inputs(model, packing):
    """What tells transformers which positions belong together."""
    same = packing.blocks_BS[:, :, None] == packing.blocks_BS[:, None, :]
    if model.config.model_type == "gpt2":
        same = same & torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    bias = torch.zeros(same.shape).masked_fill(~same, torch.finfo(torch.float32).min)
    if model.config.model_type == "roformer":  # its positions are relative and need no ids
        return {"attention_mask": bias[:, None]}
    return {"attention_mask": bias[:, None], "position_ids": packing.positions_BS}


def test_padded_logits_equal_transformers(pair):
    ours, theirs = pair
    ids, segments, keep = inputs_of(ours)
    with torch.no_grad():
        got = our_logits(ours, ids, segments, keep_BS=keep).logits
        outputs = theirs(**their_inputs(theirs, ids, segments), attention_mask=keep.long())
    torch.testing.assert_close(got[keep], their_logits(theirs, outputs)[keep], atol=1e-5, rtol=0)


def test_packed_logits_equal_transformers(pair):
    ours, theirs = pair
    ids, segments, _ = inputs_of(ours)
    packing = packing_of_rows()
    with torch.no_grad():
        got = our_logits(ours, ids, segments, packing=packing).logits
        outputs = theirs(**their_inputs(theirs, ids, segments), **packed_inputs(theirs, packing))
    real = packing.blocks_BS > 0
    torch.testing.assert_close(got[real], their_logits(theirs, outputs)[real], atol=1e-5, rtol=0)


def test_packed_texts_do_not_see_each_other(pair):
    ours, _ = pair
    ids, segments, _ = inputs_of(ours)
    packing = packing_of_rows()
    changed = torch.where(packing.blocks_BS == 1, ids, 6 + (ids + 1) % 20)
    with torch.no_grad():
        before = our_logits(ours, ids, segments, packing=packing).logits
        after = our_logits(ours, changed, segments, packing=packing).logits
    first = packing.blocks_BS == 1
    assert torch.equal(before[first], after[first])
    assert not torch.allclose(before[packing.blocks_BS == 2], after[packing.blocks_BS == 2])


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_gradients_equal_transformers(pair, layout):
    ours, theirs = pair
    ids, segments, keep = inputs_of(ours)
    packing = packing_of_rows() if layout == "packed" else None
    ours_sees = {"packing": packing} if packing else {"keep_BS": keep}
    theirs_sees = packed_inputs(theirs, packing) if packing else {"attention_mask": keep.long()}
    orders = torch.tensor([0, 1, 1, 0, 1]) if getattr(ours, "order", None) is not None else None
    if ours.config.is_causal:
        labels = torch.where(keep if packing is None else packing.blocks_BS > 0, ids.roll(-1, 1), -100)
        outputs = our_logits(ours, ids, None, **ours_sees)
        F.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten()).backward()
    else:
        at = torch.tensor([[1, 5, 7], [2, 3, 19], [0, 4, 10], [0, 1, 2], [23, 11, 6]])
        labels = torch.full_like(ids, -100).scatter(1, at, ids.gather(1, at))
        starts = {} if orders is None else {"starts_BC": torch.zeros(ROWS, 1, dtype=torch.int64)}
        outputs = our_logits(ours, ids, segments, at_BK=at, **starts, **ours_sees)
        loss = F.cross_entropy(outputs.logits.flatten(0, 1), ids.gather(1, at).flatten())
        loss = loss if orders is None else loss + F.cross_entropy(outputs.order_BC2[:, 0], orders)
        loss.backward()
    their_outputs = theirs(**their_inputs(theirs, ids, segments), **theirs_sees)
    expected_loss = F.cross_entropy(their_logits(theirs, their_outputs).flatten(0, 1), labels.flatten())
    if orders is not None:
        name = "seq_relationship_logits" if "seq_relationship_logits" in their_outputs else "sop_logits"
        expected_loss = expected_loss + F.cross_entropy(their_outputs[name], orders)
    expected_loss.backward()
    grads = {name: parameter.grad for name, parameter in ours.named_parameters()}
    got = to_hugging_face(grads, ours.config)
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    # A tied or doubled bias has its gradient under one of its two names; RoFormer's table of angles has none.
    spare = {"roformer.encoder.embed_positions.weight", *(name for name in got if name.endswith("predictions.bias"))}
    assert got.keys() - spare <= expected.keys()
    for name in got.keys() & expected.keys():
        torch.testing.assert_close(got[name], expected[name], atol=1e-5, rtol=1e-4, msg=name)
    assert expected.keys() <= got.keys(), expected.keys() - got.keys()


def test_last_layer_at_chosen_positions_equals_the_full_one(pair):
    ours, _ = pair
    if ours.config.is_causal:
        pytest.skip("GPT2 looks at every position")
    ids, segments, keep = inputs_of(ours)
    at = torch.tensor([[1, 5], [2, 3], [0, 4], [0, 1], [23, 11]])
    for sees in ({"keep_BS": keep}, {"packing": packing_of_rows()}):
        with torch.no_grad():
            full = our_logits(ours, ids, segments, **sees).logits
            pruned = our_logits(ours, ids, segments, at_BK=at, **sees).logits
        expected = full.gather(1, at[..., None].expand(-1, -1, full.shape[-1]))
        torch.testing.assert_close(pruned, expected, atol=1e-5, rtol=0)


def test_names_survive_the_way_to_hugging_face_and_back(pair):
    ours, _ = pair
    state = ours.state_dict()
    back = from_hugging_face(to_hugging_face(state, ours.config), ours.config, where="test")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_checkpoint_is_read_as_it_was_written(pair, tmp_path):
    ours, _ = pair
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.config == ours.config
    assert checkpoint.tensors.keys() == ours.state_dict().keys()


@pytest.mark.parametrize("family", ["bert", "albert", "roformer", "gpt2"])
def test_a_bare_model_without_prefix_is_read(family, tmp_path, vocabulary_file):
    import transformers

    ours = build(FAMILIES[family], len(read_vocabulary(vocabulary_file)))
    write(ours, tmp_path / "checkpoint", vocabulary_file)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "checkpoint")
    theirs = transformers.AutoModel.from_config(config)
    theirs.save_pretrained(tmp_path / "bare")
    (tmp_path / "bare" / "vocab.txt").write_bytes((tmp_path / "checkpoint" / "vocab.txt").read_bytes())
    tensors = read_checkpoint(tmp_path / "bare").tensors
    names = set(ours.state_dict())
    heads = ("transform", "bias", "pooler", "decoder")
    assert {n for n in names if not n.startswith(heads)} == {n for n in tensors if not n.startswith(heads)}


def test_a_parameter_of_another_family_is_named(pair):
    ours, _ = pair
    state = to_hugging_face(ours.state_dict(), ours.config) | {"generator.lm_head.weight": torch.zeros(1)}
    with pytest.raises(ClueBenchError, match=r"generator\.lm_head\.weight"):
        from_hugging_face(state, ours.config, where="test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 30, "heads": 4}, "not a multiple"),
        ({"family": "roformer", "hidden_size": 18, "heads": 6}, "even head size"),
        ({"embedding_size": 20}, "only ALBERT"),
    ],
)
def test_widths_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(options, 80)


def test_gpt2_by_the_fused_causal_kernel_is_gpt2_with_an_explicit_mask(monkeypatch):
    """On a GPU no mask is made; here the same kernel runs on the CPU."""
    model = build(FAMILIES["gpt2"], 60)
    ids = torch.randint(0, 60, (ROWS, LENGTH))
    with torch.no_grad():
        explicit = model(ids).logits
        monkeypatch.setattr(gpt2, "has_fused_kernel", lambda x: True)
        monkeypatch.setattr(gpt2, "attention_bias", lambda *args, is_causal, like_BSD: is_causal or None)
        torch.testing.assert_close(model(ids).logits, explicit, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_may_see_nothing_is_still_a_number(dtype):
    allowed = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    allowed[..., 2, :] = False
    bias = bias_of(allowed, dtype)
    assert bias.isfinite().all()
    q, k, v = torch.randn(3, 1, 2, 4, 8).to(dtype)
    assert F.scaled_dot_product_attention(q, k, v, attn_mask=bias).isfinite().all()
    assert ((q @ k.transpose(-1, -2) + bias).softmax(-1) @ v).isfinite().all()


@pytest.mark.parametrize("name", FAMILIES)
def test_norms_are_computed_in_fp32_where_matrix_products_are_bf16(name):
    model = build(FAMILIES[name], 50)
    found = {}
    for part, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_pre_hook(lambda _, inputs, part=part: found.update({part: inputs[0].dtype}))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.randint(0, 50, (2, LENGTH)))
    assert len(found) > SIZES["layers"] - (FAMILIES[name]["family"] == "albert")
    assert set(found.values()) == {torch.float32}


@pytest.mark.parametrize(("dtype", "far"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_pairs_are_turned_by_complex_numbers_as_by_cosines_and_sines(dtype, far, monkeypatch):
    torch.manual_seed(0)
    heads, size = 3, 10
    qkv = torch.randn(2, 7, 3 * heads * size, dtype=dtype).requires_grad_()
    weights = torch.randn(2, heads, 7, size)
    rotary = rotary_angles(torch.arange(7), size)
    found = []
    for is_complex in (False, True):
        monkeypatch.setattr(attention, "has_complex_kernel", lambda x, answer=is_complex: answer)
        turned = rotary.turn(qkv.chunk(3, dim=-1)[1].view(2, 7, heads, size).transpose(1, 2))
        found.append([turned.float(), *torch.autograd.grad((turned * weights).sum(), qkv)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=far, rtol=0)
    assert turned.dtype is dtype  # so that values need no cast
