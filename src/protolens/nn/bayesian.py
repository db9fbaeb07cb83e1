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


def rho_of(deviation: Tensor) -> Tensor:
    """The rho whose softplus is a deviation above 0, of the same shape."""
    deviation = deviation.double()
    # log(exp(d) - 1), which does not overflow
    return deviation + (-torch.expm1(-deviation)).log()


class Gaussian(nn.Module):
    """A tensor of independent normal distributions: `mean` is a parameter that lies elsewhere, `rho` is held here."""

    def __init__(self, shape: Iterable[int], deviation: float):
        super().__init__()
        self.rho = nn.Parameter(torch.empty(tuple(shape)))
        self.begin(torch.tensor(deviation))

    @torch.no_grad()
    def begin(self, deviation: Tensor) -> None:
        """Set the deviations, of a shape that spreads to that of the mean."""
        self.rho.copy_(rho_of(deviation).expand_as(self.rho))

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


class FirstBayesianLinear(BayesianLinear, OfPixels):
    """One that looks at pixels, and begins as unsure of each as the training images leave it.

    Deviations are those of the best independent normal distributions of a linear regression with noise of 1: a weight
    of a pixel that is black in all images stays as the prior is. It has no gradient to find that by, and networks that
    agree by chance on what no image has shown would be sure of any other kind of image.
    """

    def __init__(self, taken: int, given: int, prior: float):
        super().__init__(taken, given, prior)
        self.prior = prior

    @torch.no_grad()
    def learn(self, batches: Iterable[Tensor]) -> None:
        """Take deviations from the pixels' sums of squares; means shrink as far as the prior still holds."""
        squares, count = torch.zeros(self.in_features, dtype=torch.float64), 0
        for images in batches:
            squares += images.flatten(1).double().square().sum(dim=0)
            count += len(images)
        variance = 1 / (1 / self.prior**2 + squares)
        self.of_weight.begin(variance.sqrt())
        self.of_bias.begin((1 / (1 / self.prior**2 + torch.tensor([float(count)]))).sqrt())
        self.weight.mul_(1 - variance / self.prior**2)


class Counted(OfPixels):
    """Knows how many training images there are, over which a divergence of weights is shared out."""

    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("images", torch.ones(()))

    def learn(self, batches: Iterable[Tensor]) -> None:
        """Count them."""
        self.images.fill_(sum(map(len, batches)))
