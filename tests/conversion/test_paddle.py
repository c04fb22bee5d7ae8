"""PaddleNLP's .pdparams: plain arrays under other names, read without running code."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from clue_bench.conversion.convert import convert
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary
from clue_bench.weights.paddle import read_paddle

VOCABULARY = Vocabulary((*SPECIAL_TOKENS, *(chr(0x4E00 + n) for n in range(27))))
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
PARTS = {
    **{"attention.self.query": "self_attn.q_proj", "attention.self.key": "self_attn.k_proj"},
    **{"attention.self.value": "self_attn.v_proj", "attention.output.dense": "self_attn.out_proj"},
    **{"attention.output.LayerNorm": "norm1", "intermediate.dense": "linear1", "output.dense": "linear2"},
    **{
        "output.LayerNorm": "norm2",
        "encoder.layer.": "encoder.layers.",
        "embeddings.LayerNorm": "embeddings.layer_norm",
    },
    **{"predictions.transform.dense": "predictions.transform", "transform.LayerNorm": "layer_norm"},
    "predictions.bias": "predictions.decoder_bias",
}


def paddle(folder: Path, model: torch.nn.Module, *, protocol: int = 4, older: bool = False) -> Path:
    """Write a model of transformers as PaddleNLP writes it."""
    folder.mkdir(exist_ok=True)
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(("position_ids", "token_type_ids", "decoder.weight", "decoder.bias")):
            continue
        called = name
        for theirs, ours in PARTS.items():
            called = called.replace(theirs, ours)
        is_linear = tensor.dim() == 2 and "embeddings." not in name
        array = (tensor.T if is_linear else tensor).contiguous().numpy()
        state[called] = (called, array) if older else array
    words = model.get_input_embeddings().weight.detach().numpy()
    state["cls.predictions.decoder_weight" if older else "cls.predictions.decoder.weight"] = words
    if not older:  # PaddleNLP 2.8 has both names
        state["cls.predictions.decoder.bias"] = state["cls.predictions.decoder_bias"]
    state["StructuredToParameterName@@"] = {name: name for name in state}
    (folder / "model_state.pdparams").write_bytes(pickle.dumps(state, protocol=protocol))
    values = {**SIZES, "hidden_act": "gelu", "max_position_embeddings": 32, "type_vocab_size": 2, "use_task_id": True}
    values |= {"task_type_vocab_size": 3}
    stated = {"init_class": "ErnieModel", "init_args": [values]} if older else values
    (folder / ("model_config.json" if older else "config.json")).write_text(json.dumps(stated), encoding="utf-8")
    VOCABULARY.write(folder / "vocab.txt")
    return folder


@pytest.mark.parametrize(("kind", "older"), [("Ernie", False), ("Ernie", True), ("Bert", False)])
def test_a_converted_model_gives_the_same_logits(kind: str, older: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    more = {"use_task_id": True} if kind == "Ernie" else {}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(VOCABULARY),
        max_position_embeddings=32,
        layer_norm_eps=1e-5,
        initializer_range=0.3,
        **SIZES,
        **more,
    )
    model = getattr(transformers, f"{kind}ForMaskedLM")(config).eval()
    folder = paddle(tmp_path / "paddle", model, protocol=2 if older else 4, older=older)
    done = convert(folder, tmp_path / "converted", source_kind="paddle")
    assert done.architecture == f"{kind}ForMaskedLM"
    written = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "converted").eval()
    ids = torch.tensor([[2, 7, 9, 4, 11, 3]])
    torch.testing.assert_close(written(ids).logits, model(ids).logits)


@pytest.mark.parametrize("name", ["decoder_weight", "decoder.weight", "decoder.bias"])
def test_a_head_that_is_not_tied_is_not_taken_for_a_copy(tmp_path: Path, name: str) -> None:
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=len(VOCABULARY), **SIZES))
    file = paddle(tmp_path / "paddle", model, older=True) / "model_state.pdparams"
    state = pickle.loads(file.read_bytes())
    shape = (len(VOCABULARY),) if name.endswith("bias") else (len(VOCABULARY), SIZES["hidden_size"])
    state[f"cls.predictions.{name}"] = np.ones(shape, dtype=np.float32)
    file.write_bytes(pickle.dumps(state))
    with pytest.raises(ClueBenchError, match="is no copy of"):
        convert(file.parent, tmp_path / "converted", source_kind="paddle")


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "a.pdparams"
    file.write_bytes(pickle.dumps({"a": np.zeros(2), "b": Evil()}))
    with pytest.raises(ClueBenchError, match="asks for 'builtins"):
        read_paddle(file)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"x", pickle.dumps([1]), pickle.dumps({"a": np.array(["x"], dtype=object)})])
def test_what_is_no_state_dictionary_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.pdparams"
    file.write_bytes(content)
    with pytest.raises(ClueBenchError, match=r"a\.pdparams"):
        read_paddle(file)
