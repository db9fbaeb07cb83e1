"""Loss terms as pure functions, without weights: those live in the stage."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross entropy, a weighted mean over the batch: of the softmax, or of each class alone where there may be several.

    logits: [B, K]; labels: [B] class numbers, or [B, K] zeros and ones: then it is the mean over classes of the binary
    cross entropy. weights: [B], how much each image counts, or None for equally. smoothing: share of the target that
    all classes, or yes and no, have alike (Szegedy 2016, arXiv:1512.00567, section 7).
    """
    if labels.ndim == 2:
        targets = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    else:
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return each.mean() if weights is None else (each * weights).sum() / weights.sum()


def squared_error(pictures: Tensor, images: Tensor) -> Tensor:
    """Sum over pixels of the squared error, mean over the batch (PrototypeDL, eq. 2). Both [B, C, H, W]."""
    return (pictures - images).square().flatten(1).sum(dim=1).mean()


def mean_squared_error(pictures: Tensor, images: Tensor) -> Tensor:
    """Mean squared error over pixels and batch (the port of 1yian). Both [B, C, H, W]."""
    return F.mse_loss(pictures, images)


def error_norm(pictures: Tensor, images: Tensor) -> Tensor:
    """Euclidean norm of the error of an image, mean over the batch (the port of p-kar). Both [B, C, H, W]."""
    return (pictures - images).flatten(1).norm(dim=1).mean()


def absolute_error(pictures: Tensor, images: Tensor) -> Tensor:
    """Sum over pixels of the absolute error, mean over the batch (p-kar's option). Both [B, C, H, W]."""
    return (pictures - images).abs().flatten(1).sum(dim=1).mean()


RECONSTRUCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": squared_error,
    "mean-squared": mean_squared_error,
    "norm": error_norm,
    "absolute": absolute_error,
}


def prototype_coverage(distance: Tensor) -> Tensor:
    """Mean distance of each prototype to the nearest code of the batch (PrototypeDL, R1). distance: [B, P].

    A prototype without a match in a small batch is pulled to a stranger: keep batches of some hundred images.
    """
    return distance.amin(dim=0).mean()


def code_coverage(distance: Tensor) -> Tensor:
    """Mean distance of each code to the nearest prototype (PrototypeDL, R2). distance: [B, P]."""
    return distance.amin(dim=1).mean()


def cluster_cost(distance: Tensor, labels: Tensor, class_of: Tensor) -> Tensor:
    """Mean distance of each image to the nearest prototype of its own class (ProtoPNet, sec. 2.2).

    distance: [B, P]; labels: [B]; class_of: [P], the class of each prototype. An image whose class has no prototype
    does not count.
    """
    return _mean_of_nearest(distance, labels[:, None] == class_of)


def separation_cost(distance: Tensor, labels: Tensor, class_of: Tensor) -> Tensor:
    """Mean distance of each image to the nearest prototype of another class; its weight is negative (ibid.)."""
    return _mean_of_nearest(distance, labels[:, None] != class_of)


def _mean_of_nearest(distance: Tensor, counted: Tensor) -> Tensor:
    # a masked minimum, where the original subtracts from a largest distance that holds only for codes in [0, 1]
    nearest = distance.masked_fill(~counted, float("inf")).amin(dim=1)
    known = counted.any(dim=1)
    return nearest.where(known, nearest.new_zeros(())).sum() / known.sum().clamp_min(1)


def off_class_weight(weight: Tensor, class_of: Tensor) -> Tensor:
    """Sum of the absolute weights from prototypes to other classes than their own (ProtoPNet, sec. 2.3).

    weight: [K, P]; class_of: [P].
    """
    classes = torch.arange(len(weight), device=weight.device)
    return weight.abs()[classes[:, None] != class_of].sum()
