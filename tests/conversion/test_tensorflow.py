"""TensorFlow's names: the mapping is held against transformers, without TensorFlow; reading a file, with it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clue_bench.conversion.convert import convert
from clue_bench.conversion.model import Source, grouped, verify
from clue_bench.conversion.tensorflow import find_checkpoint, from_tensorflow
from clue_bench.doors.checkpoint import write_folder
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import read_vocabulary

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
SOURCE = Source((Path("bert_model.ckpt.index"),), "0" * 64, 0, 0, 0)
STATED = {
    "vocab_size": 90,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 30,
    "type_vocab_size": 2,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
# (TensorFlow, transformers, what is behind it), written down from the sources of google-research/bert and /albert.
HEADS = {
    "bert": [
        ("bert/pooler/dense", "bert.pooler.dense", "dense"),
        ("cls/predictions/transform/dense", "cls.predictions.transform.dense", "dense"),
        ("cls/predictions/transform/LayerNorm", "cls.predictions.transform.LayerNorm", "norm"),
        ("cls/predictions/output_bias", "cls.predictions.bias", "as it is"),
        ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight", "as it is"),
        ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias", "as it is"),
    ],
    "albert": [
        ("bert/encoder/embedding_hidden_mapping_in", "albert.encoder.embedding_hidden_mapping_in", "dense"),
        ("bert/pooler/dense", "albert.pooler", "dense"),
        ("cls/predictions/transform/dense", "predictions.dense", "dense"),
        ("cls/predictions/transform/LayerNorm", "predictions.LayerNorm", "norm"),
        ("cls/predictions/output_bias", "predictions.bias", "as it is"),
        ("cls/seq_relationship/output_weights", "sop_classifier.classifier.weight", "as it is"),
        ("cls/seq_relationship/output_bias", "sop_classifier.classifier.bias", "as it is"),
    ],
}
LAYER = {
    "bert": {
        "attention/self/query": "attention.self.query",
        "attention/self/key": "attention.self.key",
        "attention/self/value": "attention.self.value",
        "attention/output/dense": "attention.output.dense",
        "attention/output/LayerNorm": "attention.output.LayerNorm",
        "intermediate/dense": "intermediate.dense",
        "output/dense": "output.dense",
        "output/LayerNorm": "output.LayerNorm",
    },
    "albert": {
        "attention_1/self/query": "attention.query",
        "attention_1/self/key": "attention.key",
        "attention_1/self/value": "attention.value",
        "attention_1/output/dense": "attention.dense",
        "LayerNorm": "attention.LayerNorm",
        "ffn_1/intermediate/dense": "ffn",
        "ffn_1/intermediate/output/dense": "ffn_output",
        "LayerNorm_1": "full_layer_layer_norm",
    },
}


def variables(model, family):
    """A model of transformers as the variables of a TensorFlow checkpoint."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    names = list(HEADS[family])
    for kind in ("word", "position", "token_type"):
        names.append(
            (f"bert/embeddings/{kind}_embeddings", f"{family}.embeddings.{kind}_embeddings.weight", "as it is")
        )
    names.append(("bert/embeddings/LayerNorm", f"{family}.embeddings.LayerNorm", "norm"))
    for layer in range(STATED["num_hidden_layers"] if family == "bert" else 1):
        scopes = {
            "bert": (f"bert/encoder/layer_{layer}/", f"bert.encoder.layer.{layer}."),
            "albert": (
                "bert/encoder/transformer/group_0/inner_group_0/",
                "albert.encoder.albert_layer_groups.0.albert_layers.0.",
            ),
        }
        tf, hub = scopes[family]
        for one, other in LAYER[family].items():
            names.append((tf + one, hub + other, "norm" if "LayerNorm" in one else "dense"))
    arrays = {}
    for tf, hub, behind in names:
        if behind == "as it is":
            arrays[tf] = state[hub]
        elif behind == "dense":
            arrays |= {f"{tf}/kernel": state[f"{hub}.weight"].T, f"{tf}/bias": state[f"{hub}.bias"]}
        else:
            arrays |= {f"{tf}/gamma": state[f"{hub}.weight"], f"{tf}/beta": state[f"{hub}.bias"]}
    return arrays


def random_model(family):
    import transformers

    torch.manual_seed(0)
    name, more = {"bert": ("BertForPreTraining", {}), "albert": ("AlbertForPreTraining", {"embedding_size": 16})}[
        family
    ]
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**STATED, **more)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model, STATED | more


