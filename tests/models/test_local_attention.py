"""First weights with which heads look at their neighbours."""

import pytest
import torch

from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import INIT_STD, Encoder
from clue_bench.models.local_attention import DISTANCES, are_continued, continued_positions, look_at_neighbours


def encoder(**sizes) -> Encoder:
    torch.manual_seed(1)
    defaults = {
        "vocab_size": 500,
        "layers": 2,
        "hidden_size": 256,
        "heads": 8,
        "feed_forward_size": 64,
        "max_positions": 128,
    }
    return Encoder(ModelConfig(**{**defaults, **sizes}))


def attention_weights(model: Encoder, layer: int, *, length: int) -> torch.Tensor:
    """The mean attention of each head over some random rows: (N, S, S)."""
    ids_BS = torch.randint(0, 500, (8, length), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        x = model.embeddings(ids_BS, None, None, None)
        for earlier in model.layers[:layer]:
            x = earlier(x, None)
        attention = model.layers[layer].attention
        q, k, _ = (attention._split(part, len(x)) for part in attention.qkv(x).chunk(3, -1))
        return ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(-1).mean(0)


@pytest.mark.parametrize("length", [32, 128, 256, 512])
@pytest.mark.parametrize("layer", [0, 1])
def test_each_head_looks_first_at_its_distance_in_rows_of_every_length(layer, length):
    model = encoder(max_positions=512)
    look_at_neighbours(model, length=length)
    weights_NSS = attention_weights(model, layer, length=length)
    for head, distance in enumerate(DISTANCES):
        by_distance = {d: float(weights_NSS[head].diagonal(d).mean()) for d in range(-5, 6)}
        if distance is None:
            assert max(by_distance.values()) < 2.5 / length  # evenly over the row
        else:
            assert max(by_distance, key=lambda d: by_distance[d]) == distance
            assert sum(by_distance[d] for d in range(distance - 2, distance + 3)) > 0.4


def test_positions_are_as_large_as_words():
    model = encoder()
    look_at_neighbours(model, length=128)
    assert float(model.embeddings.position.weight.detach().square().mean()) ** 0.5 == pytest.approx(INIT_STD, rel=0.05)


@pytest.mark.parametrize(("sizes", "named"), [({"family": "roformer"}, "roformer"), ({"heads": 128}, "narrow")])
def test_a_model_that_cannot_is_refused(sizes, named):
    with pytest.raises(ValueError, match=named):
        look_at_neighbours(encoder(**sizes), length=128)


def waves(*, seed=1):
    """Positions as they begin, as training leaves them (moved, stretched, with noise), and how they would go on."""
    model = encoder(max_positions=256)
    look_at_neighbours(model, length=128)
    begun = model.embeddings.position.weight.detach()
    draw = torch.Generator().manual_seed(seed)
    moved = 2 * begun * torch.rand(256, generator=draw) + 0.01 * torch.randn(256, generator=draw)
    noise = 0.2 * moved.std() * torch.randn(moved.shape, generator=draw)
    return begun, moved + noise, moved


def test_waves_go_on_behind_the_positions_that_were_learned():
    begun, trained, true = waves()
    for positions, expected, largest in ((begun, begun, 0.1), (trained, true, 0.3)):
        found = continued_positions(positions, learned=128, head_size=32)
        assert torch.equal(found[:128], positions[:128])
        error = (found - expected)[128:].square().mean() / expected[128:].square().mean()
        assert error < largest


def test_positions_that_were_continued_are_told_from_others():
    begun, trained, _ = waves()
    continued = continued_positions(trained, learned=128, head_size=32)
    finetuned = continued + 0.1 * continued.std() * torch.randn(256, 256, generator=torch.Generator().manual_seed(3))
    for positions in (continued, continued.bfloat16(), finetuned):
        assert are_continued(positions, learned=128, head_size=32)
    as_drawn = torch.cat([trained[:128], begun[128:]])
    random = torch.cat(
        [trained[:128], torch.randn(128, 256, generator=torch.Generator().manual_seed(2)) * trained.std()]
    )
    for positions in (as_drawn, random):
        assert not are_continued(positions, learned=128, head_size=32)
    assert not are_continued(continued, learned=256, head_size=32)


def test_positions_that_are_no_waves_or_too_few_do_not_go_on():
    begun, *_ = waves()
    drawn = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    assert continued_positions(drawn, learned=128, head_size=32) is None
    assert continued_positions(begun, learned=64, head_size=32) is None
    assert continued_positions(begun, learned=256, head_size=32) is None
