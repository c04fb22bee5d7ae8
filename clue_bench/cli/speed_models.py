"""What `--model` of `clue-bench speed` means: a checkpoint, or a recipe with untrained weights.

Input: a name, corpora, and a scratch folder. Output: a `SpeedModel`: a checkpoint folder to fine-tune and predict
with, a recipe to train by, and rows to train on. What is not there is made up, and the record says so.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.doors.records import ModelFacts
from clue_bench.doors.speeds import SYNTHETIC_ROWS
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.doors.shards import Corpus
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.pretraining.recipe import Recipe
    from clue_bench.vocab import Vocabulary

OWN_VOCABULARY = "the model's own"
MADE_UP = "made up: texts are cut into characters"


@dataclass(frozen=True)
class SpeedModel:
    """One model of a session. Without a `recipe` training is not measured, and `reasons` says why."""

    facts: ModelFacts
    checkpoint: Path
    vocab_size: int
    weights_mib: float
    vocabulary: str
    recipe: "Recipe | None" = None
    corpus: "Corpus | None" = None
    data: str = SYNTHETIC_ROWS
    reasons: dict[str, str] = field(default_factory=dict)


def open_models(
    references: list[str], *, corpora: list[Path], overrides: dict[str, Any], scratch: Path
) -> list[SpeedModel]:
    """Return the models in the order given; two of one name get a number behind it.

    Raises ClueBenchError for a model that is neither, a corpus that fits no model, or a bad setting.
    """
    from clue_bench.doors.shards import Corpus

    opened = [Corpus.open(path) for path in corpora]
    models: list[SpeedModel] = []
    for number, reference in enumerate(references):
        model = _open(reference, opened, overrides, scratch / str(number))
        names = [earlier.facts.name for earlier in models]
        if model.facts.name in names:
            again = next(n for n in range(2, len(names) + 3) if f"{model.facts.name}-{n}" not in names)
            model = replace(model, facts=model.facts.model_copy(update={"name": f"{model.facts.name}-{again}"}))
        models.append(model)
    for corpus in opened:
        if not any(model.corpus is corpus for model in models):
            raise ClueBenchError(
                f"{corpus.folder}: its vocabulary ({corpus.manifest.vocab_size:,} tokens) is no model's",
                "give corpora built with the models' vocabularies, or none: rows are then random ids",
            )
    return models


def _open(reference: str, corpora: "list[Corpus]", overrides: dict[str, Any], scratch: Path) -> SpeedModel:
    from clue_bench.cards import card_paths
    from clue_bench.pretraining.recipe import load_recipe

    is_recipe = reference.endswith(".toml") or (reference in card_paths("pretrain") and not Path(reference).exists())
    if is_recipe:
        return _from_recipe(load_recipe(reference, overrides), corpora, scratch)
    return _from_checkpoint(reference, corpora, overrides, scratch)


def _from_recipe(recipe: "Recipe", corpora: "list[Corpus]", scratch: Path) -> SpeedModel:
    from clue_bench.finetuning.base_models.pretrained import open_pretrained
    from clue_bench.speed_measurement.pretraining import UNKNOWN_VOCABULARY, made_up_vocabulary, write_untrained
    from clue_bench.vocab import read_vocabulary

    fitting = [corpus for corpus in corpora if recipe.vocab_size in ("corpus", corpus.manifest.vocab_size)]
    corpus = next(iter(fitting), None)
    if corpus is not None:
        vocabulary = read_vocabulary(corpus.tokenizer_folder)
    else:
        vocabulary = made_up_vocabulary(UNKNOWN_VOCABULARY if recipe.vocab_size == "corpus" else recipe.vocab_size)
    write_untrained(scratch / "checkpoint", recipe, vocabulary)
    model = _model(open_pretrained(scratch / "checkpoint"), MADE_UP if corpus is None else f"of {corpus.folder.name}")
    model = replace(model, facts=model.facts.model_copy(update={"name": recipe.name}))
    return _trained_on(model, recipe, vocabulary, corpus, scratch)


def _from_checkpoint(reference: str, corpora: "list[Corpus]", overrides: dict[str, Any], scratch: Path) -> SpeedModel:
    from clue_bench.cards import decode
    from clue_bench.doors.checkpoint import checkpoint_vocabulary
    from clue_bench.finetuning.base_models.pretrained import open_pretrained
    from clue_bench.pretraining.recipe import Recipe
    from clue_bench.speed_measurement.pretraining import with_overrides

    start = open_pretrained(reference)
    model = _model(start, OWN_VOCABULARY)
    values = start.provenance.get("recipe")
    if not isinstance(values, dict):
        return replace(model, reasons={"training": "its provenance names no recipe"})
    try:
        recipe = decode(Recipe, values, where="the recipe in its provenance")
    except ClueBenchError as error:  # made by another version: its training cannot be repeated
        return replace(model, reasons={"training": error.message})
    vocabulary = checkpoint_vocabulary(start.folder)
    fitting = [corpus for corpus in corpora if corpus.manifest.tokenizer_sha256 == vocabulary.sha256]
    return _trained_on(model, with_overrides(recipe, overrides), vocabulary, next(iter(fitting), None), scratch)


def _trained_on(
    model: SpeedModel, recipe: "Recipe", vocabulary: "Vocabulary", corpus: "Corpus | None", scratch: Path
) -> SpeedModel:
    """Return `model` with its recipe, and rows for it: those of `corpus`, or random ones."""
    from clue_bench.speed_measurement.pretraining import write_synthetic_corpus

    if corpus is not None:
        return replace(
            model, recipe=recipe, corpus=corpus, data=f"{corpus.folder.name}, {corpus.manifest.corpus_sha256[:8]}"
        )
    corpus = write_synthetic_corpus(scratch / "corpus", vocabulary, with_words=recipe.objective == "wwm")
    return replace(model, recipe=recipe, corpus=corpus)


def _model(start: "Pretrained", vocabulary: str) -> SpeedModel:
    from clue_bench.doors.checkpoint import CONFIG
    from clue_bench.weights.read import read_object, weight_files

    return SpeedModel(
        facts=ModelFacts(
            name=start.name,
            parameters=start.num_parameters,
            sha256=start.sha256,
            layers=start.sizes.layers,
            hidden_size=start.sizes.hidden_size,
            pretraining_tokens=start.provenance.get("tokens_seen"),
        ),
        checkpoint=start.folder,
        vocab_size=int(read_object(start.folder / CONFIG)["vocab_size"]),
        weights_mib=sum(path.stat().st_size for path in weight_files(start.folder)) / 2**20,
        vocabulary=vocabulary,
    )
