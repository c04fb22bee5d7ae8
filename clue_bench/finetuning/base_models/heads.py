"""Classifiers: what a fine-tuning run trains.

Input: token ids. Output: class logits. Every family has the head of its class in `transformers`, with the same
computation and names, so that the class loads the result:

| family | head | class |
|---|---|---|
| bert, albert | pooler of [CLS] (linear, tanh), dropout, linear | BertForSequenceClassification, Albert… |
| roformer | [CLS], dropout, linear, the model's activation, dropout, linear | RoFormerForSequenceClassification |
| gpt2 | last token, linear without bias | GPT2ForSequenceClassification |
| bert, albert, roformer, for spans | every token, linear of two | BertForQuestionAnswering, … |
| bert, albert, roformer, for tags | every token, dropout, linear | BertForTokenClassification, … |

Models of `transformers` itself keep the same contract, `Classifier`: `TransformersClassifier`.

Legend: B rows, S positions, D hidden size, C classes.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clue_bench.doors.checkpoint import Checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import Encoder, Pooler, activate, initialise
from clue_bench.models.gpt2 import CausalLanguageModel
from clue_bench.numbers import counted
from clue_bench.tasks.task import Kind
from clue_bench.training.dropout import RowDropout


class Classifier(nn.Module, ABC):
    """The interface of every classifier, native or of transformers.

    `num_layers` counts layers with weights of their own, of which ALBERT has one, applied again and again.
    `dropout_sites` is the number of masks that a row needs in a forward pass. It is 0 where `draws_own_dropout`: there
    the mode (train or eval) and torch's global generator decide, as in transformers.
    """

    num_classes: int
    num_layers: int
    dropout_sites: int
    draws_own_dropout: bool

    @abstractmethod
    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C), or (B, S, 2) of spans, (B, S, C) of tags.

        `keep_BS` is False at padding, which stands at the end; None if there is none.
        """

    @abstractmethod
    def word_embedding(self) -> nn.Parameter:
        """Return the word embedding matrix."""

    @abstractmethod
    def layer_of(self, parameter_name: str) -> int:
        """Return a parameter's layer: 1 to `num_layers`, 0 for embeddings, above that pooler and head."""


class NativeClassifier(Classifier):
    """A classifier on a native network. `head` is the prefix of the parameters that are new for each task."""

    draws_own_dropout = False
    head: str

    def __init__(self, config: ModelConfig, num_classes: int, *, dropout_sites: int) -> None:
        super().__init__()
        self.config = config
        self.num_layers = 1 if config.family == "albert" else config.layers
        self.num_classes, self.dropout_sites = num_classes, dropout_sites

    def layer_of(self, parameter_name: str) -> int:
        """Return the layer that a parameter belongs to."""
        parts = parameter_name.split(".")
        if "layers" in parts:
            return int(parts[parts.index("layers") + 1]) + 1
        embeddings = ("encoder.embeddings.", "decoder.word.", "decoder.position.")
        return 0 if parameter_name.startswith(embeddings) else self.num_layers + 1

    def word_embedding(self) -> nn.Parameter:
        """Return the word embedding matrix."""
        return self.get_parameter("decoder.word.weight" if self.config.is_causal else "encoder.embeddings.word.weight")

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return the weights under their names in pretraining."""
        return self.state_dict()

    def load_checkpoint_state(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of `state`, which must be complete."""
        self.load_state_dict(state)


class SequenceClassifier(NativeClassifier):
    """The classifier of BERT and ALBERT: encoder, pooler, dropout and one linear layer."""

    head = "classifier."

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__(config, num_classes, dropout_sites=config.dropout_sites)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, num_classes)
        self.classifier.apply(initialise)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C)."""
        pooled_BD = self.pooler(_first(self.encoder, ids_BS, segments_BS, keep_BS, drop))
        logits: Tensor = self.classifier(pooled_BD if drop is None else drop(pooled_BD))
        return logits


class SpanClassifier(NativeClassifier):
    """The model of spans: encoder and one linear layer that scores every token as the first and last of an answer."""

    head = "qa_outputs."

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, 2, dropout_sites=config.dropout_sites)
        self.encoder = Encoder(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.qa_outputs.apply(initialise)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, S, 2)."""
        logits: Tensor = self.qa_outputs(self.encoder(ids_BS, segments_BS=segments_BS, keep_BS=keep_BS, drop=drop))
        return logits


