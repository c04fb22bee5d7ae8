"""The BERT encoder and its masked-language-model head.

Enters: token ids. Leaves: hidden states (or, where asked, only those that the loss looks at) and vocabulary logits.
It does not know about files (`checkpoint`), names in other toolkits (`hub`) or losses (`engine`, `finetune`).

Shape letters: B rows, S positions, K looked-at positions of a row, D hidden size, N heads, H = D / N, F feed-forward,
V vocabulary, T segment types, P longest position.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INIT_STD = 0.02  # BERT's; biases start at 0 and gains at 1


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Widths of a BERT encoder. Everything else (post-LN, GELU, learned positions) is what BERT is."""

    vocab_size: int
    layers: int
    hidden_size: int
    heads: int
    feed_forward_size: int
    max_positions: int = 512
    segment_types: int = 2
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")

    @property
    def head_size(self) -> int:
        """H: width of one attention head."""
        return self.hidden_size // self.heads


class Embeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position = nn.Embedding(config.max_positions, config.hidden_size)
        self.segment = nn.Embedding(config.segment_types, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids_BS: Tensor, segments_BS: Tensor | None) -> Tensor:
        """Return (B, S, D)."""
        length = ids_BS.shape[1]
        # Segment 0 everywhere needs no look-up: adding its one row broadcasts.
        segment = self.segment.weight[0] if segments_BS is None else self.segment(segments_BS)
        total_BSD = self.word(ids_BS) + self.position.weight[:length] + segment
        dropped: Tensor = self.dropout(self.norm(total_BSD))
        return dropped


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection for queries, keys and values."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSD: Tensor, queries_BKD: Tensor | None, bias_B11S: Tensor | None) -> Tensor:
        """Attend from `queries_BKD` (all positions if None) to every position of `x_BSD`."""
        if queries_BKD is None:
            q_BKD, k_BSD, v_BSD = self.qkv(x_BSD).chunk(3, dim=-1)
        else:
            width = x_BSD.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            q_BKD = F.linear(queries_BKD, weight[:width], bias[:width])
            k_BSD, v_BSD = F.linear(x_BSD, weight[width:], bias[width:]).chunk(2, dim=-1)
        mixed_BNKH = self._mix(self._split(q_BKD), self._split(k_BSD), self._split(v_BSD), bias_B11S)
        mixed: Tensor = self.out(mixed_BNKH.transpose(1, 2).flatten(2))
        return mixed

    def _split(self, x_BSD: Tensor) -> Tensor:
        rows, positions, _ = x_BSD.shape
        return x_BSD.view(rows, positions, self.heads, -1).transpose(1, 2)

    def _mix(self, q_BNKH: Tensor, k_BNSH: Tensor, v_BNSH: Tensor, bias_B11S: Tensor | None) -> Tensor:
        if q_BNKH.is_cuda:
            dropout = self.dropout.p if self.training else 0.0
            return F.scaled_dot_product_attention(q_BNKH, k_BNSH, v_BNSH, attn_mask=bias_B11S, dropout_p=dropout)
        # On the CPU the fused kernel's backward is slower than these three operations at S <= 512.
        scores_BNKS = (q_BNKH * q_BNKH.shape[-1] ** -0.5) @ k_BNSH.transpose(-1, -2)
        if bias_B11S is not None:
            scores_BNKS = scores_BNKS + bias_B11S
        weights_BNKS: Tensor = self.dropout(scores_BNKS.softmax(-1))
        return weights_BNKS.to(v_BNSH.dtype) @ v_BNSH


class Layer(nn.Module):
    """Post-LN transformer layer: attention, then feed-forward, each added to its input and normalised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.feed_forward_size)
        self.down = nn.Linear(config.feed_forward_size, config.hidden_size)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSD: Tensor, bias_B11S: Tensor | None, at_BK: Tensor | None = None) -> Tensor:
        """Return the layer's output at every position, or only at positions `at_BK`, which is exact and cheaper."""
        queries_BKD = None if at_BK is None else take(x_BSD, at_BK)
        residual_BKD = x_BSD if queries_BKD is None else queries_BKD
        attended_BKD = self.dropout(self.attention(x_BSD, queries_BKD, bias_B11S))
        y_BKD = self.attention_norm(residual_BKD + attended_BKD)
        forwarded_BKD = self.dropout(self.down(F.gelu(self.up(y_BKD))))
        out: Tensor = self.feed_forward_norm(y_BKD + forwarded_BKD)
        return out


class Encoder(nn.Module):
    """BERT without any head."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.apply(initialise)

    def forward(
        self,
        ids_BS: Tensor,
        *,
        segments_BS: Tensor | None = None,
        keep_BS: Tensor | None = None,
        at_BK: Tensor | None = None,
    ) -> Tensor:
        """Return hidden states, (B, S, D), or (B, K, D) at the positions `at_BK` (int64).

        `segments_BS` is 0 everywhere if None; `keep_BS` (bool) is False at padding, None if there is none.
        """
        x_BSD: Tensor = self.embeddings(ids_BS, segments_BS)
        bias_B11S = None if keep_BS is None else padding_bias(keep_BS, x_BSD.dtype)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            # Only the last layer may be evaluated in part: keys and values of every earlier one are needed everywhere.
            x_BSD = layer(x_BSD, bias_B11S, at_BK if index == last else None)
        return x_BSD


class MaskedLanguageModel(nn.Module):
    """Encoder and BERT's prediction head, whose output matrix is the word embedding."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.transform.apply(initialise)

    def forward(
        self,
        ids_BS: Tensor,
        *,
        segments_BS: Tensor | None = None,
        keep_BS: Tensor | None = None,
        at_BK: Tensor | None = None,
    ) -> Tensor:
        """Return vocabulary logits, (B, S, V), or (B, K, V) at the positions `at_BK`."""
        hidden = self.encoder(ids_BS, segments_BS=segments_BS, keep_BS=keep_BS, at_BK=at_BK)
        transformed = self.transform_norm(F.gelu(self.transform(hidden)))
        return F.linear(transformed, self.encoder.embeddings.word.weight, self.bias)


class Pooler(nn.Module):
    """BERT's pooler: tanh of a linear map of the first position."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.apply(initialise)

    def forward(self, first_BD: Tensor) -> Tensor:
        """Return (B, D) for the hidden states of each row's first position."""
        return torch.tanh(self.dense(first_BD))


def take(x_BSD: Tensor, at_BK: Tensor) -> Tensor:
    """Return rows `at_BK` of `x_BSD`: (B, K, D)."""
    return x_BSD.gather(1, at_BK.unsqueeze(-1).expand(-1, -1, x_BSD.shape[-1]))


def padding_bias(keep_BS: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to attention scores: 0 where `keep_BS`, the most negative number elsewhere; (B, 1, 1, S)."""
    bias = torch.zeros(keep_BS.shape, dtype=dtype, device=keep_BS.device)
    return bias.masked_fill(~keep_BS, torch.finfo(dtype).min)[:, None, None, :]


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), zero the biases, as BERT does."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def count_parameters(config: EncoderConfig) -> int:
    """Return the parameters of encoder and pooler, without any head: the figure that model cards print."""
    d, f = config.hidden_size, config.feed_forward_size
    embeddings = (config.vocab_size + config.max_positions + config.segment_types) * d + 2 * d
    layer = 4 * (d * d + d) + (d * f + f) + (f * d + d) + 4 * d
    return embeddings + config.layers * layer + d * d + d
