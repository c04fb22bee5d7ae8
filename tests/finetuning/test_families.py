"""Our four families as classifiers: transformers computes the same, whatever checkpoint they start from."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from clue_bench.doors.checkpoint import read_checkpoint, write_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import (
    CausalClassifier,
    RotaryClassifier,
    SequenceClassifier,
    TransformersClassifier,
    new_classifier,
)
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import NativeModel, provenance_after
from clue_bench.finetuning.encode import TEXT
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.models.gpt2 import CausalLanguageModel
from clue_bench.training.counter_rng import row_keys
from clue_bench.training.dropout import DropoutPool
from clue_bench.vocab import read_vocabulary
from clue_bench.weights.as_bert import is_bert_called_roberta
from clue_bench.weights.hf_config import classifier_class, pretraining_class

SIZES = {"layers": 3, "hidden_size": 36, "heads": 6, "feed_forward_size": 52, "max_positions": 40, "dropout": 0.1}
FAMILIES = {
    "bert": {"sentence_order": True},
    "albert": {"embedding_size": 20, "activation": "gelu_tanh", "sentence_order": True},
    "roformer": {"activation": "gelu", "sentence_order": True},
    "gpt2": {"activation": "gelu_tanh", "layer_norm_eps": 1e-5, "segment_types": 0},
}
HEADS = {
    "bert": SequenceClassifier,
    "albert": SequenceClassifier,
    "roformer": RotaryClassifier,
    "gpt2": CausalClassifier,
}
LABELS = ("差", "中", "好")
LENGTHS = [24, 9, 17, 24, 3]


def roughened(model):
    """Move weights away from zero, so that every part of the network shows in the logits."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def pretrained_folder(family, folder, vocabulary_file, **overrides):
    options = {**SIZES, **FAMILIES[family], **overrides}
    sentence_order = options.pop("sentence_order", False)
    vocabulary = read_vocabulary(vocabulary_file)
    config = ModelConfig(family=family, vocab_size=len(vocabulary), **options)
    torch.manual_seed(0)
    is_causal = family == "gpt2"
    model = CausalLanguageModel(config) if is_causal else MaskedLanguageModel(config, sentence_order=sentence_order)
    write_checkpoint(
        folder,
        roughened(model).state_dict(),
        architecture=pretraining_class(family, sentence_order=sentence_order),
        config=config,
        vocabulary=vocabulary,
        provenance={"recipe": {"name": f"tiny-{family}"}, "tokens_seen": 7},
    )
    return folder


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def folder(family, tmp_path, vocabulary_file):
    return pretrained_folder(family, tmp_path / "pretrained", vocabulary_file)


def batch(pad, vocab_size):
    """Padded rows: ids, segments, keep."""
    torch.manual_seed(2)
    keep = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(6, vocab_size, keep.shape).where(keep, torch.tensor(pad))
    segments = (torch.arange(max(LENGTHS))[None] >= torch.tensor(LENGTHS)[:, None] // 2) & keep
    return ids, segments.long(), keep


def same_logits(ours, folder, family):
    """Check that transformers' class loads all of `folder` and gives the logits of `ours`."""
    loader = getattr(transformers, classifier_class(family))
    theirs, report = loader.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    assert all("embed_positions" in name for name in report["unexpected_keys"])
    ids, segments, keep = batch(theirs.config.pad_token_id, theirs.config.vocab_size)
    inputs = {} if family == "gpt2" else {"token_type_ids": segments}
    with torch.no_grad():
        expected = theirs.eval()(input_ids=ids, attention_mask=keep.long(), **inputs).logits
        got = ours.eval()(ids, segments, keep)
        alone = ours(ids[:1], segments[:1], None)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, expected[:1], atol=1e-5, rtol=0)
    assert expected.std() > 0.01  # or the comparison says nothing
    return theirs


def saved(start, folder, labels=LABELS, **provenance):
    """A roughened classifier of `start`, and the folder it was written to."""
    torch.manual_seed(3)
    model = roughened(start.classifier(labels, dropout=0.1))
    start.write(folder, model, labels=labels, provenance=provenance)
    return model


def test_transformers_gives_the_same_logits_and_label_names(family, folder, tmp_path):
    ours = saved(open_pretrained(folder), tmp_path / "out")
    theirs = same_logits(ours, tmp_path / "out", family)
    assert isinstance(ours, HEADS[family])
    assert theirs.config.id2label == dict(enumerate(LABELS))
    assert theirs.config.label2id == {label: n for n, label in enumerate(LABELS)}


def test_a_saved_classifier_is_read_back_whole(family, folder, tmp_path):
    ours = saved(open_pretrained(folder), tmp_path / "out")
    again = open_pretrained(tmp_path / "out").trained()
    assert again.num_classes == 3
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in ours.state_dict().items())
    with pytest.raises(ClueBenchError, match=r"id2label|classifier parameters"):
        open_pretrained(folder).trained()