class TokenClassifier(NativeClassifier):
    """The model of tags: encoder, dropout and one linear layer on every token."""

    head = "classifier."

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__(config, num_classes, dropout_sites=config.dropout_sites)
        self.encoder = Encoder(config)
        self.classifier = nn.Linear(config.hidden_size, num_classes)
        self.classifier.apply(initialise)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, S, C)."""
        hidden_BSD = self.encoder(ids_BS, segments_BS=segments_BS, keep_BS=keep_BS, drop=drop)
        logits: Tensor = self.classifier(hidden_BSD if drop is None else drop(hidden_BSD))
        return logits


class RotaryHead(nn.Module):
    """RoFormer's head: dropout, linear, the model's own activation, dropout, linear."""

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.activation = config.activation
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, num_classes)
        self.apply(initialise)

    def forward(self, first_BD: Tensor, drop: RowDropout | None) -> Tensor:
        """Return logits (B, C)."""
        inner_BD = activate(self.dense(first_BD if drop is None else drop(first_BD)), self.activation)
        logits: Tensor = self.out_proj(inner_BD if drop is None else drop(inner_BD))
        return logits


class RotaryClassifier(NativeClassifier):
    """The classifier of RoFormer: encoder and a head of two layers on [CLS], without a pooler from sentence order."""

    head = "classifier."

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__(config, num_classes, dropout_sites=config.dropout_sites + 1)  # the head drops twice
        self.encoder = Encoder(config)
        self.classifier = RotaryHead(config, num_classes)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C)."""
        logits: Tensor = self.classifier(_first(self.encoder, ids_BS, segments_BS, keep_BS, drop), drop)
        return logits


