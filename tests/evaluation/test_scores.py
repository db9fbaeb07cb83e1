"""Accuracy and its relatives against scikit-learn and SciPy."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from protolens.evaluation import wilson_interval
from protolens.evaluation.examples import choose_right, choose_wrong, draw_sample
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
