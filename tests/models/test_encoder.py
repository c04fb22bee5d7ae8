"""The encoder against transformers' BERT: logits, gradients, the pruned last layer, parameter counts."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from clue_bench.checkpoint import read_checkpoint, write_checkpoint
from clue_bench.engine.recipe import load_recipe
from clue_bench.models.encoder import EncoderConfig, MaskedLanguageModel, count_parameters
from clue_bench.models.hub import from_hugging_face, to_hugging_face
from clue_bench.vocab import read_vocabulary

CONFIG = EncoderConfig(
    vocab_size=69, layers=3, hidden_size=36, heads=6, feed_forward_size=52, max_positions=40, dropout=0.0
)


@pytest.fixture
def pair(tmp_path: Path, vocabulary_file: Path):
    """Our model, with weights that are not near zero, and transformers' reading of its checkpoint."""
    from transformers import BertForMaskedLM

    vocabulary = read_vocabulary(vocabulary_file)
    config = EncoderConfig(**{**vars(CONFIG), "vocab_size": len(vocabulary)})
    torch.manual_seed(0)
    ours = MaskedLanguageModel(config)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    write_checkpoint(
        tmp_path / "checkpoint",
        ours.state_dict(),
        architecture="BertForMaskedLM",
        config=config,
        vocabulary=vocabulary,
        provenance={},
    )
    theirs = BertForMaskedLM.from_pretrained(tmp_path / "checkpoint", attn_implementation="eager")
    return ours.eval(), theirs.eval()


@pytest.fixture
def batch(pair):
    torch.manual_seed(1)
    ids = torch.randint(6, pair[0].encoder.config.vocab_size, (5, 24))
    segments = (torch.arange(24) >= 10).long().expand(5, -1).contiguous()
    lengths = torch.tensor([24, 20, 11, 3, 24])
    return ids, segments, torch.arange(24)[None, :] < lengths[:, None]


def test_logits_equal_transformers_with_padding_and_segments(pair, batch):
    ours, theirs = pair
    ids, segments, keep = batch
    with torch.no_grad():
        got = ours(ids, segments_BS=segments, keep_BS=keep)
        expected = theirs(input_ids=ids, token_type_ids=segments, attention_mask=keep.long()).logits
    torch.testing.assert_close(got[keep], expected[keep], atol=1e-5, rtol=0)


def test_gradients_equal_transformers(pair, batch):
    ours, theirs = pair
    ids, segments, keep = batch
    at = torch.tensor([[1, 5, 7], [2, 3, 19], [0, 4, 10], [0, 1, 2], [23, 11, 6]])
    targets = ids.gather(1, at)
    logits = ours(ids, segments_BS=segments, keep_BS=keep, at_BK=at)
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    labels = torch.full_like(ids, -100).scatter(1, at, targets)
    theirs(input_ids=ids, token_type_ids=segments, attention_mask=keep.long(), labels=labels).loss.backward()
    got = to_hugging_face({name: parameter.grad for name, parameter in ours.named_parameters()})
    expected = dict(theirs.named_parameters())
    assert got.keys() == expected.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected[name].grad, atol=1e-5, rtol=1e-4, msg=name)


def test_last_layer_at_chosen_positions_equals_the_full_one(pair, batch):
    ours, _ = pair
    ids, segments, keep = batch
    at = torch.tensor([[1, 5], [2, 3], [0, 4], [0, 1], [23, 11]])
    with torch.no_grad():
        full = ours(ids, segments_BS=segments, keep_BS=keep)
        pruned = ours(ids, segments_BS=segments, keep_BS=keep, at_BK=at)
    expected = full.gather(1, at[..., None].expand(-1, -1, full.shape[-1]))
    torch.testing.assert_close(pruned, expected, atol=1e-5, rtol=0)


def test_names_survive_the_way_to_hugging_face_and_back(pair):
    state = pair[0].state_dict()
    back = from_hugging_face(to_hugging_face(state), where="test")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_bare_bert_model_without_prefix_and_with_pooler_is_read(pair, tmp_path):
    from transformers import BertConfig, BertModel

    theirs = BertModel(BertConfig.from_pretrained(tmp_path / "checkpoint"))
    theirs.save_pretrained(tmp_path / "bare")
    (tmp_path / "bare" / "vocab.txt").write_bytes((tmp_path / "checkpoint" / "vocab.txt").read_bytes())
    tensors = read_checkpoint(tmp_path / "bare").tensors
    expected = theirs.state_dict()
    assert torch.equal(tensors["encoder.embeddings.word.weight"], expected["embeddings.word_embeddings.weight"])
    assert torch.equal(tensors["pooler.dense.bias"], expected["pooler.dense.bias"])
    assert tensors["encoder.layers.2.attention.qkv.weight"].shape == (108, 36)


# Layers, hidden size, heads, feed-forward size, vocabulary; millions of parameters with pooler, from the model cards'
# formula (BERT, 512 positions, 2 segments).
PUBLISHED = [
    (12, 768, 12, 3072, 21128, 102.27),
    (12, 768, 12, 3072, 8021, 92.20),
    (4, 312, 12, 1248, 8021, 7.45),
    (3, 312, 12, 1248, 8021, 6.28),
    (3, 768, 12, 3072, 8021, 28.41),
    (24, 1024, 16, 4096, 8021, 312.10),
    (2, 128, 2, 512, 21128, 3.18),
    (8, 512, 8, 2048, 100000, 76.95),
]


@pytest.mark.parametrize(("layers", "hidden", "heads", "feed_forward", "vocab", "millions"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(layers, hidden, heads, feed_forward, vocab, millions):
    config = EncoderConfig(
        vocab_size=vocab, layers=layers, hidden_size=hidden, heads=heads, feed_forward_size=feed_forward
    )
    assert round(count_parameters(config) / 1e6, 2) == millions


def test_counted_parameters_are_those_of_transformers(pair):
    from transformers import BertModel

    theirs = BertModel(pair[1].config)
    assert count_parameters(pair[0].encoder.config) == sum(p.numel() for p in theirs.parameters())


def test_the_tiny_clue_recipe_has_the_cards_architecture():
    recipe = load_recipe("roberta-tiny-clue", {})
    sizes = (recipe.layers, recipe.hidden_size, recipe.heads, recipe.feed_forward_size, recipe.vocab_size)
    assert sizes == (4, 312, 12, 1248, 8021)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="not a multiple"):
        EncoderConfig(vocab_size=10, layers=1, hidden_size=30, heads=4, feed_forward_size=8)
