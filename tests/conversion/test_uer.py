"""UER-py's checkpoints become folders that transformers computes the same from."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clue_bench.conversion.convert import convert
from clue_bench.conversion.uer import folded, unfolded
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.weights.names import todays_uer


def converted(checkpoint, folder, **settings):
    given = {"config": checkpoint.config_file, "vocabulary": checkpoint.vocabulary} | settings
    return convert(checkpoint.weights, folder, source_kind="uer", **given)


def refused(checkpoint, folder, **settings):
    with pytest.raises(ClueBenchError) as caught:
        converted(checkpoint, folder, **settings)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert not folder.exists()
    return caught.value.message


CLASSES = {
    "bert": "BertForPreTraining",
    "bert-mlm": "BertForMaskedLM",
    "bert-untied": "BertForMaskedLM",
    "bert-sp": "BertForNextSentencePrediction",
    "bert-encoder": "BertModel",
    "bert-classifier": "BertForSequenceClassification",
    "albert": "AlbertForPreTraining",
    "albert-classifier": "AlbertForSequenceClassification",
    "gpt2": "GPT2LMHeadModel",
    "gpt2-untied": "GPT2LMHeadModel",
}


def test_transformers_computes_what_uer_computes(
    kind, uer, inputs, uer_outputs, transformers_outputs, difference, tmp_path
):
    checkpoint = uer(kind)
    report = converted(checkpoint, tmp_path / "out")
    assert report.architecture == CLASSES.get(kind, "BertForPreTraining")
    expected = uer_outputs(checkpoint.state, checkpoint.config, *inputs)
    differences = difference(transformers_outputs(tmp_path / "out", *inputs), expected, inputs[1])
    hidden = differences.pop("hidden")
    assert hidden < 5e-5
    assert all(value < 1e-5 for value in differences.values()), differences
    assert differences.keys() == expected.keys() - {"hidden", "pooled"}


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_the_pooler_of_the_plain_encoder_is_uers_sentence_head(kind, uer, inputs, uer_outputs, tmp_path):
    from transformers import AutoModel

    checkpoint = uer(kind)
    converted(checkpoint, tmp_path / "out")
    ids, segments = inputs
    with torch.no_grad():
        model = AutoModel.from_pretrained(tmp_path / "out").eval()
        found = model(ids, (segments > 0).long(), (segments - 1).clamp(min=0)).pooler_output
    expected = uer_outputs(checkpoint.state, checkpoint.config, ids, segments)["pooled"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_uers_own_checkpoint_gives_uers_own_logits(real_data, tmp_path):
    from transformers import BertForMaskedLM

    folder = real_data.parent / "reference" / "uer_bert_tiny"
    if not folder.is_dir():
        pytest.skip(f"no checkpoint written by UER-py: {folder} is not there")
    convert(
        folder / "bert_tiny_mlm.bin",
        tmp_path / "out",
        source_kind="uer",
        config=folder / "config.json",
        vocabulary=real_data / "vocab" / "google_zh_vocab_21128.txt",
    )
    expected = np.load(folder / "expected.npz")
    model = BertForMaskedLM.from_pretrained(tmp_path / "out").eval()
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        logits = model(**{name: torch.tensor(expected[name]) for name in names}).logits.numpy()
    real = expected["attention_mask"] > 0
    assert np.abs(logits - expected["logits"])[real].max() < 1e-5


UERS_OWN = """
import json, sys
from argparse import Namespace
from pathlib import Path

import torch

clone, folder = map(Path, sys.argv[1:])
sys.path.insert(0, str(clone))
from uer.model_builder import build_model
from uer.utils.tokenizers import BertTokenizer

torch.manual_seed(0)
args = Namespace(
    **json.loads((folder / "config.json").read_text()),
    vocab_path=str(folder / "vocab.txt"), spm_model_path=None, do_lower_case=True, decoder=None, max_seq_length=64,
    remove_embedding_layernorm=False, remove_transformer_bias=False, remove_attention_scale=False,
    layernorm_positioning="post", feed_forward="dense", layernorm="normal", bidirectional=False,
    factorized_embedding_parameterization=False, parameter_sharing=False, relative_position_embedding=False,
    has_lmtarget_bias=False, has_residual_attention=False, rotary_position_embedding=False, label_smoothing=None,
)
args.tokenizer = BertTokenizer(args)
model = build_model(args).eval()
for weight in model.parameters():
    torch.nn.init.normal_(weight, std=0.1)
