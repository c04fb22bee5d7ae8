"""The verb for causal language models: `generate`."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli.options import MODEL, Json
from clue_bench.cli.terminal import print_facts, print_json, say, show, suggest, typed
from clue_bench.errors import ClueBenchError


def generate(
    model: Annotated[str, typer.Option(metavar="MODEL", help=f"A GPT2 or the like: {MODEL[0].lower()}{MODEL[1:]}")],
    prompt: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A text to continue; repeatable.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of prompts: .txt with one a line, or .jsonl, .csv, .xlsx, .parquet; - is stdin.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="COLUMN", help="Column of the prompts in --file  [default: prompt, or text]"),
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="N", help="Tokens to write, at most; the model may end before.")] = 100,
    samples: Annotated[int, typer.Option(metavar="N", help="Texts for each prompt.")] = 1,
    temperature: Annotated[
        float, typer.Option(metavar="X", help="Above 1 is bolder, below 1 safer; 0 takes the most probable token.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(metavar="N", help="Draw from the N most probable tokens; 0: from all.")] = 50,
    top_p: Annotated[
        float, typer.Option(metavar="SHARE", help="Draw from the most probable tokens with this share together.")
    ] = 0.95,
    repetition_penalty: Annotated[
        float, typer.Option(metavar="X", help="Above 1 makes tokens that are there already less probable.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same texts.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write, instead of stdout: .jsonl, .csv, .tsv, .xlsx or .parquet."),
    ] = None,
    json: Json = False,
) -> None:
    """Continue texts with a causal language model.

    Prints a table for --prompt, JSON Lines for --file, whose rows keep all their columns and get "generated". Special
    tokens and [UNK] are never written.

    Example: clue-bench generate --model runs/gpt2 --prompt 从前有一座山

    Example: clue-bench generate --model uer/gpt2-chinese-cluecorpussmall --file prompts.txt --out texts.jsonl
    """
    from clue_bench.api.generation import generate
    from clue_bench.api.models import check_writable

    if bool(prompt) == (file is not None):
        found = "both" if prompt else "neither"
        raise ClueBenchError(f"found {found} of --prompt and --file, expected one", "run clue-bench generate --help")
    if out is not None:
        check_writable(out, file)
    made = generate(
        model,
        file if file is not None else prompt or [],
        tokens=tokens,
        samples=samples,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        text=text,
    )
    if out is not None:
        made.write(out)
    if json:
        print_json({**made.summary, "out": str(out)} if out is not None else made.to_json())
    elif out is not None:
        rows = [(name.replace("_", " "), value) for name, value in made.summary.items() if name != "settings"]
        print_facts(("generated", str(out)), rows)
    elif prompt:
        show(made, as_json=False)
    else:
        for row in made.rows:
            typer.echo(json_format.dumps(row.to_json(), ensure_ascii=False))
    say(f"settings: {made.settings}")
    for note in made.notes:
        say(note)
    if prompt and out is None:
        again = typed("clue-bench", "generate", "--model", model, "--file", "PROMPTS.txt", "--out", "texts.jsonl")
        suggest(again, as_json=json)
