"""Open any model to fine-tune it: from a folder, a run, the hub, or memory.

Input: a reference, or a model of `transformers` with its tokenizer. Output: a `Pretrained`: ours where our networks and
encoders can run it, else one of transformers.
"""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clue_bench import files
from clue_bench.doors.checkpoint import (
    PROVENANCE,
    base_name,
    checkpoint_vocabulary,
    read_checkpoint,
    read_provenance,
)
from clue_bench.doors.model_folders import find_folder
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.pretrained import NativeModel, Pretrained
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser, is_ours
from clue_bench.models.config import count_parameters
from clue_bench.numbers import article
from clue_bench.vocab import TOKENIZER_FILES
from clue_bench.weights import CONFIG, hf_config
from clue_bench.weights.as_bert import is_bert_called_roberta
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_classes import explained
from clue_bench.weights.names import refuse_nezha
from clue_bench.weights.read import open_weights


def open_pretrained(model: str | Path) -> Pretrained:
    """Open a checkpoint folder, a run's folder, or a model on the hub; if `model` is both, the folder wins.

    Raises ClueBenchError that names the file and what is wrong with it.
    """
    folder = find_folder(model)
    values = read_config(folder / CONFIG)
    refuse_nezha(values, (), where=folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ClueBenchError(
            f"{folder}: neither vocab.txt, spiece.model nor tokenizer.json",
            "copy the tokenizer beside the weights",
        )
    if _runs_here(folder, values):
        checkpoint = read_checkpoint(folder)
        family = checkpoint.config.family
        types = 0 if family == "gpt2" else checkpoint.config.segment_types
        ours = is_ours(checkpoint.vocabulary)
        tokeniser = None if ours else FolderTokeniser(folder, model_type=family, segment_types=types)
        return NativeModel(
            folder=folder,
            provenance=checkpoint.provenance,
            sha256=checkpoint.sha256,
            sizes=checkpoint.config,
            num_parameters=count_parameters(checkpoint.config),
            notes=(*checkpoint.notes, *(() if tokeniser is None else tokeniser.notes)),
            checkpoint=checkpoint,
            folder_tokeniser=tokeniser,
        )
    from clue_bench.finetuning.base_models.transformers_model import read_transformers_model  # brings transformers

    return read_transformers_model(folder)


def open_live(model: Any, tokenizer: Any, *, name: str = "") -> Pretrained:
    """Open a live model of `transformers` with its tokenizer, as if from the folder that they save.

    The copy stays in a temporary folder while the result is in use. The default `name` is that of the folder or hub
    model it was loaded from, or its model_type. Raises ClueBenchError for other objects, and as `open_pretrained`.
    """
    for what, given in (("model", model), ("tokenizer", tokenizer)):
        if not hasattr(given, "save_pretrained"):
            raise ClueBenchError(
                f"{article(type(given).__name__)} as the {what}, expected one of transformers",
                "give a folder, a hub id, or (model, tokenizer) as AutoModel and AutoTokenizer load them",
            )
    config = model.config
    origin = Path(str(getattr(config, "name_or_path", "")))
    called = name or (base_name(origin, read_provenance(origin)) if origin.name else str(config.model_type))
    folder = Path(tempfile.mkdtemp(prefix="clue-bench-"))
    try:
        with explained(f"{called}: the model cannot be saved", "give the folder that it was loaded from"):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        files.write_json(folder / PROVENANCE, {"model": called})
        opened = open_pretrained(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # `untrained` shares the checkpoint, and with it the folder.
    owner = opened.checkpoint if isinstance(opened, NativeModel) else opened
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return opened


def _runs_here(folder: Path, values: Mapping[str, Any]) -> bool:
    """Return whether our networks and encoders can run this architecture and vocabulary."""
    if values.get("model_type") == "roberta":  # perhaps BERT under a wrong name; no RoBERTa has a vocab.txt
        return (folder / "vocab.txt").is_file() and is_bert_called_roberta(values, open_weights(folder).shapes)
    if not hf_config.computes(values):
        return False
    try:
        checkpoint_vocabulary(folder)
    except ClueBenchError:
        # Byte pairs, or other special tokens. A damaged vocab.txt is no other tokenizer's: `read_checkpoint` names it.
        return (folder / "vocab.txt").is_file()
    return True
