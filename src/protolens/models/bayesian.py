"""A Bayesian network: its weights are normal distributions, and so what it says of an image has a spread.

The one of seeds/003, learnt by variational inference (Blundell et al. 2015, arXiv:1505.05424): an MLP of such layers,
or a CNN with such a last layer. Read as a self-explainable model like the black box, by the means of its weights: rows
of the last layer are the prototypes, and `drawn` gives a network of one draw, whose explanations can be compared.

    image -> layers -> code -> dot product with each row -> identity -> logits
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Generator, Tensor, nn

from protolens.config import Count, ModelSettings, Positive, Stage, Task, option, seed_of
from protolens.data import Batch
from protolens.models.base import Evidence, evaluation_mode
from protolens.models.lastlayer import LastLayer
from protolens.models.registry import register
from protolens.nn import (
    BayesianLinear,
    Counted,
    FirstBayesianLinear,
    Gaussian,
    Normalise,
    SmallEncoder,
    classification,
    drawn_outputs,
)


@dataclass(frozen=True)
class Settings(ModelSettings):
    """An MLP of Bayesian layers, as in seeds/003, or a small CNN with a Bayesian last layer."""

    network: Literal["mlp", "cnn"] = option("mlp", "two hidden layers, all Bayesian; or a CNN whose last layer is")
    width: Count = option(400, "numbers in each hidden layer of the MLP")
    prior: Positive = option(1.0, "standard deviation of the weights before any image is seen")
    start: Positive = option(0.02, "standard deviation of the weights that training begins with")


@register("bayesian", Settings)
class Bayesian(LastLayer):
    """In training outputs are drawn; in evaluation weights are at their means."""

    several = False
    settings: Settings

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.seen = Counted()
        # a pixel that is always 0 teaches its weights nothing: where it is not, draws disagree
        self.normalise = Normalise(task.bands) if settings.network == "cnn" else nn.Identity()
        if settings.network == "cnn":
            self.encoder: nn.Sequential = SmallEncoder(task.bands)
            features = self.encoder.features
        else:
            pixels, features = task.bands * task.height * task.width, settings.width
            first = FirstBayesianLinear(pixels, features, settings.prior)
            second = BayesianLinear(features, features, settings.start)
            self.encoder = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU())
        self.end_in(features, task)
        self.of_prototypes = Gaussian((len(task.classes), features), settings.start)
        self.of_intercept = Gaussian((len(task.classes),), settings.start)

    def code(self, images: Tensor) -> Tensor:
        code: Tensor = self.encoder(self.normalise(self.shown(images)))
        return code

    def evidence(self, images: Tensor) -> Evidence:
        found = super().evidence(images)
        if self.training:
            deviations = self.of_prototypes.deviation(), self.of_intercept.deviation()
            found.logits = drawn_outputs(found.code, self.prototypes.vectors, self.intercept, deviations)
        return found

    def drawn(self, seed: int) -> Self:
        """A network of the same kind whose weights are one draw from their distributions, in evaluation mode."""
        generator = Generator().manual_seed(seed_of(seed, "posterior"))
        found = copy.deepcopy(self).eval()
        with torch.no_grad():
            for layer in found.modules():
                if isinstance(layer, BayesianLinear):
                    layer.fix(generator)
            found.prototypes.vectors.copy_(found.of_prototypes.draw(found.prototypes.vectors, generator))
            found.intercept.copy_(found.of_intercept.draw(found.intercept, generator))
        return found

    def draws(self, count: int, seed: int) -> list[Self]:
        """So many networks of it, each of a draw of its own."""
        return [self.drawn(seed_of(seed, number)) for number in range(count)]

    @torch.no_grad()
    def posterior(self, images: Tensor, networks: Sequence[Self]) -> Tensor:
        """Probabilities of classes by each of S drawn networks, [S, B, K]; what is not random is computed once."""
        if self.settings.network == "mlp":
            return torch.stack([network(images).softmax(dim=1) for network in networks])
        with evaluation_mode(self):
            code = self.code(images)
        said = [network.alike(code) + network.intercept for network in networks]
        return torch.stack(said).softmax(dim=2)

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence of all weights from the prior, in nats."""
        prior = self.settings.prior
        layers = [layer.divergence(prior) for layer in self.encoder if isinstance(layer, BayesianLinear)]
        last = self.of_prototypes.divergence(self.prototypes.vectors, prior)
        return sum(layers, last + self.of_intercept.divergence(self.intercept, prior))

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        return {
            "classification": classification(evidence.logits, batch.labels, batch.weights),
            "divergence": self.divergence() / self.seen.images,
        }

    def stages(self) -> list[Stage]:
        # a weight of 1 is the bound on the evidence; less of it fits better
        weights = {"classification": 1.0, "divergence": 0.1}
        return [Stage("train", epochs=30, weights=weights, schedule="cosine")]
