"""An oracle for UER-py: its formulas in plain torch, on state dictionaries under its names. None of its code is here.

Shapes: B batch, S sequence, D hidden, N heads, V vocabulary. Segments are UER-py's: 1 and 2, and 0 at padding.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

VOCABULARY = 90
State = dict[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_fast": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}
BERT = {
    "emb_size": 64,
    "hidden_size": 64,
    "feedforward_size": 128,
    "heads_num": 4,
    "layers_num": 2,
    "max_seq_length": 32,
    "hidden_act": "gelu",
    "dropout": 0.1,
    "embedding": ["word", "pos", "seg"],
    "encoder": "transformer",
    "mask": "fully_visible",
    "target": ["mlm", "sp"],
    "tie_weights": True,
}
ALBERT = BERT | {
    "emb_size": 24,
    "layers_num": 3,
    "hidden_act": "relu",
    "dropout": 0.0,
    "tie_weights": False,
    "factorized_embedding_parameterization": True,
    "parameter_sharing": True,
}
GPT2 = BERT | {
    "embedding": ["word", "pos"],
    "hidden_act": "gelu_fast",
    "mask": "causal",
    "target": ["lm"],
    "layernorm_positioning": "pre",
    "remove_embedding_layernorm": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "bert": BERT,
    "bert-mlm": BERT | {"target": ["mlm"]},
    "bert-untied": BERT | {"target": ["mlm"], "tie_weights": False},
    "bert-sp": BERT | {"target": ["sp"]},
    "bert-encoder": BERT | {"target": []},
    "bert-classifier": BERT | {"target": ["cls"]},
    "bert-without-biases": BERT | {"remove_transformer_bias": True},
    "bert-without-segments": BERT | {"embedding": ["word", "pos"]},
    "albert": ALBERT,
    "albert-classifier": ALBERT | {"target": ["cls"]},
    "gpt2": GPT2,
    "gpt2-untied": GPT2 | {"tie_weights": False},
}


def random_state(config: dict[str, Any], *, seed: int = 0) -> State:
    """A state dictionary of UER-py: normal weights, gains about 1, biases that are not zero."""
    draw = torch.Generator().manual_seed(seed)
    e, d, f = config["emb_size"], config["hidden_size"], config["feedforward_size"]
    state: State = {}

    def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = 0.05 * torch.randn(outputs, inputs, generator=draw)
        if bias:
            state[f"{name}.bias"] = 0.05 * torch.randn(outputs, generator=draw)

    def norm(name: str, width: int) -> None:
        state[f"{name}.gamma"] = 1 + 0.3 * torch.randn(width, generator=draw)
        state[f"{name}.beta"] = 0.1 * torch.randn(width, generator=draw)

    rows = {"word": VOCABULARY, "pos": config["max_seq_length"], "seg": 3}
    for name in config["embedding"]:
        linear(f"embedding.{name}.embedding", e, rows[name], bias=False)
    if not config.get("remove_embedding_layernorm"):
        norm("embedding.layer_norm", e)
    if config.get("factorized_embedding_parameterization"):
        linear("encoder.linear", e, d)
    has_bias = not config.get("remove_transformer_bias")
    for layer in layer_names(config)[: 1 if config.get("parameter_sharing") else None]:
        for index in range(3):
            linear(f"{layer}.self_attn.linear_layers.{index}", d, d, has_bias)
        linear(f"{layer}.self_attn.final_linear", d, d, has_bias)
        linear(f"{layer}.feed_forward.linear_1", d, f, has_bias)
        linear(f"{layer}.feed_forward.linear_2", f, d, has_bias)
        norm(f"{layer}.layer_norm_1", d)
        norm(f"{layer}.layer_norm_2", d)
    if config.get("layernorm_positioning") == "pre":
        norm("encoder.layer_norm", d)
    if "mlm" in config["target"]:
        linear("target.mlm.linear_1", d, e)
        norm("target.mlm.layer_norm", e)
        linear("target.mlm.linear_2", e, VOCABULARY)
    if "sp" in config["target"]:
        linear("target.sp.linear_1", d, d)
        linear("target.sp.linear_2", d, 2)
    if "lm" in config["target"]:
        linear("target.lm.output_layer", d, VOCABULARY, bias=False)
    if "cls" in config["target"]:
        linear("output_layer_1", d, d)
        linear("output_layer_2", d, 5)
    for name in ("target.mlm.linear_2.weight", "target.lm.output_layer.weight"):
        if config["tie_weights"] and name in state:
            state[name] = state["embedding.word.embedding.weight"]
    return state


def layer_names(config: dict[str, Any]) -> list[str]:
    shared = config.get("parameter_sharing")
    return ["encoder.transformer" if shared else f"encoder.transformer.{n}" for n in range(config["layers_num"])]


def outputs(state: State, config: dict[str, Any], ids_BS: Tensor, segments_BS: Tensor) -> State:
    """What UER-py computes: "hidden" (B, S, D), and by its heads "logits" (B, S, V), "pooled", "sp", "cls"."""
    act = ACTIVATIONS[config["hidden_act"]]

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        deviation = x.std(-1, keepdim=True)  # unbiased, which is the point
        return state[f"{name}.gamma"] * (x - x.mean(-1, keepdim=True)) / (deviation + 1e-6) + state[f"{name}.beta"]

    def attention(name: str, x: Tensor) -> Tensor:
        heads = config["heads_num"]
        query, key, value = (
            linear(f"{name}.linear_layers.{n}", x).unflatten(-1, (heads, -1)).transpose(1, 2) for n in range(3)
        )
        if config["mask"] == "causal":
            allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()[None, None]
        else:
            allowed = (segments_BS > 0)[:, None, None]
        scores = query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5 - 10_000.0 * ~allowed
        return linear(f"{name}.final_linear", (scores.softmax(-1) @ value).transpose(1, 2).flatten(2))

    x = F.embedding(ids_BS, state["embedding.word.embedding.weight"])
    x = x + state["embedding.pos.embedding.weight"][: ids_BS.shape[1]]
    if "seg" in config["embedding"]:
        x = x + F.embedding(segments_BS, state["embedding.seg.embedding.weight"])
    if "embedding.layer_norm.gamma" in state:
        x = norm("embedding.layer_norm", x)
    if "encoder.linear.weight" in state:
        x = linear("encoder.linear", x)
    for layer in layer_names(config):
        if config.get("layernorm_positioning") == "pre":
            x = x + attention(f"{layer}.self_attn", norm(f"{layer}.layer_norm_1", x))
            up = act(linear(f"{layer}.feed_forward.linear_1", norm(f"{layer}.layer_norm_2", x)))
            x = x + linear(f"{layer}.feed_forward.linear_2", up)
        else:
            x = norm(f"{layer}.layer_norm_1", x + attention(f"{layer}.self_attn", x))
            up = act(linear(f"{layer}.feed_forward.linear_1", x))
            x = norm(f"{layer}.layer_norm_2", x + linear(f"{layer}.feed_forward.linear_2", up))
    if "encoder.layer_norm.gamma" in state:
        x = norm("encoder.layer_norm", x)
    found = {"hidden": x}
    if "target.mlm.linear_2.weight" in state:
        transformed = norm("target.mlm.layer_norm", act(linear("target.mlm.linear_1", x)))
        found["logits"] = linear("target.mlm.linear_2", transformed)
    if "target.lm.output_layer.weight" in state:
        found["logits"] = linear("target.lm.output_layer", x)
    if "target.sp.linear_1.weight" in state:
        found["pooled"] = linear("target.sp.linear_1", x[:, 0]).tanh()
        found["sp"] = linear("target.sp.linear_2", found["pooled"])
    if "output_layer_1.weight" in state:
        found["cls"] = linear("output_layer_2", linear("output_layer_1", x[:, 0]).tanh())
    return found


@dataclass(frozen=True)
class Uer:
    """A checkpoint of UER-py on disk."""

    config: dict[str, Any]
    state: State
    weights: Path
    config_file: Path
    vocabulary: Path


@pytest.fixture(scope="session")
def tokens_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("convert") / "vocab.txt"
    characters = [chr(0x4E00 + index) for index in range(VOCABULARY - 5)]
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def uer(tmp_path: Path, tokens_file: Path) -> Callable[..., Uer]:
    """Write a checkpoint of UER-py: `uer("albert")`, or with a state or settings of one's own."""

    def write(kind: str = "bert", *, state: State | None = None, **settings: Any) -> Uer:
        config = KINDS[kind] | settings
        state = random_state(config) if state is None else state
        weights, config_file = tmp_path / "uer.bin", tmp_path / "uer.json"
        torch.save(state, weights)
        config_file.write_text(json.dumps(config), encoding="utf-8")
        return Uer(config, state, weights, config_file, tokens_file)

    return write


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def inputs() -> tuple[Tensor, Tensor]:
    """Ids and UER-py's segments (3, 20): one text, a pair, a pair with padding."""
    draw = torch.Generator().manual_seed(7)
    ids, segments = torch.randint(0, VOCABULARY, (3, 20), generator=draw), torch.ones(3, 20, dtype=torch.long)
    segments[1:, 9:] = 2
    segments[2, 15:], ids[2, 15:] = 0, 0
    return ids, segments


