"""LIME: a linear model of what a classifier says of an image with some of its segments hidden.

Ribeiro, Singh, Guestrin: "Why Should I Trust You?", KDD 2016, arXiv:1602.04938.
"""

import torch
from torch import Tensor

from protolens.attribution.perturbation import Answer, Fill, Plan, map_of_segments
from protolens.config import seed_of

WIDTH = 0.25  # of the kernel, as in the authors' package
RIDGE = 1.0


def lime(
    answer: Answer,
    images: Tensor,
    targets: Tensor,
    segments: Tensor,
    samples: int = 1000,
    seed: int = 0,
    fill: Fill = "image",
) -> Tensor:
    """The weight of each pixel's segment in a linear model of what is said of the target class: [B, H, W].

    answer: images [N, C, H, W] to probabilities [N, K]; images: [B, C, H, W]; targets: [B]; segments: [B, H, W];
    samples: hidings, the first hides nothing. Hidings are drawn from the seed and the number of segments alone, so
    an image's result does not depend on the others.
    """

    def plan(count: int) -> Plan:
        kept = torch.rand(samples, count, generator=torch.Generator().manual_seed(seed_of(seed, "lime", count))) < 0.5
        kept[0] = True
        return kept, lambda said: linear_weights(kept.to(said.device), said)

    return map_of_segments(answer, images, targets, segments, fill, plan)


def linear_weights(kept: Tensor, said: Tensor, width: float = WIDTH, ridge: float = RIDGE) -> Tensor:
    """Weights of the segments in a ridge regression with an intercept, [B, d], float64.

    kept: [M, d] booleans; said: [B, M]. A hiding counts sqrt(exp(-D^2 / width^2)), D the cosine distance of what it
    keeps from all segments; the intercept is not penalised.
    """
    z, said = kept.double(), said.double()
    distance = 1 - z.mean(dim=1).sqrt()
    count = torch.exp(-((distance / width) ** 2)).sqrt()
    shares = count / count.sum()
    centred, spoken = z - shares @ z, said - (said @ shares)[:, None]
    normal = (centred * count[:, None]).T @ centred
    normal.diagonal().add_(ridge)
    return torch.linalg.solve(normal, (spoken * count @ centred).T).T
