"""Pretrain a model by a recipe on a corpus, and show the run's progress."""

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table
from rich.text import Text

from clue_bench.api.corpora import BuiltCorpus, corpus_notes
from clue_bench.api.finished import check_free, finished_pretraining
from clue_bench.api.progress import Bar, Progress
from clue_bench.api.run_tables import perplexity_text
from clue_bench.api.runs import Run, as_path, as_reference, as_settings
from clue_bench.cards import check_name
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded
from clue_bench.language import translated
from clue_bench.numbers import counted, duration, percent, scaled, typed

if TYPE_CHECKING:
    from clue_bench.doors.shards import Corpus
    from clue_bench.pretraining.recipe import Recipe
    from clue_bench.pretraining.report import TrainingReport
    from clue_bench.pretraining.trackers import Choice
    from clue_bench.pretraining.train import Pretraining

SECONDS_BETWEEN_LOOKS = 0.5  # at the loss since the last report
MEASURED_STEPS = 60  # looks, over which the time of a step is averaged


def pretrain(
    recipe: str | None = None,
    *,
    corpus: Path | str | BuiltCorpus,
    out: Path | str,
    name: str | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    settings: Mapping[str, Any] | None = None,
    debug_size: bool = False,
    start: Path | str | Run | None = None,
    pairs: Path | str | BuiltCorpus | None = None,
    freeze: int | None = None,
    cuda_graphs: bool = False,
    compiled: bool = False,
    tracker: "Choice" = "auto",
    progress: bool = True,
) -> Run:
    """Pretrain a model by `recipe`, a name or a .toml file, into the folder `out`; return the run.

    Without a recipe, continue the pretraining of `start` (a folder, a run, or a hub id) on the corpus: its own
    architecture, and a gentle schedule of `epochs` over the corpus (3 if neither `epochs` nor `steps` is given).

    A complete run is not repeated, and an interrupted one continues: Ctrl-C and SIGTERM end the step, save, and raise
    a KeyboardInterrupt that says at which step. `steps` is the number of updates in the whole run,
    `settings` override keys of the recipe, `start` is a checkpoint to start from, and `pairs` are labelled pairs for
    recipes that use them. `name` is what tables call the model, and `freeze` keeps the embeddings and so many of the
    first layers of `start` as they are. `cuda_graphs` records the step on a GPU, `compiled` fuses each layer's kernels.

    Several processes (torchrun) share one run: the first one shows progress and writes the files, and all return the
    run. Raises ClueBenchError.
    """
    from clue_bench.doors.model_folders import local_folder
    from clue_bench.pretraining.recipe import load_recipe

    asked = as_settings(settings) | ({} if name is None else {"name": name})
    if name is not None:
        check_name(name)
    _check_arguments(recipe, start, epochs=epochs, debug_size=debug_size, freeze=freeze)
    # Before torch is imported, where there is a card.
    loaded = None if recipe is None else load_recipe(recipe, asked, steps=steps, debug_size=debug_size)
    out = as_path(out, "out")
    check_free(out)
    origin = None if start is None else as_reference(start, "start")
    if origin is not None:
        local_folder(origin)
    opened, labelled = _opened(corpus), None if pairs is None else _opened(pairs)
    if loaded is not None:
        found = finished_pretraining(loaded, opened, out, start=origin, pairs=labelled, frozen_layers=freeze)
        if found is not None:
            Progress(progress).note(f"{found.run_id} is complete already")
            return Run(found, out)
    if int(os.environ.get("RANK", "0")) == 0:  # one of several processes is enough
        for each in (opened, labelled):
            if each is not None:
                each.check()

        Progress(progress).import_torch()

    from clue_bench.doors.checkpoint import read_checkpoint
    from clue_bench.pretraining.continuation import continued_recipe, named_after
    from clue_bench.pretraining.run import completed_record
    from clue_bench.pretraining.trackers import pick_tracker
    from clue_bench.pretraining.train import Pretraining

    picked = pick_tracker(tracker)
    checkpoint = None if origin is None else read_checkpoint(origin)
    if loaded is None:
        assert checkpoint is not None, "checked with the arguments"
        loaded = continued_recipe(checkpoint, opened, overrides=asked, steps=steps, epochs=epochs)
    elif checkpoint is not None and "name" not in asked:
        loaded = named_after(loaded, checkpoint)
    pretraining = Pretraining(
        loaded,
        opened,
        out,
        start=checkpoint,
        pairs=labelled,
        cuda_graphs=cuda_graphs,
        compiled=compiled,
        frozen_layers=freeze,
    )
    show = Progress(progress and pretraining.processes.is_first)
    show.notes(_notes(pretraining, is_continuation=recipe is None))
    record = completed_record(pretraining)
    if record is not None:
        pretraining.leave()
        show.note(f"{record.run_id} is complete already")
        return Run(record, out)
    in_record: dict[str, Any] = {
        "recipe": recipe and Path(recipe).name,
        "corpus": opened.folder.name,
        "settings": asked,
        "steps": steps,
        "debug_size": debug_size,
        "cuda_graphs": cuda_graphs,
        "from": origin and Path(origin).name,
        "pairs": labelled and labelled.folder.name,
    }
    rare = {"epochs": epochs, "freeze": freeze, "compiled": compiled or None}
    in_record |= {key: value for key, value in rare.items() if value is not None}
    return _done(pretraining, in_record, tracker=picked, corpus=opened, show=show)


