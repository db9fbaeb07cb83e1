"""Accuracy and its relatives against scikit-learn and SciPy."""

from collections import defaultdict
from statistics import variance

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, ttest_ind, ttest_rel
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from protolens.evaluation import wilson_interval
from protolens.evaluation.examples import choose_right, choose_wrong, draw_sample
from protolens.evaluation.scores import (
    area_interval,
    bootstrap_interval,
    difference_over_runs,
    exact_difference_interval,
    exact_paired_test,
    holm,
)
from protolens.train import accuracy, area_under_roc, balanced_accuracy, confusion, mean_area_under_roc

labelled = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_s_interval_equals_scipy_s(counts):
    right, images = counts
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, images) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(labelled)
def test_confusion_accuracy_and_balanced_accuracy_equal_scikit_learn_s(pairs):
    labels, predicted = map(list, zip(*pairs, strict=True))
    table = confusion(torch.tensor(predicted), torch.tensor(labels), 4)
    assert table.tolist() == confusion_matrix(labels, predicted, labels=range(4)).tolist()
    assert accuracy(table) == pytest.approx(sum(p == y for y, p in pairs) / len(pairs))
    recalls = [sum(p == k for y, p in pairs if y == k) / labels.count(k) for k in range(4) if labels.count(k)]
    assert balanced_accuracy(table) == pytest.approx(sum(recalls) / len(recalls))
    if set(predicted) <= set(labels):
        assert balanced_accuracy(table) == pytest.approx(balanced_accuracy_score(labels, predicted))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_area_under_roc_equals_scikit_learn_s_with_ties(pairs):
    positive, scores = map(list, zip(*pairs, strict=True))
    if len(set(positive)) < 2:
        return
    expected = roc_auc_score(positive, scores)
    assert area_under_roc(torch.tensor(scores) / 6, torch.tensor(positive)) == pytest.approx(expected)


def test_area_under_roc_of_several_classes_is_the_mean_of_one_against_the_rest():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    probabilities = torch.rand(90, 3, generator=generator).double().softmax(dim=1)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert mean_area_under_roc(probabilities, labels) == pytest.approx(expected)
    two = probabilities[:, :2] / probabilities[:, :2].sum(dim=1, keepdim=True)
    assert mean_area_under_roc(two, labels % 2) == pytest.approx(roc_auc_score(labels % 2, two[:, 1]))
    assert mean_area_under_roc(two, torch.zeros(90, dtype=torch.long)) is None


def test_examples_are_right_ones_of_each_class_and_the_most_confident_mistakes():
    logits = torch.tensor([[5.0, 0], [1, 0], [3, 0], [0, 9], [9, 0], [0, 2], [2, 0]])
    labels = torch.tensor([0, 0, 0, 1, 1, 0, 1])
    assert choose_right(logits, labels).tolist() == [2, 3]
    assert choose_wrong(logits, labels).tolist() == [4, 5, 6]
    assert choose_wrong(logits, logits.argmax(dim=1)).tolist() == []


def test_the_sample_is_drawn_by_the_seed_without_repetition():
    assert draw_sample(500, 1).tolist() == draw_sample(500, 1).tolist() != draw_sample(500, 2).tolist()
    assert len(set(draw_sample(500, 1).tolist())) == 10
    assert draw_sample(3, 0).tolist() == [0, 1, 2]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
def test_the_bootstrap_interval_is_near_scipy_s(seed):
    values = normal(seed, 200) ** 2
    expected = bootstrap((values.numpy(),), lambda sample, axis: sample.mean(axis=axis), method="percentile",
                         n_resamples=20_000, rng=0).confidence_interval  # fmt: skip
    low, high = bootstrap_interval(values, seed)
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=width / 15)
    assert high == pytest.approx(expected.high, abs=width / 15)
    assert bootstrap_interval(values, seed) == (low, high)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_paired_test_is_binomial_in_the_images_that_one_alone_gets_right(pairs):
    first, second = torch.tensor(pairs).T
    only = [sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)]
    expected = binomtest(only[0], sum(only), 0.5).pvalue if sum(only) else 1
    assert exact_paired_test(first, second) == pytest.approx(expected)
    assert exact_paired_test(second, first) == pytest.approx(expected)


