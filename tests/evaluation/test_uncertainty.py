"""Calibration and refusal beside scikit-learn, SciPy, and the definitions written slowly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import log_loss

from protolens.evaluation.uncertainty import (
    NOBODY,
    accuracies_when_answering,
    accuracy_when_answering,
    answers,
    brier_score,
    calibration_by_chance,
    calibration_error,
    calibration_interval,
    doubt,
    least_for,
    least_refusing,
    median,
    negative_log_likelihood,
    refusals,
    refused,
    reliability,
)

seeds = st.integers(0, 2**31)


def drawn(seed: int, draws: int = 5, images: int = 40, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(draws, images, classes, generator=generator, dtype=torch.float64)
    return logits.softmax(dim=2), torch.randint(classes, (images,), generator=generator)


@given(seeds, st.integers(1, 20))
def test_calibration_is_the_gap_in_each_bin(seed, bins):
    posterior, labels = drawn(seed)
    probabilities = posterior[0]
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [row for row in range(len(labels)) if low < float(probabilities[row].max()) <= high]
        if inside:
            right = sum(int(probabilities[row].argmax()) == int(labels[row]) for row in inside) / len(inside)
            sure = sum(float(probabilities[row].max()) for row in inside) / len(inside)
            total += abs(right - sure) * len(inside) / len(labels)
    assert calibration_error(probabilities, labels, bins) == pytest.approx(total)


@given(seeds)
def test_likelihood_and_brier_score_are_scikit_learn_s_and_the_definition(seed):
    posterior, labels = drawn(seed)
    own = posterior[0]
    assert negative_log_likelihood(own, labels) == pytest.approx(log_loss(labels, own, labels=range(3)))
    slow = [sum((float(own[i, k]) - (k == int(labels[i]))) ** 2 for k in range(3)) for i in range(len(labels))]
    assert brier_score(own, labels) == pytest.approx(sum(slow) / len(slow))


def test_a_model_that_is_always_right_and_sure_has_no_error():
    labels = torch.tensor([0, 2, 1])
    sure = torch.eye(3)[labels]
    figures = [figure(sure, labels) for figure in (calibration_error, brier_score, negative_log_likelihood)]
    assert figures == [0, 0, 0]
    assert negative_log_likelihood(torch.eye(3)[[1, 1, 1]], labels) == float("inf")


@given(seeds)
def test_doubt_is_scipy_s_entropy_and_what_draws_do_not_share_of_it(seed):
    posterior, _ = drawn(seed)
    whole, apart = doubt(posterior)
    expected = entropy(posterior.mean(dim=0).numpy(), axis=1)
    np.testing.assert_allclose(whole, expected)
    np.testing.assert_allclose(apart, expected - entropy(posterior.numpy(), axis=2).mean(axis=0), atol=1e-12)
    assert doubt(posterior[:1])[1].max() < 1e-12


@given(seeds, st.floats(0, 1))
def test_an_answer_is_the_highest_median_above_the_least(seed, least):
    posterior, labels = drawn(seed)
    medians = np.median(posterior.numpy(), axis=0)
    slow = [int(row.argmax()) if row.max() > least else NOBODY for row in medians]
    assert answers(posterior, least).tolist() == slow
    assert refused(posterior, least) == pytest.approx(slow.count(NOBODY) / len(slow))
    given_ones = [said == label for said, label in zip(slow, labels.tolist(), strict=True) if said != NOBODY]
    expected = sum(given_ones) / len(given_ones) if given_ones else None
    assert accuracy_when_answering(posterior, labels, least) == pytest.approx(expected)


@given(seeds, st.floats(0.2, 1))
def test_the_least_probability_is_the_lowest_that_is_right_often_enough(seed, accuracy):
    posterior, labels = drawn(seed)
    least = least_for(posterior, labels, accuracy)
    highest = sorted({0.0, *np.median(posterior.numpy(), axis=0).max(axis=1).tolist()})
    enough = [
        cut for cut in highest if (reached := accuracy_when_answering(posterior, labels, cut)) and reached >= accuracy
    ]
    assert least == pytest.approx(enough[0] if enough else 1.0)


@given(seeds, st.floats(0, 1), st.booleans())
def test_the_cautious_probability_is_the_highest_that_refuses_few_enough(seed, share, alike):
    posterior, _ = drawn(seed)
    posterior = posterior.round(decimals=1) if alike else posterior
    least = least_refusing(posterior, share)
    highest = sorted(np.median(posterior.numpy(), axis=0).max(axis=1).tolist())
    assert least == pytest.approx([0.0, *(cut for cut in highest if refused(posterior, cut) <= share)][-1])


def test_where_no_answer_is_sure_enough_none_is_given():
    posterior, labels = torch.full((1, 4, 2), 0.5), torch.tensor([0, 1, 1, 1])
    assert least_for(posterior, labels, 0.9) == 1
    assert accuracy_when_answering(posterior, labels, 1.0) is None
    assert refused(posterior, 1.0) == 1


@given(seeds, st.integers(1, 20))
def test_a_group_of_the_reliability_diagram_holds_its_images_and_their_gaps_are_the_calibration_error(seed, bins):
    posterior, labels = drawn(seed)
    probabilities = posterior[0]
    found = reliability(probabilities, labels, bins)
    slow = []
    for number in range(bins):
        inside = [i for i, row in enumerate(probabilities) if number / bins < float(row.max()) <= (number + 1) / bins]
        if inside:
            sure = sum(float(probabilities[i].max()) for i in inside) / len(inside)
            right = sum(int(probabilities[i].argmax()) == int(labels[i]) for i in inside) / len(inside)
            slow.append((len(inside), sure, right))
    assert [pytest.approx(row) for row in slow] == found
    whole = sum(images * abs(sure - right) for images, sure, right in found) / len(labels)
    assert whole == pytest.approx(calibration_error(probabilities, labels, bins))


@given(seeds, st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_many_least_probabilities_are_as_one_by_one_and_the_median_stands_for_the_draws(seed, leasts):
    posterior, labels = drawn(seed)
    leasts = [*leasts, 0.0, 1.0, float(median(posterior)[0].max())]
    for given_ones in (posterior, median(posterior)[None]):
        assert refusals(given_ones, leasts) == pytest.approx([refused(posterior, least) for least in leasts])
        slow = [accuracy_when_answering(posterior, labels, least) for least in leasts]
        found = accuracies_when_answering(given_ones, labels, leasts)
        assert [value is None for value in found] == [value is None for value in slow]
        assert [v for v in found if v is not None] == pytest.approx([v for v in slow if v is not None])


def calibrated(images: int, seed: int, told: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of two classes by which the labels are drawn, told with their logits so many times as large."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, generator=generator, dtype=torch.float64)
    labels = (torch.rand(images, generator=generator, dtype=torch.float64) < logits.sigmoid()).long()
    share = (told * logits).sigmoid()
    return torch.stack([1 - share, share], dim=1), labels


def test_what_is_as_sure_as_right_stays_below_chance_and_what_is_too_sure_does_not():
    inside = 0
    for seed in range(40):
        probabilities, labels = calibrated(500, seed)
        inside += calibration_error(probabilities, labels) <= calibration_by_chance(probabilities, seed, 200)
    assert 33 <= inside <= 40  # 95 of 100
    probabilities, labels = calibrated(500, 0, told=4.0)
    assert calibration_error(probabilities, labels) > calibration_by_chance(probabilities, 0, 200)


def test_the_interval_of_the_calibration_error_holds_it_and_narrows_with_images():
    widths = []
    for images in (200, 5000):
        probabilities, labels = calibrated(images, 1, told=3.0)
        low, high = calibration_interval(probabilities, labels, 0)
        assert low <= calibration_error(probabilities, labels) <= high
        assert calibration_interval(probabilities, labels, 0) == (low, high)
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
    assert calibration_interval(torch.eye(2, dtype=torch.float64)[labels], labels, 0) == (0, 0)