def test_the_network_is_the_checkpoints_and_the_head_is_new(family, folder):
    checkpoint = read_checkpoint(folder)
    state = open_pretrained(folder).classifier(LABELS, dropout=0.0).checkpoint_state()
    taken = {name for name in state if name in checkpoint.tensors}
    assert all(torch.equal(state[name], checkpoint.tensors[name]) for name in taken)
    assert ("pooler.dense.weight" in taken) == (family in ("bert", "albert"))
    new = {name.split(".")[0] for name in state.keys() - taken}
    assert new == {"score" if family == "gpt2" else "classifier"}


@pytest.mark.parametrize("has_prefix", [True, False])
def test_models_of_transformers_are_starting_points(family, folder, tmp_path, has_prefix):
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = transformers.AutoModelForTokenClassification if has_prefix else transformers.AutoModel
    theirs = roughened(kind.from_config(config))
    theirs.save_pretrained(tmp_path / "theirs")
    shutil.copy(folder / "vocab.txt", tmp_path / "theirs" / "vocab.txt")
    if has_prefix:
        assert all("." in name for name in load_file(tmp_path / "theirs" / "model.safetensors"))
    start = open_pretrained(tmp_path / "theirs")
    assert isinstance(start, NativeModel)
    ours = saved(start, tmp_path / "out")
    same_logits(ours, tmp_path / "out", family)
    body = theirs.base_model if has_prefix else theirs
    fresh = start.classifier(LABELS, dropout=0.0)
    assert torch.equal(fresh.word_embedding(), body.get_input_embeddings().weight)


def test_another_tasks_classifier_is_a_start_whose_name_says_so(family, folder, tmp_path):
    first = open_pretrained(folder)
    settings = {"epochs": 1}
    before = saved(first, tmp_path / "a", **provenance_after(first, task="cmnli", settings=settings, seed=5))
    second = open_pretrained(tmp_path / "a")
    assert second.name == f"tiny-{family}-after-cmnli"
    torch.manual_seed(4)
    model = second.classifier(("是", "否"), dropout=0.0)
    for name, tensor in before.state_dict().items():
        if not name.startswith(before.head):
            assert torch.equal(model.state_dict()[name], tensor), name
    torch.manual_seed(4)
    again = second.classifier(LABELS, dropout=0.0)  # as many classes as before: the old head must go all the same
    assert not any(
        torch.equal(again.state_dict()[name], before.state_dict()[name])
        for name in before.state_dict()
        if name.startswith(before.head) and "bias" not in name
    )
    chain = provenance_after(second, task="ocnli", settings=settings, seed=6)
    second.write(tmp_path / "b", model, labels=("是", "否"), provenance=chain)
    third = open_pretrained(tmp_path / "b")
    assert third.name == f"tiny-{family}-after-cmnli-ocnli"
    assert third.provenance["recipe"] == {"name": f"tiny-{family}"}
    assert third.provenance["tokens_seen"] == 7
    assert [run["task"] for run in third.provenance["earlier"]] == ["cmnli"]
    assert third.provenance["earlier"][0]["started_from_sha256"] == first.sha256
    assert third.provenance["earlier"][0]["weights_sha256"] == second.sha256
    assert third.provenance["started_from_sha256"] == second.sha256


def test_layers_are_told_from_names_of_parameters(family, folder):
    model = open_pretrained(folder).classifier(LABELS, dropout=0.0)
    layers = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    by_identity = {id(parameter): layers[name] for name, parameter in model.named_parameters()}
    body = model.decoder if family == "gpt2" else model.encoder
    for number, layer in enumerate(body.layers, 1):
        assert {by_identity[id(parameter)] for parameter in layer.parameters()} == {number}
    assert by_identity[id(model.word_embedding())] == 0
    assert {layer for name, layer in layers.items() if name.startswith((model.head, "pooler"))} == {
        len(body.layers) + 1
    }
    assert set(layers.values()) == set(range(len(body.layers) + 2))


