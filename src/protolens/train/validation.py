"""How well a model does on a split: what selects the epoch in training, and what `evaluate` builds upon."""

import math
from typing import Literal

import torch
from torch import Tensor

from protolens.data import Images, plain_batches
from protolens.models import PrototypeModel, evaluation_mode
from protolens.nn import classification
from protolens.train.several import figures_of_several
from protolens.train.team import Team

LARGEST_BATCH = 1000
# Pixel values of a batch that only looks: 1,000 images of MNIST, 341 of CIFAR-10. With thrice as many, what a deep
# network computes leaves the cache, and takes 1.7 times longer; 16 large images are wanted all the same, for a GPU
VALUES, ALLOWED, FEW = 1 << 20, 1 << 22, 16


def batch_for(images: Images) -> int:
    """How many images to look at together, without gradients."""
    each = math.prod(images.shape)
    return max(1, min(LARGEST_BATCH, max(VALUES // each, min(FEW, ALLOWED // each))))


@torch.inference_mode()
def predict(model: PrototypeModel, images: Images, team: Team) -> Tensor:
    """Logits of every image of a split, [N, K] on the CPU, in order; the model is left in the mode it was in."""
    batches = plain_batches(images, batch_for(images), team.device, team.rank, team.size)
    with evaluation_mode(model):
        parts = [model(batch.images) for batch in batches]
    empty = torch.zeros(0, len(model.task.classes), device=team.device)
    return team.gather(torch.cat(parts) if parts else empty).float().cpu()


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many images of each class (row) were given each class (column). predicted, labels: [N] -> [K, K]."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)


def accuracy(confusion: Tensor) -> float:
    """Share of images that were given their own class. confusion: [K, K]."""
    return int(confusion.diagonal().sum()) / int(confusion.sum())


def balanced_accuracy(confusion: Tensor) -> float:
    """Mean over classes of the share of their images that were recognised; classes without images do not count."""
    images = confusion.sum(dim=1).double()
    return float((confusion.diagonal() / images)[images > 0].mean())


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


def mean_area_under_roc(probabilities: Tensor, labels: Tensor) -> float | None:
    """Area under the ROC curve: of class 1 for two classes, else the mean over classes of one against the rest.

    probabilities: [N, K]; labels: [N]. A class without images, or with nothing but, does not count; None if none does.
    """
    classes = probabilities.shape[1]
    asked = [1] if classes == 2 else range(classes)
    present = [k for k in asked if 0 < int((labels == k).sum()) < len(labels)]
    areas = [area_under_roc(probabilities[:, k], labels == k) for k in present]
    return sum(areas) / len(areas) if areas else None


def figures(logits: Tensor, labels: Tensor) -> dict[str, float | None]:
    """The validation figures of an epoch; None where one is undefined.

    logits: [N, K]; labels: [N], or [N, K] zeros and ones.
    """
    if labels.ndim == 2:
        return figures_of_several(logits, labels)
    table = confusion(logits.argmax(dim=1), labels, logits.shape[1])
    return {
        "accuracy": accuracy(table),
        "balanced_accuracy": balanced_accuracy(table),
        "area_under_roc": mean_area_under_roc(logits.double().softmax(dim=1), labels),
        "loss": float(classification(logits, labels)),
    }


def main_figure(several: bool) -> Literal["accuracy", "mean_average_precision"]:
    """The figure that counts most, and selects where nothing else is wanted."""
    return "mean_average_precision" if several else "accuracy"


def better(select: str, value: float, best: float | None) -> bool:
    """Whether an epoch's figure, the one that selects, beats the best so far."""
    return best is None or (value < best if select == "loss" else value > best)
