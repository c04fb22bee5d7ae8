"""The no-pretraining baselines of a task: simple models, run and recorded like a fine-tuned one. No torch.

Input: a task and its rows. Output: predictions of dev and every test split, and a run record (door 3) whose model says
`is_floor`, so that a leaderboard can mark what does not beat it. A baseline takes seconds; a completed one is not
repeated.

majority  the most frequent class of train; probabilities are the classes' shares in train, one added to every count
tfidf     TF-IDF of character 1- to 3-grams and a linear support vector machine per class, by scikit-learn

For pairs, a bag of the n-grams of both texts says little: what matters is what they share. The linear model gets three
blocks, the n-grams in both (the smaller of the two weights), the rest of the first and the rest of the second, and six
numbers: cosine, shared weight over all and over either side's, and the log ratio of lengths with its absolute value.

For questions with choices, the linear model scores each choice by its overlap with the passage, with the question and
with both, six numbers each, and learns from the differences between the right choice and the others.

For spans of a passage, nothing is trained: the answer is the sentence with the largest cosine to the question; and the
majority class is the answer that is the most frequent one in train, whatever the passage says.

For blanks, the majority class is the candidate that train has most often; and the linear model is the one whose mean
surroundings in train have the largest cosine to the blank's.

C and the temperature that turns margins into probabilities are chosen on dev, like a fine-tuned model's checkpoint and
settings: without that advantage, a baseline would be easier to beat than it looks. It has no other advantage.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench import versions
from clue_bench.doors import records
from clue_bench.doors.predictions import are_as_written
from clue_bench.doors.records import MAJORITY_CLASS, BaselineRecord, ModelFacts, write_record
from clue_bench.doors.results import BaselineResults, RowBits
from clue_bench.errors import ClueBenchError, nearest
from clue_bench.finetuning.blanks import Assignment, Lines, assigned
from clue_bench.finetuning.score import (
    Answered,
    Classes,
    Floats,
    FoundClasses,
    FoundSpans,
    SavedPredictions,
    save_predictions,
    score,
)
from clue_bench.finetuning.windows import FoundAnswer
from clue_bench.tasks.rows import Rows, describe_rows
from clue_bench.tasks.task import Task
from clue_bench.training import hardware

NGRAMS = (1, 3)
MIN_DF = 2  # texts that an n-gram must stand in
TOLERANCE = 0.01  # of liblinear, whose time is most of a baseline's
# TNEWS, CMNLI and CSL do best inside the range. Nothing is lost at its edges: IFLYTEK, best at 1, falls from 57.95 to
# 57.71 % at 3; AFQMC, best at 0.1, rises below that to the majority class's score and no higher.
CHOICES_OF_C = (0.1, 0.3, 1.0)
SENTENCE_TEMPERATURE = 0.1  # of cosines, for probabilities of sentences and idioms
AROUND = 50  # characters on either side of a blank
TEMPERATURES = np.geomspace(0.01, 10.0, 61)
NOT_THIS_CLASS = -1.0  # margin on the far side of a support vector machine

SPECIFICATIONS: dict[str, dict[str, Any]] = {
    "majority": {"floor": "majority", "added_to_counts": 1},
    "tfidf": {
        "floor": "tfidf",
        "ngrams": list(NGRAMS),
        "min_df": MIN_DF,
        "sublinear_tf": True,
        "pairs": "n-grams in both, in the first only, in the second only; cosine, three overlaps, two length ratios",
        "classifier": "LinearSVC",
        "tolerance": TOLERANCE,
        "C": list(CHOICES_OF_C),
        "chosen_on": "dev",
    },
}
"""What determines a baseline's numbers besides data and seed; change it with the code, so that runs get new names."""

FLOORS = ("majority", "tfidf")


class Fitted(NamedTuple):
    """A trained baseline: its answers by split, and what it took.

    `parameters` counts coefficients and intercepts; `choices` holds what was tried and chosen.
    """

    answers: dict[str, Answered]
    parameters: int
    weights_sha256: str
    choices: dict[str, Any]


def _by_class(log_shares: dict[str, Floats]) -> dict[str, Answered]:
    """Return the answers that log-probabilities (rows, classes) of each split mean."""
    return {split: FoundClasses(shares.argmax(axis=1), np.exp(shares)) for split, shares in log_shares.items()}


