"""What one's own rows are, in words: rows by split and label, how dev was held out, and what looks like a mistake."""

import unicodedata
from collections.abc import Mapping

import numpy as np

from clue_bench.doors.records import HeldOut
from clue_bench.numbers import count, counted, percent
from clue_bench.tasks.rows import LABELLED_SPLITS, UNLABELLED, Rows
from clue_bench.tasks.task import Task

MAX_LABELS_SHOWN = 12
MIN_ANSWERS = 20  # of which the first choice is surely right once


def about_rows(called: str, task: Task, rows: Mapping[str, Rows], held_out: HeldOut | None) -> list[str]:
    """Return in words how many rows each split and label has, how dev was held out, and what looks like a mistake."""
    counts = np.zeros(len(task.labels), dtype=np.int64)
    number = {label: place for place, label in enumerate(task.labels)}
    for part in rows.values():
        classes = part.labels[part.labels != UNLABELLED]
        if task.kind == "tags":
            classes = np.array([number[each.label] for of in part.entities for each in of], dtype=np.int64)
        counts += np.bincount(classes, minlength=len(task.labels))
    splits = ", ".join(f"{split} {len(part):,}" for split, part in rows.items())
    if task.kind == "span":
        return [f"{called}: rows: {splits}", *about_held_out(called, task, held_out)]
    shown = [f"{label} {count:,}" for label, count in zip(task.labels, counts, strict=True)]
    more = ", …" if len(shown) > MAX_LABELS_SHOWN else ""
    found = [f"{called}: rows: {splits}; {len(shown)} labels: {', '.join(shown[:MAX_LABELS_SHOWN])}{more}"]
    found += about_held_out(called, task, held_out)
    if task.kind == "tags" and "train" in rows and "dev" in rows:
        taught, asked = ({each.label for of in rows[split].entities for each in of} for split in LABELLED_SPLITS)
        if unknown := sorted(asked - taught):
            names = ", ".join(map(repr, unknown[:MAX_LABELS_SHOWN])) + ", …" * (len(unknown) > MAX_LABELS_SHOWN)
            found.append(f"warning: {called}: dev has entities of types that train has none of: {names}")
    if task.has_choices and not counts[0] and counts.sum() >= MIN_ANSWERS:
        found.append(
            f"warning: {called}: the first choice is never right, in {count(int(counts.sum()))} questions: "
            "answers that are numbers count from 0"
        )
    alike: dict[str, list[str]] = {}
    for label in task.labels:
        alike.setdefault(unicodedata.normalize("NFKC", label).lower(), []).append(label)
    found += [
        f"warning: {called}: labels that differ in case or width only: {', '.join(map(repr, same))}"
        for same in alike.values()
        if len(same) > 1
    ]
    lost = sum("\ufffd" in text for part in rows.values() for texts in part.texts for text in texts)
    if lost:
        found.append(f"warning: {called}: {counted(lost, 'text has', 'texts have')} U+FFFD where characters were lost")
    return found


def about_held_out(called: str, task: Task, held_out: HeldOut | None) -> list[str]:
    """Return in words how dev was held out, nothing where it was not."""
    if held_out is None:
        return []
    share = percent(held_out.share, 0)
    decides = f"with seed {held_out.seed}; a column 'split' (train, dev, test) decides otherwise"
    if task.kind == "classification":
        return [f"{called}: dev was held out: {share} of the rows of each label, no text in both, {decides}"]
    if task.kind == "tags":
        return [f"{called}: dev was held out: {share} of the rows, no text in both, {decides}"]
    return [f"{called}: dev was held out: {share} of the rows, no passage in both, {decides}"]
