"""Dev rows held out of training rows: by texts, a share of each label's rows. All data here are made up."""

import hashlib
import random
from collections import Counter

import pandas as pd
import pytest

from clue_bench.tasks.held_out import draw_dev
from clue_bench.tasks.own import own_rows


def first_tenth(texts, labels):
    """Return the rows that were held out before rows were counted: a tenth of each label's texts, in drawn order."""
    found = set()
    for label in set(labels):
        of_label = [number for number, each in enumerate(labels) if each == label]
        share = max(int(0.1 * len(of_label) + 0.5), int(len(of_label) > 1))
        found |= set(sorted(of_label, key=lambda n: hashlib.sha256(f"1 {texts[n]}".encode()).hexdigest())[:share])
    return found


@pytest.mark.parametrize("rows", [2, 3, 15, 25, 60, 401])
def test_without_repeated_texts_dev_is_the_first_tenth_of_each_labels_texts(rows):
    texts = [f"第{n}句" for n in range(rows)]
    labels = ["好" if n % 3 else "差" for n in range(rows)]
    assert draw_dev(texts, labels) == first_tenth(texts, labels)


@pytest.mark.parametrize("case", range(40))
def test_no_text_is_in_both_and_every_label_has_its_share_and_keeps_a_text_in_train(case):
    draws = random.Random(case)
    many = draws.choice([20, 60, 200])
    texts = [f"{n}" for n in range(many) for _ in range(draws.choice([1, 1, 1, 2, 3]))]
    texts += ["好评"] * draws.choice([0, 5, 100]) + [None] * draws.choice([0, 50])
    draws.shuffle(texts)
    labels = [draws.choice("甲乙丙") if draws.random() < 0.1 else "甲乙丙"[len(text) % 3] for text in map(str, texts)]
    labels = ["甲乙丙"[len(text) % 3] if text == "好评" else label for text, label in zip(texts, labels, strict=True)]
    dev = draw_dev(texts, labels)
    held, kept = ({texts[n] for n in range(len(texts)) if (n in dev) is side} for side in (True, False))
    assert dev == draw_dev(texts, labels)
    assert not held & kept
    assert None not in held
    usable = [(n, label) for n, label in enumerate(labels) if texts[n] is not None]
    rows, rows_in_dev = Counter(label for _, label in usable), Counter(labels[n] for n in dev)
    for label, number in rows.items():
        different = {texts[n] for n, each in usable if each == label}
        if len(different) > 1:
            assert any(texts[n] in kept for n, each in usable if each == label)
        if number >= 20 and len(different) > number // 3:
            assert 0.05 <= rows_in_dev[label] / number <= 0.15


def test_a_text_that_is_a_quarter_of_the_rows_stays_in_train():
    texts = ["好评" if n % 4 == 0 else f"第{n}条" for n in range(500)]
    rows = [{"text": text, "label": "娱乐体育财经科技汽车"[n % 5 * 2 : n % 5 * 2 + 2]} for n, text in enumerate(texts)]
    splits = own_rows(rows, ["text"], "label").splits
    assert [splits[name].num_rows for name in ("train", "dev")] == [450, 50]
    assert Counter(row["label"] for row in splits["dev"].rows) == dict.fromkeys(
        ("娱乐", "体育", "财经", "科技", "汽车"), 10
    )
    assert "好评" not in {row["text"] for row in splits["dev"].rows}


def test_blank_texts_are_never_held_out():
    rows = [{"text": "" if n % 10 == 0 else f"第{n}条", "label": n // 10 % 2} for n in range(500)]
    splits = own_rows(pd.DataFrame(rows), ["text"], "label").splits
    assert splits["dev"].num_rows == 46
    assert all(row["text"] for row in splits["dev"].rows)
    pairs = [{"a": f"第{n}条", "b": " " if n % 2 else f"{n}", "label": n % 4 // 2} for n in range(80)]
    assert all(row["b"].strip() for row in own_rows(pairs, ["a", "b"], "label").splits["dev"].rows)


def test_of_a_label_that_is_nearly_one_text_at_most_half_of_the_other_texts_are_held_out():
    texts = ["好评"] * 900 + [f"第{n}条" for n in range(100)]
    dev = draw_dev(texts, ["好"] * 1000)
    assert len(dev) == 50
    assert 0 not in dev


def test_a_few_texts_that_are_each_there_twice_are_still_divided():
    texts = ["一", "一", "二", "二", "三", "三", "四", "四"]
    dev = draw_dev(texts, ["甲"] * 4 + ["乙"] * 4)
    assert sorted(Counter(texts[n] for n in dev).values()) == [2, 2]
