"""`clue-bench predict`: labels and probabilities for texts, files or a split."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json
from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    from clue_bench.prediction.input_rows import InputRows
    from clue_bench.prediction.predictor import Answer, Predictor

ROWS_PER_UPDATE = 512  # of the progress bar; rows of similar length are batched together within them


def predict(
    model: Annotated[Path, typer.Option(help="Folder of a fine-tuning run, or of its checkpoint.")],
    text: Annotated[list[str] | None, typer.Option(help="A text; may be given several times.")] = None,
    text_pair: Annotated[list[str] | None, typer.Option(help="The second text of a pair, one for each --text.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Rows as .jsonl, .csv or .tsv with the card's fields, or .txt.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split of the task, e.g. test.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with a folder or zip per task, for --split.")] = Path("data"),
    task: Annotated[str | None, typer.Option(help="A task's name or .toml file  [default: the model's]")] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON Lines there instead of on stdout.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Show so many labels of each row.")] = 1,
    json: Json = False,
) -> None:
    """Predict labels for texts (a table), a file or a split (JSON Lines in the rows' order).

    Example: clue-bench predict --model runs/afqmc --text 怎么开通花呗 --text-pair 花呗如何开通

    Example: clue-bench predict --model runs/tnews --file titles.csv --out labels.jsonl --top 3
    """
    from clue_bench import files
    from clue_bench.prediction.predictor import Predictor
    from clue_bench.tasks.task import load_task

    given = [name for name, value in (("--text", text), ("--file", file), ("--split", split)) if value]
    if len(given) != 1 or (text_pair and not text):
        found = " and ".join(given) or "none of them"
        raise ClueBenchError(f"found {found}, expected one of --text, --file, --split", "clue-bench predict --help")
    predictor = Predictor.open(model, task=load_task(task) if task else None)
    rows = _rows(predictor, text=text or [], pairs=text_pair or [], file=file, split=split, data=data)
    answers, truncated = _answers(predictor, rows)
    lines = [_line(rows, number, answer, top) for number, answer in enumerate(answers)]
    if out is not None:
        files.write_text(out, "".join(json_format.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    summary = {"model": predictor.description.run_id, "task": predictor.description.task, "num_rows": len(lines)}
    summary |= {"truncated_rows": truncated, **_accuracy(lines)}
    if json:
        terminal.print_json({**summary, **({"out": str(out)} if out is not None else {"rows": lines})})
    elif out is not None:
        shown = ("model", "task", "num_rows")  # the rest is said on stderr
        terminal.print_table(["predicted", str(out)], ((key.replace("_", " "), summary[key]) for key in shown))
    elif text:
        _print_table(rows, answers, top)
    else:
        for line in lines:
            typer.echo(json_format.dumps(line, ensure_ascii=False))
    _say_remarks(summary, predictor.description.max_length)


def _rows(
    predictor: "Predictor", *, text: list[str], pairs: list[str], file: Path | None, split: str | None, data: Path
) -> "InputRows":
    from clue_bench.prediction.input_rows import file_rows, split_rows, typed_rows

    if text:
        return typed_rows(text, pairs)
    if file is not None:
        return file_rows(file, task=predictor.task, num_texts=predictor.description.num_texts)
    assert split is not None
    if predictor.task is None:
        raise ClueBenchError("--split: the model names no task that is known", "--task NAME or --task CARD.toml")
    return split_rows(predictor.task, split, data)


def _answers(predictor: "Predictor", rows: "InputRows") -> "tuple[list[Answer], int]":
    """Return the answers, and how many rows were cut; with a progress bar if that may take a while."""
    if len(rows) <= ROWS_PER_UPDATE:
        answers = predictor.predict(rows.texts)
        return answers.rows, answers.truncated_rows
    found: list[Answer] = []
    truncated = 0
    with terminal.bar("predict", len(rows), count=True, on_interrupt="nothing was written; start again") as bar:
        for start in range(0, len(rows), ROWS_PER_UPDATE):
            answers = predictor.predict(rows.texts[start : start + ROWS_PER_UPDATE])
            found += answers.rows
            truncated += answers.truncated_rows
            bar.update(len(found))
    return found, truncated


def _line(rows: "InputRows", number: int, answer: "Answer", top: int) -> dict[str, Any]:
    line: dict[str, Any] = {"id": rows.ids[number], **answer.best._asdict()}
    if rows.gold[number] is not None:
        line["gold"] = rows.gold[number]
    if top > 1:
        line["top"] = [candidate._asdict() for candidate in answer.candidates[:top]]
    return line


def _accuracy(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return accuracy over the rows whose right label is known; nothing where there are none."""
    labelled = [line for line in lines if "gold" in line]
    if not labelled:
        return {}
    right = sum(line["label"] == line["gold"] for line in labelled)
    return {"labelled_rows": len(labelled), "correct": right, "accuracy": right / len(labelled)}


def _print_table(rows: "InputRows", answers: "list[Answer]", top: int) -> None:
    terminal.print_table(
        ["text", "label", "description", "probability"],
        (
            (
                " | ".join(texts) if place == 0 else "",
                candidate.label,
                candidate.description,
                f"{candidate.probability:.4f}",
            )
            for texts, answer in zip(rows.texts, answers, strict=True)
            for place, candidate in enumerate(answer.candidates[:top])
        ),
    )


def _say_remarks(summary: dict[str, Any], max_length: int) -> None:
    if summary["truncated_rows"]:
        terminal.say(f"{summary['truncated_rows']:,} of {summary['num_rows']:,} rows were cut to {max_length} tokens")
    if "accuracy" in summary:
        terminal.say(
            f"accuracy {summary['accuracy']:.2%}: {summary['correct']:,} of {summary['labelled_rows']:,} labelled rows"
        )
