"""The recipe for continuing a checkpoint's pretraining on more text, where no card is given.

Input: a checkpoint and a corpus. Output: a `Recipe`: architecture and dropout from the checkpoint, the objective from
its family and the corpus, and a schedule for domain-adaptive pretraining. What the schedule is based on:

- peak rate 5e-5, warm-up over 6 % of the steps, then linear to 0: BERT's rate for fine-tuning and what transformers'
  run_mlm.py continues with; ten times less than the large models were pretrained with, so that what they know is kept.
  Models narrower than 512 get 2e-4, since their own rates were higher, too.
- 32 rows of 128 tokens an update, 3 epochs: few updates a token, for corpora of some megabytes and a machine with few
  cores. `--epochs`, `--steps` and `--set` change them.
"""

from typing import Any

from clue_bench.cards import MAX_NAME, as_name
from clue_bench.doors.checkpoint import Checkpoint, base_name
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted, typed
from clue_bench.pretraining.held_out import hold_out
from clue_bench.pretraining.recipe import PREDICTED, Recipe, Stage, laid_over, shorter_reports

EPOCHS = 3.0
ROWS, LENGTH = 32, 128
NARROW, RATE, NARROW_RATE = 512, 5e-5, 2e-4
SUFFIX = "-continued"
ARCHITECTURE = {
    *("family", "vocab_size", "layers", "embedding_size", "hidden_size", "heads", "feed_forward_size"),
    *("max_positions", "activation", "layer_norm_eps", "tied_head", "initial_attention"),
}


def continued_recipe(
    start: Checkpoint,
    corpus: Corpus,
    *,
    overrides: dict[str, Any] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
) -> Recipe:
    """Return the recipe for training `start` on `corpus`, with `overrides` (of `--set`) laid over it.

    `steps` is the number of updates, else as many as `epochs` (3 if None) need. Raises ClueBenchError for settings that
    the model or the corpus does not allow.
    """
    asked = dict(overrides or {})
    where = f"the recipe for {start.folder}"
    changed = sorted(set(asked) & ARCHITECTURE)
    if changed:
        raise ClueBenchError(
            f"--set {changed[0]}: the checkpoint {start.folder} has its own architecture", "leave out this --set"
        )
    recipe = laid_over(_plain(start, corpus), asked, where=where)
    given = [key for key in asked if key.rpartition(".")[2] == "steps"]
    if sum((bool(given), steps is not None, epochs is not None)) > 1:
        raise ClueBenchError("more than one of --steps, --epochs and --set steps is given", "keep one of them")
    if not given:
        if steps is None:
            steps = steps_of(recipe, corpus, epochs=EPOCHS if epochs is None else epochs)
        recipe = laid_over(recipe, {"steps": steps}, where=where)
    return laid_over(recipe, shorter_reports(recipe, asked), where=where)


def named_after(recipe: Recipe, start: Checkpoint) -> Recipe:
    """Return a card's recipe under a name that says what the run starts from, unless it is what the card names.

    A run of a recipe from another model gives another model than those that have the recipe's name.
    """
    base = plain_name(start)
    if recipe.starts_from and base == recipe.starts_from:
        return recipe
    is_same = base.removesuffix(SUFFIX) == recipe.name
    name = f"{recipe.name}{SUFFIX}" if is_same else f"{recipe.name}-from-{base}"
    return recipe.model_copy(update={"name": name, "title": f"{recipe.title}, from {base}"})


def plain_name(start: Checkpoint) -> str:
    """Return the checkpoint's name, safe as a part of another."""
    return as_name(base_name(start.folder, start.provenance), default="model")


def steps_of(recipe: Recipe, corpus: Corpus, *, epochs: float) -> int:
    """Return how many updates go over the corpus `epochs` times, in the first stage's rows."""
    if not 0 < epochs < 1e6:
        raise ClueBenchError(f"--epochs {epochs:g}: expected a number above 0", "give --epochs 3, for example")
    documents, _ = hold_out(corpus, share=recipe.held_out_share)
    width = recipe.stage1.max_length - (0 if recipe.objective == "clm" else 2)
    tokens = sum(int(part[-1] - part[0]) + len(part) - 1 for part in documents)
    return max(1, round(epochs * -(-tokens // width) / recipe.stage1.global_batch))


def schedule_text(recipe: Recipe, corpus: Corpus) -> str:
    """Return the schedule as one sentence."""
    stage = recipe.stage1
    epochs = stage.steps / steps_of(recipe, corpus, epochs=1.0)
    is_constant = stage.warmup_steps + stage.decay_steps < stage.steps
    when = f"in the last {counted(stage.decay_steps, 'step')}" if is_constant else "then"
    return (
        f"{counted(stage.steps, 'step')} ({epochs:.3g} epochs) of {counted(stage.global_batch, 'row')} of "
        f"{stage.max_length} tokens, {PREDICTED[recipe.objective]}; learning rate {typed(stage.learning_rate)} after "
        f"{counted(stage.warmup_steps, 'step')} of warm-up, {when} linear to {typed(stage.final_learning_rate)}"
    )


def _plain(start: Checkpoint, corpus: Corpus) -> Recipe:
    """Return the recipe before anything was asked for; its steps are a placeholder."""
    config = start.config
    is_causal = config.family == "gpt2"
    base = plain_name(start).removesuffix(SUFFIX)[: MAX_NAME - len(SUFFIX)]
    earlier = (start.provenance.get("recipe") or {}).get("seed")
    words = corpus.manifest.word_starts == "rjieba"
    return Recipe(
        name=f"{base}{SUFFIX}",
        title=f"{base}, continued on {corpus.folder.name}",
        family=config.family,
        vocab_size="corpus",
        layers=config.layers,
        embedding_size="hidden" if config.embedding_width == config.hidden_size else config.embedding_width,
        hidden_size=config.hidden_size,
        heads=config.heads,
        feed_forward_size=config.feed_forward_size,
        max_positions=config.max_positions,
        activation=config.activation,
        layer_norm_eps=config.layer_norm_eps,
        tied_head=config.tied_head,
        dropout=config.dropout,
        initial_attention="random",  # the checkpoint's replace it
        objective="clm" if is_causal else "wwm" if words else "mlm",
        mask_rate=0.0 if is_causal else 0.15,
        final_mask_rate="same",
        sentence_order="none",
        starts_from="",
        labelled_share=0.0,
        bag_weight=0.0,
        optimizer="adamw",
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-6,
        bias_correction=True,
        weight_decay=0.01,
        clip_norm=1.0,
        precision="auto",
        # Another order and other masks than those of the run that made the checkpoint.
        seed=earlier + 1 if isinstance(earlier, int) else 1,
        held_out_share=0.005,
        log_every=10,
        save_every=200,
        stage1=Stage(
            max_length=min(LENGTH, config.max_positions),
            steps=1,
            global_batch=ROWS,
            micro_batch=ROWS,
            learning_rate=RATE if config.hidden_size >= NARROW else NARROW_RATE,
            final_learning_rate=0.0,
            warmup_share=0.06,
            decay_share=1.0,
        ),
    )
