"""Models of transformers without a network of ours: the same rows, the same logits, nothing random in silence."""

import gc
import json
import random
import shutil

import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_live, open_pretrained
from clue_bench.finetuning.base_models.pretrained import NativeModel, provenance_after
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser
from clue_bench.finetuning.base_models.transformers_model import TransformersModel, dropout_of
from clue_bench.finetuning.encode import encode
from clue_bench.tasks.rows import Rows

LABELS = ("差", "中", "好")
CHARACTERS = "的一是在不了有和人这中大为上个国我"
WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, "a", "##b", "b", "A", "##A"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
}
TEXTS = [
    ("中国人A", "不是中国人"),
    ("我", "大国在上" * 12),
    ("这个 ab，" * 9, "有和了"),
    ("人" * 30, "国" * 31),
    ("大" * 31, "为" * 30),
    ("A[MASK]b", "x"),
]


def wordpieces(folder, **stated):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    return len(WORDPIECES)


def train_pieces(file, **options):
    """A sentencepiece model over the characters."""
    draw = random.Random(0)
    lines = ["".join(draw.choices(CHARACTERS + "ab ", k=20)) for _ in range(300)]
    with file.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=60, minloglevel=2, **options
        )


def albert_pieces(folder):
    folder.mkdir(exist_ok=True)
    special = {"pad_piece": "<pad>", "unk_piece": "<unk>", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    ids = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}
    train_pieces(folder / "spiece.model", user_defined_symbols=["[MASK]"], **special, **ids)
    return 60


def xlmr_pieces(folder):
    folder.mkdir(exist_ok=True)
    train_pieces(folder / "sentencepiece.bpe.model")
    return 64


