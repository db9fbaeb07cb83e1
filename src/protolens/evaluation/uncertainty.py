"""Does a model know when it does not know? Calibration, doubt, and refusing to answer.

For N images, K classes and S draws of a model's weights: `posterior` [S, N, K] holds the probabilities that each drawn
network gives; a model of fixed weights is one draw. The refusal is that of seeds/003: by the posterior's median.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from protolens.config import seed_of
from protolens.evaluation.metric import LOWER, check, entropy, metric

RESAMPLES, VALUES = 1000, 1 << 22  # of the images; and numbers that are held at a time
BINS = 15  # of confidence, of equal width
PUBLISHED = 0.2  # least median probability of an answer in seeds/003
NOBODY = -1  # the answer that is refused


@metric("trust", LOWER, 0, 1, "share", "Guo et al. 2017, arXiv:1706.04599, section 2; 15 bins of equal width")
def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """How far confidence is from accuracy, mean over bins of confidence weighted by their images. [N, K], [N]."""
    check(probabilities=probabilities)
    confidence, right = confidence_and_right(probabilities, labels)
    return float(errors_of(bin_of(confidence, bins)[None], (right - confidence)[None], bins))


def confidence_and_right(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the class that is said, and 1 where it is true, else 0: [N] each, float64. [N, K], [N]."""
    confidence, predicted = probabilities.double().max(dim=1)
    return confidence, (predicted == labels).double()


def bin_of(confidence: Tensor, bins: int = BINS) -> Tensor:
    """The bin of each confidence, from 0; its upper end belongs to it. [N]."""
    return (confidence * bins).ceil().clamp(1, bins).long() - 1


def errors_of(place: Tensor, gap: Tensor, bins: int) -> Tensor:
    """Calibration errors [R] of R sets of N images. place: [R, N], their bins; gap: [R, N], right less confidence."""
    sums = torch.zeros(len(gap), bins, dtype=torch.float64).scatter_add_(1, place, gap)
    return sums.abs().sum(dim=1) / gap.shape[1]


