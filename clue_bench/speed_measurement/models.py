"""The models of a speed session: checkpoints, or recipes with untrained weights.

Input: a name, corpora, and a scratch folder. Output: a `SpeedModel`: a checkpoint folder to fine-tune and predict
with, a recipe to train by, and rows to train on. What is missing is made up, and the record says so: a recipe without
a corpus gets rows of random ids, and without a vocabulary a made-up one; untrained weights make it a checkpoint that
is as fast as a trained one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from clue_bench.cards import decode
from clue_bench.doors import shards
from clue_bench.doors.checkpoint import checkpoint_vocabulary, write_checkpoint
from clue_bench.doors.records import ModelFacts
from clue_bench.doors.shards import Corpus
from clue_bench.doors.speed_results import SYNTHETIC_ROWS
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import Pretrained
from clue_bench.pretraining.recipe import Recipe, Stage, load_recipe
from clue_bench.pretraining.state import build_model
from clue_bench.speed_measurement.request import is_recipe
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, read_vocabulary
from clue_bench.weights import CONFIG
from clue_bench.weights.configuration import read_object
from clue_bench.weights.hf_config import pretraining_class
from clue_bench.weights.read import weight_files

OWN_VOCABULARY = "the model's own"
MADE_UP = "made up: texts are cut into characters"
UNKNOWN_VOCABULARY = 8_000  # tokens, for a recipe that takes whatever its corpus has

SEED = 1
SYNTHETIC_DOCUMENTS = 2_000
SENTENCES = 8  # of a document
SENTENCE_LENGTHS = (8, 57)  # tokens, the second excluded
ENDLESS = 10**9


@dataclass(frozen=True)
class SpeedModel:
    """One model of a session. Without a `recipe` training is not measured, and `reasons` says why."""

    facts: ModelFacts
    checkpoint: Path
    vocab_size: int
    weights_mib: float
    vocabulary: str
    recipe: Recipe | None = None
    corpus: Corpus | None = None
    data: str = SYNTHETIC_ROWS
    reasons: dict[str, str] = field(default_factory=dict)


def open_models(
    references: Sequence[str], *, corpora: Sequence[Path], overrides: dict[str, Any], scratch: Path
) -> list[SpeedModel]:
    """Open the models in the given order; models of the same name get a number at the end.

    Raises ClueBenchError for a model that is neither, a corpus that fits no model, or a bad setting.
    """
    opened = [Corpus.open(path) for path in corpora]
    models: list[SpeedModel] = []
    for number, reference in enumerate(references):
        model = (_from_recipe if is_recipe(reference) else _from_checkpoint)(
            reference, opened, overrides, scratch / str(number)
        )
        names = [earlier.facts.name for earlier in models]
        if model.facts.name in names:
            again = next(n for n in range(2, len(names) + 3) if f"{model.facts.name}-{n}" not in names)
            model = _named(model, f"{model.facts.name}-{again}")
        models.append(model)
    for corpus in opened:
        if not any(model.corpus is corpus for model in models):
            raise ClueBenchError(
                f"{corpus.folder}: its vocabulary ({corpus.manifest.vocab_size:,} tokens) is no model's",
                "give corpora built with the models' vocabularies, or none: rows are then random ids",
            )
    return models


def _from_recipe(reference: str, corpora: list[Corpus], overrides: dict[str, Any], scratch: Path) -> SpeedModel:
    recipe = load_recipe(reference, overrides)
    fitting = (corpus for corpus in corpora if recipe.vocab_size in ("corpus", corpus.manifest.vocab_size))
    corpus = next(fitting, None)
    if corpus is not None:
        vocabulary, source = read_vocabulary(corpus.tokenizer_folder), f"of {corpus.folder.name}"
    else:
        size = UNKNOWN_VOCABULARY if recipe.vocab_size == "corpus" else recipe.vocab_size
        vocabulary, source = made_up_vocabulary(size), MADE_UP
    write_untrained(scratch / "checkpoint", recipe, vocabulary)
    model = _named(_from_base_model(open_pretrained(scratch / "checkpoint"), source), recipe.name)
    return _trained_on(model, recipe, vocabulary, corpus, scratch)


def _from_checkpoint(reference: str, corpora: list[Corpus], overrides: dict[str, Any], scratch: Path) -> SpeedModel:
    base = open_pretrained(reference)
    model = _from_base_model(base, OWN_VOCABULARY)
    values = base.provenance.get("recipe")
    if not isinstance(values, dict):
        return replace(model, reasons={"training": "its provenance names no recipe"})
    try:
        # Checkpoints from before masks could change had the same share of them in every step.
        recipe = decode(Recipe, {"final_mask_rate": "same", **values}, where="the recipe in its provenance")
    except ClueBenchError as error:  # made by another version: its training cannot be repeated
        return replace(model, reasons={"training": error.message})
    vocabulary = checkpoint_vocabulary(base.folder)
    fitting = (corpus for corpus in corpora if corpus.manifest.tokenizer_sha256 == vocabulary.sha256)
    return _trained_on(model, with_overrides(recipe, overrides), vocabulary, next(fitting, None), scratch)


def _from_base_model(base: Pretrained, vocabulary: str) -> SpeedModel:
    return SpeedModel(
        facts=ModelFacts(
            name=base.name,
            parameters=base.num_parameters,
            sha256=base.sha256,
            layers=base.sizes.layers,
            hidden_size=base.sizes.hidden_size,
            pretraining_tokens=base.provenance.get("tokens_seen"),
        ),
        checkpoint=base.folder,
        vocab_size=int(read_object(base.folder / CONFIG)["vocab_size"]),
        weights_mib=sum(path.stat().st_size for path in weight_files(base.folder)) / 2**20,
        vocabulary=vocabulary,
    )


def _trained_on(
    model: SpeedModel, recipe: Recipe, vocabulary: Vocabulary, corpus: Corpus | None, scratch: Path
) -> SpeedModel:
    """Return `model` with its recipe, and rows for it: those of `corpus`, or random ones."""
    if corpus is not None:
        data = f"{corpus.folder.name}, {corpus.manifest.corpus_sha256[:8]}"
        return replace(model, recipe=recipe, corpus=corpus, data=data)
    corpus = write_synthetic_corpus(scratch / "corpus", vocabulary, with_words=recipe.objective == "wwm")
    return replace(model, recipe=recipe, corpus=corpus)


def _named(model: SpeedModel, name: str) -> SpeedModel:
    return replace(model, facts=model.facts.model_copy(update={"name": name}))


def with_overrides(recipe: Recipe, overrides: dict[str, Any]) -> Recipe:
    """Return `recipe` with `--set` values laid over it. Raises ClueBenchError naming the key."""
    keys = {f"stage1.{key}" if key in Stage.model_fields else key: value for key, value in overrides.items()}
    return decode(Recipe, recipe.model_dump(), where=f"recipe {recipe.name}", overrides=keys)


def first_stage(recipe: Recipe) -> Recipe:
    """Return the first stage alone, without an end, a look at held-out rows, or a checkpoint to start from.

    Where the share of masks changes, it is the first one's.
    """
    stage = recipe.stage1.model_copy(update={"steps": ENDLESS})
    endless = {"log_every": ENDLESS, "save_every": ENDLESS, "held_out_share": 0.0, "starts_from": "", "stage2": None}
    return recipe.model_copy(update={**endless, "stage1": stage})


def made_up_vocabulary(size: int) -> Vocabulary:
    """Return a WordPiece vocabulary of `size` tokens: special ones and Chinese characters.

    Raises ClueBenchError if there are fewer characters.
    """
    tokens = tuple(islice(chain(SPECIAL_TOKENS, _characters()), size))
    if not len(SPECIAL_TOKENS) < len(tokens) == size:
        raise ClueBenchError(f"no vocabulary of {size:,} tokens can be made up", "give a --corpus built with it")
    return Vocabulary(tokens)


def _characters() -> Iterator[str]:
    """Yield tokens: the common Chinese characters, the rare ones of extension B, and both as continuations."""
    for prefix in ("", "##"):
        for number in chain(range(0x4E00, 0xA000), range(0x20000, 0x2A6E0)):
            yield prefix + chr(number)


def write_synthetic_corpus(folder: Path, vocabulary: Vocabulary, *, with_words: bool) -> Corpus:
    """Write a corpus of random ids, half a million tokens in documents of sentences; every token is as likely.

    `with_words`: two tokens of three start a word, as if the text had been cut into words.
    """
    generator = np.random.default_rng(SEED)
    lengths = generator.integers(*SENTENCE_LENGTHS, (SYNTHETIC_DOCUMENTS, SENTENCES))
    num = int(lengths.sum())
    ordinary = np.flatnonzero(vocabulary.is_ordinary)
    shard = shards.write_shard(
        folder,
        0,
        ids=generator.choice(ordinary, num).astype(shards.id_type(len(vocabulary))),
        documents=np.cumsum([0, *lengths.sum(axis=1)]),
        sentences=np.cumsum([0, *lengths.ravel()]),
        starts_word=generator.random(num) < (2 / 3 if with_words else 1.0),
        counts=shards.Counts(documents=SYNTHETIC_DOCUMENTS, sentences=lengths.size, tokens=num),
        text_sha256=hashlib.sha256(f"random ids, seed {SEED}".encode()).hexdigest(),
    )
    word_starts: shards.WordStarts | None = "rjieba" if with_words else None
    return shards.write_manifest(
        folder, shards=[shard], inputs=["random ids"], vocabulary=vocabulary, word_starts=word_starts
    )


def write_untrained(folder: Path, recipe: Recipe, vocabulary: Vocabulary) -> str:
    """Write a checkpoint of `recipe` with the weights that training would start from; return their sha256.

    Raises ClueBenchError if the card names another vocabulary size.
    """
    model = build_model(first_stage(recipe), vocabulary, None, None)
    return write_checkpoint(
        folder,
        model.state_dict(),
        architecture=pretraining_class(recipe.family, sentence_order=recipe.sentence_order != "none"),
        config=replace(model.config, dropout=0.1),
        vocabulary=vocabulary,
        provenance={"recipe": recipe.model_dump(), "tokens_seen": 0},
    )
