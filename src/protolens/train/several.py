"""How well a model does on images that can show several classes: N images, K classes, labels [N, K] zeros and ones.

A figure that is undefined, such as the average precision of a class that no image shows, is NaN in a tensor and None
among figures, and does not count in a mean over classes.
"""

from math import isfinite

import torch
from torch import Tensor

from protolens.nn import classification
from protolens.train.classes import classes_said, share_of_equal


def average_precision(scores: Tensor, positive: Tensor, counts: Tensor | None = None) -> Tensor:
    """Sum over distinct scores, from the top, of the precision there times the recall gained (as scikit-learn's).

    scores: [N]; positive: [N] of bool; counts: [R, N], how often each of R resamples holds an image, or None for one
    resample with every image once. Returns [R] in float64, NaN for a resample without positives.
    """
    sorted_scores, order = scores.sort(descending=True)
    # images of one score are taken together: only where the next score is another may one cut
    cuts = torch.cat([sorted_scores[1:] != sorted_scores[:-1], torch.ones(1, dtype=torch.bool)]).nonzero().flatten()
    weight = torch.ones(1, len(scores)) if counts is None else counts[:, order]
    taken = weight.double().cumsum(dim=1)[:, cuts]
    found = (weight * positive[order]).double().cumsum(dim=1)[:, cuts]
    gained = found.diff(dim=1, prepend=found.new_zeros(len(found), 1))
    return (gained * found / taken.clamp_min(1)).sum(dim=1) / found[:, -1]


def average_precisions(logits: Tensor, labels: Tensor, counts: Tensor | None = None) -> Tensor:
    """Average precision of each class, [K, R]. logits, labels: [N, K]; counts: [R, N], of `average_precision`."""
    columns = zip(logits.T, labels.bool().T, strict=True)
    return torch.stack([average_precision(scores, positive, counts) for scores, positive in columns])


def matches(said: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each class the images that show it and are said to, those said to, and those that show it: [K] each.

    said, labels: [N, K].
    """
    shown = labels.bool()
    return (said & shown).sum(dim=0), said.sum(dim=0), shown.sum(dim=0)


def f1(right: Tensor, said: Tensor, shown: Tensor) -> Tensor:
    """Harmonic mean of precision and recall, of the counts of `matches`; NaN for a class neither said nor shown."""
    return 2 * right.double() / (said + shown)


def number(value: float | Tensor) -> float | None:
    """A figure for JSON: None where it is not defined, or infinite. value: a number, or a tensor []."""
    return float(value) if isfinite(value) else None


def figures_of_several(logits: Tensor, labels: Tensor) -> dict[str, float | None]:
    """The validation figures of an epoch. logits, labels: [N, K]; a class is said at a probability above one half."""
    said = classes_said(logits, several=True)
    counts = matches(said, labels)
    return {
        "mean_average_precision": number(average_precisions(logits, labels).nanmean()),
        "micro_f1": number(f1(*(count.sum() for count in counts))),
        "macro_f1": number(f1(*counts).nanmean()),
        "subset_accuracy": share_of_equal(said, labels.bool()),
        "loss": float(classification(logits, labels)),
    }