def loaded(model, vocabulary, folder):
    """Write a `Model` and load it with its class in transformers."""
    import transformers

    verify(model)
    write_folder(folder, model.tensors, config=model.config, vocabulary=vocabulary, max_length=30, provenance={})
    kind = getattr(transformers, model.config["architectures"][0])
    found, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return found.eval()


@pytest.fixture
def tokens(tokens_file):
    return read_vocabulary(tokens_file)


@pytest.mark.parametrize("family", ["bert", "albert"])
@pytest.mark.parametrize("prefix", ["", "module/"])
def test_variables_of_tensorflow_give_the_same_outputs(family, prefix, tokens, inputs, tmp_path):
    model, stated = random_model(family)
    arrays = {prefix + name: array for name, array in variables(model, family).items()}
    slots = {f"{name}/{slot}": array for name, array in arrays.items() for slot in ("adam_m", "adam_v")}
    converted = from_tensorflow(arrays | slots | {"global_step": np.int64(3)}, stated, source=SOURCE, vocabulary=tokens)
    [dropped] = grouped(converted.dropped)
    assert dropped.reason == "optimizer state"
    assert dropped.tensors == 2 * len(arrays) + 1
    found = loaded(converted, tokens, tmp_path / "out")
    with torch.no_grad():
        one, other = found(inputs[0]), model(inputs[0])
    assert torch.equal(one.prediction_logits, other.prediction_logits)
    assert found.config.layer_norm_eps == 1e-12


def test_a_checkpoint_without_heads_becomes_an_encoder_and_a_classifier_a_classifier(tokens, tmp_path):
    model, stated = random_model("bert")
    arrays = {name: array for name, array in variables(model, "bert").items() if not name.startswith("cls/")}
    encoder = from_tensorflow(arrays, stated, source=SOURCE, vocabulary=tokens)
    assert encoder.config["architectures"] == ["BertModel"]
    verify(encoder)
    head = {"output_weights": np.ones((5, 48), np.float32), "output_bias": np.zeros(5, np.float32)}
    classifier = from_tensorflow(arrays | head, stated, source=SOURCE, vocabulary=tokens)
    found = loaded(classifier, tokens, tmp_path / "out")
    assert type(found).__name__ == "BertForSequenceClassification"
    assert found.config.num_labels == 5


