"""FLINT's figures against loops over images and prototypes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.evaluation.interpretation import class_relevance, conciseness, fidelity, relevance, to_predicted

PAPER = (1.5, 2, 2.5, 3, 4, 5)


@st.composite
def decisions(draw):
    """Contributions [N, P, K], some of whose rows are zero, and logits [N, K]."""
    images, prototypes, classes = (draw(st.integers(1, 6)) for _ in range(3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    contributions = torch.randn(images, prototypes, classes, generator=generator)
    # whole numbers make ties, and shares that are exactly 1/t; images without any attribute happen with ReLUs
    contributions = (2 * contributions).round() * draw(st.sampled_from([1.0, 1e-30]))
    contributions[torch.rand(images, generator=generator) < 0.2] = 0
    return contributions, torch.randn(images, classes, generator=generator)


def slow_relevance(contributions, logits):
    rows = []
    for row, scores in zip(contributions.tolist(), logits.tolist(), strict=True):
        own = [values[scores.index(max(scores))] for values in row]
        strongest = max(abs(value) for value in own)
        rows.append([value / strongest if strongest else 0.0 for value in own])
    return rows


@given(decisions())
def test_relevance_is_the_share_of_the_strongest_contribution_to_the_predicted_class(decision):
    expected = torch.tensor(slow_relevance(*decision))
    torch.testing.assert_close(relevance(to_predicted(*decision)), expected, atol=1e-6, rtol=1e-5)


@given(decisions())
def test_conciseness_counts_absolute_relevances_above_each_threshold(decision):
    rows = slow_relevance(*decision)
    found = conciseness(to_predicted(*decision), PAPER)
    for value, t in zip(found, PAPER, strict=True):
        counts = [(sum(abs(r) > 1 / t + 1e-6 for r in row), sum(abs(r) > 1 / t - 1e-6 for r in row)) for row in rows]
        low, high = (sum(column) / len(rows) for column in zip(*counts, strict=True))
        assert low - 1e-9 <= value <= high + 1e-9
    assert found == sorted(found)


def test_conciseness_counts_a_strong_reason_against_as_much_as_one_for():
    assert conciseness(torch.tensor([[1.0, -4.0, 0.5], [2.0, 0.0, 1.0]]), (1.5, 3, 5)) == [1.0, 1.5, 2.0]


@given(decisions())
def test_class_relevance_is_the_mean_over_images_predicted_as_the_class(decision):
    contributions, logits = decision
    rows, predicted = slow_relevance(contributions, logits), logits.argmax(dim=1)
    found = class_relevance(to_predicted(contributions, logits), predicted, logits.shape[1])
    assert found.shape == (logits.shape[1], contributions.shape[1])
    for k in range(logits.shape[1]):
        members = [row for row, given_class in zip(rows, predicted.tolist(), strict=True) if given_class == k]
        for j in range(contributions.shape[1]):
            mean = sum(row[j] for row in members) / len(members) if members else 0.0
            assert float(found[k, j]) == pytest.approx(mean, abs=1e-6)


@given(st.integers(1, 9), st.integers(2, 4), st.integers(0, 99))
def test_fidelity_is_the_share_of_images_with_equal_decisions(images, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits, predictor = (torch.randn(images, classes, generator=generator) for _ in range(2))
    pairs = zip(logits.tolist(), predictor.tolist(), strict=True)
    same = [mine.index(max(mine)) == its.index(max(its)) for mine, its in pairs]
    assert fidelity(logits, predictor) == pytest.approx(sum(same) / images)
    assert fidelity(logits, logits) == 1