@given(st.integers(0, 2**31), st.floats(-1, 1))
def test_of_one_run_each_the_difference_is_that_of_the_paired_t_test(seed, shift):
    first, second = normal(seed, 2, 1, 30)
    found, expected = difference_over_runs(first + shift, second), ttest_rel(first[0] + shift, second[0])
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.chance == pytest.approx(expected.pvalue)
    assert found.value == pytest.approx(float((first + shift - second).mean()))


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(2, 5))
def test_where_images_are_alike_the_difference_is_that_of_welch_s_test_of_runs(seed, ours, theirs):
    first, second = normal(seed, ours, 1).expand(-1, 20), normal(seed + 1, theirs, 1).expand(-1, 20)
    found, expected = difference_over_runs(first, second), ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.chance == pytest.approx(expected.pvalue)


def test_the_interval_over_runs_and_images_holds_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(400):
        noise = normal(seed, 3, 6, 50)
        images, runs = normal(seed + 1000, 50), normal(seed + 2000, 2, 3, 1)
        first = 0.3 + images + 0.5 * runs[0] + noise[0, :3]
        second = images + 0.5 * runs[1] + noise[1, :3]
        found = difference_over_runs(first, second)
        hits += found.low <= 0.3 <= found.high
    assert 0.93 <= hits / 400 <= 0.99


def test_models_that_do_the_same_do_not_differ_and_those_that_always_differ_surely_do():
    same = torch.ones(2, 10)
    assert difference_over_runs(same, same).chance == 1
    found = difference_over_runs(same, 0 * same)
    assert (found.value, found.low, found.high, found.chance) == (1, 1, 1, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_multiplies_by_the_comparisons_that_are_left(chances):
    order = sorted(range(len(chances)), key=lambda number: chances[number])
    for place, number in enumerate(order):
        slow = max(min(1, (len(chances) - before) * chances[order[before]]) for before in range(place + 1))
        assert holm(chances)[number] == pytest.approx(slow)


@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(2, 12))
def test_the_interval_of_an_area_is_that_of_delong_written_slowly(seed, positives, negatives):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(5, (positives + negatives,), generator=generator).double()
    positive = torch.arange(len(scores)) < positives
    wins = [[1.0 if a > b else 0.5 if a == b else 0.0 for b in scores[~positive]] for a in scores[positive]]
    rows = [sum(row) / negatives for row in wins]
    columns = [sum(row[k] for row in wins) / positives for k in range(negatives)]
    area = sum(rows) / positives
    half = 1.959964 * (variance(rows) / positives + variance(columns) / negatives) ** 0.5
    expected = (max(0.0, area - half), min(1.0, area + half))
    assert area_interval(scores, positive) == pytest.approx(expected, abs=1e-6)
    assert area_interval(-scores, positive) == pytest.approx((1 - expected[1], 1 - expected[0]), abs=1e-6)


def test_an_area_of_what_is_all_told_apart_or_of_single_images_has_an_interval():
    assert area_interval(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, True, False, False])) == (1, 1)
    assert area_interval(torch.tensor([1.0, 1.0]), torch.tensor([True, False])) == (0.5, 0.5)


@given(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 5)))
def test_the_interval_over_all_resamples_is_that_of_their_sums_counted_one_by_one(counts):
    gained, lost, same = counts
    values = [1] * gained + [-1] * lost + [0] * same
    chances = {0: 1.0}
    for _ in values:
        further = defaultdict(float)
        for total, chance in chances.items():
            for value in values:
                further[total + value] += chance / len(values)
        chances = further
    passed, ends = 0.0, []
    for total in sorted(chances):
        before, passed = passed, passed + chances[total]
        ends += [total / len(values) for end in (0.025, 0.975) if before < end <= passed]
    assert exact_difference_interval(gained, lost, len(values)) == pytest.approx(tuple(ends))


def test_the_interval_over_all_resamples_is_where_that_of_drawn_ones_tends_to():
    values = torch.zeros(3000)
    values[:90], values[90:140] = 1, -1
    found, drawn = exact_difference_interval(90, 50, 3000), bootstrap_interval(values, 0)
    assert found == pytest.approx(drawn, abs=1e-3)
    assert exact_difference_interval(0, 0, 10_000) == (0, 0)