def first_albert_zh(draw):
    """The first albert_zh: words through two tables, positions and segments behind them, one layer for all."""
    width, narrow = STATED["hidden_size"], 16
    shapes = {
        "bert/embeddings/word_embeddings": (90, narrow),
        "bert/embeddings/word_embeddings_2": (narrow, width),
        "bert/embeddings/position_embeddings": (30, width),
        "bert/embeddings/token_type_embeddings": (2, width),
        "cls/predictions/output_bias": (90,),
        "cls/seq_relationship/output_weights": (2, width),
        "cls/seq_relationship/output_bias": (2,),
    }
    matrices = {f"attention/self/{name}": (width, width) for name in ("query", "key", "value")}
    matrices |= {"attention/output/dense": (width, width)}
    matrices |= {"intermediate/dense": (width, 64), "output/dense": (64, width)}
    dense = {f"bert/encoder/layer_shared/{name}": shape for name, shape in matrices.items()}
    dense |= {"bert/pooler/dense": (width, width), "cls/predictions/transform/dense": (width, width)}
    for name, shape in dense.items():
        shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    scope = "bert/encoder/layer_shared/"
    norms = [f"{scope}attention/output/LayerNorm", f"{scope}output/LayerNorm"]
    for name in (*norms, "bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"):
        shapes |= {f"{name}/gamma": (width,), f"{name}/beta": (width,)}
    return {name: draw.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def albert_zh_logits(arrays, ids):
    """What albert_zh's first code computes, in torch: (B, S, V)."""
    get = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def dense(name, x):
        return x @ get[f"{name}/kernel"] + get[f"{name}/bias"]

    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], get[f"{name}/gamma"], get[f"{name}/beta"], 1e-12)

    words, second = get["bert/embeddings/word_embeddings"], get["bert/embeddings/word_embeddings_2"]
    x = words[ids] @ second + get["bert/embeddings/token_type_embeddings"][0]
    x = norm("bert/embeddings/LayerNorm", x + get["bert/embeddings/position_embeddings"][: ids.shape[1]])
    scope = "bert/encoder/layer_shared"
    for _ in range(STATED["num_hidden_layers"]):
        query, key, value = (
            dense(f"{scope}/attention/self/{name}", x).unflatten(-1, (4, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        context = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = norm(f"{scope}/attention/output/LayerNorm", x + dense(f"{scope}/attention/output/dense", context))
        up = dense(f"{scope}/intermediate/dense", x).relu()
        x = norm(f"{scope}/output/LayerNorm", x + dense(f"{scope}/output/dense", up))
    x = norm("cls/predictions/transform/LayerNorm", dense("cls/predictions/transform/dense", x).relu())
    return x @ second.T @ words.T + get["cls/predictions/output_bias"]


def test_the_first_albert_zh_is_written_as_an_albert_with_a_wide_embedding(tokens, inputs, tmp_path):
    arrays = first_albert_zh(np.random.default_rng(0))
    stated = STATED | {"embedding_size": 16, "ln_type": "postln"}
    converted = from_tensorflow(arrays, stated, source=SOURCE, vocabulary=tokens)
    assert any("one wide table" in note for note in converted.notes)
    found = loaded(converted, tokens, tmp_path / "out")
    assert type(found).__name__ == "AlbertForPreTraining"
    with torch.no_grad():
        logits = found(inputs[0]).prediction_logits
    torch.testing.assert_close(logits, albert_zh_logits(arrays, inputs[0]), atol=2e-5, rtol=1e-5)


REFUSED = {
    "'bert/encoder/layer_0/adapter' is no variable": ({"bert/encoder/layer_0/adapter": np.ones(3)}, {}),
    "ln_type is 'preln'": ({}, {"ln_type": "preln"}),
    "hidden_act is 'tanh'": ({}, {"hidden_act": "tanh"}),
    "num_hidden_groups is 12": ({}, {"num_hidden_groups": 12}),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_what_transformers_does_not_compute_is_refused(problem, tokens):
    more, settings = REFUSED[problem]
    model, stated = random_model("bert")
    with pytest.raises(ClueBenchError) as caught:
        from_tensorflow(variables(model, "bert") | more, stated | settings, source=SOURCE, vocabulary=tokens)
    assert problem in caught.value.message
    assert caught.value.hint


def test_the_two_forms_of_gelu_are_mentioned(tokens):
    model, stated = random_model("bert")
    converted = from_tensorflow(
        variables(model, "bert"), stated | {"hidden_act": "gelu"}, source=SOURCE, vocabulary=tokens
    )
    assert any("gelu_new" in note for note in converted.notes)


def test_the_checkpoint_is_found_by_folder_prefix_and_file(tmp_path):
    for name in ("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"")
    for given in ("", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"):
        assert find_checkpoint(tmp_path / given) == tmp_path / "bert_model.ckpt"
    (tmp_path / "other.ckpt.index").write_bytes(b"")
    with pytest.raises(ClueBenchError, match=r"bert_model\.ckpt\.index, other\.ckpt\.index"):
        find_checkpoint(tmp_path)
    with pytest.raises(ClueBenchError, match="no such file"):
        find_checkpoint(tmp_path / "bert.ckpt")


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed")
def test_without_tensorflow_the_error_says_what_to_install(tokens_file, tmp_path):
    (tmp_path / "bert_model.ckpt.index").write_bytes(b"")
    (tmp_path / "bert_config.json").write_text(json.dumps(STATED), encoding="utf-8")
    with pytest.raises(ClueBenchError, match="needs TensorFlow") as caught:
        convert(tmp_path, tmp_path / "out", source_kind="tf", vocabulary=tokens_file)
    assert "pip install tensorflow" in caught.value.hint


@pytest.mark.skipif(not HAS_TENSORFLOW, reason="TensorFlow is not installed: pip install tensorflow-cpu")
@pytest.mark.filterwarnings("default")  # TensorFlow's own
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_a_file_written_by_tensorflow_is_read(family, tokens_file, tmp_path, inputs):
    import tensorflow
    from transformers import AutoModelForPreTraining

    model, stated = random_model(family)
    v1 = tensorflow.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        for name, array in variables(model, family).items():
            v1.get_variable(name, initializer=array)
            v1.get_variable(f"{name}/adam_m", initializer=array)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "bert_model.ckpt"))
    (tmp_path / f"{family}_config.json").write_text(json.dumps(stated), encoding="utf-8")
    (tmp_path / "vocab.txt").write_bytes(tokens_file.read_bytes())
    report = convert(tmp_path, tmp_path / "out", source_kind="tf")
    assert report.kept[1] == report.written[1]
    found = AutoModelForPreTraining.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(found(inputs[0]).prediction_logits, model(inputs[0]).prediction_logits)
