"""Cleaning a Hugging Face folder: what is dead goes and is counted, everything else stays."""

import json

import pytest
import torch
from safetensors.torch import load_file

from clue_bench.conversion.convert import convert
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.errors import ClueBenchError

SIZES = {"vocab_size": 90, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture
def hub(tmp_path, tokens_file):
    """Write a folder as older tools left it: a pickle, with `extra` tensors, and `settings` in config.json."""

    def write(name="BertForMaskedLM", *, extra=None, drop=(), rename=lambda name: name, **settings):
        import transformers

        torch.manual_seed(0)
        folder = tmp_path / "hub"
        if name.startswith("GPT2"):
            config = transformers.GPT2Config(vocab_size=90, n_embd=48, n_layer=2, n_head=4, n_positions=30)
        else:
            config = getattr(transformers, name).config_class(**SIZES)
        model = getattr(transformers, name)(config).eval()
        model.save_pretrained(folder)
        (folder / "model.safetensors").unlink()
        state = {rename(n): t.clone() for n, t in model.state_dict().items() if not n.startswith(tuple(drop) or "-")}
        torch.save(state | (extra or {}), folder / "pytorch_model.bin")
        (folder / "vocab.txt").write_bytes(tokens_file.read_bytes())
        values = json.loads((folder / "config.json").read_text(encoding="utf-8")) | settings
        (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
        return folder, model

    return write


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(inputs[0]).logits


def counts(report):
    return {one.reason: (one.tensors, one.parameters) for one in report.dropped}


def test_dead_tensors_go_and_are_counted(hub, inputs, tmp_path):
    from transformers import BertForMaskedLM

    extra = {"bert.embeddings.position_ids": torch.arange(512)[None], "optimizer.exp_avg": torch.ones(7)}
    folder, model = hub(extra=extra)
    report = convert(folder, tmp_path / "out", source_kind="hf")
    assert counts(report) == {
        "positions and segments stored as buffers": (1, 512),
        "optimizer state": (1, 7),
        "second copy of a tied tensor": (2, 90 * 48 + 90),
    }
    assert report.kept == report.written
    assert report.bytes_after < report.bytes_before
    found = BertForMaskedLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(found, inputs), logits(model, inputs))


def test_gpt2_loses_its_mask_buffers(hub, inputs, tmp_path):
    from transformers import GPT2LMHeadModel

    masks = {f"transformer.h.{n}.attn.bias": torch.ones(1, 1, 30, 30) for n in range(2)}
    folder, model = hub("GPT2LMHeadModel", extra=masks)
    report = convert(folder, tmp_path / "out", source_kind="hf")
    assert counts(report)["attention masks stored as buffers"] == (2, 1800)
    assert torch.equal(logits(GPT2LMHeadModel.from_pretrained(tmp_path / "out"), inputs), logits(model, inputs))


def test_bert_weights_that_call_themselves_roberta_are_written_as_bert(hub, inputs, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM, BertTokenizer

    claims = {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "pad_token_id": 1, "bos_token_id": 0}
    folder, model = hub(**claims)
    report = convert(folder, tmp_path / "out", source_kind="hf")
    assert any("written as bert" in note for note in report.notes)
    found = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert isinstance(found, BertForMaskedLM)
    assert found.config.pad_token_id == 0
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path / "out"), BertTokenizer)
    assert torch.equal(logits(found, inputs), logits(model, inputs))


def test_a_head_that_config_promises_in_vain_is_said(hub, tmp_path):
    folder, _ = hub(drop=["cls."])
    report = convert(folder, tmp_path / "out", source_kind="hf")
    assert report.architecture == "BertModel"
    assert any("promises BertForMaskedLM" in note for note in report.notes)


def test_old_names_and_a_missing_prefix_become_those_of_today(hub, inputs, tmp_path):
    from transformers import BertModel

    def old(name):
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    folder, model = hub("BertModel", rename=old)
    convert(folder, tmp_path / "out", source_kind="hf")
    assert all(name.startswith("bert.") for name in load_file(tmp_path / "out" / "model.safetensors"))
    found, info = BertModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    with torch.no_grad():
        assert torch.equal(found.eval()(inputs[0]).pooler_output, model(inputs[0]).pooler_output)


