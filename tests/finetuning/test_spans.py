"""Scores of answers: values of CMRC2018's official script, and what the other two definitions make of the same."""

import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.metrics.spans import span_score

# Predicted, right, and exact match and F1 as the official script printed them (with NLTK 3.10.4 and its data).
OFFICIAL = [
    ("光荣和ω-force", ["光荣和ω-force"], 1, 1.0),
    ("光荣", ["光荣和ω-force"], 0, 2 / 3),
    ("《战国无双3》", ["战国无双3"], 1, 1.0),
    ("战国无双", ["无双战国"], 0, 0.5),
    ("1942年8月", ["1942年"], 0, 2 / 3),
    ("战国…", ["战国"], 0, 0.8),
    ("战国……", ["战国。"], 0, 0.8),
    ("mr. smith went", ["smith"], 0, 0.5),
    ("hello world. foo", ["world."], 0, 2 / 3),
    ("It's John's", ["it's"], 0, 2 / 3),
    ("USS Port Royal CG-73", ["uss port royal cg73"], 1, 1.0),
    ('"abc"', ["abc"], 0, 0.5),
    ("3.5%", ["3.5"], 0, 2 / 3),
    ("a,b", ["b"], 0, 0.5),
    ("", ["战国"], 0, 0.0),
    ("战国", ["无双", "国", "战国无双"], 0, 2 / 3),
]


@pytest.mark.parametrize(("predicted", "answers", "exact", "f1"), OFFICIAL)
def test_scores_are_those_of_the_official_script(predicted, answers, exact, f1):
    assert span_score(predicted, answers) == (exact, pytest.approx(f1, abs=1e-12))


def longest_run(a, b):
    """Return the length of the longest run that two sequences have in common, by trying all of them."""
    return max((n for i in range(len(a)) for n in range(1, len(a) - i + 1) if a[i : i + n] in b), default=0)


@given(st.text("战国无双。，《》", max_size=12), st.text("战国无双。，《》", min_size=1, max_size=12))
def test_f1_of_chinese_is_that_of_the_longest_common_run(predicted, answer):
    ours, right = ("".join(c for c in text if c not in "。，《》") for text in (predicted, answer))
    run = longest_run(ours, right)
    assert span_score(predicted, [answer]).f1 == pytest.approx(2 * run / (len(ours) + len(right)) if run else 0.0)
    assert span_score(predicted, [answer]).exact == (ours == right)


@given(st.text("战国无双", min_size=1, max_size=12), st.text("战国无双", min_size=1, max_size=12))
def test_paddlenlps_f1_is_never_lower_than_the_official_one_on_chinese(predicted, answer):
    common = sum((Counter(predicted) & Counter(answer)).values())
    paddle = span_score(predicted, [answer], definition="paddlenlp")
    assert paddle.f1 == pytest.approx(2 * common / (len(predicted) + len(answer)))
    assert paddle.f1 >= span_score(predicted, [answer]).f1 - 1e-12
    assert paddle.exact == span_score(predicted, [answer]).exact


def test_squads_definition_sees_a_chinese_answer_as_one_word():
    assert span_score("战国无双", ["战国无双三"], definition="squad") == (0, 0)
    assert span_score("the Port Royal!", ["port royal"], definition="squad") == (1, 1)
    assert span_score("《战国》", ["战国"], definition="squad") == (0, 0)


def test_another_definition_or_no_right_answer_is_an_error():
    with pytest.raises(ClueBenchError, match="no definition 'squad2'"):
        span_score("a", ["a"], definition="squad2")
    with pytest.raises(ClueBenchError, match="without a right one"):
        span_score("a", [])


@pytest.mark.filterwarnings("default")  # evaluate and datasets warn about their own dependencies
@pytest.mark.parametrize(
    ("definition", "expected"),
    [((), (0.5, 5 / 6)), (("paddlenlp",), (0.5, 5 / 6)), (("squad",), (0.0, 0.0))],
)
def test_evaluate_loads_the_metric_offline(definition, expected, tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")
    from clue_bench.finetuning.metrics import CMRC2018_METRIC_PATH

    def refuse(*_args, **_more):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    metric = evaluate.load(CMRC2018_METRIC_PATH, *definition, cache_dir=str(tmp_path))
    predictions = [{"id": "0", "prediction_text": "战国"}, {"id": "1", "prediction_text": "《光荣》"}]
    answers = [["无双战国", "战国无双"], ["光荣"]]
    references = [
        {"id": str(n), "answers": {"text": texts, "answer_start": [0] * len(texts)}} for n, texts in enumerate(answers)
    ]
    found = metric.compute(predictions=predictions, references=references)
    assert (found["exact_match"], found["f1"]) == pytest.approx(expected)
    with pytest.raises(ClueBenchError, match="other ids"):
        metric.compute(predictions=predictions[::-1], references=references)