torch.save(model.state_dict(), folder / "model.bin")
ids = torch.randint(len(args.tokenizer.vocab), (4, 12))
segments = torch.tensor([[1] * 12, [1] * 5 + [2] * 7, [1] * 4 + [2] * 4 + [0] * 4, [1] * 6 + [0] * 6])
with torch.no_grad():
    hidden = model.encoder(model.embedding(ids, segments), segments)
    mlm = model.target.mlm
    logits = mlm.linear_2(mlm.layer_norm(mlm.act(mlm.linear_1(hidden))))
torch.save({"ids": ids, "segments": segments, "logits": logits}, folder / "expected.pt")
"""


def test_uers_own_code_gives_the_logits_of_the_converted_model(vocabulary_file, tmp_path):
    from transformers import BertForMaskedLM

    if "CLUE_BENCH_UER" not in os.environ:
        pytest.skip("no UER-py: set CLUE_BENCH_UER to a clone of github.com/dbiir/UER-py")
    clone = Path(os.environ["CLUE_BENCH_UER"]).resolve()
    shutil.copy(vocabulary_file, tmp_path / "vocab.txt")
    sizes = {"emb_size": 32, "hidden_size": 32, "feedforward_size": 64, "heads_num": 4, "layers_num": 2}
    parts = {"embedding": ["word", "pos", "seg"], "encoder": "transformer", "mask": "fully_visible", "target": ["mlm"]}
    more = {"hidden_act": "gelu", "dropout": 0.1, "data_processor": "mlm", "tie_weights": True}
    (tmp_path / "config.json").write_text(json.dumps(sizes | parts | more))
    subprocess.run([sys.executable, "-c", UERS_OWN, str(clone), str(tmp_path)], check=True, cwd=clone)
    convert(
        tmp_path / "model.bin",
        tmp_path / "out",
        source_kind="uer",
        config=tmp_path / "config.json",
        vocabulary=tmp_path / "vocab.txt",
    )
    expected = torch.load(tmp_path / "expected.pt")
    segments = expected["segments"]
    model = BertForMaskedLM.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        found = model(expected["ids"], (segments > 0).long(), (segments - 1).clamp(min=0)).logits
    torch.testing.assert_close(found[segments > 0], expected["logits"][segments > 0], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_word_model_keeps_its_sentencepiece_vocabulary(real_data, uer, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    small = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 16, "layers_num": 1}
    checkpoint = uer("bert-mlm", **small)
    words = torch.randn(100_000, 16)
    changed = {"embedding.word.embedding.weight": words, "target.mlm.linear_2.weight": words}
    checkpoint = uer("bert-mlm", state=checkpoint.state | changed | {"target.mlm.linear_2.bias": words[:, 0]}, **small)
    converted(checkpoint, tmp_path / "out", vocabulary=real_data / "vocab" / "cluecorpussmall_spm.model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.convert_ids_to_tokens(tokenizer("用户可以阅读")["input_ids"])[2:5] == ["用户", "可以", "阅读"]
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "out").config.vocab_size == 100_000


@pytest.mark.parametrize("kind", ["bert", "albert", "gpt2", "bert-classifier"])
def test_our_own_reader_takes_the_result(kind, uer, tmp_path):
    checkpoint = uer(kind)
    converted(checkpoint, tmp_path / "out")
    read = read_checkpoint(tmp_path / "out")
    assert read.config.layers == checkpoint.config["layers_num"]
    assert read.config.tied_head == (kind != "albert")


EARLIER = {
    "2021": [
        (r"^embedding\.word\.embedding", "embedding.word_embedding"),
        (r"^embedding\.pos\.embedding", "embedding.position_embedding"),
        (r"^embedding\.seg\.embedding", "embedding.segment_embedding"),
        (r"^target\.mlm\.linear_", "target.mlm_linear_"),
        (r"^target\.mlm\.layer_norm", "target.layer_norm"),
        (r"^target\.sp\.linear_", "target.sop_linear_"),
        (r"^target\.lm\.", "target."),
    ],
    "2022": [
        (r"^target\.mlm\.linear_", "target.mlm_linear_"),
        (r"^target\.mlm\.layer_norm", "target.layer_norm"),
        (r"^target\.sp\.linear_", "target.sp_linear_"),
        (r"^target\.lm\.", "target."),
    ],
    "several devices": [("^", "module.")],
}


@pytest.mark.parametrize("release", EARLIER)
@pytest.mark.parametrize("kind", ["bert", "albert", "gpt2"])
def test_names_of_earlier_releases_give_the_same_weights(release, kind, uer, tmp_path):
    checkpoint = uer(kind)
    expected = converted(checkpoint, tmp_path / "today").weights_sha256
    renamed = {}
    for name, tensor in checkpoint.state.items():
        old = name
        for pattern, replacement in EARLIER[release]:
            old = re.sub(pattern, replacement, old)
        assert todays_uer(old) == name
        renamed[old] = tensor
    assert converted(uer(kind, state=renamed), tmp_path / "out").weights_sha256 == expected


def test_a_safetensors_file_that_stores_tied_tensors_once_gives_the_same_weights(uer, tmp_path):
    for kind, tied in (("bert", "target.mlm.linear_2.weight"), ("gpt2", "target.lm.output_layer.weight")):
        checkpoint = uer(kind)
        expected = converted(checkpoint, tmp_path / f"{kind}-bin").weights_sha256
        file = tmp_path / f"{kind}.safetensors"
        save_file({name: tensor for name, tensor in checkpoint.state.items() if name != tied}, file)
        report = convert(
            file, tmp_path / kind, source_kind="uer", config=checkpoint.config_file, vocabulary=checkpoint.vocabulary
        )
        assert report.weights_sha256 == expected


def test_a_config_of_transformers_serves_as_well(uer, tmp_path):
    checkpoint = uer()
    expected = converted(checkpoint, tmp_path / "uer")
    report = converted(checkpoint, tmp_path / "out", config=tmp_path / "uer" / "config.json")
    assert report.weights_sha256 == expected.weights_sha256
    one, other = ((tmp_path / name / "config.json").read_text(encoding="utf-8") for name in ("uer", "out"))
    assert one == other


def test_what_weights_do_not_show_is_assumed_aloud(uer, tmp_path):
    report = converted(uer("bert-mlm"), tmp_path / "out", config=None)
    assert any("1 attention heads of 64, activation gelu, dropout 0.1" in note for note in report.notes)
    assert any("no pooler" in note for note in report.notes)
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["num_attention_heads"] == 1


def test_what_cannot_be_assumed_is_refused(uer, tmp_path):
    assert "their number is not in the file" in refused(uer("albert"), tmp_path / "out", config=None)
    narrow = uer("bert", hidden_size=48, emb_size=48)
    assert "hidden size 48 is no multiple of 64" in refused(narrow, tmp_path / "out", config=None)


def changed(**changes):
    return lambda state: state | changes


BROKEN = {
    "layers_num is 3, the weights": ("bert", {"layers_num": 3}, None),
    "hidden_act is 'silu'": ("bert", {"hidden_act": "silu"}, None),
    "hidden_size 64 is not a multiple of heads 5": ("bert", {"heads_num": 5}, None),
    "mask is 'causal'": ("bert", {"mask": "causal"}, None),
    "feed_forward is 'gated'": ("bert", {"feed_forward": "gated"}, None),
    "remove_attention_scale is True": ("gpt2", {"remove_attention_scale": True}, None),
    "parameter_sharing is True": ("bert", {"parameter_sharing": True}, None),
    "attention_head_size is 8": ("bert", {"attention_head_size": 8}, None),
    "but the two differ": ("bert-untied", {"tie_weights": True}, None),
    "'encoder.extra' is no parameter": ("bert", {}, changed(**{"encoder.extra": torch.ones(2)})),
    "'encoder.transformer.0.feed_forward.linear_gate.weight'": (
        "bert",
        {},
        changed(**{"encoder.transformer.0.feed_forward.linear_gate.weight": torch.ones(2)}),
    ),
    "transformers has no class for that mixture": (
        "bert",
        {},
        changed(**{"encoder.layer_norm.gamma": torch.ones(64), "encoder.layer_norm.beta": torch.ones(64)}),
    ),
    "target.lm.output_layer.bias is not zero": (
        "gpt2",
        {},
        changed(**{"target.lm.output_layer.bias": torch.ones(90)}),
    ),
    "nothing in it becomes bert.encoder.layer.1.output.dense.bias": (
        "bert",
        {},
        lambda state: {n: t for n, t in state.items() if n != "encoder.transformer.1.feed_forward.linear_2.bias"},
    ),
    "bert.pooler.dense.weight would be (3, 64)": (
        "bert",
        {},
        changed(**{"target.sp.linear_1.weight": torch.ones(3, 64)}),
    ),
    "no embedding.word.embedding.weight": ("bert", {}, lambda state: {"embeddings.weight": torch.ones(2)}),
    "another tensor are both embedding.word": (
        "bert",
        {},
        changed(**{"embedding.word_embedding.weight": torch.ones(2)}),
    ),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_what_would_change_the_outputs_is_refused(problem, uer, tmp_path):
    kind, settings, change = BROKEN[problem]
    checkpoint = uer(kind)
    state = change(dict(checkpoint.state)) if change else checkpoint.state
    assert problem in refused(uer(kind, state=state, **settings), tmp_path / "out")


def test_a_vocabulary_of_another_size_is_refused_naming_both(uer, vocabulary_file, tmp_path):
    message = refused(uer(), tmp_path / "out", vocabulary=vocabulary_file)
    assert "90 rows" in message
    assert re.search(r"the vocabulary \d+ tokens", message)
    assert "no vocabulary was given" in refused(uer(), tmp_path / "out", vocabulary=None)


def test_what_is_dropped_is_counted(uer, tmp_path):
    checkpoint = uer()
    slots = {"state": {0: {"exp_avg": torch.ones(5), "step": 3}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"model": checkpoint.state, "optimizer": slots, "epoch": 2}, checkpoint.weights)
    report = converted(checkpoint, tmp_path / "out")
    counts = {one.reason: (one.tensors, one.parameters) for one in report.dropped}
    assert counts["optimizer state"] == (1, 5)
    assert counts["second copy of a tied tensor"] == (1, 90 * 64)
    assert counts["not a tensor"] == (0, 0)
    whole = sum(tensor.numel() for tensor in checkpoint.state.values())
    assert report.source.parameters == whole + 5
    assert report.kept[1] == whole - 90 * 64 - 64  # the copy, and the row of padding
    assert report.written[1] == report.kept[1]
    assert report.bytes_after == (tmp_path / "out" / "model.safetensors").stat().st_size


def test_provenance_says_from_what_and_how(uer, tmp_path):
    report = converted(uer(), tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    done = provenance["converted"]
    assert done["from"] == "uer"
    assert done["files"] == ["uer.bin"]
    assert done["sha256"] == report.source.sha256
    assert done["norms_folded"] == 6
    assert done["layer_norm_eps"] < 1e-6
    assert {one["reason"] for one in done["dropped"]} == {one.reason for one in report.dropped}
    assert provenance["weights_sha256"] == report.weights_sha256


class Harmful:
    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return (self.function, ("echo this must not run",))


@pytest.mark.parametrize(("function", "name"), [(print, "'print'"), (os.system, f"'{os.name}.system'")])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_naming_it(function, name, zipped, uer, tmp_path, capfd):
    checkpoint = uer()
    harmful = {**checkpoint.state, "extra": Harmful(function)}
    torch.save(harmful, checkpoint.weights, _use_new_zipfile_serialization=zipped)
    assert name in refused(checkpoint, tmp_path / "out")
    assert "must not run" not in capfd.readouterr().out


@pytest.mark.parametrize("contents", [b"", b"not a checkpoint", b"PK\x03\x04cut short"])
def test_a_damaged_file_is_named(contents, uer, tmp_path):
    checkpoint = uer()
    checkpoint.weights.write_bytes(contents)
    assert "uer.bin" in refused(checkpoint, tmp_path / "out")


def test_an_existing_folder_is_never_replaced(uer, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="not empty"):
        converted(uer(), out)
    assert [path.name for path in out.iterdir()] == ["note.txt"]
    with pytest.raises(ClueBenchError, match="a folder"):
        converted(uer(), tmp_path / "out.bin")


def test_gains_are_multiplied_by_the_root_of_n_minus_1_over_n_and_back(uer, tmp_path):
    checkpoint = uer("albert")
    converted(checkpoint, tmp_path / "out")
    hub = load_file(tmp_path / "out" / "model.safetensors")
    gain = checkpoint.state["embedding.layer_norm.gamma"]
    torch.testing.assert_close(hub["albert.embeddings.LayerNorm.weight"], gain * (23 / 24) ** 0.5)
    torch.testing.assert_close(unfolded(folded(gain)), gain, rtol=2e-7, atol=0)
