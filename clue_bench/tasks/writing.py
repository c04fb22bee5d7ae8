"""Write a task's card as TOML, for whoever wants to change it.

Input: a task. Output: the text of its card, with a comment for what is meant to be changed.
"""

import json
from collections.abc import Sequence

from clue_bench.tasks.task import Task


def card_text(task: Task, *, source: str, command: str) -> str:
    """Return the card of a task as TOML; `source` is where its labels were found, `command` what uses the card."""
    lines = [f"# Labels and columns were found in {source}. Use it with", f"#   {command}", ""]
    lines += [
        f"name = {_text(task.name)}",
        f"title = {_text(task.title)}  # in lists",
        f"column = {_text(task.column)}",
    ]
    lines += [f"kind = {_text(task.kind)}"] if task.kind != "classification" else []
    lines += ["", f"text_fields = {_list(task.text_fields)}", f"label_field = {_text(task.label_field)}"]
    lines += [f"choice_fields = {_list(task.choice_fields)}"] if task.choice_fields else []
    lines += [f"labels = {_list(task.labels)}"] if task.labels else []
    if task.labels:
        lines += [f"label_descriptions = {_list(task.label_descriptions)}  # what they mean, in the same order"]
    lines += [""]
    other = ' or "macro_f1":' if task.metric == "accuracy" else ""
    lines += [f'metric = "{task.metric}"  #{other} chooses the best dev checkpoint']
    lines += [f"max_length = {task.max_length}  # tokens; longer texts are cut"]
    for split, card in task.splits.items():
        lines += ["", f"[splits.{split}]", f"file = {_text(card.file)}"]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"
