"""GPT2: a causal language model.

Input: token ids. Output: hidden states at every position, and the matrix that makes logits of the next token of them.

Pre-LN (each sublayer normalises its input), learned positions, no norm after the embeddings, one after the last layer;
the output matrix is the word embedding, without a bias.

Shape letters: B rows, S positions, D hidden size, V vocabulary.
"""

from torch import Tensor, nn

from clue_bench.models.attention import Attention, Packing, attention_bias, has_fused_kernel
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import Outputs, activate, initialise
from clue_bench.training.dropout import RowDropout


class DecoderLayer(nn.Module):
    """Pre-LN transformer layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.feed_forward_size)
        self.down = nn.Linear(config.feed_forward_size, config.hidden_size)

    def forward(self, x_BSD: Tensor, bias: Tensor | None, is_causal: bool, drop: RowDropout | None) -> Tensor:
        """Return (B, S, D)."""
        x = x_BSD.flatten(0, 1)  # products' two dimensions, in which a compiler fuses more
        normed = self.attention_norm(x)
        attended = self.attention(normed, bias=bias, is_causal=is_causal, drop=drop, rows=len(x_BSD))
        x = x + (attended if drop is None else drop(attended))
        forwarded = self.down(activate(self.up(self.feed_forward_norm(x)), self.activation))
        return (x + (forwarded if drop is None else drop(forwarded))).view(x_BSD.shape)


class CausalLanguageModel(nn.Module):
    """GPT2 with its (tied) head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.word = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position = nn.Embedding(config.max_positions, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.apply(initialise)

    def forward(
        self,
        ids_BS: Tensor,
        *,
        keep_BS: Tensor | None = None,
        packing: Packing | None = None,
        drop: RowDropout | None = None,
    ) -> Outputs:
        """Return the hidden states (B, S, D) and what makes logits of them: at position s, of the token at s + 1."""
        positions = self.position.weight[: ids_BS.shape[1]] if packing is None else self.position(packing.positions_BS)
        x_BSD: Tensor = self.word(ids_BS) + positions
        x_BSD = x_BSD if drop is None else drop(x_BSD)
        # The fused kernel skips what lies ahead, but takes no other mask beside that.
        skips_ahead = has_fused_kernel(x_BSD) and keep_BS is None and packing is None
        bias = attention_bias(keep_BS, packing, is_causal=not skips_ahead, like_BSD=x_BSD)
        for layer in self.layers:
            x_BSD = layer(x_BSD, bias, skips_ahead, drop and drop.next(self.config.dropout_sites_of_layer))
        return Outputs(self.norm(x_BSD), self.word.weight)
