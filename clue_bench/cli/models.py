"""The verbs for finished models: `predict`, `submit`, `serve`, `convert`, `doctor` and `speed`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from clue_bench.cli.options import MODEL, TASK, Json, Models, Set, Wide, complete_task, names, overrides
from clue_bench.cli.terminal import print_facts, print_json, say, show, suggest, typed
from clue_bench.errors import ClueBenchError
from clue_bench.language import translated
from clue_bench.numbers import count


def predict(
    model: Annotated[str, typer.Option(metavar="MODEL", help=f"Fine-tuned: {MODEL[0].lower()}{MODEL[1:]}")],
    text: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A text; repeatable.")] = None,
    text_pair: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="The second text of a pair, one for each --text.")
    ] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A choice of the question --text-pair on the passage --text; repeatable."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of rows: .csv, .tsv, .jsonl, .xlsx or .parquet with the task's fields, or .txt; - reads stdin: "
            "one text a line, JSON Lines, CSV or TSV.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column of the texts in --file, two for pairs  [default: as in training]"),
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="A split of the task, e.g. test.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For --split: folder of the tasks, or file  [default: those that the run read]",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help=f"{TASK}  [default: the model's]", autocompletion=complete_task)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write, instead of stdout: .csv, .tsv, .jsonl, .xlsx or .parquet."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Number of labels to show for each row.")] = 1,
    json: Json = False,
) -> None:
    """Predict labels for texts (a table), a file or a split (JSON Lines in the rows' order).

    Rows of a file keep all their columns; "predicted" and "probability" are added.

    Example: clue-bench predict --model runs/afqmc --text 怎么开通花呗 --text-pair 花呗如何开通

    Example: clue-bench predict --model runs/tnews --file titles.csv --out labels.xlsx --top 3
    """
    from clue_bench.api.models import check_rows, check_writable, load_model

    given = [name for name, value in (("--text", text), ("--file", file), ("--split", split)) if value]
    if len(given) != 1 or (text_pair and not text):
        found = " and ".join(given) or "none of them"
        raise ClueBenchError(f"found {found}, expected one of --text, --file, --split", "run clue-bench predict --help")
    if text and text_pair and len(text) != len(text_pair):
        raise ClueBenchError(
            f"{len(text)} --text and {len(text_pair)} --text-pair", "give one --text-pair for each --text"
        )
    if choice and len(text or []) != 1:
        raise ClueBenchError(
            f"--choice with {len(text or [])} --text", "give one --text, its --text-pair and its choices"
        )
    if column and file is None:
        raise ClueBenchError("--column without --file", "give --file FILE, too")
    if out is not None:
        check_writable(out, file, data)
    check_rows(file, data)
    loaded = load_model(model, task=task)
    about = loaded.predictor.description
    if choice and about.choices_from != 1 + bool(text_pair):
        wanted = "expected a --text-pair"
        if about.choices_from < 2:
            no_passage = "expected no --text-pair: its questions have no passage"
            wanted = no_passage if about.choices_from else "expected no --choice"
        raise ClueBenchError(f"{model}: {wanted}", "run clue-bench predict --help")
    if text:
        rows = [*zip(text, *([text_pair] if text_pair else []), *([each] for each in choice or []), strict=True)]
        predicted = loaded.predict(rows, top=top)
    elif file is not None:
        predicted = loaded.predict_file(file, text=column, top=top)
    else:
        predicted = loaded.predict_split(split or "", data=data, top=top)
    if out is not None:
        predicted.write(out)
    if json:
        about_rows = {**predicted.summary, "notes": predicted.notes, "out": str(out)}
        print_json(predicted.to_json() if out is None else about_rows)
    elif out is not None:
        rows = [("model", predicted.model), ("task", predicted.task), ("rows", count(len(predicted)))]
        print_facts(("predicted", str(out)), rows)
    elif text:
        show(predicted, as_json=False)
    else:
        for row in predicted.rows:
            print_json(row.to_json(), indent=None)
    for note in predicted.notes:
        say(note)
    if out is not None and predicted.has_mark(out):
        say(f"{out}: written as UTF-8 with a byte order mark, so that Excel can read it")
    if text or out is not None:
        suggest(typed("clue-bench", "serve", "--model", model), as_json=json)


def submit(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN…", help="Folders of fine-tuning runs.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="ZIP", help="Check this zip and write nothing.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder with the test files, to compare ids with.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="ZIP", help="Zip to write; CLUE wants its name to begin with submit.")
    ] = Path("submit.zip"),
    task: Annotated[
        list[str] | None, typer.Option(metavar="TASK", help="A .toml file of your own task; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Write CLUE's submission from runs, or check one: names, counts, order, ids, labels.

    Of several runs of a task, the one with the best score on dev is taken, and named.

    Example: clue-bench submit runs/finetune-* --data clue --out submit_team.zip

    Example: clue-bench submit --check submit_team.zip --data clue
    """
    from clue_bench.api import submissions

    if bool(runs) == (check is not None):
        found = "both" if runs else "neither"
        raise ClueBenchError(f"found {found} RUN… and --check, expected one of them", "run clue-bench submit --help")
    if check is None:
        submission = submissions.submit(runs or [], out=out, data=data, cards=names(task))
    else:
        submission = submissions.check_submission(check, data=data, cards=names(task))
    show(submission, as_json=json)
    for note in submission.notes:
        say(note)
    if check is None:
        with_ids = [] if data is None else ["--data", data]
        suggest(typed("clue-bench", "submit", "--check", out, *with_ids), as_json=json)


def serve(
    model: Models,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 means all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name that clients may ask for, such as a proxy's; may be repeated."),
    ] = None,
    max_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Most rows in a batch.")] = 32,
    max_wait_ms: Annotated[
        float, typer.Option(metavar="MS", min=0, help="Longest that a row waits for others, in milliseconds.")
    ] = 5.0,
    max_texts: Annotated[int, typer.Option(metavar="N", min=1, help="Most rows in a request.")] = 64,
    max_text_chars: Annotated[int, typer.Option(metavar="N", min=1, help="Most characters in a text.")] = 2_000,
    max_queue: Annotated[int, typer.Option(metavar="N", min=1, help="Most rows waiting for a model.")] = 1_024,
    rate: Annotated[
        int, typer.Option(metavar="N", min=0, help="Most requests per minute from one address; 0 means no limit.")
    ] = 600,
    json: Json = False,
) -> None:
    """Serve predictions at POST /predict, with a page to try it at /; requests of several clients share batches.

    Example: clue-bench serve --model runs/afqmc --model runs/tnews --port 8000

    Example: curl localhost:8000/predict --json '{"texts": [["怎么开通花呗", "花呗如何开通"]]}'
    """
    from clue_bench.api.models import Served, serve

    def on_ready(served: Served) -> None:
        show(served, as_json=json)
        say(f"serving at {served.url}; press Ctrl-C to stop")

    serve(
        model,
        host=host,
        port=port,
        allow_host=allow_host or (),
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_texts=max_texts,
        max_text_chars=max_text_chars,
        max_queue=max_queue,
        rate=rate,
        on_ready=on_ready,
    )
    say("stopped")


