"""One configurable encoder for BERT, ALBERT and RoFormer, and its heads.

Input: token ids. Output: hidden states (or, where asked, only those that a loss needs), what vocabulary logits are made
of, and the logits of sentence order. Files (`doors.checkpoint`), names in other toolkits (`weights`) and losses
(`pretraining`, `finetuning`) are handled elsewhere.

Shape letters: B rows, S positions, K chosen positions of a row, C texts of a row, D hidden size, E embedding size,
V vocabulary.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clue_bench.models.attention import Attention, Packing, Rotary, attention_bias, bias_at, rotary_angles
from clue_bench.models.config import Activation, ModelConfig
from clue_bench.models.packed_attention import Texts, has_packed_kernel, texts_of_rows
from clue_bench.training.dropout import RowDropout

INIT_STD = 0.02  # BERT's; biases start at 0 and gains at 1


class Outputs(NamedTuple):
    """What losses need: hidden states, (B, S, E) or (B, K, E), and matrix and bias that make vocabulary logits of them.

    These logits are the largest tensor of a small model's step, and a loss can do without. Also logits of order,
    (B, C, 2), and of labelled pairs, (B, C, L), if asked.
    """

    hidden: Tensor
    matrix_VE: Tensor
    bias_V: Tensor | None = None
    order_BC2: Tensor | None = None
    labels_BCL: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """Return the vocabulary logits, (B, S, V) or (B, K, V)."""
        return F.linear(self.hidden, self.matrix_VE, self.bias_V)


class Embeddings(nn.Module):
    """Sum of word, position (unless rotary) and segment embeddings, normalised, and projected for ALBERT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.embedding_width
        self.word = nn.Embedding(config.vocab_size, width)
        self.position = None if config.family == "roformer" else nn.Embedding(config.max_positions, width)
        self.segment = nn.Embedding(config.segment_types, width)
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.project = nn.Linear(width, config.hidden_size) if config.family == "albert" else None

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, positions_BS: Tensor | None, drop: RowDropout | None
    ) -> Tensor:
        """Return (B, S, D)."""
        # Segment 0 everywhere needs no look-up: adding its one row broadcasts. The same for positions 0 to S - 1.
        segment = self.segment.weight[0] if segments_BS is None else self.segment(segments_BS)
        total = self.word(ids_BS)
        if self.position is not None:
            at = self.position.weight[: ids_BS.shape[1]] if positions_BS is None else self.position(positions_BS)
            total = total + at
        out: Tensor = self.norm(total + segment)
        out = out if drop is None else drop(out)
        # Autocast leaves a product in bf16; the residual stream, and so every norm, stays in the type of this one.
        return out if self.project is None else self.project(out).to(out.dtype)


class Layer(nn.Module):
    """Post-LN transformer layer: attention, then feed-forward, each added to its input and normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.feed_forward_size)
        self.down = nn.Linear(config.feed_forward_size, config.hidden_size)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(
        self,
        x_BSD: Tensor,
        bias: Tensor | None,
        rotary: Rotary | None = None,
        drop: RowDropout | None = None,
        at_BK: Tensor | None = None,
        texts: Texts | None = None,
    ) -> Tensor:
        """Return the layer's output at every position, or only at positions `at_BK`, which is exact and cheaper."""
        if at_BK is None:
            # Of products' two dimensions: then a compiler lets them add to the residual's gradient.
            residual = x_BSD.flatten(0, 1)
            attended = self.attention(residual, bias=bias, rotary=rotary, drop=drop, texts=texts, rows=len(x_BSD))
        else:
            residual = take(x_BSD, at_BK)
            attended = self.attention(
                x_BSD,
                queries_BKD=residual,
                bias=bias_at(bias, at_BK),
                rotary=rotary,
                query_rotary=None if rotary is None else rotary.at(at_BK),
                drop=drop,
            )
        y = self.attention_norm(residual + (attended if drop is None else drop(attended)))
        forwarded = self.down(activate(self.up(y), self.activation))
        out: Tensor = self.feed_forward_norm(y + (forwarded if drop is None else drop(forwarded)))
        return out.view(len(x_BSD), -1, out.shape[-1])


