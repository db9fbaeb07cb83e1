"""Accuracy and its relatives as pure functions."""

from statistics import NormalDist

import torch
from torch import Tensor


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927): honest near 0 and 1, where the normal one leaves [0, 1]."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def area_under_roc(scores: Tensor, positive: Tensor) -> float:
    """Chance that a positive image is scored above a negative one, ties counting half (Hanley and McNeil 1982).

    scores: [N]; positive: [N] of bool, with at least one of each kind.
    """
    _, inverse, counts = scores.double().unique(return_inverse=True, return_counts=True)
    # tied images share the mean of their ranks
    upper = counts.cumsum(0).double()
    ranks = (upper - (counts - 1) / 2)[inverse]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def mean_area_under_roc(probabilities: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: of class 1 for two classes, else the mean over classes of one against the rest.

    probabilities: [N, K]; labels: [N]. Classes without images, or with nothing but, do not count.
    """
    classes = probabilities.shape[1]
    if classes == 2:
        return area_under_roc(probabilities[:, 1], labels == 1)
    present = [k for k in range(classes) if 0 < int((labels == k).sum()) < len(labels)]
    areas = [area_under_roc(probabilities[:, k], labels == k) for k in present]
    return float(torch.tensor(areas).mean())
