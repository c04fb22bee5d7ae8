"""The classification head of BERT and ALBERT.

Enters: an encoder. Leaves: class logits from the pooled first position. Saved under `transformers`' names, so that
`BertForSequenceClassification` and `AlbertForSequenceClassification` load the result.

Legend: B rows, S positions, D hidden size, C classes.
"""

import torch
from torch import Tensor, nn

from clue_bench.checkpoint import Checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.models.dropout import RowDropout
from clue_bench.models.encoder import Encoder, Pooler, initialise

CLASSES = {"bert": "BertForSequenceClassification", "albert": "AlbertForSequenceClassification"}
"""Families that can be fine-tuned, and the class of `transformers` that loads the result."""


class SequenceClassifier(nn.Module):
    """Encoder, pooler, dropout and one linear layer."""

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.pooler = Pooler(config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, num_classes)
        self.classifier.apply(initialise)

    def forward(
        self, ids_BS: Tensor, segments_BS: Tensor | None, keep_BS: Tensor | None, drop: RowDropout | None = None
    ) -> Tensor:
        """Return logits (B, C)."""
        first_B1 = torch.zeros(len(ids_BS), 1, dtype=torch.int64, device=ids_BS.device)
        hidden_B1D = self.encoder(ids_BS, segments_BS=segments_BS, keep_BS=keep_BS, at_BK=first_B1, drop=drop)
        pooled_BD = self.pooler(hidden_B1D[:, 0])
        logits: Tensor = self.classifier(pooled_BD if drop is None else drop(pooled_BD))
        return logits


def classifier_from(checkpoint: Checkpoint, config: ModelConfig, num_classes: int) -> SequenceClassifier:
    """Return a classifier with the checkpoint's encoder, its pooler if it has one, and a new last layer.

    Draws new weights from torch's global generator. Raises ClueBenchError if the encoder's weights do not fit `config`.
    """
    if config.family not in CLASSES:
        raise ClueBenchError(
            f"{checkpoint.folder}: a {config.family} model; fine-tuning knows {' and '.join(CLASSES)}",
            "give a BERT or ALBERT checkpoint",
        )
    model = SequenceClassifier(config, num_classes)
    wanted = model.state_dict()
    loaded = {n: t for n, t in checkpoint.tensors.items() if n in wanted and not n.startswith("classifier.")}
    missing = [name for name in wanted if name.startswith("encoder.") and name not in loaded]
    if missing:
        raise ClueBenchError(
            f"{checkpoint.folder}: {len(missing)} encoder parameters are missing, e.g. {missing[0]}",
            "is the checkpoint complete?",
        )
    surplus = [name for name in checkpoint.tensors if name.startswith("encoder.") and name not in wanted]
    if surplus:
        raise ClueBenchError(
            f"{checkpoint.folder}: {len(surplus)} encoder parameters have no place in config.json, e.g. {surplus[0]}",
            "config.json and weights belong to different models",
        )
    wrong = [name for name, tensor in loaded.items() if tensor.shape != wanted[name].shape]
    if wrong:
        found, expected = tuple(loaded[wrong[0]].shape), tuple(wanted[wrong[0]].shape)
        raise ClueBenchError(
            f"{checkpoint.folder}: {wrong[0]} has shape {found}, config.json says {expected}",
            "config.json and weights belong to different models",
        )
    model.load_state_dict({**wanted, **loaded})
    return model
