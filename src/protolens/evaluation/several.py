"""The figures of a split whose images can show several classes: N images, K classes, labels [N, K] zeros and ones."""

from typing import Any

import torch
from torch import Tensor

from protolens.config import seed_of
from protolens.evaluation.scores import wilson_interval
from protolens.train import average_precisions, classes_said, f1, figures_of_several, matches, number

RESAMPLES = 1000
VALUES = 1 << 22  # counts of images in resamples that are held at a time


def scores_of_several(logits: Tensor, labels: Tensor, classes: tuple[str, ...], seed: int) -> dict[str, Any]:
    """The entries of evaluation.json. logits, labels: [N, K]; seed: draws the resamples of the interval.

    constant_score: the mean average precision of a model that says the same of every image, which is the mean over
    classes of the share of images that show one.
    """
    counts = matches(classes_said(logits, several=True), labels)
    right, said, shown = (column.double() for column in counts)
    columns = {
        "average_precision": average_precisions(logits, labels)[:, 0],
        "precision": right / said,
        "recall": right / shown,
        "f1": f1(*counts),
    }
    found = figures_of_several(logits, labels)
    exact = round(float(found["subset_accuracy"] or 0) * len(labels))
    return {
        "images": len(labels),
        **found,
        "mean_average_precision_interval": bootstrap_interval(logits, labels, seed),
        "constant_score": number((shown[shown > 0] / len(labels)).mean()),
        "right": exact,
        "subset_accuracy_interval": list(wilson_interval(exact, len(labels))),
        "classes": [
            {"name": name, "images": int(shown[k]), **{figure: number(each[k]) for figure, each in columns.items()}}
            for k, name in enumerate(classes)
        ],
    }


def bootstrap_interval(logits: Tensor, labels: Tensor, seed: int) -> list[float] | None:
    """The middle 95 % of the mean average precision over resamples of the images (Efron 1979); None where undefined.

    logits, labels: [N, K]. A class that no image of a resample shows does not count there.
    """
    images = len(labels)
    generator = torch.Generator().manual_seed(seed_of(seed, "bootstrap"))
    found = []
    for part in torch.arange(RESAMPLES).split(max(1, VALUES // images)):
        drawn = torch.randint(images, (len(part), images), generator=generator)
        counts = torch.zeros(len(part), images).scatter_add_(1, drawn, torch.ones(drawn.shape))
        found.append(average_precisions(logits, labels, counts).nanmean(dim=0))
    means = torch.cat(found)
    ends = means[~means.isnan()].quantile(torch.tensor([0.025, 0.975]).double()) if means.isfinite().any() else None
    return None if ends is None else ends.tolist()