@pytest.fixture(scope="session")
def uer_outputs() -> Callable[..., State]:
    """The oracle: (state, config, ids, segments) to outputs."""
    return outputs


@pytest.fixture(scope="session")
def transformers_outputs() -> Callable[[Path, Tensor, Tensor], State]:
    """What transformers computes from a folder, under the oracle's names; every weight of its class must be there."""
    import transformers

    def compute(folder: Path, ids: Tensor, segments: Tensor) -> State:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name = config["architectures"][0]
        model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
        assert {key for key in info["missing_keys"] if "pooler" not in key} == set()
        assert not info["unexpected_keys"]
        assert not info["mismatched_keys"]
        given = {"input_ids": ids, "output_hidden_states": True}
        if config["model_type"] != "gpt2":
            given |= {"attention_mask": (segments > 0).long(), "token_type_ids": (segments - 1).clamp(min=0)}
        with torch.no_grad():
            found = model.eval()(**given)
        result = {"hidden": found.hidden_states[-1]}
        for ours, theirs in (("logits", "prediction_logits"), ("sp", "seq_relationship_logits"), ("sp", "sop_logits")):
            if hasattr(found, theirs):
                result[ours] = getattr(found, theirs)
        if hasattr(found, "logits"):
            heads = {"ForSequenceClassification": "cls", "ForNextSentencePrediction": "sp"}
            result[next((head for end, head in heads.items() if name.endswith(end)), "logits")] = found.logits
        return result

    return compute


@pytest.fixture(scope="session")
def difference() -> Callable[[State, State, Tensor], dict[str, float]]:
    """The largest difference of each output, at real tokens."""

    def compare(found: State, expected: State, segments: Tensor) -> dict[str, float]:
        real = segments > 0

        def largest(name: str) -> float:
            one, other = found[name], expected[name]
            if one.dim() == 3:
                one, other = one[real], other[real]
            return float((one - other).abs().max())

        return {name: largest(name) for name in expected if name in found}

    return compare
