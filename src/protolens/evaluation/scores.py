"""How sure a figure is, and whether two models differ by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import torch
from scipy.stats import binomtest, t
from torch import Tensor

from protolens.config import seed_of
from protolens.evaluation.maps import mean_ranks

RESAMPLES = 2000
VALUES = 1 << 22  # numbers of images in resamples that are held at a time


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927): honest near 0 and 1, where the normal one leaves [0, 1].

    successes: may be a fraction, where a trial succeeds in part; so may trials, where one counts in part.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap_interval(values: Tensor, seed: int, level: float = 0.95) -> tuple[float, float]:
    """The middle of the means over resamples of the images (Efron 1979). values: [N], a figure of each image.

    For the difference of two models give the difference of their figures of each image.
    """
    images, values = len(values), values.double()
    generator = torch.Generator().manual_seed(seed_of(seed, "bootstrap"))
    parts = torch.arange(RESAMPLES).split(max(1, VALUES // images))
    means = [values[torch.randint(images, (len(part), images), generator=generator)].mean(dim=1) for part in parts]
    low, high = torch.cat(means).quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64))
    return float(low), float(high)


def exact_difference_interval(gained: int, lost: int, images: int, level: float = 0.95) -> tuple[float, float]:
    """`bootstrap_interval` of values that are 1 for `gained` images, -1 for `lost` ones, else 0: over all resamples.

    Nothing is drawn: the sum of so many values, each drawn with replacement, has the distribution of one of them
    convolved with itself so many times, and a Fourier transform makes of that a power.
    """
    sums = 2 * images + 1
    length = 1 << sums.bit_length()  # transforms of powers of two are fast
    one = torch.zeros(length, dtype=torch.float64)
    # a sum s stands at position s, that of -s before the end
    one[0], one[1], one[-1] = images - gained - lost, gained, lost
    whole = torch.fft.irfft(torch.fft.rfft(one / images) ** images, n=length).roll(images)[:sums].cumsum(dim=0)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = ((torch.searchsorted(whole, ends) - images) / images).tolist()
    return low, high


def area_interval(scores: Tensor, positive: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Interval of the area under the ROC curve, by DeLong et al. 1988, doi:10.2307/2531595; within [0, 1].

    scores: [N]; positive: [N] of bool, with at least one of each kind. By ranks, as Sun and Xu 2014.
    """
    scores, kinds = scores.double(), (positive, ~positive)
    counts = [int(kind.sum()) for kind in kinds]
    together = mean_ranks(scores[None])[0]
    # of each image, the share of those of the other kind that lie below it
    below = [
        (together[kind] - mean_ranks(scores[kind][None])[0]) / other
        for kind, other in zip(kinds, reversed(counts), strict=True)
    ]
    area = float(below[0].mean())
    variance = sum(float(part.var()) / len(part) for part in below if len(part) > 1)
    half = NormalDist().inv_cdf(0.5 + level / 2) * sqrt(variance)
    return max(0.0, area - half), min(1.0, area + half)


def exact_paired_test(first: Tensor, second: Tensor) -> float:
    """Chance of so uneven a split of the images that only one of two models gets right, were both alike.

    The exact two-sided form of McNemar's test (1947). first, second: [N] of bool, of the same images.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0


@dataclass(frozen=True)
class Difference:
    """A mean difference with the ends of its interval, and the chance of one as large were there none."""

    value: float
    low: float
    high: float
    chance: float


def difference_over_runs(first: Tensor, second: Tensor, level: float = 0.95) -> Difference:
    """The mean of a figure of one kind of model less that of another, over the same images and some runs of each.

    first: [S, N], second: [R, N], the figure of each image in each run. Images and runs are both samples: the variance
    is that of the difference over images, and of each kind's means over runs, put together as Welch and Satterthwaite
    do (1946). A kind of one run says nothing of other runs of it: then the difference is between these runs alone.
    """
    kinds = (first.double(), second.double())
    value = float(kinds[0].mean() - kinds[1].mean())
    images = kinds[0].shape[1]
    parts = [(float((kinds[0].mean(dim=0) - kinds[1].mean(dim=0)).var()) / images, images - 1)] if images > 1 else []
    parts += [(float(kind.mean(dim=1).var()) / len(kind), len(kind) - 1) for kind in kinds if len(kind) > 1]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    half = float(t.ppf(0.5 + level / 2, freedom)) * sqrt(variance)
    return Difference(value, value - half, value + half, float(2 * t.sf(abs(value) / sqrt(variance), freedom)))


def holm(chances: Sequence[float]) -> list[float]:
    """Chances of several comparisons, raised so that any false finding among them stays as unlikely (Holm 1979)."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    adjusted, reached = [0.0] * len(chances), 0.0
    for place, number in enumerate(order):
        reached = max(reached, min(1.0, (len(chances) - place) * chances[number]))
        adjusted[number] = reached
    return adjusted