class SourceKind(StrEnum):
    """Toolkits whose checkpoints can be read."""

    uer = "uer"
    tf = "tf"
    hf = "hf"
    paddle = "paddle"


class TargetKind(StrEnum):
    """Layouts that can be written."""

    hf = "hf"
    uer = "uer"


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A UER-py .bin, bert_model.ckpt, or a folder.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist.")],
    source_kind: Annotated[
        SourceKind,
        typer.Option("--from", metavar="uer|tf|hf|paddle", help="Layout of SRC; hf: Hugging Face, tf: TensorFlow."),
    ],
    target_kind: Annotated[TargetKind, typer.Option("--to", metavar="hf|uer", help="Layout of DST.")] = TargetKind.hf,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model's configuration: UER-py's, or bert_config.json.")
    ] = None,
    vocab: Annotated[
        Path | None, typer.Option(metavar="FILE", help="vocab.txt, or the .model of sentencepiece.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"],
        typer.Option(help="What the numbers are stored as; half the bytes round the weights."),
    ] = "float32",
    json: Json = False,
) -> None:
    """Convert a checkpoint without changing its outputs.

    --from hf --to hf cleans one, or halves it with --dtype.

    Example: clue-bench convert bert_tiny.bin tiny --from uer --config tiny_config.json --vocab google_zh_vocab.txt
    """
    from clue_bench.api.checkpoints import convert

    converted = convert(
        source,
        destination,
        source_kind=source_kind.value,
        target_kind=target_kind.value,
        config=config,
        vocabulary=vocab,
        dtype=dtype,
    )
    if json:
        print_json(converted.to_json())
        return
    typer.echo(f"{converted.table}\n{translated(converted.summary)}")
    for note in converted.notes:
        say(f"note: {note}")
    if target_kind is TargetKind.hf:
        suggest(
            typed("clue-bench", "doctor", "--model", destination),
            typed("clue-bench", "finetune", "--task", "tnews", "--model", destination, "--data", "DATA"),
        )
    else:
        vocabulary = next(name for name in ("vocab.txt", "spiece.model") if (destination / name).is_file())
        files = ("--pretrained_model_path", "model.bin", "--config_path", "config.json", "--vocab_path", vocabulary)
        words = [word if word.startswith("--") else destination / word for word in files]
        suggest(
            typed("python3", "finetune/run_classifier.py", *words) + " …    # in UER-py",
            typed("clue-bench", "convert", destination, f"{destination}-hf", "--from", "uer") + "    # and back",
        )


