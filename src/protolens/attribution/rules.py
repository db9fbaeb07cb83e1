"""Rules of layer-wise relevance propagation: how a linear layer hands the relevance of its outputs to its inputs.

A rule turns a layer and what it took in into portions. Each says that a share of the relevance R of the outputs goes
down in proportion to what the inputs add to some sum p of products: input a gets a * d/da <p, R / p>. With p = the
layer itself this is the epsilon rule; the others change signs, weights or inputs first. Bach et al. 2015,
doi:10.1371/journal.pone.0130140; Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import torch
from torch import Tensor

STABILISER = 1e-6  # added to each denominator with its sign


@dataclass(frozen=True)
class Layer:
    """A linear layer as it was called: z = apply(given, weight) + what is constant.

    low, high: the least and greatest value of each input, where it comes straight from pixels.
    """

    given: Tensor
    weight: Tensor
    apply: Callable[[Tensor, Tensor], Tensor]
    z: Tensor
    low: Tensor | None = None
    high: Tensor | None = None


@dataclass(frozen=True)
class Portion:
    """A sum over products that gets a share of the relevance, and whose inputs divide it.

    terms: inputs and their weights; total: the value that is divided by, if it holds more than the terms add up to;
    share: factor on the relevance, a number or of the outputs' shape.
    """

    terms: Sequence[tuple[Tensor, Tensor]]
    total: Tensor | None = None
    share: Tensor | float = 1.0
    stabiliser: float = STABILISER


Rule = Callable[[Layer], list[Portion]]


@dataclass(frozen=True)
class Composite:
    """Which rule a network's first layer has, its other convolutions and its other dense layers."""

    first: Rule
    convolution: Rule
    dense: Rule


def epsilon(layer: Layer, stabiliser: float = STABILISER) -> list[Portion]:
    """Inputs divide by what they add to z; constants keep their part. stabiliser: the epsilon of the rule."""
    return [Portion([(layer.given, layer.weight)], layer.z, stabiliser=stabiliser)]


def z_plus(layer: Layer) -> list[Portion]:
    """Inputs divide by the positive products of input and weight alone; constants get nothing."""
    return [Portion(_products(layer, 1))]


def alpha_beta(layer: Layer, alpha: float = 2.0) -> list[Portion]:
    """Positive products get alpha times the relevance, and negative ones take alpha - 1 times it away."""
    return [Portion(_products(layer, 1), share=alpha), Portion(_products(layer, -1), share=1 - alpha)]


def gamma(layer: Layer, extra: float = 0.25) -> list[Portion]:
    """What has the output's own sign counts 1 + extra times, constants too (Andéol et al. 2021, arXiv:2112.11153)."""
    constant = layer.z - layer.apply(layer.given, layer.weight)
    portions = []
    for sign in (1, -1):
        terms = [(given, weight + extra * _of_sign(weight, side * sign)) for given, weight, side in _halves(layer)]
        total = constant + extra * _of_sign(constant, sign)
        total = reduce(torch.add, (layer.apply(*term) for term in terms), total)
        portions.append(Portion(terms, total, (sign * layer.z > 0).to(layer.z.dtype)))
    return portions


def flat(layer: Layer) -> list[Portion]:
    """All inputs that an output sees get alike, whatever they are (Lapuschkin et al. 2019, for first layers)."""
    return [Portion([(torch.ones_like(layer.given), torch.ones_like(layer.weight))])]


def z_box(layer: Layer) -> list[Portion]:
    """Inputs divide by their distance from the least or greatest value that they can have (Montavon et al. 2017).

    For first layers, which know those values. doi:10.1016/j.patcog.2016.11.008.
    """
    bounds = ((cast(Tensor, bound).expand_as(layer.given), sign) for bound, sign in ((layer.low, 1), (layer.high, -1)))
    away = [(bound, -_of_sign(layer.weight, sign)) for bound, sign in bounds]
    return [Portion([(layer.given, layer.weight), *away])]


def _of_sign(values: Tensor, sign: int) -> Tensor:
    """The positive, or the negative values; zero elsewhere."""
    return values.clamp(min=0) if sign > 0 else values.clamp(max=0)


def _halves(layer: Layer) -> list[tuple[Tensor, Tensor, int]]:
    """Inputs above zero and those below, with the weights and the sign; only the first if none is below."""
    if layer.given.amin() >= 0:  # as behind a ReLU
        return [(layer.given, layer.weight, 1)]
    return [(layer.given.clamp(min=0), layer.weight, 1), (layer.given.clamp(max=0), layer.weight, -1)]


def _products(layer: Layer, sign: int) -> list[tuple[Tensor, Tensor]]:
    """The terms whose products have this sign."""
    return [(given, _of_sign(weight, side * sign)) for given, weight, side in _halves(layer)]


COMPOSITES = {
    "epsilon-plus-flat": Composite(flat, z_plus, epsilon),
    "epsilon-plus": Composite(z_plus, z_plus, epsilon),
    "epsilon-plus-box": Composite(z_box, z_plus, epsilon),
    "epsilon-gamma-box": Composite(z_box, gamma, epsilon),
    "epsilon-alpha2-beta1-flat": Composite(flat, alpha_beta, epsilon),
    "epsilon-alpha2-beta1": Composite(alpha_beta, alpha_beta, epsilon),
    "epsilon": Composite(epsilon, epsilon, epsilon),
    "gamma": Composite(gamma, gamma, gamma),
}


def stabilised(values: Tensor, stabiliser: float) -> Tensor:
    """Values to divide by: away from zero by the stabiliser, zero counting as positive."""
    return values + torch.copysign(values.new_tensor(stabiliser), values)


class Divided:
    """The way back through a layer: relevance of the outputs in, relevance of the inputs out.

    Sums are made when they are first needed and kept, for many relevances may come back through one layer.
    """

    def __init__(self, portions: Callable[[], list[Portion]], apply: Callable[[Tensor, Tensor], Tensor]):
        self.portions, self.apply = portions, apply
        self.made: list[tuple[list[Tensor], Tensor, Tensor, Tensor | float]] | None = None

    def __call__(self, relevance: Tensor) -> Tensor:
        """[outputs' shape] -> [inputs' shape]."""
        if self.made is None:
            self.made = [self._make(portion) for portion in self.portions()]
        parts = []
        for inputs, products, below, share in self.made:
            slopes = torch.autograd.grad(products, inputs, relevance * share / below, retain_graph=True)
            parts += [given.detach() * slope for given, slope in zip(inputs, slopes, strict=True)]
        return reduce(torch.add, parts)

    @torch.enable_grad()
    def _make(self, portion: Portion) -> tuple[list[Tensor], Tensor, Tensor, Tensor | float]:
        inputs = [given.detach().requires_grad_() for given, _ in portion.terms]
        terms = zip(inputs, (weight for _, weight in portion.terms), strict=True)
        products = reduce(torch.add, (self.apply(given, weight) for given, weight in terms))
        total = products.detach() if portion.total is None else portion.total
        return inputs, products, stabilised(total, portion.stabiliser), portion.share