def test_alberts_shared_layer_is_one_layer_as_in_a_bert_that_has_no_other():
    sizes = {"vocab_size": 24, "hidden_size": 16, "heads": 2, "feed_forward_size": 32, "max_positions": 16}
    bert = new_classifier(ModelConfig(**sizes, layers=1), 3)
    albert = new_classifier(ModelConfig(**sizes, layers=12, family="albert", embedding_size=8), 3)
    of_bert, of_albert = (
        {name: model.num_layers + 1 - model.layer_of(name) for name, _ in model.named_parameters()}
        for model in (bert, albert)
    )
    projection = dict.fromkeys(of_albert.keys() - of_bert.keys(), 2)
    assert {name.rpartition(".")[0] for name in projection} == {"encoder.embeddings.project"}
    assert of_albert == of_bert | projection
    assert set(of_bert.values()) == {0, 1, 2}
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 24}
    config = transformers.AlbertConfig(**sizes, num_hidden_layers=12, embedding_size=8)
    foreign = TransformersClassifier(transformers.AlbertForSequenceClassification(config), has_segments=True)
    assert foreign.num_layers == 1
    assert foreign.layer_of("model.albert.encoder.embedding_hidden_mapping_in.weight") == 0
    layers = {foreign.layer_of(name) for name, _ in foreign.named_parameters() if "albert_layer_groups" in name}
    assert layers == {1}
    assert foreign.layer_of("model.classifier.weight") == foreign.layer_of("model.albert.pooler.weight") == 2


def test_dropout_finds_as_many_masks_as_it_takes(family, folder):
    model = open_pretrained(folder).classifier(LABELS, dropout=0.5).train()
    ids, segments, keep = batch(0, 60)
    keys = row_keys(np.ones(len(ids), np.int64), np.arange(len(ids)), seed=1, purpose="dropout")
    pool = DropoutPool(0.5, seed=1, device=torch.device("cpu"))
    logits = [model(ids, segments, keep, pool.masks(keys, sites=model.dropout_sites)) for _ in range(2)]
    torch.testing.assert_close(*logits)
    assert not torch.allclose(logits[0], model(ids, segments, keep), atol=1e-3)


def test_rows_are_laid_out_as_the_family_wants_them(family, folder, vocabulary_file):
    vocabulary = read_vocabulary(vocabulary_file)
    layout = open_pretrained(folder).tokeniser.layout
    second = 0 if family == "gpt2" else 1
    ids = [vocabulary.start, TEXT, vocabulary.separator, TEXT, vocabulary.separator]
    assert layout.pair == tuple(zip(ids, [0, 0, 0, second, second], strict=True))
    assert layout.single == tuple((token, 0) for token in ids[:3])


def test_the_parameters_are_those_that_cards_print(folder, family):
    start = open_pretrained(folder)
    theirs = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder))
    expected = sum(parameter.numel() for parameter in theirs.parameters())
    if family == "roformer":  # transformers' has no pooler, and counts its fixed table of positions
        expected += 36 * 36 + 36 - 40 * 6
    assert start.num_parameters == expected
    assert (start.sizes.layers, start.sizes.hidden_size, start.sizes.max_positions) == (3, 36, 40)


# What folders of others look like.


def as_pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_shards(folder):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    listed = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}), encoding="utf-8")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("change", [as_pickle, as_shards])
def test_pickles_and_shards_are_read(family, folder, change):
    before = read_checkpoint(folder)
    change(folder)
    after = read_checkpoint(folder)
    assert after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(tensor, before.tensors[name]) for name, tensor in after.tensors.items())
    assert len(after.sha256) == 64


class Malicious:
    def __reduce__(self):
        return (print, ("run!",))


@pytest.mark.parametrize("family", ["bert"], indirect=True)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": Malicious()}), "not readable as plain weights"),
        (b"\x80\x02rubbish", "not readable as plain weights"),
        (b"", "the file is empty"),
        (pickle.dumps([1, 2], protocol=2), "not readable as plain weights|a list, expected"),
    ],
    ids=["malicious", "rubbish", "empty", "list"],
)
def test_a_damaged_or_malicious_pickle_is_refused(folder, content, message, capsys):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ClueBenchError, match=message):
        open_pretrained(folder)
    assert "run!" not in capsys.readouterr().out


def edit(folder, file="config.json", **values):
    read = json.loads((folder / file).read_text(encoding="utf-8")) if (folder / file).is_file() else {}
    read = {key: value for key, value in (read | values).items() if value is not None}
    (folder / file).write_text(json.dumps(read), encoding="utf-8")