def test_weights_in_several_files_are_joined(hub, tmp_path):
    folder, _ = hub()
    whole = convert(folder, tmp_path / "whole", source_kind="hf")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    files = {name: f"pytorch_model-{1 + (index % 2)}.bin" for index, name in enumerate(names)}
    for file in sorted(set(files.values())):
        torch.save({name: state[name] for name in names if files[name] == file}, folder / file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": files}), encoding="utf-8")
    joined = convert(folder, tmp_path / "joined", source_kind="hf")
    assert joined.weights_sha256 == whole.weights_sha256
    assert len(joined.source.files) == 2


def test_our_own_checkpoint_keeps_its_weights_and_provenance(checkpoint_folder, tmp_path):
    report = convert(checkpoint_folder, tmp_path / "out", source_kind="hf")
    before, after = (
        json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        for folder in (checkpoint_folder / "checkpoint", tmp_path / "out")
    )
    assert before["weights_sha256"] == after["weights_sha256"] == report.weights_sha256
    assert after["recipe"] == before["recipe"]
    assert after["converted"]["from"] == "hf"
    assert not report.dropped


def test_what_no_class_knows_is_refused(hub, tmp_path):
    folder, _ = hub(extra={"bert.encoder.layer.0.adapter.weight": torch.ones(3)})
    with pytest.raises(ClueBenchError, match=r"layer\.0\.adapter\.weight"):
        convert(folder, tmp_path / "out", source_kind="hf")
    assert not (tmp_path / "out").exists()


def test_a_layer_beyond_the_configuration_is_refused(hub, tmp_path):
    folder, _ = hub(num_hidden_layers=1)
    with pytest.raises(ClueBenchError, match=r"encoder\.layer\.1\."):
        convert(folder, tmp_path / "out", source_kind="hf")


def test_a_wrong_vocab_size_in_the_configuration_is_corrected_aloud(hub, tmp_path):
    folder, _ = hub()
    values = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"vocab_size": 21128}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    report = convert(folder, tmp_path / "out", source_kind="hf")
    assert any("from 21128 to 90" in note for note in report.notes)


def test_decoders_that_differ_are_both_kept_and_said(hub, tmp_path):
    folder, _ = hub(extra={"cls.predictions.decoder.weight": torch.zeros(90, 48)})
    report = convert(folder, tmp_path / "out", source_kind="hf")
    assert any("they differ" in note for note in report.notes)
    assert "cls.predictions.decoder.weight" in load_file(tmp_path / "out" / "model.safetensors")


def test_a_file_instead_of_the_folder_is_refused(hub, tmp_path):
    folder, _ = hub()
    with pytest.raises(ClueBenchError, match="expected its folder"):
        convert(folder / "pytorch_model.bin", tmp_path / "out", source_kind="hf")


def test_a_tokenizer_that_keeps_capitals_is_kept_or_mentioned(hub, tmp_path):
    folder, _ = hub()
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    convert(folder, tmp_path / "out", source_kind="hf")
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["do_lower_case"] is False
    report = convert(folder, tmp_path / "other", source_kind="hf", vocabulary=folder / "vocab.txt")
    assert any("lower-cases" in note for note in report.notes)


def test_rows_that_pad_the_embedding_are_kept_and_counted(tmp_path):
    """ERNIE 1.0 has 18,000 rows for 17,964 tokens."""
    import transformers

    from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary

    folder = tmp_path / "hub"
    transformers.BertForMaskedLM(transformers.BertConfig(**{**SIZES, "vocab_size": 96})).save_pretrained(folder)
    Vocabulary((*SPECIAL_TOKENS, *(chr(0x4E00 + n) for n in range(85)))).save(folder, max_length=32)
    for target in ("hf", "uer"):
        converted = convert(folder, tmp_path / target, source_kind="hf", target_kind=target)
        assert "6 of the 96 embedding rows have no token: padding, kept" in converted.notes
    assert load_file(tmp_path / "hf" / "model.safetensors")["bert.embeddings.word_embeddings.weight"].shape[0] == 96


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_stored_and_said_and_computed_with_in_float32(dtype, hub, inputs, tmp_path):
    from transformers import BertForMaskedLM

    folder, model = hub()
    whole = convert(folder, tmp_path / "whole", source_kind="hf")
    report = convert(folder, tmp_path / "half", source_kind="hf", stored_as=dtype)
    assert report.bytes_after < whole.bytes_after * 0.6
    assert f"stored as {dtype}" in report.notes[-1]
    assert {tensor.dtype for tensor in load_file(tmp_path / "half" / "model.safetensors").values()} == {
        getattr(torch, dtype)
    }
    found = BertForMaskedLM.from_pretrained(tmp_path / "half")
    assert found.dtype == torch.float32
    difference = (logits(found, inputs) - logits(model, inputs)).abs().max()
    assert 0 < difference < 0.05
    assert read_checkpoint(tmp_path / "half").tensors["encoder.embeddings.word.weight"].dtype == torch.float32


def test_numbers_too_large_for_halves_are_refused(hub, tmp_path):
    folder, _ = hub()
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights["bert.embeddings.LayerNorm.bias"][0] = 1e6
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ClueBenchError, match="too large for float16"):
        convert(folder, tmp_path / "half", source_kind="hf", stored_as="float16")
    assert not (tmp_path / "half").exists()
    assert convert(folder, tmp_path / "other", source_kind="hf", stored_as="bfloat16").notes


def test_uer_knows_no_halves(hub, tmp_path):
    folder, _ = hub()
    with pytest.raises(ClueBenchError, match="layout is float32"):
        convert(folder, tmp_path / "half", source_kind="hf", target_kind="uer", stored_as="float16")
