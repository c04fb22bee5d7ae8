"""The baselines of questions whose answer stands in a passage, and of blanks with candidates. No torch.

Input: rows. Output: `Fitted`. `baselines` says what they answer.
"""

import hashlib
import re
from collections import Counter

import numpy as np

from clue_bench.finetuning.blanks import Assignment, Lines, assigned
from clue_bench.finetuning.linear_baselines import Fitted, log_softmax, weighted
from clue_bench.finetuning.score import Answered, FoundClasses, FoundSpans
from clue_bench.finetuning.windows import FoundAnswer
from clue_bench.tasks.rows import Rows

SENTENCE_TEMPERATURE = 0.1  # of cosines, for probabilities of sentences and idioms
AROUND = 50  # characters on either side of a blank


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
        of_split = weighted(around)
        owners = sparse.csr_matrix((np.ones(len(right)), ([number[i] for i in right], np.arange(len(right)))))
        means = normalize(owners @ of_split["train"])
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
                values = np.where(known >= 0, (means[known] @ of_split[split][row].T).toarray()[:, 0], 0.0)
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
    of_split = weighted(
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
            cosines = (of_split[split][begin : begin + len(choices)] @ of_split[split][number].T).toarray()[:, 0]
            shares = np.exp(log_softmax(cosines[None].astype(np.float64) / SENTENCE_TEMPERATURE))[0]
            order = np.argsort(-shares, kind="stable")
            found.append(tuple(_sentence(choices[n], float(shares[n])) for n in order))
        answers[split] = FoundSpans(found)
    return Fitted(answers, parameters=0, weights_sha256=hashlib.sha256(b"").hexdigest(), choices={})


def _sentence(found: re.Match[str], share: float) -> FoundAnswer:
    text = found[0].rstrip("。！？!?；; ")
    return FoundAnswer(text.lstrip(), found.start() + len(text) - len(text.lstrip()), round(share, 6))
