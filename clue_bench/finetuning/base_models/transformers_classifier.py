"""A model of `transformers` as a `Classifier`.

Input: a model with a head for sequence classification. Output: the same, behind the contract that training and
prediction know.

Legend: B rows, S positions, C classes.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn

from clue_bench.finetuning.base_models.heads import Classifier
from clue_bench.training.dropout import RowDropout


class ForeignClassifier(Classifier):
    """A model of `transformers` with its own head."""

    draws_own_dropout = True
    dropout_sites = 0

    def __init__(self, model: Any, *, has_segments: bool) -> None:
        super().__init__()
        self.model = model
        self.num_classes = int(model.config.num_labels)
        self.num_layers = int(model.config.num_hidden_layers)
        self._has_segments = has_segments
        names = [name for name, _ in model.named_parameters()]
        self._layers = _layers(names, prefix=f"{model.base_model_prefix}.", num_layers=self.num_layers)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C)."""
        assert drop is None, "transformers' models draw their own dropout"
        keep_BS = torch.ones_like(ids_BS) if keep_BS is None else keep_BS.to(ids_BS.dtype)
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


def _layers(names: list[str], *, prefix: str, num_layers: int) -> dict[str, int]:
    """Return the layer of every parameter, given in the order of the model.

    What comes before the first numbered part of the base is an embedding. A group of shared layers (ALBERT) that is
    numbered otherwise than the layers is the last one.
    """
    numbers = {name: int(found[1]) for name in names if (found := re.search(r"\.(\d+)\.", name))}
    in_base = [name for name in names if name.startswith(prefix)]
    numbered = [name for name in in_base if name in numbers]
    are_shared = len({numbers[name] for name in numbered}) != num_layers
    layers = dict.fromkeys(names, num_layers + 1)
    for name in in_base[: in_base.index(numbered[0])] if numbered else []:
        layers[name] = 0
    for name in numbered:
        layers[name] = num_layers if are_shared else numbers[name] + 1
    return layers