def byte_pairs(folder, **special):
    """A fast tokenizer that adds no special tokens, as GPT2's."""
    folder.mkdir(exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate([*alphabet, "<end>", "<pad>"])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", **special)
    fast.save_pretrained(folder)
    return 258


def unigram(folder):
    """XLNet's layout: the class token at the end."""
    folder.mkdir(exist_ok=True)
    pieces = [("<unk>", 0.0), ("<pad>", 0.0), ("<cls>", 0.0), ("<sep>", 0.0), *[(c, -3.0) for c in CHARACTERS + "ab1"]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2",
        pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        special_tokens=[("<sep>", 3), ("<cls>", 2)],
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", cls_token="<cls>", sep_token="<sep>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return len(pieces)


KINDS = {
    "electra": (wordpieces, lambda v: transformers.ElectraConfig(**SIZES, vocab_size=v, embedding_size=16)),
    "ernie": (wordpieces, lambda v: transformers.ErnieConfig(**SIZES, vocab_size=v, type_vocab_size=4)),
    "xlm-roberta": (xlmr_pieces, lambda v: transformers.XLMRobertaConfig(**SIZES, vocab_size=v, type_vocab_size=1)),
    "albert groups": (
        albert_pieces,
        lambda v: transformers.AlbertConfig(**SIZES, vocab_size=v, embedding_size=16, inner_group_num=2),
    ),
    "silu bert": (wordpieces, lambda v: transformers.BertConfig(**SIZES, vocab_size=v, hidden_act="silu")),
    "distilbert": (
        wordpieces,
        lambda v: transformers.DistilBertConfig(
            vocab_size=v, dim=32, hidden_dim=48, n_layers=3, n_heads=2, max_position_embeddings=66
        ),
    ),
    "gpt2": (
        lambda folder: byte_pairs(folder, pad_token="<pad>"),
        lambda v: transformers.GPT2Config(vocab_size=v, n_embd=32, n_layer=3, n_head=2, n_positions=66),
    ),
}
PAIR_FAMILIES = {"electra", "ernie", "albert groups", "silu bert"}


def roughened(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def make(kind, folder, head=transformers.AutoModel):
    tokenizer, config = KINDS[kind]
    size = tokenizer(folder)
    torch.manual_seed(0)
    model = roughened(head.from_config(config(size)))
    model.save_pretrained(folder)
    return model


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    make(kind, tmp_path / "base")
    return tmp_path / "base"


def rows(texts):
    return Rows(
        texts,
        np.zeros(len(texts), np.int64),
        list(range(len(texts))),
        FileFacts(rows=len(texts), md5="", expected_rows=None, expected_md5=None),
    )


@pytest.mark.parametrize("max_length", [9, 32, 33, 64])
@pytest.mark.parametrize("texts", [TEXTS, [(first,) for first, _ in TEXTS]], ids=["pairs", "single"])
def test_rows_are_those_of_the_folders_own_tokenizer(folder, kind, texts, max_length, tmp_path):
    start = open_pretrained(folder)
    assert isinstance(start, TransformersModel)
    encoded = encode(rows(texts), start.tokeniser, max_length=max_length)
    if kind == "gpt2":  # it joins texts as they are: what is written marks the border, in transformers, too
        start.folder_tokeniser.save(tmp_path)
        shutil.copy(folder / "config.json", tmp_path)
        folder = tmp_path
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for number, row in enumerate(texts):
        options = {"truncation": "longest_first", "max_length": max_length, "return_token_type_ids": True}
        expected = tokenizer(*row, **options)
        part = slice(encoded.offsets[number], encoded.offsets[number + 1])
        assert encoded.ids[part].tolist() == expected["input_ids"]
        if kind in PAIR_FAMILIES:
            assert encoded.segments[part].tolist() == expected["token_type_ids"]
            assert encoded.segments[part].max() == len(row) - 1
        else:
            assert not encoded.segments.any()


def test_pairs_cut_at_another_place_are_other_rows(folder, kind):
    start = open_pretrained(folder)
    two = encode(rows([("我中国人", "在上"), ("我中国", "人在上")]), start.tokeniser, max_length=64)
    first, second = np.split(two.ids, two.offsets[1:-1])
    assert first.tolist() != second.tolist()
    (note,) = start.notes if kind == "gpt2" else ("<end>",)
    assert "<end>" in note


def test_a_tokenizer_without_a_border_and_a_token_for_it_is_refused(tmp_path):
    size = byte_pairs(tmp_path / "base", pad_token="<pad>")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = tmp_path / "base" / name
        if path.is_file():
            values = json.loads(path.read_text())
            values.pop("eos_token", None)
            path.write_text(json.dumps(values))
    transformers.AutoModel.from_config(KINDS["gpt2"][1](size)).save_pretrained(tmp_path / "base")
    with pytest.raises(ClueBenchError, match="nothing between the texts"):
        open_pretrained(tmp_path / "base")


def padded(start, texts):
    """Ids, segments and mask of rows of different lengths, longest last."""
    encoded = encode(rows(texts), start.tokeniser, max_length=64)
    width = int(encoded.lengths.max())
    keep = torch.arange(width)[None] < torch.from_numpy(encoded.lengths)[:, None]
    ids = torch.full(keep.shape, start.tokeniser.layout.pad)
    segments = torch.zeros(keep.shape, dtype=torch.int64)
    ids[keep] = torch.from_numpy(encoded.ids).long()
    segments[keep] = torch.from_numpy(encoded.segments).long()
    return ids, segments, keep


def test_what_is_written_is_transformers_own_and_says_the_same(folder, tmp_path, kind):
    start = open_pretrained(folder)
    torch.manual_seed(3)
    ours = roughened(start.classifier(LABELS, dropout=0.3))
    provenance = provenance_after(start, task="tnews", settings={}, seed=1)
    sha256 = start.write(tmp_path / "out", ours, labels=LABELS, provenance=provenance)
    kind_of_model = transformers.AutoModelForSequenceClassification
    theirs, report = kind_of_model.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == dict(enumerate(LABELS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    tokenizer.padding_side = "right"
    batch = tokenizer(
        *map(list, zip(*TEXTS, strict=True)),
        padding=True,
        truncation=True,
        max_length=64,
        return_tensors="pt",
        return_token_type_ids=kind in PAIR_FAMILIES,
    )
    with torch.no_grad():
        expected = theirs.eval()(**batch).logits
        got = ours(*padded(start, TEXTS))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.01
    again = open_pretrained(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(again.trained().eval()(*padded(again, TEXTS)), expected, atol=1e-5, rtol=0)
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["weights_sha256"] == sha256 == again.sha256
    assert again.name == "base-after-tnews"
    assert {path.name for path in tmp_path.iterdir()} == {"base", "out"}


def test_only_the_head_is_new(folder, kind, tmp_path):
    base = make(kind, tmp_path / "base")
    start = open_pretrained(folder)
    torch.manual_seed(5)
    model = start.classifier(LABELS, dropout=0.0)
    found = model.model.base_model.state_dict()
    for name, tensor in base.state_dict().items():
        assert "pooler" in name or torch.equal(found[name], tensor)
    torch.manual_seed(5)
    again = start.classifier(LABELS, dropout=0.0)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    torch.manual_seed(6)
    other = start.classifier(LABELS, dropout=0.0).state_dict()
    differing = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, other[name])}
    assert differing
    assert not any(name.startswith(f"model.{model.model.base_model_prefix}.") for name in differing)


def test_an_earlier_tasks_head_is_dropped_even_with_as_many_classes(folder, tmp_path):
    start = open_pretrained(folder)
    trained = roughened(start.classifier(LABELS, dropout=0.0))
    start.write(tmp_path / "out", trained, labels=LABELS, provenance={})
    prefix = f"model.{trained.model.base_model_prefix}."
    for labels in (LABELS, ("是", "否")):
        model = open_pretrained(tmp_path / "out").classifier(labels, dropout=0.0).state_dict()
        for name, tensor in trained.state_dict().items():
            if name.startswith(prefix):
                assert torch.equal(model[name], tensor)
            elif name.endswith("weight"):
                assert not torch.equal(model[name], tensor)


def test_layers_embedding_and_sizes(folder, kind):
    start = open_pretrained(folder)
    model = start.classifier(LABELS, dropout=0.0)
    layers = {id(parameter): model.layer_of(name) for name, parameter in model.named_parameters()}
    assert layers[id(model.word_embedding())] == 0
    head = [p for name, p in model.model.named_parameters() if not name.startswith(model.model.base_model_prefix)]
    assert model.num_layers == (1 if kind == "albert groups" else 3)
    assert {layers[id(parameter)] for parameter in head} == {model.num_layers + 1}
    assert set(layers.values()) == set(range(model.num_layers + 2))
    for name, _ in model.named_parameters():
        if ".layer.1." in name or ".h.1." in name:
            assert model.layer_of(name) == 2
    assert (start.sizes.layers, start.sizes.hidden_size) == (3, 32)
    assert start.sizes.max_positions == (64 if kind == "xlm-roberta" else 66)
    assert start.num_parameters == sum(p.numel() for p in model.model.base_model.parameters())
    assert model.dropout_sites == 0
    assert model.draws_own_dropout


@pytest.mark.parametrize(
    ("keys", "share"),
    [
        ({"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.0}, 0.2),  # BERT and its kin, ELECTRA
        ({"dropout": 0.2, "attention_dropout": 0.1, "seq_classif_dropout": 0.3}, 0.2),  # DistilBERT
        ({"resid_pdrop": 0.2, "attn_pdrop": 0.1, "summary_last_dropout": 0.4}, 0.2),  # GPT
        ({"hidden_dropout_prob": 0.0}, 0.0),
    ],
)
def test_the_dropout_of_a_config_is_that_of_its_layers(tmp_path, keys, share):
    kind = {"hidden": "electra", "dropou": "distilbert", "resid_": "gpt2"}[next(iter(keys))[:6]]
    assert dropout_of(transformers.AutoConfig.for_model(kind, **keys)) == share


def test_the_dropout_asked_for_is_in_force_everywhere(folder):
    model = open_pretrained(folder).classifier(LABELS, dropout=0.37)
    rates = {name: m.p for name, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert set(rates.values()) == {0.37}, rates


def lose(folder, pattern):
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if pattern not in name}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def change(folder, file="config.json", **values):
    read = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(read | values), encoding="utf-8")


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


BROKEN = {
    "1 encoder parameters are missing": lambda folder: lose(folder, "layer.1.output.dense.weight"),
    "encoder parameters are missing, e.g. electra.embeddings": lambda folder: lose(folder, "word_embeddings"),
    "has shape (48,), config.json says (40,)": lambda folder: change(folder, intermediate_size=40),
    "have no place in config.json": lambda folder: change(folder, num_hidden_layers=2),
    "the tokenizer has 27 tokens, config.json says 20": lambda folder: change(folder, vocab_size=20),
    "neither vocab.txt, spiece.model nor tokenizer.json": remove("vocab.txt", "tokenizer_config.json"),
    "neither model.safetensors nor pytorch_model.bin": remove("model.safetensors"),
    "no config.json": remove("config.json"),
    "damaged or cut short": lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" * 40),
    "cannot load the model": lambda folder: change(folder, model_type="nonesuch"),
    "no class for this model_type": lambda folder: change(folder, model_type="vit"),
}


@pytest.mark.parametrize("kind", ["electra"], indirect=True)
@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_folder_is_one_clear_line(folder, problem):
    BROKEN[problem](folder)

    def prepare():
        start = open_pretrained(folder)
        assert start.tokeniser.layout.pad == 0
        start.classifier(LABELS, dropout=0.0)

    with pytest.raises(ClueBenchError) as caught:
        prepare()
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["xlm-roberta"], indirect=True)
def test_a_checkpoint_without_pooler_or_with_another_head_is_complete(kind, folder):
    make(kind, folder, transformers.AutoModelForMaskedLM)
    open_pretrained(folder).classifier(LABELS, dropout=0.0)
    lose(folder, "position_embeddings")
    with pytest.raises(ClueBenchError, match="encoder parameters"):
        open_pretrained(folder).classifier(LABELS, dropout=0.0)


def test_a_tokenizer_that_finds_no_file_of_its_own_is_refused(tmp_path):
    """A RoBERTa with a vocab.txt: transformers makes an empty tokenizer of it, without a word."""
    size = wordpieces(tmp_path / "base", tokenizer_class="RobertaTokenizer")
    config = transformers.RobertaConfig(**SIZES, vocab_size=size, type_vocab_size=1)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    with pytest.raises(ClueBenchError, match="tokenizer"):
        open_pretrained(tmp_path / "base")


def test_gpt2_without_a_pad_token_is_refused(tmp_path):
    size = byte_pairs(tmp_path / "base")
    transformers.AutoModel.from_config(KINDS["gpt2"][1](size)).save_pretrained(tmp_path / "base")
    with pytest.raises(ClueBenchError, match="no pad token"):
        _ = open_pretrained(tmp_path / "base").tokeniser


def test_a_model_that_looks_at_padding_is_refused(tmp_path):
    """XLNet classifies from the last position of the row, which must not be padding."""
    size = unigram(tmp_path / "base")
    config = transformers.XLNetConfig(vocab_size=size, d_model=32, n_layer=2, n_head=2, d_inner=48, pad_token_id=1)
    roughened(transformers.AutoModel.from_config(config)).save_pretrained(tmp_path / "base")
    start = open_pretrained(tmp_path / "base")
    assert [segment for _, segment in start.tokeniser.layout.pair][-1] in (0, 2)
    with pytest.raises(ClueBenchError, match="padding"):
        start.classifier(LABELS, dropout=0.0)


@pytest.mark.parametrize("stated", [{}, {"tokenizer_class": "RoFormerTokenizer"}])
def test_a_roformer_cut_into_words_runs_here_with_the_folders_own_tokenizer(tmp_path, stated):
    size = wordpieces(tmp_path / "base", **stated)
    lines = [*WORDPIECES[:-1], "中国"]
    (tmp_path / "base" / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = transformers.RoFormerConfig(**SIZES, vocab_size=size, embedding_size=32)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    start = open_pretrained(tmp_path / "base")
    assert isinstance(start, NativeModel)
    # Not from the folder: transformers 5.23 then looks words up in the name of the file.
    tokenizer = transformers.RoFormerTokenizer(vocab={token: number for number, token in enumerate(lines)})
    encoded = encode(rows([("我中国人", "在上")]), start.tokeniser, max_length=32)
    expected = tokenizer("我中国人", "在上", return_token_type_ids=True)
    assert lines.index("中国") in encoded.ids
    assert encoded.ids.tolist() == expected["input_ids"]
    assert encoded.segments.tolist() == expected["token_type_ids"]
    start.write(tmp_path / "out", start.classifier(LABELS, dropout=0.0), labels=LABELS, provenance={})
    again = encode(rows([("我中国人", "在上")]), open_pretrained(tmp_path / "out").tokeniser, max_length=32)
    assert again.ids.tolist() == expected["input_ids"]


def test_a_plain_albert_of_sentence_pieces_has_transformers_rows(tmp_path):
    size = albert_pieces(tmp_path / "base")
    config = transformers.AlbertConfig(**SIZES, vocab_size=size, embedding_size=16)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    start = open_pretrained(tmp_path / "base")
    encoded = encode(rows(TEXTS), start.tokeniser, max_length=20)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "base")
    for number, texts in enumerate(TEXTS):
        expected = tokenizer(*texts, truncation="longest_first", max_length=20, return_token_type_ids=True)
        part = slice(encoded.offsets[number], encoded.offsets[number + 1])
        assert encoded.ids[part].tolist() == expected["input_ids"]
        assert encoded.segments[part].tolist() == expected["token_type_ids"]


def test_a_model_in_memory_is_as_from_the_folder_that_it_was_loaded_from(folder, kind):
    stored = open_pretrained(folder)
    model, tokenizer = (
        transformers.AutoModel.from_pretrained(folder),
        transformers.AutoTokenizer.from_pretrained(folder),
    )
    live = open_live(model, tokenizer, name="mine")
    assert (live.name, type(live)) == ("mine", type(stored))
    assert live.tokeniser.layout == stored.tokeniser.layout
    assert (live.sizes, live.num_parameters) == (stored.sizes, stored.num_parameters)
    logits = []
    for base in (stored, live):
        torch.manual_seed(4)
        classifier = base.classifier(LABELS, dropout=0.0).eval()
        with torch.no_grad():
            logits.append(classifier(*padded(base, TEXTS)))
    assert torch.equal(*logits)
    left = live.folder
    assert left.is_dir()
    del live, base
    gc.collect()
    assert not left.exists()


def test_a_native_model_in_memory_keeps_its_network_and_its_rows(checkpoint_folder):
    folder = checkpoint_folder / "checkpoint"
    stored = open_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    live = open_live(model, transformers.AutoTokenizer.from_pretrained(folder))
    assert isinstance(live, NativeModel)
    assert live.name == stored.name
    texts = ["中国人的大 ab1", "[MASK]我"]
    assert live.tokeniser.encoder.ids(texts) == stored.tokeniser.encoder.ids(texts)
    assert live.tokeniser.layout == stored.tokeniser.layout
    torch.manual_seed(4)
    found = live.classifier(LABELS, dropout=0.0).state_dict()
    torch.manual_seed(4)
    expected = stored.classifier(LABELS, dropout=0.0).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_what_is_no_model_of_transformers_is_refused():
    with pytest.raises(ClueBenchError, match="a Linear as the model"):
        open_live(torch.nn.Linear(2, 2), None)


@pytest.mark.parametrize(
    ("make", "unknown"),
    [
        (unigram, 2),
        (lambda folder: byte_pairs(folder, pad_token="<pad>"), 0),
        (lambda folder: byte_pairs(folder, pad_token="<pad>", unk_token="<end>"), 0),  # as GPT2's, which is its border
    ],
)
def test_unknown_tokens_are_those_of_the_tokenizer_and_byte_pairs_have_none(make, unknown, tmp_path):
    make(tmp_path / "model")
    tokeniser = FolderTokeniser(tmp_path / "model", model_type="xlnet", segment_types=1).tokeniser
    facts = FileFacts(rows=3, md5="", expected_rows=None, expected_md5=None)
    rows = Rows([("我龘", "中"), ("中国", "人"), ("靐", "我")], np.zeros(3, np.int64), [0, 1, 2], facts)
    read = encode(rows, tokeniser, max_length=64).read
    assert (read.unknown_tokens, read.unknown_rows) == (unknown, unknown)