def floor_run_id(task: Task, rows: dict[str, Rows], *, kind: str, seed: int) -> str:
    """Return task, kind, a hash of specification, card and data, and the seed. Raises ClueBenchError: unknown kind."""
    identity = {
        "task": task.model_dump(mode="json"),
        "specification": _specification(kind),
        "data": {split: part.facts.md5 for split, part in rows.items()},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"finetune-{task.name}-floor-{kind}-{digest}-s{seed}"


def completed_floor(out: Path, run_id: str) -> BaselineRecord | None:
    """Return the record of this very run if `out` holds it, complete, with its predictions.

    Raises ClueBenchError if the folder holds another run.
    """
    record = records.completed_record(out, run_id, BaselineRecord)
    if record is not None and are_as_written(out, record.completed_results):
        return record
    return None


def run_floor(
    task: Task, rows: dict[str, Rows], *, data: Path, kind: str, seed: int, out: Path, asked: dict[str, Any]
) -> BaselineRecord:
    """Train the baseline `kind`, predict and write everything to `out`, unless that was done before; return its record.

    `data` is the folder that `rows` were read from; `seed` sets liblinear's order and does not affect the majority
    class. Raises ClueBenchError (recorded as failed).
    """
    run_id = floor_run_id(task, rows, kind=kind, seed=seed)
    done = completed_floor(out, run_id)
    if done is not None:
        return done
    started = time.perf_counter()
    record = _record(task, rows, data=data, kind=kind, seed=seed, asked=asked)
    write_record(out, record)
    try:
        fitted = _fit(task, rows, kind=kind, seed=seed)
        train_seconds = time.perf_counter() - started
        predicted = save_predictions(out, task, rows, fitted.answers.items())
        results, hits_majority = _results(task, rows, fitted, train_seconds, predicted)
    except ClueBenchError as error:
        seconds = time.perf_counter() - started
        records.write_failed(out, record, error=error.message, finished_at=versions.now(), wall_seconds=seconds)
        raise
    completed = record.model_copy(
        update={
            "status": "completed",
            "finished_at": versions.now(),
            "wall_seconds": time.perf_counter() - started,
            "model": record.model.model_copy(update={"parameters": fitted.parameters}),
            "results": results,
            "flags": [MAJORITY_CLASS] if hits_majority else [],
        }
    )
    write_record(out, completed)
    return completed


def _specification(kind: str) -> dict[str, Any]:
    if kind not in FLOORS:
        raise ClueBenchError(f"no floor '{kind}': {nearest(kind, FLOORS)}", f"give one of {', '.join(FLOORS)}")
    return SPECIFICATIONS[kind]


def _record(
    task: Task, rows: dict[str, Rows], *, data: Path, kind: str, seed: int, asked: dict[str, Any]
) -> BaselineRecord:
    """Return the record of a run that has begun.

    The model's hash is that of its specification: a baseline is one model, a row of the board, whatever the task.
    """
    specification = _specification(kind)
    return BaselineRecord(
        run_id=floor_run_id(task, rows, kind=kind, seed=seed),
        status="interrupted",
        started_at=versions.now(),
        asked=asked,
        effective=specification,
        seed=seed,
        task=task.facts,
        data=describe_rows(task, data, rows),
        model=ModelFacts(
            name=f"floor-{kind}",
            parameters=0,
            sha256=hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest(),
            layers=0,
            hidden_size=0,
            is_floor=True,
        ),
        code=versions.describe_code(),
        packages=versions.describe_packages(),
        hardware=hardware.describe_hardware(),
    )


def _fit(task: Task, rows: dict[str, Rows], *, kind: str, seed: int) -> Fitted:
    if task.kind == "cloze":
        return fit_idioms(rows, kind=kind, assignment=task.assignment, num_candidates=len(task.labels))
    if task.kind == "span":
        return find_usual(rows) if kind == "majority" else find_sentences(rows)
    if kind == "majority":
        return fit_majority(rows, num_classes=len(task.labels))
    featurized = featurize_choices(rows, num_choices=len(task.labels)) if task.has_choices else featurize(rows)
    return fit_tfidf(rows, featurized, num_classes=len(task.labels), metric=task.metric, seed=seed)


def _results(
    task: Task, rows: dict[str, Rows], fitted: Fitted, train_seconds: float, predicted: SavedPredictions
) -> tuple[BaselineResults, bool]:
    """Return the record's results, and whether dev is no better than the majority class."""
    dev = fitted.answers["dev"].scores(rows["dev"], task)
    results = BaselineResults(
        dev=dev,
        best_step=0,  # no steps: scored once, when trained
        best_epoch=0,
        total_steps=0,
        evaluations=[],
        **fitted.choices,
        weights_sha256=fitted.weights_sha256,
        peak_memory_mib=hardware.peak_memory_mib(),
        train_seconds=train_seconds,
        **predicted._asdict(),
    )
    return results, dev.hits_majority


def fit_majority(rows: dict[str, Rows], *, num_classes: int) -> Fitted:
    """Predict the majority class of train for every row; of equally frequent ones, the first on the card."""
    counts = np.bincount(rows["train"].labels, minlength=num_classes) + 1.0
    row = np.log(counts / counts.sum())
    log_shares = {split: np.tile(row, (len(part), 1)) for split, part in rows.items() if split != "train"}
    sha256 = hashlib.sha256(counts.tobytes()).hexdigest()
    return Fitted(_by_class(log_shares), parameters=0, weights_sha256=sha256, choices={})


def find_usual(rows: dict[str, Rows]) -> Fitted:
    """Answer every question by the most frequent answer of train, where it first stands, or at the beginning."""
    counts = Counter(right[0].text for right in rows["train"].answers)
    text, times = counts.most_common(1)[0]
    share = times / counts.total()
    answers: dict[str, Answered] = {
        split: FoundSpans([(FoundAnswer(text, max(texts[0].find(text), 0), share),) for texts in part.texts])
        for split, part in rows.items()
        if split != "train"
    }
    return Fitted(answers, parameters=0, weights_sha256=hashlib.sha256(text.encode()).hexdigest(), choices={})


def fit_idioms(rows: dict[str, Rows], *, kind: str, assignment: Assignment, num_candidates: int) -> Fitted:
    """Fill blanks with the candidate that train has most often, or whose surroundings in train are the most similar.

    Raises ClueBenchError if no n-gram of train stands in two texts.
    """
    right = [
        texts[part.choices_from + n]
        for part in [rows["train"]]
        for texts, n in zip(part.texts, part.labels, strict=True)
    ]
    number = {idiom: n for n, idiom in enumerate(dict.fromkeys(right))}
    counts = np.bincount([number[idiom] for idiom in right])
    if kind == "tfidf":
        from scipy import sparse
        from sklearn.preprocessing import normalize

        around = {
            split: [texts[0][-AROUND:] + texts[1][:AROUND] for texts in part.texts] for split, part in rows.items()
        }
        weighted = _weighted(around)
        owners = sparse.csr_matrix((np.ones(len(right)), ([number[i] for i in right], np.arange(len(right)))))
        means = normalize(owners @ weighted["train"])
    answers: dict[str, Answered] = {}
    for split, part in rows.items():
        if split == "train":
            continue
        scores = np.full((len(part), num_candidates), -1e9)
        for row, texts in enumerate(part.texts):
            candidates = [number.get(each, -1) for each in texts[part.choices_from :]]
            known = np.array(candidates)
            if kind == "majority":
                values = np.where(known >= 0, np.log1p(counts[known]), 0.0)
            else:
                values = np.where(known >= 0, (means[known] @ weighted[split][row].T).toarray()[:, 0], 0.0)
                values = values / SENTENCE_TEMPERATURE
            scores[row, : len(candidates)] = values
        shares = log_softmax(scores)
        answers[split] = FoundClasses(assigned(shares, Lines(part.passages, assignment)), np.exp(shares))
    sha256 = hashlib.sha256(counts.tobytes() + kind.encode()).hexdigest()
    return Fitted(answers, parameters=0, weights_sha256=sha256, choices={})


_SENTENCE = re.compile(r"[^。！？!?；;\n]+[。！？!?；;]?")


def find_sentences(rows: dict[str, Rows]) -> Fitted:
    """Answer every question by the sentence of the passage with the largest cosine to it, without its full stop.

    Raises ClueBenchError if no n-gram of train stands in two texts.
    """
    asked = {split: [texts[1] for texts in part.texts] for split, part in rows.items()}
    passages = {split: dict.fromkeys(texts[0] for texts in part.texts) for split, part in rows.items()}
    sentences = {
        text: list(_SENTENCE.finditer(text)) or list(re.finditer("(?s).*", text))[:1]
        for each in passages.values()
        for text in each
    }
    weighted = _weighted(
        {split: [*asked[split], *(found[0] for text in passages[split] for found in sentences[text])] for split in rows}
    )
    answers: dict[str, Answered] = {}
    for split, part in rows.items():
        if split == "train":
            continue
        sizes = [len(sentences[text]) for text in passages[split]]
        begins = dict(zip(passages[split], np.cumsum([len(part), *sizes]), strict=False))
        found = []
        for number, (context, _) in enumerate(part.texts):
            choices, begin = sentences[context], begins[context]
            cosines = (weighted[split][begin : begin + len(choices)] @ weighted[split][number].T).toarray()[:, 0]
            shares = np.exp(log_softmax(cosines[None].astype(np.float64) / SENTENCE_TEMPERATURE))[0]
            order = np.argsort(-shares, kind="stable")
            found.append(tuple(_sentence(choices[n], float(shares[n])) for n in order))
        answers[split] = FoundSpans(found)
    return Fitted(answers, parameters=0, weights_sha256=hashlib.sha256(b"").hexdigest(), choices={})


def _sentence(found: re.Match[str], share: float) -> FoundAnswer:
    text = found[0].rstrip("。！？!?；; ")
    return FoundAnswer(text.lstrip(), found.start() + len(text) - len(text.lstrip()), round(share, 6))


class Features(NamedTuple):
    """Of train, what the linear model is fitted on; of other splits, what its margins are computed from."""

    train: Any
    labels: Classes
    others: dict[str, Any]
    exists: dict[str, npt.NDArray[np.bool_]] | None = None  # (rows, choices), of questions with choices


def fit_tfidf(rows: dict[str, Rows], features: Features, *, num_classes: int, metric: str, seed: int) -> Fitted:
    """Train the linear model with the C that does best on dev by `metric`; among equals, the smallest C.

    Raises ClueBenchError if train holds one class only, or texts without a repeated n-gram.
    """
    from sklearn.svm import LinearSVC

    labels, gold = features.labels, rows["dev"].labels
    if len(set(labels.tolist())) < 2:
        raise ClueBenchError(
            "train holds rows of one class only; a linear model needs two",
            "run clue-bench data audit to examine the data",
        )
    tried, best, best_value = [], None, -1.0
    for c in CHOICES_OF_C:
        model = LinearSVC(C=c, tol=TOLERANCE, random_state=seed).fit(features.train, labels)
        chosen = _margins(model, features, "dev", num_classes=num_classes).argmax(axis=1)
        scores, right = score(gold, chosen), RowBits.pack(chosen == gold)
        tried.append({"C": c, "accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "right": right})
        if (value := float(getattr(scores, metric))) > best_value:
            best, best_value = model, value
    assert best is not None
    outside = {split: _margins(best, features, split, num_classes=num_classes) for split in features.others}
    losses = [log_loss(log_softmax(outside["dev"] / t), gold) for t in TEMPERATURES]
    temperature = float(TEMPERATURES[int(np.argmin(losses))])
    return Fitted(
        _by_class({split: log_softmax(part / temperature) for split, part in outside.items()}),
        parameters=int(best.coef_.size + best.intercept_.size),
        weights_sha256=hashlib.sha256(best.coef_.tobytes() + best.intercept_.tobytes()).hexdigest(),
        choices={"tried": tried, "C": best.C, "temperature": temperature, "num_features": int(best.coef_.shape[1])},
    )


def featurize(rows: dict[str, Rows]) -> Features:
    """Return sparse features (rows, features) by split; n-grams and their weights are those of train.

    Raises ClueBenchError if no n-gram of train stands in two texts.
    """
    # All first texts, then all second ones.
    sides = {split: [text for side in zip(*part.texts, strict=True) for text in side] for split, part in rows.items()}
    found = {
        split: matrix if len(sides[split]) == len(rows[split]) else pair_features(matrix, rows[split].texts)
        for split, matrix in _weighted(sides).items()
    }
    return Features(found.pop("train"), rows["train"].labels, found)


def featurize_choices(rows: dict[str, Rows], *, num_choices: int) -> Features:
    """Return features of choices: how each overlaps with the texts before it, apart and together.

    Train has the differences between the right choice and each other one, and these differences turned round.
    """
    whole = {split: [(*each, "".join(each)) for each in _asked(part)] for split, part in rows.items()}
    choices = {
        split: [(n, c) for n, row in enumerate(part.texts) for c in row[part.choices_from :]]
        for split, part in rows.items()
    }
    weighted = _weighted(
        {split: [*(c for _, c in choices[split]), *(t for each in whole[split] for t in each)] for split in rows}
    )
    found, exists = {}, {}
    for split, part in rows.items():
        of_choices, owners = weighted[split][: len(choices[split])], np.array([n for n, _ in choices[split]])
        texts = weighted[split][len(choices[split]) :]
        kinds = len(whole[split][0])
        blocks = [
            _measures(
                of_choices,
                texts[owners * kinds + kind],
                [(choice, whole[split][owner][kind]) for owner, choice in choices[split]],
            )
            for kind in range(kinds)
        ]
        sizes = np.array([len(row) - part.choices_from for row in part.texts])
        exists[split] = np.arange(num_choices) < sizes[:, None]
        full = np.zeros((len(part), num_choices, 6 * kinds), dtype=np.float32)
        full[exists[split]] = np.concatenate(blocks, axis=1)
        found[split] = full
    train, there = found.pop("train"), exists.pop("train")
    right = rows["train"].labels
    others = there & (np.arange(num_choices) != right[:, None])
    differences = (train[np.arange(len(right)), right][:, None] - train)[others]
    signs = np.repeat([1, 0], len(differences))
    return Features(np.concatenate([differences, -differences]), signs, found, exists)


def _asked(part: Rows) -> list[tuple[str, ...]]:
    return [row[: part.choices_from] for row in part.texts]


def _weighted(texts: dict[str, list[str]]) -> dict[str, Any]:
    """Return the TF-IDF weights (texts, n-grams) of each split's texts, those of train first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=NGRAMS, min_df=MIN_DF, sublinear_tf=True, dtype=np.float32
    )
    try:
        found = {"train": vectorizer.fit_transform(texts["train"])}
    except ValueError as error:  # scikit-learn raises it if no n-gram is left
        raise ClueBenchError(f"train: no features: {error}", "run clue-bench data audit to examine the data") from error
    return found | {split: vectorizer.transform(each) for split, each in texts.items() if split != "train"}


def pair_features(matrix: Any, texts: list[tuple[str, ...]]) -> Any:
    """Return the linear model's features of pairs; `matrix` holds the first texts, then the second ones."""
    from scipy import sparse

    first, second = matrix[: len(texts)], matrix[len(texts) :]
    both = first.minimum(second)
    return sparse.hstack(
        [both, first - both, second - both, sparse.csr_matrix(_measures(first, second, texts))], format="csr"
    )


def _measures(first: Any, second: Any, texts: Sequence[tuple[str, ...]]) -> npt.NDArray[np.float32]:
    """Return the six numbers (pairs, 6) that say how much of two texts is the same; `first` and `second` weigh them."""
    both = first.minimum(second)
    of_first, of_second, of_both = (np.asarray(part.sum(axis=1)).ravel() for part in (first, second, both))
    lengths = np.array([[len(text) + 1 for text in pair] for pair in texts], dtype=np.float32)
    ratio = np.log(lengths[:, 0] / lengths[:, 1])
    tiny = np.finfo(np.float32).tiny  # texts that have only unknown n-grams weigh nothing
    numbers = [
        np.asarray(first.multiply(second).sum(axis=1)).ravel(),
        of_both / np.maximum(of_first + of_second - of_both, tiny),
        of_both / np.maximum(of_first, tiny),
        of_both / np.maximum(of_second, tiny),
        ratio,
        np.abs(ratio),
    ]
    return np.stack(numbers, axis=1).astype(np.float32)


def _margins(model: Any, features: Features, split: str, *, num_classes: int) -> Floats:
    """Return a margin per row and class of a split; a choice that a question does not have gets none that counts."""
    part = features.others[split]
    if features.exists is None:
        return margins(model, part, num_classes=num_classes)
    return np.where(features.exists[split], part @ model.coef_[0].astype(np.float64), -1e9)


def margins(model: Any, features: Any, *, num_classes: int) -> Floats:
    """Return a margin per row and class (rows, classes); a class that train lacks gets no row's largest."""
    decided = np.asarray(model.decision_function(features), dtype=np.float64)
    if decided.ndim == 1:  # two classes: one margin, of the second
        decided = np.stack([-decided, decided], axis=1)
    lowest = np.minimum(decided.min(axis=1, keepdims=True), NOT_THIS_CLASS)
    full = np.repeat(lowest, num_classes, axis=1)
    full[:, model.classes_] = decided
    return full


def log_softmax(logits: Floats) -> Floats:
    """Return log-probabilities (rows, classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def log_loss(log_shares: Floats, gold: Classes) -> float:
    """Return the mean negative log-probability of the right class, in nats."""
    return float(-log_shares[np.arange(len(gold)), gold].mean())