def _done(
    pretraining: "Pretraining",
    asked: dict[str, Any],
    *,
    tracker: Literal["none", "tensorboard", "trackio"],
    corpus: "Corpus",
    show: Progress,
) -> Run:
    """Do the steps that are missing, with a bar, and return the run."""
    from clue_bench.pretraining.run import METRICS, run_id, run_steps
    from clue_bench.pretraining.trackers import tracked

    recipe, out, this_run = pretraining.recipe, pretraining.out, run_id(pretraining)
    moments = run_steps(pretraining, asked=asked, check=partial(_check_tokenizer, corpus=corpus, show=show))
    next(moments)  # it has loaded the state of an interrupted run
    if pretraining.step:
        show.note(f"continues at step {pretraining.step:,} of {recipe.total_steps:,}")
    if pretraining.processes.is_first:
        moments = tracked(moments, tracker, out=out, metrics=out / METRICS, name=this_run, config=recipe.model_dump())
    with show.bar(f"pretrain {recipe.name}", total_tokens(recipe), start=pretraining.tokens_seen) as bar:
        watched = Watched(bar, recipe)
        for report in moments:
            if show.is_shown:
                watched.follow(pretraining, report)
    return Run.read(out, this_run)


class Watched:
    """The displayed steps and reports of one run.

    A report stays until the next one, and so does the last evaluation of the held-out part; the steps go on.
    """

    def __init__(self, bar: Bar, recipe: "Recipe") -> None:
        """Prepare to show reports on `bar`, whose total is `total_tokens`."""
        self._bar, self._recipe = bar, recipe
        self._evaluated: TrainingReport | None = None
        self._reported: TrainingReport | None = None
        self._looks: deque[tuple[float, int]] = deque(maxlen=MEASURED_STEPS)  # at the clock, and the step

    def follow(self, pretraining: "Pretraining", report: "TrainingReport | None") -> None:
        """Show the step that `pretraining` has just made, and its report if there is one."""
        now = time.monotonic()
        if report is None and len(self._looks) > 1 and now - self._looks[-1][0] < SECONDS_BETWEEN_LOOKS:
            return
        self._looks.append((now, pretraining.step))
        if report is not None:
            self.show(report)
        else:
            self.show_step(pretraining.step, pretraining.tokens_seen, pretraining.loss_so_far())

    def show_step(self, step: int, tokens: int, loss: float | None) -> None:
        """Show a step without a report: its `loss` is the mean since the last one."""
        words = [*self._steps(step), *([] if loss is None else [f"loss {loss:.3f}"])]
        below = self.table(self._reported, words) if self._reported else " · ".join(words)
        self._bar.update(tokens, "  ".join(words), below=below)

    def show(self, report: "TrainingReport") -> None:
        """Show a report in place of the previous one."""
        if report.held_out_loss is not None:
            self._evaluated = report
        self._reported = report
        self._bar.update(report.tokens, self.line(report), below=self.table(report))

    def line(self, report: "TrainingReport") -> str:
        """Return a report as one line of progress."""
        parts = self._steps(report.step)
        parts += [f"stage {report.stage}"] if self._recipe.stage2 else []
        parts += [f"loss {report.loss:.3f}"]
        if report.sop_loss is not None and report.sop_accuracy is not None:
            parts += [f"lm {report.lm_loss:.3f}", f"sop {report.sop_loss:.3f}"]
            parts += [f"accuracy {percent(report.lm_accuracy, 1)}", f"sop accuracy {percent(report.sop_accuracy, 1)}"]
        else:
            parts += [f"accuracy {percent(report.lm_accuracy, 1)}"]
        if self._evaluated is not None and self._evaluated.held_out_loss is not None:
            parts += [f"held-out {self._evaluated.held_out_loss:.3f}", f"perplexity {_perplexity(self._evaluated)}"]
        parts += [] if report.loss_scale is None else [f"loss scale {report.loss_scale:,.0f}"]
        parts += [f"skipped {report.skipped}"] if report.skipped else []
        parts += [f"{report.tokens_per_second:,.0f} tokens/s", f"MFU {percent(report.mfu, 0)}"]
        parts += [f"HFU {percent(report.hfu, 0)}"] if report.hfu is not None else []
        return "  ".join([*parts, f"lr {_rate(report)}"])

    def table(self, report: "TrainingReport", position: list[str] | None = None) -> Table:
        """Return a report as a table of losses above three lines of numbers, the first of which may be newer."""
        losses = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
        losses.add_column("", min_width=16)
        for name in ("loss", "accuracy", "perplexity"):
            losses.add_column(translated(name), justify="right")
        from clue_bench.pretraining.recipe import PREDICTED

        predicted = translated(PREDICTED[self._recipe.objective])
        losses.add_row(predicted, f"{report.lm_loss:.3f}", _percent(report.lm_accuracy))
        if report.sop_loss is not None:
            losses.add_row(translated("sentence order"), f"{report.sop_loss:.3f}", _percent(report.sop_accuracy))
        if report.pair_loss is not None:
            losses.add_row(translated("labelled pairs"), f"{report.pair_loss:.3f}", _percent(report.pair_accuracy))
        if report.bag_loss is not None:
            losses.add_row(translated("bag of words"), f"{report.bag_loss:.3f}")
        if any(part is not None for part in (report.sop_loss, report.pair_loss, report.bag_loss)):
            losses.add_row(translated("sum"), Text(f"{report.loss:.3f}", "bold"))
        if self._evaluated is not None:
            self._add_held_out(losses, self._evaluated)
        shown = Table.grid()
        shown.add_row("")
        shown.add_row(losses)
        for words in (position or self._position(report), self._speed(report), self._health(report)):
            shown.add_row(Text(translated(" · ".join(words)), "dim"))
        return shown

    def _add_held_out(self, losses: Table, report: "TrainingReport") -> None:
        loss = "" if report.held_out_loss is None else f"{report.held_out_loss:.3f}"
        cells = (loss, _percent(report.held_out_accuracy), _perplexity(report))
        losses.add_row(translated(f"held-out, at step {report.step:,}"), *cells, style="green")
        if report.held_out_sop_accuracy is not None:
            losses.add_row(translated("held-out order"), "", _percent(report.held_out_sop_accuracy), style="green")

    def _steps(self, step: int) -> list[str]:
        """Return the step, and how long one takes, once there is something to compare with."""
        words = [f"step {step:,} of {self._recipe.total_steps:,}"]
        if len(self._looks) > 1 and self._looks[-1][1] > self._looks[0][1]:
            (first, first_step), (last, last_step) = self._looks[0], self._looks[-1]
            words += [f"{duration((last - first) / (last_step - first_step))} a step"]
        return words

    def _position(self, report: "TrainingReport") -> list[str]:
        stages = len(self._recipe.stages)
        return [
            *self._steps(report.step),
            *([f"stage {report.stage} of {stages}"] if stages > 1 else []),
            f"{scaled(report.tokens)} tokens",
        ]

    def _speed(self, report: "TrainingReport") -> list[str]:
        shares = f"MFU {percent(report.mfu, 0)}" + ("" if report.hfu is None else f", HFU {percent(report.hfu, 0)}")
        return [
            f"{report.tokens_per_second:,.0f} tokens/s",
            f"{shares} of {scaled(report.model_flops_per_second / report.mfu)}FLOP/s",
        ]

    def _health(self, report: "TrainingReport") -> list[str]:
        steps = [f"{counted(report.skipped, 'step')} skipped"]
        if report.loss_scale is not None:  # in fp16 steps are skipped to find the scale
            steps = [f"loss scale {report.loss_scale:,.0f}", f"{report.step - report.skipped:,} good steps", *steps]
        return [f"learning rate {_rate(report)}", f"gradient norm {report.gradient_norm:.2f}", *steps]


