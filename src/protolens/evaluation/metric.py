"""What a metric declares about itself: what it is of, which way is better, from where to where, in what, by whom."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from protolens.errors import ProtolensError

Function = TypeVar("Function", bound=Callable[..., float])
HIGHER, LOWER, NEITHER = 1, -1, 0


@dataclass(frozen=True)
class Metric:
    """A figure. predicate: of seeds/001; better: HIGHER, LOWER or NEITHER; low, high: the ends of its range."""

    name: str
    predicate: str
    better: int
    low: float
    high: float
    unit: str
    source: str
    says: str
    function: Callable[..., float]


METRICS: dict[str, Metric] = {}


def metric(
    predicate: str, better: int, low: float, high: float, unit: str, source: str
) -> Callable[[Function], Function]:
    """Declare a function that computes a metric, under its own name; the function stays as it is."""

    def declare(function: Function) -> Function:
        says = (function.__doc__ or "").partition("\n")[0]
        name = function.__name__
        METRICS[name] = Metric(name, predicate, better, low, high, unit, source, says, function)
        return function

    return declare


def check(**tensors: Any) -> None:
    """Raise ProtolensError where a tensor, named by its keyword, is empty or has a value that is not finite."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or not tensor.numel():
            raise ProtolensError(f"{name} of a metric is empty: it needs an image and a prototype at least")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ProtolensError(f"{name} of a metric is not finite: the model gives values that are no numbers")


def entropy(shares: Tensor) -> Tensor:
    """Entropy of distributions in nats, [..., n] -> [...]; what never happens adds nothing."""
    return torch.special.entr(shares).sum(dim=-1)