class Encoder(nn.Module):
    """BERT, ALBERT or RoFormer without any head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        distinct_layers = 1 if config.family == "albert" else config.layers
        self.layers = nn.ModuleList(Layer(config) for _ in range(distinct_layers))
        self.apply(initialise)

    def forward(
        self,
        ids_BS: Tensor,
        *,
        segments_BS: Tensor | None = None,
        keep_BS: Tensor | None = None,
        packing: Packing | None = None,
        at_BK: Tensor | None = None,
        drop: RowDropout | None = None,
        most_texts: int | None = None,
    ) -> Tensor:
        """Return hidden states, (B, S, D), or (B, K, D) at the positions `at_BK` (int64).

        `segments_BS` is 0 everywhere if None; `keep_BS` (bool) is False at padding, None if there is none. No row of a
        `packing` holds more than `most_texts`, if they are given.
        """
        positions_BS = None if packing is None else packing.positions_BS
        x_BSD: Tensor = self.embeddings(ids_BS, segments_BS, positions_BS, drop)
        bias = attention_bias(keep_BS, packing, is_causal=False, like_BSD=x_BSD)
        texts: Texts | None = None
        if packing and most_texts and has_packed_kernel(x_BSD, drop, head_size=self.config.head_size):
            texts = texts_of_rows(packing.blocks_BS, most_texts=most_texts)
        rotary = self._rotary(ids_BS, positions_BS)
        last = self.config.layers - 1
        for number in range(self.config.layers):
            layer = self.layers[number % len(self.layers)]
            # Only the last layer may be evaluated in part: keys and values of every earlier one are needed everywhere.
            masks = drop and drop.next(self.config.dropout_sites_of_layer)
            x_BSD = layer(x_BSD, bias, rotary, masks, at_BK if number == last else None, texts)
        return x_BSD

    def _rotary(self, ids_BS: Tensor, positions_BS: Tensor | None) -> Rotary | None:
        if self.config.family != "roformer":
            return None
        if positions_BS is None:
            positions_BS = torch.arange(ids_BS.shape[1], device=ids_BS.device)
        return rotary_angles(positions_BS, self.config.head_size)


class MaskedLanguageModel(nn.Module):
    """Encoder, BERT's prediction head and, if `sentence_order`, a head that says which of two texts came first.

    `pair_classes` adds a head for labelled pairs; it serves training only.
    """

    def __init__(self, config: ModelConfig, *, sentence_order: bool = False, pair_classes: int = 0) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        width = config.embedding_width
        self.transform = nn.Linear(config.hidden_size, width)
        self.transform_norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.transform.apply(initialise)
        self.decoder = None if config.tied_head else nn.Linear(width, config.vocab_size, bias=False)
        self.pooler = Pooler(config.hidden_size) if sentence_order else None
        self.order = nn.Linear(config.hidden_size, 2) if sentence_order else None
        self.pair = nn.Linear(config.hidden_size, pair_classes) if pair_classes else None
        for head in (self.decoder, self.order, self.pair):
            if head is not None:
                head.apply(initialise)

    @property
    def config(self) -> ModelConfig:
        """Return the architecture."""
        return self.encoder.config

    def forward(
        self,
        ids_BS: Tensor,
        *,
        segments_BS: Tensor | None = None,
        keep_BS: Tensor | None = None,
        packing: Packing | None = None,
        at_BK: Tensor | None = None,
        starts_BC: Tensor | None = None,
        drop: RowDropout | None = None,
    ) -> Outputs:
        """Return what vocabulary logits are made of, at all positions or at `at_BK`.

        With `starts_BC`, the positions of the texts' [CLS], also the logits of their order and labels.
        """
        chosen = at_BK
        if at_BK is not None and starts_BC is not None:
            chosen = torch.cat((at_BK, starts_BC), dim=1)
        hidden = self.encoder(
            ids_BS,
            segments_BS=segments_BS,
            keep_BS=keep_BS,
            packing=packing,
            at_BK=chosen,
            drop=drop,
            most_texts=None if starts_BC is None else starts_BC.shape[1],
        )
        order_BC2 = labels_BCL = None
        if starts_BC is not None:
            assert self.pooler is not None, "the model was built without sentence order"
            assert self.order is not None
            firsts_BCD = take(hidden, starts_BC) if at_BK is None else hidden[:, at_BK.shape[1] :]
            pooled_BCD = self.pooler(firsts_BCD)
            order_BC2 = self.order(pooled_BCD)
            labels_BCL = None if self.pair is None else self.pair(pooled_BCD)
        predicted = hidden if at_BK is None else hidden[:, : at_BK.shape[1]]
        activated = activate(self.transform(predicted), self.config.activation)
        transformed = self.transform_norm(activated.to(predicted.dtype))  # in fp32 on CPUs, too
        matrix = self.encoder.embeddings.word.weight if self.decoder is None else self.decoder.weight
        return Outputs(transformed, matrix, self.bias, order_BC2, labels_BCL)


class Pooler(nn.Module):
    """BERT's pooler: tanh of a linear map of the first position."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.apply(initialise)

    def forward(self, first: Tensor) -> Tensor:
        """Return (…, D) for the hidden states (…, D) of texts' first positions."""
        return torch.tanh(self.dense(first))


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Return the activation of `x`: GELU, its tanh approximation (GPT2's, ALBERT's), or ReLU (UER's ALBERT)."""
    if activation == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


def take(x_BSD: Tensor, at_BK: Tensor) -> Tensor:
    """Return rows `at_BK` of `x_BSD`: (B, K, D)."""
    return x_BSD.gather(1, at_BK.unsqueeze(-1).expand(-1, -1, x_BSD.shape[-1]))


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), zero the biases, as BERT does."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
