"""Which classes an image shows, by its label, and which a model says: one each, or any number.

N images, K classes. Labels are [N] class numbers, or [N, K] zeros and ones where an image can show several classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.errors import ProtolensError, did_you_mean

UNEVEN = 1.5  # a set is called uneven when its largest class has so many times the images of its smallest


def classes_shown(labels: Tensor, classes: int) -> Tensor:
    """Whether an image shows a class, [N, K] of bool. labels: [N], or [N, K] zeros and ones."""
    return (labels if labels.ndim == 2 else F.one_hot(labels, classes)).bool()


def classes_said(logits: Tensor, several: bool) -> Tensor:
    """Whether a model says a class, [N, K] of bool: the likeliest, or each whose probability is above one half.

    logits: [N, K]; several: whether an image can show several classes, so that each has a probability of its own.
    """
    return logits > 0 if several else F.one_hot(logits.argmax(dim=1), logits.shape[1]).bool()


def class_probabilities(logits: Tensor, several: bool) -> Tensor:
    """By softmax, or by the sigmoid of each class alone where there can be several. [..., K] -> [..., K], float64."""
    return logits.double().sigmoid() if several else logits.double().softmax(dim=-1)


def share_of_equal(first: Tensor, second: Tensor) -> float:
    """Share of images with the same classes in both. [N, K] of bool each."""
    return float((first == second).all(dim=1).double().mean())


def in_words(chosen: Tensor, classes: Sequence[str]) -> str:
    """Names of classes: "water, road", or "none". chosen: [K] of bool."""
    return ", ".join(classes[k] for k in torch.nonzero(chosen).flatten().tolist()) or "none"


def class_number(name: str | None, classes: Sequence[str]) -> int | None:
    """The number of a class that was asked for, if one was. Raises ProtolensError for an unknown one."""
    if name is not None and name not in classes:
        raise ProtolensError(f"{name} is not a class of this model{did_you_mean(name, classes)}")
    return None if name is None else list(classes).index(name)


def is_uneven(data: Mapping[str, Any]) -> bool:
    """Whether some class has many more training images than another. data: as in run.json."""
    images = data["splits"]["training"]["per_class"]
    return bool(max(images) > UNEVEN * min(images))
