"""The state of a run: its first weights, and everything needed to continue as if it had never stopped.

Input: a recipe, a vocabulary and perhaps a checkpoint to start from; or model, optimizer and the number of finished
steps. Output: a model with its first weights; or one file, replaced atomically, that is loaded without executing
anything in it. The order of samples and every random draw are functions of the step, so the step is all that has to be
saved of them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from clue_bench.doors.checkpoint import Checkpoint, learned_positions
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import MaskedLanguageModel
from clue_bench.models.gpt2 import CausalLanguageModel
from clue_bench.models.local_attention import continued_positions, look_at_neighbours
from clue_bench.pretraining.recipe import Recipe
from clue_bench.pretraining.start import check_vocabulary, load_start, start_config
from clue_bench.training import hardware
from clue_bench.training.counter_rng import derive
from clue_bench.training.optim import adamw, muon
from clue_bench.training.state_file import read_state, write_state
from clue_bench.vocab import Vocabulary

MOST_SHAPES = 64
"""Programs that torch's compiler makes of one layer; its own limit, 8, is behind what a run has."""

POSITIONS = "encoder.embeddings.position.weight"  # of BERT and its kin, which alone may begin at neighbours

LanguageModel = MaskedLanguageModel | CausalLanguageModel


def build_model(
    recipe: Recipe, vocabulary: Vocabulary, start: Checkpoint | None, pairs: Corpus | None
) -> LanguageModel:
    """Build the model with its first weights.

    Raises ClueBenchError if the recipe needs a checkpoint that is not given, or checkpoint or pairs do not fit.
    """
    classes = 0 if pairs is None else _pair_classes(recipe, vocabulary, pairs)
    config = _model_config(recipe, vocabulary)
    if start is not None:
        check_vocabulary(start, vocabulary)
        config = start_config(config, start, dropout=recipe.dropout)
    if recipe.starts_from and start is None:
        raise ClueBenchError(
            f"recipe {recipe.name} starts from a checkpoint of {recipe.starts_from}",
            f"give --from RUN, the --out of clue-bench pretrain {recipe.starts_from}",
        )
    torch.manual_seed(derive(recipe.seed, "initial weights"))
    if config.family == "gpt2":
        model: LanguageModel = CausalLanguageModel(config)
    else:
        model = MaskedLanguageModel(config, sentence_order=recipe.sentence_order != "none", pair_classes=classes)
        if recipe.initial_attention == "local":
            look_at_neighbours(model.encoder, length=recipe.stage1.max_length)
    if start is not None:
        load_start(model, start, vocabulary)
        extend_positions(model, learned=learned_positions(start.provenance, start.config.max_positions))
    return model


def extend_positions(model: LanguageModel, *, learned: int) -> None:
    """Fill the position embeddings behind the first `learned`, which no row has reached yet.

    Where positions are waves, these go on; else the first ones are repeated. If a second stage started with these as
    they were drawn, it would have to learn again what "the token before" is, and a small model would fall back to
    character frequencies (pretrain/LOG.md). Does nothing without such positions.
    """
    table = model.position if isinstance(model, CausalLanguageModel) else model.encoder.embeddings.position
    if table is None or learned >= table.num_embeddings:
        return
    embedding = table.weight
    config = model.config if isinstance(model, CausalLanguageModel) else model.encoder.config
    continued = continued_positions(embedding, learned=learned, head_size=config.head_size)
    later = torch.arange(learned, len(embedding), device=embedding.device)
    with torch.no_grad():
        embedding[learned:] = embedding[later % learned] if continued is None else continued[learned:]


def with_continued_positions(tensors: dict[str, Tensor], *, learned: int, head_size: int) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, with waves that go on behind the `learned` positions where there are waves.

    So a model that was trained on short rows reads longer ones (pretrain/LOG.md).
    """
    found = tensors.get(POSITIONS)
    continued = None if found is None else continued_positions(found, learned=learned, head_size=head_size)
    return tensors if continued is None else {**tensors, POSITIONS: continued}


def compile_layers(model: LanguageModel) -> None:
    """Fuse the kernels of each layer; all layers share what is compiled.

    That is a program for each shape: of rows, of what is predicted at each share of masks, of the last held-out rows.
    """
    torch._dynamo.config.recompile_limit = max(MOST_SHAPES, torch._dynamo.config.recompile_limit)
    for layer in model.layers if isinstance(model, CausalLanguageModel) else model.encoder.layers:
        layer.compile(fullgraph=True, dynamic=False)


def optimizer_for(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a stage, which begins without moments."""
    settings: dict[str, Any] = {
        "learning_rate": recipe.stage1.learning_rate,
        "weight_decay": recipe.weight_decay,
        "betas": (recipe.adam_beta1, recipe.adam_beta2),
        "epsilon": recipe.adam_epsilon,
    }
    if recipe.optimizer == "muon":
        is_bf16 = recipe.precision in ("auto", "bf16") and hardware.has_bf16(next(model.parameters()).device)
        return muon(model, is_hidden=lambda name: "layers." in name, in_bf16=is_bf16, **settings)
    return adamw(model, **settings)


class State(NamedTuple):
    """The state after `step` steps of all stages and `seconds` of training. `identity` says which run this is.

    `since` is what the next report will be made of, if the state was saved between two reports; older ones lack it.
    `loss_scale` is that of fp16.
    """

    step: int
    seconds: float
    skipped: int
    identity: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    since: dict[str, Any] | None = None
    loss_scale: dict[str, float] | None = None


def save_state(path: Path, state: State) -> None:
    """Write `state`, replacing an earlier one. Raises ClueBenchError on a full disk."""
    write_state(path, state._asdict())


def load_state(path: Path, *, identity: dict[str, Any], device: torch.device) -> State | None:
    """Read the state at `path`, None if there is none.

    Raises ClueBenchError if it is damaged, or belongs to a run with another recipe or corpus.
    """
    if (found := read_state(path, device=device)) is None:
        return None
    try:
        state = State(**found)
    except TypeError as error:
        raise ClueBenchError(f"{path}: damaged: {error}", "delete the file to start over") from error
    for key in {**identity, **state.identity}:  # a key that one of them lacks is off there
        value, asked = state.identity.get(key), identity.get(key)
        if value != asked:
            raise ClueBenchError(
                f"{path.parent} holds a run with {key} = {value!r}; asked for {asked!r}",
                "give another --out, or the settings of that run to continue it",
            )
    return state


def _model_config(recipe: Recipe, vocabulary: Vocabulary) -> ModelConfig:
    if recipe.vocab_size not in ("corpus", len(vocabulary)):
        raise ClueBenchError(
            f"recipe {recipe.name} is for a vocabulary of {recipe.vocab_size:,} tokens, the corpus was built with "
            f"{len(vocabulary):,}",
            f"give --set vocab_size=corpus for a model over the corpus's {len(vocabulary):,} tokens",
        )
    return recipe.model_config_for(len(vocabulary))


def _pair_classes(recipe: Recipe, vocabulary: Vocabulary, pairs: Corpus) -> int:
    if not recipe.labelled_share:
        raise ClueBenchError(
            f"recipe {recipe.name} takes no labelled pairs", "leave out --pairs, or set labelled_share"
        )
    if pairs.labels is None:
        raise ClueBenchError(f"{pairs.folder}: a corpus without labels", "build one with clue-bench corpus pairs")
    if pairs.manifest.tokenizer_sha256 != vocabulary.sha256:
        raise ClueBenchError(f"{pairs.folder}: built with another vocabulary", "build the pairs with the corpus's")
    return len(pairs.labels.classes)