class CausalClassifier(NativeClassifier):
    """The classifier of GPT2: the last token's hidden state and one linear layer without bias."""

    head = "score."

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__(config, num_classes, dropout_sites=config.dropout_sites)
        self.decoder = CausalLanguageModel(config)
        self.score = nn.Linear(config.hidden_size, num_classes, bias=False)
        self.score.apply(initialise)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C). Padding stands after the last token, which cannot see it; segments are not used."""
        hidden_BSD = self.decoder(ids_BS, drop=drop).hidden
        rows_B = torch.arange(len(ids_BS), device=ids_BS.device)
        last_B = torch.full_like(rows_B, ids_BS.shape[1] - 1) if keep_BS is None else keep_BS.sum(dim=1) - 1
        logits: Tensor = self.score(hidden_BSD[rows_B, last_B])
        return logits

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return the weights under their names in pretraining."""
        return {name.removeprefix("decoder."): tensor for name, tensor in self.state_dict().items()}

    def load_checkpoint_state(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of `state`, which must be complete."""
        self.load_state_dict(
            {name if name.startswith(self.head) else f"decoder.{name}": tensor for name, tensor in state.items()}
        )


def _first(
    encoder: Encoder, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None
) -> Tensor:
    """Return the hidden states (B, D) of [CLS]; the last layer computes nothing else."""
    first_B1 = torch.zeros(len(ids_BS), 1, dtype=torch.int64, device=ids_BS.device)
    hidden_B1D: Tensor = encoder(ids_BS, segments_BS=segments_BS, keep_BS=keep_BS, at_BK=first_B1, drop=drop)
    return hidden_B1D[:, 0]


class TransformersClassifier(Classifier):
    """A model of `transformers` with its own head."""

    draws_own_dropout = True
    dropout_sites = 0

    def __init__(self, model: Any, *, has_segments: bool) -> None:
        super().__init__()
        self.model = model
        self.num_classes = int(model.config.num_labels)
        self.finds_spans = type(model).__name__.endswith("ForQuestionAnswering")
        self.scores_tokens = self.finds_spans or type(model).__name__.endswith("ForTokenClassification")
        self._has_segments = has_segments
        names = [name for name, _ in model.named_parameters()]
        self.num_layers, self._layers = _layers_of(names, prefix=f"{model.base_model_prefix}.")

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C), or (B, S, C) of models that score tokens."""
        assert drop is None, "transformers' models draw their own dropout"
        keep_BS = torch.ones_like(ids_BS) if keep_BS is None else keep_BS.to(ids_BS.dtype)
        if self.finds_spans:
            segments = {"token_type_ids": segments_BS} if self._has_segments and segments_BS is not None else {}
            found = self.model(input_ids=ids_BS, attention_mask=keep_BS, **segments)
            return torch.stack((found.start_logits, found.end_logits), dim=-1)
        ends_B = None if self.end is None else (ids_BS == self.end).sum(1)
        if ends_B is None or bool((ends_B == ends_B[0]).all()):
            return self._logits(ids_BS, segments_BS, keep_BS)
        # transformers refuses a batch of rows with different numbers of end tokens: of one text and of two.
        order, logits = [], []
        for number in sorted(set(ends_B.tolist())):
            rows = torch.nonzero(ends_B == number).flatten()
            some_segments = None if segments_BS is None else segments_BS[rows]
            logits.append(self._logits(ids_BS[rows], some_segments, keep_BS[rows]))
            order.append(rows)
        return torch.cat(logits)[torch.argsort(torch.cat(order))]

    @property
    def end(self) -> int | None:
        """Return the token from which the model reads its answer, None if it does not look for one."""
        config = self.model.config
        reads_end = getattr(config, "is_encoder_decoder", False) and not self.scores_tokens
        return config.eos_token_id if reads_end else None

    def _logits(self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor) -> Tensor:
        segments = {"token_type_ids": segments_BS} if self._has_segments and segments_BS is not None else {}
        logits: Tensor = self.model(input_ids=ids_BS, attention_mask=keep_BS, **segments).logits
        return logits

    def word_embedding(self) -> nn.Parameter:
        """Return the word embedding matrix."""
        weight: nn.Parameter = self.model.get_input_embeddings().weight
        return weight

    def layer_of(self, parameter_name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return self._layers[parameter_name.removeprefix("model.")]


def _layers_of(names: list[str], *, prefix: str) -> tuple[int, dict[str, int]]:
    """Return the number of layers with weights of their own, and the layer of every parameter, in the model's order.

    Everything before the first numbered part of the base is an embedding. What shares weights (ALBERT) or lies in one
    block has one number, and is one layer.
    """
    numbers = {name: int(found[1]) for name in names if (found := re.search(r"\.(\d+)\.", name))}
    in_base = [name for name in names if name.startswith(prefix)]
    numbered = [name for name in in_base if name in numbers]
    ranks = {number: rank for rank, number in enumerate(sorted({numbers[name] for name in numbered}), 1)}
    layers = dict.fromkeys(names, len(ranks) + 1)
    for name in in_base[: in_base.index(numbered[0])] if numbered else []:
        layers[name] = 0
    for name in numbered:
        layers[name] = ranks[numbers[name]]
    return len(ranks), layers


def new_classifier(config: ModelConfig, num_classes: int, kind: Kind = "classification") -> NativeClassifier:
    """Return the family's classifier with new weights, drawn from torch's global generator.

    Raises ClueBenchError for a GPT2 that is to find spans or entities.
    """
    if kind in ("span", "tags") and config.is_causal:
        raise ClueBenchError(
            "a gpt2 reads from left to right: no token sees what follows it, and spans need both",
            "give a model of BERT, ALBERT or RoFormer",
        )
    if kind == "span":
        return SpanClassifier(config)
    if kind == "tags":
        return TokenClassifier(config, num_classes)
    if config.family == "roformer":
        return RotaryClassifier(config, num_classes)
    return CausalClassifier(config, num_classes) if config.family == "gpt2" else SequenceClassifier(config, num_classes)


def classifier_from(
    checkpoint: Checkpoint,
    config: ModelConfig,
    num_classes: int,
    *,
    kind: Kind = "classification",
    keep_head: bool = False,
) -> NativeClassifier:
    """Return a classifier with the checkpoint's network, its pooler if it has one, and a new last layer.

    With `keep_head` the last layer is the checkpoint's, too. New weights are drawn from torch's global generator.
    Raises ClueBenchError if weights are missing, left over or have another shape.
    """
    model = new_classifier(config, num_classes, kind)
    wanted = model.checkpoint_state()
    # The network must be complete: a partly random one is never fine-tuned. Poolers come with sentence order only, and
    # BERT's own are trained with it; if there is none, a new one is drawn.
    drawn = () if keep_head else ("pooler.", model.head)
    loaded = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if name in wanted and (keep_head or not name.startswith(model.head))
    }
    heads = ("pooler.", model.head)
    refuse_other_weights(
        checkpoint.folder,
        missing=[name for name in wanted if name not in loaded and not name.startswith(drawn)],
        surplus=[n for n in checkpoint.tensors if n.startswith(("encoder.", "layers.")) and n not in wanted],
        misshapen=[(n, t.shape, wanted[n].shape) for n, t in loaded.items() if t.shape != wanted[n].shape],
        is_head=lambda name: name.startswith(heads),
    )
    model.load_checkpoint_state({**wanted, **loaded})
    return model


Misshapen = tuple[str, Sequence[int], Sequence[int]]
"""A parameter, its shape in the file, and its shape by config.json."""


def refuse_other_weights(
    folder: Path, *, missing: list[str], surplus: list[str], misshapen: list[Misshapen], is_head: Callable[[str], bool]
) -> None:
    """Raise ClueBenchError if parameters are missing, unknown to the model, or have the wrong shape."""
    hint = "give the config.json that belongs to the weights"
    if missing:
        part = "classifier" if all(map(is_head, missing)) else "encoder"
        raise ClueBenchError(
            f"{folder}: {len(missing)} {part} parameters are missing, e.g. {missing[0]}",
            "copy the whole checkpoint" if part == "encoder" else "give the --out of a fine-tuning run",
        )
    if surplus:
        raise ClueBenchError(
            f"{folder}: {counted(len(surplus), 'encoder parameter has', 'encoder parameters have')} no place in "
            f"config.json, e.g. {surplus[0]}",
            hint,
        )
    if misshapen:
        name, found, expected = misshapen[0]
        if all(is_head(each) and list(f[1:]) == list(e[1:]) for each, f, e in misshapen):  # other labels only
            # transformers writes no labels where there are two, and reads three for BART.
            labels = ", ".join(f'"{number}": "LABEL_{number}"' for number in range(found[0]))
            hint = f'add to config.json, with the names of its labels: "id2label": {{{labels}}}'
        raise ClueBenchError(f"{folder}: {name} has shape {tuple(found)}, config.json says {tuple(expected)}", hint)
