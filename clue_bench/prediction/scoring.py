"""Score predictions that anybody made on a split with labels: the task's official metric, with its interval.

Input: a file of predictions (`given_predictions`), a task and its data. Output: the scores, the official one first, and
what is scored without looking at the rows: the majority class, or chance.

    classification   the card's metric, accuracy or macro-F1, the other one, and the accuracy on rows that training does
                     not repeat, where it repeats some and is at hand
    choice, cloze    accuracy; labels are the numbers of choices from 0. CLUE's baseline fills up to four choices, so
                     that a number up to 3 that names no choice is wrong, and counted
    span             exact match, which is CLUE's score, and F1, both by the official definition
    tags             macro-F1 over the types of entities of the right type and place; the same of type and text alone,
                     as CLUENER's score.py counts, for which an entity that a text names twice is one; the share of
                     texts without a fault; the F1 of each type

Intervals are over rows, of questions over whole passages: another sample of the same size.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from clue_bench.doors.records import DataFacts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.metrics.spans import span_score
from clue_bench.finetuning.score import Classes, score
from clue_bench.numbers import count, percent
from clue_bench.prediction.given_predictions import GivenPredictions, in_order, read_given
from clue_bench.stats.entity_scores import entity_f1, entity_f1_interval
from clue_bench.stats.score_intervals import grouped_interval, macro_f1_interval
from clue_bench.stats.significance import ConfidenceInterval, accuracy_interval
from clue_bench.tasks.entities import Entity, count_entities, spelled_entities, stated_entities
from clue_bench.tasks.files import describe, locate
from clue_bench.tasks.own import data_folder
from clue_bench.tasks.rows import UNLABELLED, Rows, read_split, repeated_rows
from clue_bench.tasks.task import Task

MAX_NAMED = 5  # unknown labels in an error


class Metric(NamedTuple):
    """A score as a share of 1; `key` is its name in JSON. An interval is given for official metrics and accuracies."""

    name: str
    key: str
    value: float
    interval: ConfidenceInterval | None


class Guess(NamedTuple):
    """What an answer that looks at no row scores: always `label`, or chance, as a share of 1."""

    label: str | None
    share: float


@dataclass(frozen=True)
class Scored:
    """The scores of predictions on a split, the official one first. `revision` is of the data, or md5 of files."""

    task: str
    split: str
    rows: int
    metrics: tuple[Metric, ...]
    guess: Guess | None
    revision: str
    md5: dict[str, str]
    notes: list[str] = field(default_factory=list)


def score_task(path: Path, task: Task, split: str, data: Any) -> Scored:
    """Score predicted labels or answers against a split of a task; `data` is that of `data_folder`.

    Raises ClueBenchError.
    """
    what = f"{task.name} {split}"
    if split not in task.splits:
        raise ClueBenchError(f"{task.name} has no split '{split}'", f"give one of {', '.join(task.splits)}")
    with data_folder(task, data) as folder:
        rows = read_split(task, split, folder)
        facts = describe(task, folder, {split: rows.facts})
        has_train = split != "train" and locate(task, "train", folder) is not None
        by_split = {"train": read_split(task, "train", folder), split: rows} if has_train else {}
    is_known = rows.labels != UNLABELLED
    if not is_known.any():
        if task.kind == "span":
            raise ClueBenchError(f"{what}: no answers to score against", "give --split dev")
        raise ClueBenchError(f"{what}: no labels to score against", "give --split dev")
    given = read_given(path, are_entities=task.kind == "tags")
    ids = [str(each) for each in rows.ids]
    if len(set(ids)) != len(ids):
        twice = next(each for each, times in Counter(ids).items() if times > 1)
        raise ClueBenchError(f"{what}: id '{twice}' stands for several rows of the data", "give rows ids of their own")
    if task.kind == "span":
        return _score_answers(given, rows, task, split, facts)
    if task.kind == "tags":
        is_clean = ~repeated_rows(by_split, split) if has_train else np.ones(len(rows), dtype=np.bool_)
        return _score_entities(given, rows, task, split, facts, is_clean=is_clean)
    left_out = [*map(str, rows.dropped_ids), *(each for each, known in zip(ids, is_known, strict=True) if not known)]
    expected = [each for each, known in zip(ids, is_known, strict=True) if known]
    places, notes = in_order(given, expected, what=what, left_out=left_out, by_id=task.kind == "cloze")
    gold = rows.labels[is_known]
    _check_gold(given, places, [(task.labels[each],) for each in gold], what)
    predicted = rows.first_equal(_classes(given, places, task, rows.labels))[is_known]
    found = score(gold, predicted)
    right = predicted == gold
    clean = right[~repeated_rows(by_split, split)[is_known]] if has_train else right
    if rows.choices_from:
        of_passages = grouped_interval(right.astype(np.float64), rows.passages[is_known])
        metrics = [Metric("accuracy", "accuracy", found.accuracy, of_passages)]
    else:
        is_macro = task.metric == "macro_f1"
        metrics = [
            Metric("accuracy", "accuracy", found.accuracy, accuracy_interval(right)),
            Metric("macro-F1", "macro_f1", found.macro_f1, macro_f1_interval(gold, predicted) if is_macro else None),
        ]
        metrics = metrics[::-1] if is_macro else metrics
    if 0 < len(clean) < len(right):
        name = f"on the {count(len(clean))} rows not in training"
        metrics.append(Metric(name, "clean_accuracy", float(clean.mean()), accuracy_interval(clean)))
    majority = Guess(task.labels[found.majority_class], found.majority_share)
    if rows.choices_from:
        choices = np.array([len(texts) - rows.choices_from for texts in rows.texts])[is_known]
        beyond = int((predicted >= choices).sum())
        notes += [f"{path}: choices that the question does not have, which are wrong: {beyond:,}"] * bool(beyond)
        majority = Guess(None, float((1 / choices).mean()))
    elif found.hits_majority:
        top, share = task.labels[found.top_class], percent(found.top_share, 1)
        notes.append(
            f"warning: majority class: {share} of the predictions are '{top}', and "
            f"always answering '{majority.label}' scores {percent(majority.share)}"
        )
    return Scored(
        task.name,
        split,
        len(gold),
        tuple(metrics),
        majority,
        facts.revision,
        {"+".join([task.splits[split].file, *task.splits[split].more_files]): rows.facts.md5},
        [*rows.notes, *notes],
    )


def _check_gold(given: GivenPredictions, places: list[int], gold: Sequence[Sequence[str]], what: str) -> None:
    """Raise ClueBenchError if the file states other right labels or answers than the data: it is of other rows."""
    stated = [given.gold[place] for place in places]
    differing = [number for number, (a, b) in enumerate(zip(stated, gold, strict=True)) if a is not None and a not in b]
    if differing:
        first = differing[0]
        raise ClueBenchError(
            f"{given.path}: its right answers are not those of {what} in {len(differing):,} of {len(gold):,} rows, "
            f"first of id '{given.ids[places[first]]}': '{stated[first]}', in the data '{gold[first][0]}'",
            "give the data that were predicted: --data FOLDER",
        )


def _classes(given: GivenPredictions, places: list[int], task: Task, gold: Classes) -> Classes:
    """Return the predicted classes of all rows; those without a gold label are left as they are."""
    number_of = {label: number for number, label in enumerate(task.labels)}
    answers = [given.answers[place] for place in places]
    if unknown := Counter(answer for answer in answers if answer not in number_of):
        if task.has_choices:
            _refuse(given, unknown, f"the numbers 0 to {len(task.labels) - 1}", "give the number of the choice, from 0")
        _refuse(given, unknown, f"{task.name}'s {len(task.labels)} labels", task.labels_hint)
    classes = gold.copy()
    classes[gold != UNLABELLED] = [number_of[answer] for answer in answers]
    return classes


def _refuse(given: GivenPredictions, unknown: "Counter[str]", known: str, hint: str) -> NoReturn:
    named = ", ".join(f"'{label}' ({times:,})" for label, times in unknown.most_common(MAX_NAMED))
    more = ", …" if len(unknown) > MAX_NAMED else ""
    raise ClueBenchError(f"{given.path}: {unknown.total():,} predictions are none of {known}: {named}{more}", hint)


def _score_answers(given: GivenPredictions, rows: Rows, task: Task, split: str, facts: DataFacts) -> Scored:
    """Score answers to questions on passages. Raises ClueBenchError."""
    asked = np.flatnonzero(rows.labels != UNLABELLED)
    expected = [str(rows.ids[row]) for row in asked]
    left_out = [str(each) for row, each in enumerate(rows.ids) if rows.labels[row] == UNLABELLED]
    left_out += map(str, rows.dropped_ids)
    what = f"{task.name} {split}"
    places, notes = in_order(given, expected, what=what, left_out=left_out, by_id=True)
    answers = [given.answers[place] for place in places]
    right = [[each.text for each in rows.answers[row]] for row in asked]
    _check_gold(given, places, right, what)
    shares = np.array([span_score(*each) for each in zip(answers, right, strict=True)])
    passages = rows.passages[asked]
    metrics = tuple(
        Metric(name, key, float(column.mean()), grouped_interval(column, passages))
        for (name, key), column in zip([("exact match", "exact_match"), ("F1", "f1")], shares.T, strict=True)
    )
    empty = sum(not answer for answer in answers)
    faults = [f"{given.path}: empty answers: {empty:,}"] * bool(empty)
    md5 = {task.splits[split].file: rows.facts.md5}
    return Scored(task.name, split, len(asked), metrics, None, facts.revision, md5, [*rows.notes, *notes, *faults])


def _score_entities(
    given: GivenPredictions, rows: Rows, task: Task, split: str, facts: DataFacts, *, is_clean: npt.NDArray[np.bool_]
) -> Scored:
    """Score the entities of texts. Raises ClueBenchError."""
    asked = np.flatnonzero(rows.labels != UNLABELLED)
    left_out = [str(each) for row, each in enumerate(rows.ids) if rows.labels[row] == UNLABELLED]
    what = f"{task.name} {split}"
    places, notes = in_order(given, [str(rows.ids[row]) for row in asked], what=what, left_out=left_out)
    texts, right = [rows.texts[row][0] for row in asked], [rows.entities[row] for row in asked]
    _check_gold(given, places, [(spelled_entities(*each),) for each in zip(right, texts, strict=True)], what)
    if unanswered := [given.ids[place] for place in places if not given.answers[place]]:
        raise ClueBenchError(
            f"{given.path}: rows without an answer: {len(unanswered):,}, first of id '{unanswered[0]}'",
            "write an empty object for a text without entities",
        )
    stated = [stated_entities(given.answers[place], f"{given.path}, id '{given.ids[place]}'") for place in places]
    if unknown := Counter(label for each in stated for label, *_ in each if label not in task.labels):
        _refuse(given, unknown, f"{task.name}'s {len(task.labels)} labels", task.labels_hint)
    found = [{Entity(first, last, label) for label, _, first, last in each} for each in stated]
    counts = count_entities(found, right, task.labels)
    named = [
        {(text[each.first : each.last + 1], each.label) for each in of} for text, of in zip(texts, right, strict=True)
    ]
    by_text = count_entities([{(words, label) for label, words, *_ in each} for each in stated], named, task.labels)
    whole = np.array([ours == set(theirs) for ours, theirs in zip(found, right, strict=True)])
    metrics = [
        Metric("macro-F1", "entity_f1", entity_f1(counts), entity_f1_interval(counts)),
        Metric("by type and text alone", "entity_text_f1", entity_f1(by_text), entity_f1_interval(by_text)),
        Metric("texts with all entities right", "accuracy", float(whole.mean()), accuracy_interval(whole)),
    ]
    clean = is_clean[asked]
    if not clean.all() and counts[clean].any():
        name = f"on the {count(int(clean.sum()))} rows not in training"
        metrics.append(Metric(name, "clean_entity_f1", entity_f1(counts[clean]), entity_f1_interval(counts[clean])))
    known = [place for place in range(len(task.labels)) if counts[:, place].any()]
    metrics += [Metric(f"F1 of {task.labels[n]}", task.labels[n], entity_f1(counts[:, [n]]), None) for n in known]
    wrong = sum(
        text[first : last + 1] != words
        for text, each in zip(texts, stated, strict=True)
        for _, words, first, last in each
    )
    if wrong:
        notes.append(f"{given.path}: entities that do not stand at their place, where they are scored: {wrong:,}")
    md5 = {task.splits[split].file: rows.facts.md5}
    return Scored(task.name, split, len(asked), tuple(metrics), None, facts.revision, md5, [*rows.notes, *notes])
