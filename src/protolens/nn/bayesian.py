"""Layers whose weights are independent normal distributions, learnt by variational inference.

Blundell et al.: Weight Uncertainty in Neural Networks, ICML 2015, arXiv:1505.05424; in training the outputs are drawn
and not the weights (Kingma, Salimans, Welling: local reparameterisation, NeurIPS 2015, arXiv:1506.02557). A deviation
is softplus(rho), so that rho is free.
"""

from collections.abc import Iterable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from protolens.nn.normalise import OfPixels
from protolens.nn.precision import in_full_precision

SMALLEST = 1e-16  # variance of an output, whose root has a gradient everywhere


def rho_of(deviation: float) -> float:
    """The rho whose softplus is a deviation above 0."""
    return float(torch.expm1(torch.tensor(deviation, dtype=torch.float64)).log())


class Gaussian(nn.Module):
    """A tensor of independent normal distributions: `mean` is a parameter that lies elsewhere, `rho` is held here."""

    def __init__(self, shape: Iterable[int], deviation: float):
        super().__init__()
        self.rho = nn.Parameter(torch.full(tuple(shape), rho_of(deviation)))

    def deviation(self) -> Tensor:
        """Standard deviations, of the shape of the mean."""
        return F.softplus(self.rho)

    def divergence(self, mean: Tensor, prior: float) -> Tensor:
        """Kullback-Leibler divergence to normal distributions around 0 of deviation `prior`, summed, in nats."""
        ratio = (self.deviation() / prior).square()
        return 0.5 * (ratio + (mean / prior).square() - 1 - ratio.log()).sum()

    def draw(self, mean: Tensor, generator: Generator) -> Tensor:
        """One value of each; the generator lives on the CPU."""
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        return mean + self.deviation() * noise

    def keep(self, kept: Tensor) -> None:
        """Drop all rows but these. kept: [Q]."""
        self.rho = nn.Parameter(self.rho.detach()[kept], requires_grad=self.rho.requires_grad)


@in_full_precision
def drawn_outputs(code: Tensor, weight: Tensor, bias: Tensor, deviations: tuple[Tensor, Tensor]) -> Tensor:
    """Outputs of a linear layer with random weights, drawn from their normal distributions. [B, I] -> [B, O].

    weight: [O, I] and bias: [O], the means; deviations: of both. Each image has weights of its own.
    """
    spread, of_bias = deviations
    variance = code.square() @ spread.square().T + of_bias.square()
    return F.linear(code, weight, bias) + variance.clamp_min(SMALLEST).sqrt() * torch.randn_like(variance)


class BayesianLinear(nn.Linear):
    """A linear layer whose weights and biases are normal distributions; in evaluation mode it has their means."""

    def __init__(self, taken: int, given: int, deviation: float):
        super().__init__(taken, given)
        self.of_weight, self.of_bias = Gaussian((given, taken), deviation), Gaussian((given,), deviation)

    def forward(self, code: Tensor) -> Tensor:
        """[B, taken] -> [B, given]."""
        if not self.training:
            return super().forward(code)
        return drawn_outputs(code, self.weight, self.bias, (self.of_weight.deviation(), self.of_bias.deviation()))

    def divergence(self, prior: float) -> Tensor:
        """See `Gaussian.divergence`."""
        return self.of_weight.divergence(self.weight, prior) + self.of_bias.divergence(self.bias, prior)

    @torch.no_grad()
    def fix(self, generator: Generator) -> None:
        """Become one draw: the means are values of the weights from now on."""
        self.weight.copy_(self.of_weight.draw(self.weight, generator))
        self.bias.copy_(self.of_bias.draw(self.bias, generator))


class Counted(OfPixels):
    """Knows how many training images there are, over which a divergence of weights is shared out."""

    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("images", torch.ones(()))

    def learn(self, batches: Iterable[Tensor]) -> None:
        """Count them."""
        self.images.fill_(sum(map(len, batches)))