def doctor(
    given: Annotated[str | None, typer.Argument(metavar="MODEL", help="The same as --model.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help=MODEL)] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A sentence with [MASK], or for GPT2 one to continue; repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Check whether a checkpoint is what it claims to be: names, shapes, vocabulary, answers.

    The exit code is 0 if nothing is wrong, else 1.

    Example: clue-bench doctor --model runs/tiny
    """
    from clue_bench.api.checkpoints import doctor

    if (given is None) == (model is None):
        raise typer.BadParameter("give one --model")
    diagnosis = doctor(model or given or "", texts=text or [])
    show(diagnosis, as_json=json)
    if not diagnosis.healthy:
        raise typer.Exit(1)
    suggest(
        typed("clue-bench", "finetune", "--task", "tnews", "--model", model or given, "--data", "DATA"), as_json=json
    )


def speed(
    model: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL",
            help=f"{MODEL[:-1]}, or a recipe (a name or a .toml file) for untrained weights; repeatable.",
        ),
    ],
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Corpus folder to train on; each model uses the one with its vocabulary  [default: random ids]",
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK", help="Task whose training rows to fine-tune on and predict.", autocompletion=complete_task
        ),
    ] = "afqmc",
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder with a folder or zip per task  [default: synthetic data]"),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the records, one per model.")] = Path(
        "runs/speed"
    ),
    repetitions: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Repetitions of every measurement; 6 or more give a 95 % interval."),
    ] = 9,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Shortest duration of a repetition.")
    ] = 2.0,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The --model that the others are compared with  [default: the first]"),
    ] = None,
    settings: Set = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Measure training, fine-tuning and prediction speed, sizes and memory of models, in turns, with intervals.

    Training is timed on the first stage of the recipe, for a checkpoint of the recipe that made it; --set changes the
    recipe of every model, e.g. to the same batch and length.

    Example: clue-bench speed --model roberta-tiny-clue --model runs/tiny --task tnews --data clue

    Example: clue-bench speed --model roberta-tiny-clue --model roberta-word-tiny --set global_batch=64
    """
    from clue_bench.api.checkpoints import speed

    measured = speed(
        model,
        corpora=corpus or [],
        task=task,
        data=data,
        out=out,
        repetitions=repetitions,
        seconds=seconds,
        baseline=baseline,
        settings=overrides(settings),
    )
    show(measured, as_json=json, wide=wide)
    suggest(
        typed("clue-bench", "leaderboard", "--records", out, "--out", "leaderboard")
        + "    # speed.md has every interval and condition",
        as_json=json,
    )
