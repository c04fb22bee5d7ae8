"""The baselines that classes are predicted by: the majority class, and a linear model on TF-IDF. No torch.

Input: rows. Output: `Fitted`. `baselines` says what the features are.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clue_bench.doors.results import RowBits
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.score import Answered, Classes, Floats, FoundClasses, score
from clue_bench.tasks.rows import Rows

NGRAMS = (1, 3)
MIN_DF = 2  # texts that an n-gram must stand in
TOLERANCE = 0.01  # of liblinear, whose time is most of a baseline's
# TNEWS, CMNLI and CSL do best inside the range. Nothing is lost at its edges: IFLYTEK, best at 1, falls from 57.95 to
# 57.71 % at 3; AFQMC, best at 0.1, rises below that to the majority class's score and no higher.
CHOICES_OF_C = (0.1, 0.3, 1.0)
TEMPERATURES = np.geomspace(0.01, 10.0, 61)
NOT_THIS_CLASS = -1.0  # margin on the far side of a support vector machine


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


def fit_majority(rows: dict[str, Rows], *, num_classes: int) -> Fitted:
    """Predict the majority class of train for every row; of equally frequent ones, the first on the card."""
    counts = np.bincount(rows["train"].labels, minlength=num_classes) + 1.0
    row = np.log(counts / counts.sum())
    log_shares = {split: np.tile(row, (len(part), 1)) for split, part in rows.items() if split != "train"}
    sha256 = hashlib.sha256(counts.tobytes()).hexdigest()
    return Fitted(_by_class(log_shares), parameters=0, weights_sha256=sha256, choices={})


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
        for split, matrix in weighted(sides).items()
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
    of_split = weighted(
        {split: [*(c for _, c in choices[split]), *(t for each in whole[split] for t in each)] for split in rows}
    )
    found, exists = {}, {}
    for split, part in rows.items():
        of_choices, owners = of_split[split][: len(choices[split])], np.array([n for n, _ in choices[split]])
        texts = of_split[split][len(choices[split]) :]
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


def weighted(texts: dict[str, list[str]]) -> dict[str, Any]:
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
