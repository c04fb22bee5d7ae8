"""The verbs that train: `quickstart`, `pretrain`, `finetune`, `bench` and `floor`."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clue_bench.api import SHIPPED
from clue_bench.api.run_tables import record_kind
from clue_bench.cli.options import (
    MODEL,
    TASK,
    Json,
    Label,
    Name,
    OwnData,
    Set,
    Steps,
    Text,
    Text2,
    Wide,
    columns,
    complete_recipe,
    complete_task,
    names,
    overrides,
)
from clue_bench.cli.terminal import print_json, print_table, say, show, suggest, typed
from clue_bench.numbers import count, duration, percent
from clue_bench.tables import our_words
from clue_bench.tasks.scores import WITH_CHOICES, score_names


def quickstart(
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of real task data, instead of the synthetic data set.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(metavar="TEXT", help="File or folder of real text, instead of the synthetic corpus.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder to write  [default: quickstart; quickstart-real for real data]"),
    ] = None,
    recipe: Annotated[
        str, typer.Option(metavar="RECIPE", help="Recipe to pretrain with.", autocompletion=complete_recipe)
    ] = "debug",
    steps: Steps = None,
    settings: Set = None,
    pretrained: Annotated[
        bool,
        typer.Option("--pretrained", help="Take the model that comes with clue-bench instead of pretraining one."),
    ] = False,
    json: Json = False,
) -> None:
    """Train a vocabulary, pretrain a small BERT, fine-tune it on four tasks, and print a leaderboard.

    Without --data and --corpus, a small synthetic data set is generated and used. Repeat the command to continue where
    it stopped.

    Example: clue-bench quickstart --data clue --corpus text
    """
    from clue_bench.api.quickstart import quickstart

    done = quickstart(
        data=data,
        corpus=corpus,
        out=out,
        recipe=recipe,
        steps=steps,
        settings=overrides(settings),
        pretrained=pretrained,
    )
    show(done, as_json=json)
    tuned = done.runs[1 if len(done.runs) > 1 else 0].folder
    suggest(
        typed("clue-bench", "predict", "--model", tuned, "--text", "股市今天大涨"),
        typed("clue-bench", "analyse", tuned, "--data", done.data),
        typed("clue-bench", "runs", "list", "--records", done.folder),
        as_json=json,
    )


def pretrain(
    corpus: Annotated[Path, typer.Option(metavar="FOLDER", help="Corpus folder, from clue-bench corpus build.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of the run: checkpoint/, metrics.jsonl, loss.svg, state, record."),
    ],
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe's name (clue-bench recipes list) or a .toml file; with --from it can be left out.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    name: Name = None,
    steps: Steps = None,
    epochs: Annotated[
        float | None,
        typer.Option(metavar="N", help="Go over the corpus N times, without a recipe  [default: 3]"),
    ] = None,
    settings: Set = None,
    debug_size: Annotated[
        bool, typer.Option("--debug-size", help="Shrink widths, lengths and steps; keep every code path.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help=f"Model to start from: {MODEL[0].lower()}{MODEL[1:]}"),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Labelled pairs, from clue-bench corpus pairs, if the recipe uses them."),
    ] = None,
    freeze: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Keep the embeddings and the first N layers of --from as they are."),
    ] = None,
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="Keep the corpus on the GPU and record the step (one GPU).")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Fuse each layer with torch.compile, which takes a minute.")
    ] = False,
    tracker: Annotated[
        Literal["auto", "none", "tensorboard", "trackio"],
        typer.Option(help="Program to write curves for, too; auto means tensorboard if it is installed."),
    ] = "auto",
    json: Json = False,
) -> None:
    """Pretrain a model, or continue the pretraining of another one on your text.

    With --from and no recipe, the model keeps its architecture and learns gently; the run says how. Repeat the command
    to continue an interrupted run, bit for bit on the CPU.

    Example: clue-bench pretrain roberta-tiny-clue --corpus corpus --out runs/tiny --steps 2000 --set global_batch=64

    Example: clue-bench pretrain --from hfl/chinese-macbert-base --corpus corpus --out runs/mine --epochs 1

    Example: torchrun --nproc_per_node 2 --no-python clue-bench pretrain roberta-tiny-clue …
    """
    from clue_bench.api.pretraining import pretrain

    run = pretrain(
        recipe,
        corpus=corpus,
        out=out,
        steps=steps,
        epochs=epochs,
        name=name,
        settings=overrides(settings),
        debug_size=debug_size,
        start=start,
        pairs=pairs,
        freeze=freeze,
        cuda_graphs=cuda_graphs,
        compiled=compiled,
        tracker=tracker,
    )
    if int(os.environ.get("RANK", "0")):  # one of several processes, and not the one that prints
        # Gloo's threads have been seen to abort the interpreter's own shutdown; there is nothing left to do here.
        os._exit(0)
    show(run, as_json=json)
    is_causal = run.record.effective.get("family") == "gpt2"
    both = ["clue-bench", "bench", "--model", start, "--model", out, "--task", "tnews", "--data", "DATA"]
    suggest(
        typed("clue-bench", "finetune", "--task", "tnews", "--model", out, "--data", "DATA"),
        *([typed(*both)] if start else []),  # whether going on was worth it
        *([typed("clue-bench", "generate", "--model", out, "--prompt", "TEXT")] if is_causal else []),
        typed("clue-bench", "doctor", "--model", out),
        as_json=json,
    )


def finetune(
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL)] = SHIPPED,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help=f"{TASK}; a name of your choice for rows with --text and --label.",
            autocompletion=complete_task,
        ),
    ] = None,
    data: OwnData = Path("data"),
    text: Text = None,
    text2: Text2 = None,
    label: Label = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the new head, the order of rows and the dropout.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the run  [default: runs/<run id>]")
    ] = None,
    name: Name = None,
    steps: Steps = None,
    settings: Set = None,
    cuda_graphs: Annotated[
        bool,
        typer.Option(
            "--cuda-graphs", help="Record updates as CUDA graphs; gives a run of its own (not yet tried on a GPU)."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Fine-tune any model on one task, or on rows of your own, and score it on dev. Defaults follow the model's size.

    Rows of your own need no card. Without dev rows, a tenth of the rows of each label is held out, by a fixed seed.

    Example: clue-bench finetune --data mydata.csv --text text --label label

    Example: clue-bench finetune --task tnews --model runs/tiny --data clue --set learning_rate=2e-4

    Example: clue-bench finetune --task afqmc --model hfl/chinese-electra-180g-small-discriminator --data clue
    """
    from clue_bench.api.finetuning import finetune
    from clue_bench.tasks.files import OWN_NAME

    run = finetune(
        task,
        model,
        data=data,
        text=columns(text, text2),
        label=label,
        out=out,
        name=name,
        seed=seed,
        settings=overrides(settings, steps),
        cuda_graphs=cuda_graphs,
    )
    show(run, as_json=json)
    columns_of = (("--text", text), ("--text2", text2), ("--label", label))
    given = [
        word for option, value in (("--task", task), ("--name", name), *columns_of) if value for word in (option, value)
    ]
    is_own = run.record.data.name == OWN_NAME
    linear = [word for option, value in columns_of for word in (option, value) if value]
    baseline = typed("clue-bench", "floor", *(["--task", task] if task else []), *linear, "--data", data)
    baseline += "  # without pretraining: it may score more"
    suggest(
        *([baseline] if is_own else []),
        typed("clue-bench", "predict", "--model", run.folder, "--text", "TEXT", *run.row_options),
        typed("clue-bench", "serve", "--model", run.folder),
        typed("clue-bench", "analyse", run.folder, "--data", data),
        typed("clue-bench", "bench", "--model", model, *given, "--data", data),
        as_json=json,
    )