def total_tokens(recipe: "Recipe") -> int:
    """Return the positions that `recipe` trains on: time depends on them, since a stage may make its steps longer."""
    return sum(stage.tokens for stage in recipe.stages)


def _check_arguments(
    recipe: str | None, start: object, *, epochs: float | None, debug_size: bool, freeze: int | None
) -> None:
    """Raise ClueBenchError for arguments that do not go together."""
    if recipe is None and start is None:
        raise ClueBenchError(
            "neither a recipe nor a checkpoint to start from",
            "give a recipe (clue-bench recipes list), or --from MODEL to continue a model's pretraining",
        )
    if recipe is None and debug_size:
        raise ClueBenchError(
            "--debug-size changes the architecture, which is that of --from here", "leave it out, or give --steps 10"
        )
    if freeze is not None and start is None:
        raise ClueBenchError("--freeze without --from: nothing has been learned yet", "leave out --freeze")
    if recipe is not None and epochs is not None:
        raise ClueBenchError(f"--epochs with recipe {recipe}, which counts steps", "give --steps instead")


def _check_tokenizer(folder: Path, *, corpus: "Corpus", show: Progress) -> dict[str, Any]:
    """Compare the tokenizer of a finished checkpoint with the corpus; return what the record says of it.

    Raises ClueBenchError if transformers would give the model other ids than those it was trained on.
    """
    from clue_bench.synthetic.corpus import lines_of_text
    from clue_bench.weights.exported import check_export

    own = corpus.sample  # a corpus of an earlier version keeps no lines of its text
    checked = check_export(folder, corpus.vocabulary, own or lines_of_text())
    said = checked.text if own else f"{checked.text}, of built-in text: {corpus.folder} keeps none of its own"
    if checked.differing:
        show.note(f"{folder}: {said}")
    return {"tokenizer_check": said}


