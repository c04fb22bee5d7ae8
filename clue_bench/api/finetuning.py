"""Fine-tune on tasks, and score the no-pretraining baselines."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.api import SHIPPED
from clue_bench.api.finished import check_free, finished_finetuning
from clue_bench.api.inputs import check_model, keep_rows, model_name, note_revision, open_card, open_model, task_data
from clue_bench.api.progress import Progress, evaluation_words
from clue_bench.api.run_tables import settings_line
from clue_bench.api.runs import Run, Runs, as_reference, as_settings, check_seed
from clue_bench.api.unread import notes_on
from clue_bench.files import expanded, refuse_unwritable
from clue_bench.numbers import duration
from clue_bench.tasks.scores import score_names

if TYPE_CHECKING:
    from clue_bench.api.inputs import Data, Model
    from clue_bench.finetuning.base_models.pretrained import Pretrained
    from clue_bench.finetuning.train import Finetuning, FinetuningReport
    from clue_bench.tasks.columns import Columns
    from clue_bench.tasks.task import Task


def finetune(
    task: "str | Task | None",
    model: "Model" = SHIPPED,
    *,
    data: "Data" = "data",
    text: "Columns | None" = None,
    label: str | None = None,
    out: Path | str | None = None,
    name: str | None = None,
    seed: int = 1,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    cuda_graphs: bool = False,
    progress: bool = True,
) -> Run:
    """Fine-tune a model on a task and score it on dev; return the run, stored in `out` or runs/<run id>.

    `model` is a folder, a hub id, a run, (model, tokenizer) of transformers, or by default the model that comes with
    the package. `data` is a folder with a folder or zip per task, or rows of your own: a file (CSV, TSV, JSON Lines,
    Parquet, Excel), a folder with train.csv or the like, a Dataset, a pandas frame or dictionaries, by split or all
    together. For rows without a card, give their columns as `text` (one, or two for pairs) and `label`; `task` is then
    a name of your choice, or None for a file, which is called by its own name and whose columns are found if they are
    obvious. Where there is no dev split, a tenth of each label is held out. `settings` override the defaults, which
    follow the model's size, and `steps` is the number of updates in the whole run.

    A complete run is not repeated; an interrupted one continues to the same numbers: Ctrl-C and SIGTERM end the update,
    save, and raise a KeyboardInterrupt that says at which step. Raises ClueBenchError.
    """
    check_seed(seed)
    if out is not None:
        check_free(expanded(out))
    check_model(model)
    show = Progress(progress)
    asked = as_settings(settings, steps=steps)
    from clue_bench.doors.records import OFF
    from clue_bench.finetuning.settings import check_settings, make_settings

    with task_data(task, data, text=text, label=label, show=show) as given:
        card, rows = given.card, given.rows
        check_settings(card, asked)
        typed: dict[str, Any] = {"data": given.name, "seed": seed, "settings": asked, "cuda_graphs": cuda_graphs}
        found = None
        if out is not None and name is None and isinstance(model, str | Path | Run):
            reference = as_reference(model, "model")
            wanted = {"model": model_name(reference), **typed}
            found = finished_finetuning(given, reference, expanded(out), asked=wanted, seed=seed)
        if found is not None and out is not None:
            keep_rows(given, expanded(out))
            show.note(f"{found.run_id} is complete already")
            return Run(found, expanded(out))

        refuse_unwritable(Path("runs") if out is None else expanded(out))
        show.import_torch()
        from clue_bench.finetuning.run import Plan, completed_record, held_folder, prepare, resume, run

        start = open_model(model, show, name=name)
        chosen = make_settings(card, start.sizes, asked, train_rows=len(rows["train"]))
        plan = Plan(card, start, chosen, seed=seed, rows=rows, data=given.folder, cuda_graphs=cuda_graphs)
        folder = Path("runs") / plan.run_id if out is None else expanded(out)
        record = completed_record(plan, folder)
        if record is not None:
            keep_rows(given, folder)
            show.note(f"{plan.run_id} is complete already")
            return Run(record, folder)
        note_revision(card.name, plan.data_facts, show)
        show.note(f"settings: {settings_line(chosen.model_dump(), OFF)}")
        with show.status("tokenising rows"):
            finetuning = prepare(plan)
        _note_rows(show, finetuning, task=card, start=start)
        called = start.name if isinstance(model, tuple) else model_name(model)
        typed = {"task": task if isinstance(task, str) else card.name, "model": called, **typed}
        with held_folder(folder):
            resume(plan, finetuning, out=folder)
            _show_updates(show, run(plan, finetuning, out=folder, asked=typed), finetuning, task=card)
        keep_rows(given, folder)
    done = Run.read(folder, plan.run_id)
    if done.warning:
        show.note(done.warning)
    return done


def _note_rows(show: Progress, finetuning: "Finetuning", *, task: "Task", start: "Pretrained") -> None:
    """Say what the model reads of rows: windows, lost entities, cut rows, unknown tokens, untrained positions."""
    train, dev = finetuning.train, finetuning.dev
    if task.kind == "span":
        show.note(
            f"passages are read in windows: {len(train):,} for {train.num_rows:,} questions of train, "
            f"{len(dev):,} for {dev.num_rows:,} of dev; {finetuning.steps_per_epoch:,} updates an epoch"
        )
    for split, encoded in (("train", train), ("dev", dev)):
        if encoded.tagged is not None and any(lost := encoded.tagged.lost):
            show.note(
                f"{split}: entities that cannot be found: {lost.cut:,} behind the cut at max_length, "
                f"{lost.inside:,} that begin or end inside a token, {lost.shared:,} in the token of another; "
                "scores count them as missed"
            )
    show.notes(notes_on({"train": train.read, "dev": dev.read}, max_length=finetuning.settings.max_length))
    longest = max(int(split.lengths.max()) for split in (train, dev))
    if warning := start.beyond_pretraining(longest):
        show.note(f"warning: {warning}")


def _show_updates(
    show: Progress, reports: "Iterator[FinetuningReport]", finetuning: "Finetuning", *, task: "Task"
) -> None:
    """Run to the end, with a bar of pace, loss and the last score on dev."""
    at, total = finetuning.last_step, finetuning.total_steps
    if at:
        show.note(f"continues at step {at:,} of {total:,}")
    accuracy, f1 = score_names([task.kind])
    with show.bar(f"finetune {task.name}", total, start=at, count=True) as bar:
        detail, began = "", time.monotonic()
        for report in reports:
            if report.evaluation is not None:
                scores = report.evaluation.scores
                detail = f"  dev {accuracy} {scores.accuracy:.4f}" + (f"  {f1} {scores.macro_f1:.4f}" if f1 else "")
            pace = duration((time.monotonic() - began) / (report.step - at))
            looks = evaluation_words(report, kind=task.kind)
            bar.update(report.step, f"{pace} a step  loss {report.loss:.3f}{looks or detail}")


def floor(
    task: "str | Task | Sequence[str | Task] | None",
    *,
    data: "Data" = "data",
    text: "Columns | None" = None,
    label: str | None = None,
    out: Path | str = "runs",
    seed: int = 1,
    progress: bool = True,
) -> Runs:
    """Score tasks without any pretraining: the majority class, and TF-IDF n-grams with a linear model.

    Each run gets a folder in `out`; complete ones are not repeated. `data`, `text` and `label` are as for `finetune`.
    Raises ClueBenchError.
    """
    from clue_bench.finetuning.baselines import FLOORS, floor_run_id, run_floor

    check_seed(seed)
    show = Progress(progress)
    names: list[str | Task | None] = list(task) if isinstance(task, Sequence) and not isinstance(task, str) else [task]
    if text is None and label is None:  # a name that is none is an error before anything runs
        names = [name if name is None else open_card(name, data) for name in names]
    found: list[Run] = []
    again = "type the same command again: baselines that are complete are not repeated"
    with show.bar("floor", len(names) * len(FLOORS), count=True, on_interrupt=again) as bar:
        for name in names:
            with task_data(name, data, text=text, label=label, show=show) as given:
                bar.update(len(found), f"{given.card.name}: baselines")
                for kind in FLOORS:
                    asked = {"task": given.card.name, "data": given.name, "seed": seed, "floor": kind}
                    where = expanded(out) / floor_run_id(given.card, given.rows, kind=kind, seed=seed)
                    record = run_floor(
                        given.card, given.rows, data=given.folder, kind=kind, seed=seed, out=where, asked=asked
                    )
                    keep_rows(given, where)
                    found.append(Run(record, where))
                    bar.update(len(found), f"{given.card.name}: baselines")
    return Runs(tuple(found))