def bench(
    model: Annotated[list[str], typer.Option(metavar="MODEL", help=f"{MODEL[:-1]}; repeatable.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK",
            help=f"{TASK}; repeatable, or separated by commas  [default: all in --data]",
            autocompletion=complete_task,
        ),
    ] = None,
    data: OwnData = Path("data"),
    text: Text = None,
    text2: Text2 = None,
    label: Label = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that gets a folder for each run.")] = Path("runs"),
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Run the chosen setting with seeds 1 to N.")] = 3,
    search: Annotated[
        bool,
        typer.Option(
            "--search", help="Search learning rate × batch × epochs × dropout around the defaults, with seed 1."
        ),
    ] = False,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,VALUE", help="Search these values instead (implies --search); repeatable."),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Also run each architecture from random weights.")
    ] = False,
    intermediate: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="First fine-tune each model on this task, with the same --set, and start from there (STILTs).",
        ),
    ] = "",
    floor: Annotated[
        bool, typer.Option(help="Also run the no-pretraining baselines: majority class and TF-IDF.")
    ] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Repeat runs that failed.")] = False,
    keep: Annotated[
        Literal["best", "all", "none"] | None,
        typer.Option(
            help="Whose weights to keep: those of the best run of each model and task, of all runs, or of none  "
            "[default: leave them as they are]"
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What tables call the model; one for each --model, if any.")
    ] = None,
    steps: Steps = None,
    settings: Set = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print a command for each run that is missing, and run nothing.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Who does the runs: this machine, or a Ray cluster whose machines see the same folders."),
    ] = "local",
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Fine-tune models on tasks over several seeds: means, intervals, and paired tests against the baselines.

    Complete runs are not repeated, so the same command continues an interrupted one. A run that fails is recorded with
    its error and the others continue; --retry-failed repeats it. Runs that another process is doing come last, so
    several of these commands share the work. Each run in the table gets a report.html in its folder.

    Example: clue-bench bench --model runs/tiny --data clue --seeds 3

    Example: clue-bench bench --model runs/tiny --task tnews --grid learning_rate=1e-4,3e-4,1e-3 --grid dropout=0,0.1

    Example: clue-bench bench --model runs/tiny --untrained --task ocnli --intermediate cmnli --json

    Example: clue-bench bench --model runs/tiny --data clue --plan
    """
    from clue_bench.api.benchmark import run_benchmark
    from clue_bench.finetuning.grid import parse_grid

    given: dict[str, Any] = {
        "data": data,
        "text": columns(text, text2),
        "label": label,
        "out": out,
        "seeds": seeds,
        "settings": overrides(settings, steps),
        "search": search,
        "grid": parse_grid(grid or []),
        "retry_failed": retry_failed,
        "model_names": name or (),
    }
    if plan:
        _print_plan(model, names(task), is_whole=not (untrained or intermediate), as_json=json, **given)
        return
    done = run_benchmark(
        model,
        names(task),
        untrained=untrained,
        intermediate=intermediate or None,
        floor=floor,
        keep=keep,
        engine=engine,
        **given,
    )
    show(done, as_json=json, wide=wide)
    for note in done.notes:
        say(note)
    done.raise_failures()
    several = [word for each in dict.fromkeys(each.model for each in done.outcomes) for word in ("--model", each)]
    suggest(
        *([typed("clue-bench", "compare", *several, "--records", out)] if len(several) == 4 else []),
        typed("clue-bench", "leaderboard", "--records", out, "--out", "leaderboard"),
        typed("clue-bench", "runs", "list", "--records", out),
        as_json=json,
    )


def _print_plan(models: list[str], tasks: list[str], *, is_whole: bool, as_json: bool, **given: Any) -> None:
    """Print a command for each missing run, a line each."""
    from clue_bench.api.bench_commands import plan_bench
    from clue_bench.errors import ClueBenchError

    if not is_whole:
        raise ClueBenchError(
            "--plan: no single command does a run of --untrained or --intermediate",
            "leave out --plan and start the same command several times: they share the runs",
        )
    found = plan_bench(models, tasks, **given)
    if as_json:
        print_json(found.to_json())
    else:
        for command in found.commands:
            typer.echo(command)


def floor(
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help=f"{TASK}; repeatable, or separated by commas.", autocompletion=complete_task),
    ] = None,
    data: OwnData = Path("data"),
    text: Text = None,
    text2: Text2 = None,
    label: Label = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the linear model's solver.")] = 1,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that gets a folder for each run.")] = Path("runs"),
    json: Json = False,
) -> None:
    """Score tasks without any pretraining: the majority class, and TF-IDF n-grams with a linear model.

    A leaderboard of the same folder shows these baselines and marks the models that do not beat them.

    Example: clue-bench floor --task afqmc,tnews --data clue
    """
    from clue_bench.api.finetuning import floor

    runs = floor(names(task) or None, data=data, text=columns(text, text2), label=label, out=out, seed=seed)
    kinds = [record_kind(run.record) for run in runs]
    accuracy, f1 = score_names(kinds)
    header = ["task", "floor", f"dev {accuracy}", "on clean rows", *([f"dev {f1}"] if f1 else [])]
    header += ["parameters", "time", "data revision"]
    if json:
        print_json(runs.to_json())
    else:
        print_table(
            header,
            (
                (
                    run.task,
                    run.model,
                    percent(run.accuracy),
                    "" if run.clean_accuracy is None else percent(run.clean_accuracy),
                    *([percent(run.scores.macro_f1) if kind not in WITH_CHOICES else ""] if f1 else []),
                    count(run.record.model.parameters),
                    our_words(duration(run.record.wall_seconds)),
                    run.record.data.revision,
                )
                for run, kind in zip(runs, kinds, strict=True)
            ),
        )
    if task and not text:
        command = typed("clue-bench", "bench", "--model", "MODEL", "--task", ",".join(names(task)), "--data", data)
        suggest(command, as_json=json)