def _notes(pretraining: "Pretraining", *, is_continuation: bool) -> Iterator[str]:
    """Yield what is to be said before the first step. `is_continuation`: there was no recipe."""
    from clue_bench.pretraining.continuation import schedule_text

    recipe, corpus = pretraining.recipe, pretraining.corpus
    if pretraining.start is not None and pretraining.start_facts is not None:
        yield from (*pretraining.start.notes, *pretraining.start_facts.notes)
    yield from corpus_notes(corpus)
    if pretraining.frozen_layers is not None:
        frozen = f"{counted(pretraining.frozen_layers, 'layer')}, {pretraining.frozen_parameters:,} parameters"
        yield f"kept as they are: embeddings and {frozen}"
    if is_continuation:
        yield f"{recipe.name}: {schedule_text(recipe, corpus)}"
    if pretraining.feeds.stage.micro_batch == "auto":
        yield f"micro_batch: {pretraining.micro_batch:,} rows at once"
    if pretraining.dropout.is_by_kernel:
        yield "dropout: attention's kernel draws its masks, other ones for another micro_batch or number of processes"
    if recipe.held_out_share and pretraining.feeds.held_out is None:
        yield "nothing is held out: the corpus is too small for it, or all of that part is also trained on"
    if pretraining.feeds.held_out_note:
        yield pretraining.feeds.held_out_note


def _opened(corpus: Path | str | BuiltCorpus) -> "Corpus":
    from clue_bench.doors.shards import Corpus

    return corpus.corpus if isinstance(corpus, BuiltCorpus) else Corpus.open(expanded(corpus))


def _perplexity(report: "TrainingReport") -> str:
    value = report.held_out_perplexity
    return "" if value is None else perplexity_text(value)


def _rate(report: "TrainingReport") -> str:
    return typed(float(f"{report.learning_rate:.3g}"))


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share, 1)
