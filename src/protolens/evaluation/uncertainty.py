"""Does a model know when it does not know? Calibration, doubt, and refusing to answer.

For N images, K classes and S draws of a model's weights: `posterior` [S, N, K] holds the probabilities that each drawn
network gives; a model of fixed weights is one draw. The refusal is that of seeds/003: by the posterior's median.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.evaluation.metric import LOWER, check, entropy, metric

PUBLISHED = 0.2  # least median probability of an answer in seeds/003
NOBODY = -1  # the answer that is refused


@metric("trust", LOWER, 0, 1, "share", "Guo et al. 2017, arXiv:1706.04599, section 2; 15 bins of equal width")
def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """How far confidence is from accuracy, mean over bins of confidence weighted by their images. [N, K], [N]."""
    check(probabilities=probabilities)
    confidence, predicted = probabilities.double().max(dim=1)
    right = (predicted == labels).double()
    place = (confidence * bins).ceil().clamp(1, bins).long() - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - confidence)
    return float(gaps.abs().sum() / len(labels))


@metric("trust", LOWER, 0, 2, "", "Brier 1950")
def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Squared difference of probabilities from what was true, summed over classes, mean over images. [N, K], [N]."""
    check(probabilities=probabilities)
    truth = F.one_hot(labels, probabilities.shape[1])
    return float((probabilities.double() - truth).square().sum(dim=1).mean())


@metric("trust", LOWER, 0, float("inf"), "nats", "Good 1952")
def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Minus the log of the true class's probability, mean over images; infinite where one was excluded. [N, K], [N]."""
    check(probabilities=probabilities)
    return float(-probabilities.double().gather(1, labels[:, None]).log().mean())


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