def rename(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file({change(name): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "provenance.json").unlink()  # it would speak of other weights


@pytest.mark.parametrize("family", ["bert"], indirect=True)
@pytest.mark.parametrize("prefix", ["bert.", "roberta.", ""])
def test_bert_weights_that_call_themselves_roberta_are_taken_as_bert(folder, prefix, tmp_path):
    """As hub models clue/* are: CLUEPretrainedModels#23."""
    expected = read_checkpoint(folder).tensors
    edit(folder, model_type="roberta", architectures=["RobertaModel"])
    rename(folder, lambda name: name.replace("bert.", prefix, 1))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    start = open_pretrained(folder)
    assert isinstance(start, NativeModel)
    assert "read as BERT" in start.notes[0]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in start.checkpoint.tensors.items())
    same_logits(saved(start, tmp_path / "out"), tmp_path / "out", "bert")


@pytest.mark.parametrize("family", ["bert"], indirect=True)
def test_a_cased_folder_keeps_capitals_and_so_does_what_comes_of_it(folder, tmp_path):
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[lines.index("。")] = "A"
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    edit(folder, "tokenizer_config.json", do_lower_case=False)
    start = open_pretrained(folder)
    assert isinstance(start, NativeModel)
    assert start.tokeniser.encoder.ids(["A"]) == [[lines.index("A")]]
    assert start.tokeniser.encoder.ids(["a"]) == [[lines.index("a")]]
    saved(start, tmp_path / "out")
    again = open_pretrained(tmp_path / "out")
    for texts in (["AaA。"], ["中国"]):
        expected = transformers.BertTokenizer.from_pretrained(folder)(texts, add_special_tokens=False)["input_ids"]
        assert start.tokeniser.encoder.ids(texts) == again.tokeniser.encoder.ids(texts) == expected
    edit(folder, "tokenizer_config.json", do_lower_case=True)
    assert open_pretrained(folder).tokeniser.encoder.ids(["A"]) == [[lines.index("a")]]
    assert open_pretrained(folder).identity != start.identity


def damage(**edits):
    return lambda folder: edit(folder, **edits)


def lose(pattern):
    def apply(folder):
        tensors = load_file(folder / "model.safetensors")
        kept = {name: tensor for name, tensor in tensors.items() if pattern not in name}
        assert len(kept) < len(tensors)
        save_file(kept, folder / "model.safetensors")
        (folder / "provenance.json").unlink()

    return apply


def without_tokenizer(folder):
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


BROKEN = {
    "no config.json": lambda folder: (folder / "config.json").unlink(),
    "neither vocab.txt, spiece.model nor tokenizer.json": without_tokenizer,
    "config.json says 5": damage(vocab_size=5),
    "neither model.safetensors nor pytorch_model.bin": lambda folder: (folder / "model.safetensors").unlink(),
    "encoder parameters are missing": lose("layer.2.output.LayerNorm.weight"),
    "is missing": lose("layer.1.attention.self.key.weight"),
    "1 encoder parameters are missing, e.g. encoder.embeddings.word.weight": lose("word_embeddings"),
    "have no place in config.json": damage(num_hidden_layers=2),
    "config.json says (40, 36)": damage(max_position_embeddings=39),
}


@pytest.mark.parametrize("family", ["bert"], indirect=True)
@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_folder_is_one_clear_line(folder, problem):
    BROKEN[problem](folder)
    if problem == "config.json says (40, 36)":
        problem = "config.json says (39, 36)"
    with pytest.raises(ClueBenchError) as caught:
        open_pretrained(folder).classifier(LABELS, dropout=0.0)
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_gpt2_without_a_layer_is_refused(tmp_path, vocabulary_file):
    folder = pretrained_folder("gpt2", tmp_path / "gpt2", vocabulary_file)
    lose("h.1.mlp.c_fc.weight")(folder)
    with pytest.raises(ClueBenchError, match="1 encoder parameter"):
        open_pretrained(folder).classifier(LABELS, dropout=0.0)


def test_a_folder_is_named_after_itself_and_a_hub_copy_after_its_id(tmp_path, vocabulary_file):
    snapshot = tmp_path / "models--uer--tiny_L-2" / "snapshots" / "0123abc"
    pretrained_folder("bert", snapshot, vocabulary_file)
    (snapshot / "provenance.json").unlink()
    assert open_pretrained(snapshot).name == "uer-tiny_L-2"
    shutil.copytree(snapshot, tmp_path / "中文 model" / "checkpoint")
    assert open_pretrained(tmp_path / "中文 model").name == "中文-model"


def test_a_path_that_is_no_id_and_no_folder_is_said_to_be_neither(tmp_path):
    with pytest.raises(ClueBenchError, match="no such folder"):
        open_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("kind", "segments", "positions", "expected"),
    [
        ("roberta", 2, 512, True),
        ("roberta", 2, 514, False),
        ("roberta", 1, 514, False),
        ("roberta", 1, 512, False),
        ("xlm-roberta", 2, 512, False),
        ("bert", 2, 512, False),
    ],
)
def test_only_two_segments_and_no_padding_rows_make_a_bert_of_a_roberta(kind, segments, positions, expected):
    prefix = "roberta.embeddings"
    shapes = {
        f"{prefix}.token_type_embeddings.weight": (segments, 8),
        f"{prefix}.position_embeddings.weight": (positions, 8),
        "logit_scale": (),
    }
    assert is_bert_called_roberta({"model_type": kind}, shapes) == expected
