"""The macro-F1 of entities: by hand, its interval, and the numbers whose mean it is."""

import numpy as np
import pytest

from clue_bench.doors.results import EntityCounts
from clue_bench.errors import ClueBenchError
from clue_bench.stats.entity_scores import entity_f1, entity_f1_interval, row_values
from clue_bench.stats.significance import accuracy_interval, pair_tests
from clue_bench.tasks.entities import Entity, count_entities

TYPES = ("name", "company")


def counts_of(found, right):
    return count_entities(found, right, TYPES)


def test_the_score_is_the_mean_over_types_of_the_f1_of_exact_entities():
    a, b, c = Entity(0, 1, "name"), Entity(3, 4, "name"), Entity(6, 8, "company")
    right = [[a, b], [a], [c]]
    found = [[a, Entity(3, 5, "name")], [], [c, Entity(0, 0, "company")]]
    # name: 1 of 2 found is right, of 3 that are there: 2 · 1 / (2 + 3); company: 1 of 2 found, of 1: 2 · 1 / (2 + 1).
    assert counts_of(found, right).sum(axis=0).tolist() == [[1, 2, 3], [1, 2, 1]]
    assert entity_f1(counts_of(found, right)) == pytest.approx((2 / 5 + 2 / 3) / 2)
    wrong_type = [[Entity(0, 1, "company")], [], []]
    assert entity_f1(counts_of(wrong_type, right)) == 0
    assert entity_f1(counts_of(right, right)) == 1
    # A type that is neither there nor found does not count.
    assert entity_f1(counts_of([[a], [], []], [[a], [a], []])) == pytest.approx(2 / 3)
    with pytest.raises(ClueBenchError, match="no entities to score"):
        entity_f1(counts_of([[], []], [[], []]))


def test_counts_are_packed_and_what_does_not_fit_is_refused():
    counts = counts_of([[Entity(0, 1, "name")], []], [[Entity(0, 1, "name")], [Entity(0, 0, "company")]])
    packed = EntityCounts.pack(counts)
    assert (packed.unpack() == counts).all()
    for changed in ({"rows": 3}, {"types": 1}, {"counts": "x"}, {"counts": "AAAA"}):
        with pytest.raises(ValueError, match=r"counts|bytes"):
            EntityCounts(**{**packed.model_dump(), **changed})
    with pytest.raises(ValueError, match="right than found"):
        EntityCounts.pack(counts[:, :, ::-1] + np.array([9, 0, 0]))


def drawn(rng, *, texts, recall=0.7):
    """Counts of four types, some of them rare, that a model of this recall might have."""
    there = rng.poisson([0.5, 0.3, 0.2, 0.1], (texts, 4))
    right = rng.binomial(there, recall)
    return np.stack([right, right + rng.poisson(0.08, (texts, 4)), there], axis=2)


def test_values_of_texts_have_the_score_for_their_mean_and_its_interval():
    counts = drawn(np.random.default_rng(1), texts=1_000)
    values = row_values(counts)
    assert values.mean() == pytest.approx(entity_f1(counts))
    linear, bootstrap = accuracy_interval(values), entity_f1_interval(counts)
    assert linear[:2] == pytest.approx(bootstrap[:2], abs=0.004)
    low, high, _ = bootstrap
    assert low < entity_f1(counts) < high


def test_the_interval_of_a_paired_difference_is_that_of_the_paired_bootstrap():
    rng = np.random.default_rng(2)
    a = drawn(rng, texts=800)
    b = a.copy()
    changed = rng.random(800) < 0.3
    b[changed, :, 0] = rng.binomial(b[changed, :, 0], 0.8)  # a worse model on the same texts
    test = pair_tests([row_values(a), row_values(b)], is_fixed=(True, True)).test(0, 1)
    rows = rng.integers(800, size=(2_000, 800))
    differences = [entity_f1(a[chosen]) - entity_f1(b[chosen]) for chosen in rows]
    assert test.difference == pytest.approx(entity_f1(a) - entity_f1(b))
    assert test.interval[:2] == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.004)


def test_equal_models_are_told_apart_as_rarely_as_it_says():
    """Two models that are equally good find other entities: about one in twenty is called different."""
    rng, called = np.random.default_rng(3), 0
    for _ in range(300):
        there = rng.poisson([0.5, 0.3, 0.2], (300, 3))
        models = []
        for _ in range(2):
            right = rng.binomial(there, 0.7)
            models.append(np.stack([right, right + rng.poisson(0.08, there.shape), there], axis=2))
        called += pair_tests([row_values(each) for each in models], is_fixed=(True, True)).test(0, 1).p_value < 0.05
    assert 4 <= called <= 28