def reliability(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> list[tuple[int, float, float]]:
    """Of each bin with images: how many, mean confidence, share that is right. [N, K], [N]."""
    confidence, right = confidence_and_right(probabilities, labels)
    place = bin_of(confidence, bins)
    images = place.bincount(minlength=bins)
    means = (place.bincount(each, bins) / images for each in (confidence, right))
    rows = zip(images.tolist(), *(mean.tolist() for mean in means), strict=True)
    return [row for row in rows if row[0]]


def calibration_interval(
    probabilities: Tensor, labels: Tensor, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the calibration error, by the basic bootstrap (Davison and Hinkley 1997, 5.2). [N, K], [N].

    The error of a resample is too high as a rule, so its distance from the error is mirrored. Nothing is below 0.
    """
    confidence, right = confidence_and_right(probabilities, labels)
    place, gap, images = bin_of(confidence), right - confidence, len(labels)
    generator, found = Generator().manual_seed(seed_of(seed, "calibration")), []
    for part in torch.arange(resamples).split(max(1, VALUES // images)):
        rows = torch.randint(images, (len(part), images), generator=generator)
        found.append(errors_of(place[rows], gap[rows], BINS))
    low, high = torch.cat(found).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    whole = float(errors_of(place[None], gap[None], BINS))
    return max(0.0, 2 * whole - high), max(0.0, 2 * whole - low)


def calibration_by_chance(probabilities: Tensor, seed: int, resamples: int = RESAMPLES) -> float:
    """The calibration error that a model which is right as often as it says exceeds in 5 of 100 cases. [N, K].

    Broecker and Smith 2007, doi:10.1175/WAF993.1: answers drawn by the model's own confidence.
    """
    confidence = probabilities.double().amax(dim=1)
    place, images = bin_of(confidence), len(confidence)
    generator, found = Generator().manual_seed(seed_of(seed, "calibrated")), []
    for part in torch.arange(resamples).split(max(1, VALUES // images)):
        drawn = torch.rand(len(part), images, generator=generator, dtype=torch.float64)
        found.append(errors_of(place.expand(len(part), -1), (drawn < confidence).double() - confidence, BINS))
    return float(torch.cat(found).quantile(0.95))


@metric("trust", LOWER, 0, 2, "", "Brier 1950")
def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Squared difference of probabilities from what was true, summed over classes, mean over images. [N, K], [N]."""
    check(probabilities=probabilities)
    return float(squared_errors(probabilities, labels).mean())


def squared_errors(probabilities: Tensor, labels: Tensor) -> Tensor:
    """What each image adds to the Brier score, [N]. [N, K], [N]."""
    return (probabilities.double() - F.one_hot(labels, probabilities.shape[1])).square().sum(dim=1)


@metric("trust", LOWER, 0, float("inf"), "nats", "Good 1952")
def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Minus the log of the true class's probability, mean over images; infinite where one was excluded. [N, K], [N]."""
    check(probabilities=probabilities)
    return float(surprises(probabilities, labels).mean())


def surprises(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Minus the log of the true class's probability, [N], in nats. [N, K], [N]."""
    return -probabilities.double().gather(1, labels[:, None])[:, 0].log()


def doubt(posterior: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of what all draws say together, and the part of it that is disagreement between draws: [N] each, in nats.

    The second is the mutual information of answer and weights (Houlsby et al. 2011, arXiv:1112.5745). [S, N, K].
    """
    whole = entropy(posterior.double().mean(dim=0))
    return whole, (whole - entropy(posterior.double()).mean(dim=0)).clamp_min(0)


def median(posterior: Tensor) -> Tensor:
    """The middle over draws, [S, N, K] -> [N, K]; torch.quantile takes no more than 16 million numbers."""
    ordered = posterior.double().sort(dim=0).values
    draws = len(ordered)
    return (ordered[(draws - 1) // 2] + ordered[draws // 2]) / 2


def answers(posterior: Tensor, least: float = PUBLISHED) -> Tensor:
    """The class of the highest median probability, NOBODY where no median is above `least`. [S, N, K] -> [N]."""
    check(posterior=posterior)
    highest, said = median(posterior).max(dim=1)
    return torch.where(highest > least, said, NOBODY)


def refused(posterior: Tensor, least: float = PUBLISHED) -> float:
    """Share of images that get no answer. [S, N, K]."""
    return float((answers(posterior, least) == NOBODY).double().mean())


def accuracy_when_answering(posterior: Tensor, labels: Tensor, least: float = PUBLISHED) -> float | None:
    """Share of the answered images that are right; None where none is answered. [S, N, K], [N]."""
    said = answers(posterior, least)
    answered = said != NOBODY
    return float((said == labels)[answered].double().mean()) if answered.any() else None


def refusals(posterior: Tensor, leasts: Sequence[float]) -> list[float]:
    """`refused` for many least probabilities. [S, N, K]."""
    highest = median(posterior).amax(dim=1).sort().values
    cuts = torch.tensor(leasts, dtype=highest.dtype)
    return (torch.searchsorted(highest, cuts, right=True).double() / len(highest)).tolist()


def accuracies_when_answering(posterior: Tensor, labels: Tensor, leasts: Sequence[float]) -> list[float | None]:
    """`accuracy_when_answering` for many least probabilities. [S, N, K], [N]."""
    highest, said = median(posterior).max(dim=1)
    ordered, order = highest.sort()
    right = (said == labels)[order].double()
    # right answers among those from each place on
    after = torch.cat([right.flip(0).cumsum(0).flip(0), torch.zeros(1, dtype=right.dtype)])
    first = torch.searchsorted(ordered, torch.tensor(leasts, dtype=ordered.dtype), right=True)
    left = len(ordered) - first
    shares = (after[first] / left).tolist()
    return [share if count else None for share, count in zip(shares, left.tolist(), strict=True)]


def least_refusing(posterior: Tensor, share: float) -> float:
    """The highest median probability that refuses no more than that share of images: of validation images. [S, N, K].

    0, so that all are answered, where the least sure are too many that are equally sure.
    """
    check(posterior=posterior)
    highest = median(posterior).amax(dim=1).sort().values
    few = int(share * len(highest))
    good = highest[:few][highest[:few] < highest[few]] if few < len(highest) else highest
    return float(good[-1]) if len(good) else 0.0


def least_for(posterior: Tensor, labels: Tensor, accuracy: float) -> float:
    """The lowest median probability from which on answers are right that often: of validation images. [S, N, K], [N].

    1, so that nothing is answered, where no such probability exists.
    """
    check(posterior=posterior)
    highest, said = median(posterior).max(dim=1)
    order = highest.argsort(descending=True, stable=True)
    sorted_highest, right = highest[order], (said == labels)[order].double()
    share = right.cumsum(0) / torch.arange(1, len(right) + 1)
    # equal probabilities are answered together: only the last of them counts
    ends = torch.ones(len(right), dtype=torch.bool)
    ends[:-1] = sorted_highest[1:] != sorted_highest[:-1]
    good = (ends & (share >= accuracy)).nonzero().flatten()
    if not len(good):
        return 1.0
    last = int(good[-1])
    return float(sorted_highest[last + 1]) if last + 1 < len(right) else 0.0
