"""Trust: does a model decide as its black box does, and are its prototypes and their maps what they seem?

Gautam et al., KMEx, TMLR 2024, arXiv:2312.07822; the predicate of seeds/001. For N images and K classes; logits of the
black box and of the model are [N, K]. The gap between explanations is in `gap`, maps are compared in `maps`.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from protolens.evaluation.maps import mean_ranks
from protolens.evaluation.metric import HIGHER, LOWER, NEITHER, check, metric
from protolens.evaluation.transparency import GAUTAM
from protolens.train import best_temperature

SMALL = 1e-8
ROUNDING = 1e-4  # of a similarity: what changes less has stayed


@metric("trust", LOWER, -1, 1, "share", GAUTAM)
def accuracy_gap(logits: Tensor, black: Tensor, labels: Tensor) -> float:
    """Accuracy of the black box less that of the model. logits, black: [N, K]; labels: [N]."""
    check(logits=logits, black=black)
    right = [(said.argmax(dim=1) == labels).double() for said in (black, logits)]
    return float((right[0] - right[1]).mean())


@metric("trust", HIGHER, 0, 1, "share", GAUTAM)
def agreement(logits: Tensor, black: Tensor) -> float:
    """Share of images that the model and the black box give the same class. [N, K] each."""
    check(logits=logits, black=black)
    return float((logits.argmax(dim=1) == black.argmax(dim=1)).double().mean())


def log_shares_of_cells(similarity: Tensor, class_of: Tensor, classes: int) -> Tensor:
    """Log probabilities of classes as published for KMEx: a softmax over prototypes, summed by class. [N, P] -> [N, K].

    With log((d + 1) / (d + 1e-4)) for similarity they are nearly alike for all classes once distances are above 1, and
    the likeliest class need not be that of the nearest prototype. A class without prototypes has minus infinity.
    """
    shares = similarity.double().log_softmax(dim=1)
    member = F.one_hot(class_of, classes).T.bool()
    return torch.where(member[None], shares[:, None], -torch.inf).logsumexp(dim=2)


@metric("trust", LOWER, 0, float("inf"), "nats", GAUTAM)
def divergence(log_shares: Tensor, black: Tensor) -> float:
    """Kullback-Leibler divergence from the black box's probabilities to the model's, mean over images.

    log_shares: the model's log probabilities, or its logits, [N, K]; black: logits. It measures how sure both are more
    than whether they agree: see `calibrated_divergence`. Infinite where the model excludes what the black box allows.
    """
    check(black=black)
    wanted, own = black.double().log_softmax(dim=1), log_shares.double().log_softmax(dim=1)
    parts = torch.where(wanted.exp() > 0, wanted.exp() * (wanted - own), 0.0)
    return float(parts.sum(dim=1).mean())


@metric("trust", LOWER, 0, float("inf"), "nats", GAUTAM)
def divergence_of_decision(log_shares: Tensor, black: Tensor) -> float:
    """The same for the black box's class alone: its probability times minus the log of the model's, mean. [N, K]."""
    check(black=black)
    sure, decided = black.double().softmax(dim=1).max(dim=1)
    own = log_shares.double().log_softmax(dim=1).gather(1, decided[:, None])[:, 0]
    return float((sure * -own).mean())


@metric("trust", LOWER, 0, float("inf"), "nats", "specs/models.md 7.3; Guo et al. 2017, arXiv:1706.04599")
def calibrated_divergence(logits: Tensor, black: Tensor, seen: Tensor, seen_black: Tensor) -> float:
    """The divergence after one temperature has made the model as sure as the black box, on training images.

    logits, black: [N, K] of the images that are measured; seen, seen_black: [M, K] of training images.
    """
    check(logits=logits, seen=seen, seen_black=seen_black)
    return divergence(logits / best_temperature(seen.double(), seen_black.double().softmax(dim=1)), black)


def drops(before: Tensor, after: Tensor) -> Tensor:
    """Share of each similarity that is lost when pixels are replaced, at most all of it. Any shape, both the same.

    Not a number where there was none: a share of a dot product of zero or less says nothing.
    """
    lost = (before - after.clamp_min(0)).clamp_min(0) / (before + SMALL)
    return torch.where(before > 0, lost, torch.nan).double()


def rises(before: Tensor, after: Tensor) -> Tensor:
    """Whether a similarity is higher by more than rounding, of bool. Any shape, both the same.

    One that comes from a single place stays as it is when other pixels are replaced, but for its last digits.
    """
    return after - before > ROUNDING * before.abs()


@metric("trust", NEITHER, 0, 1, "share", GAUTAM)
def average_drop(before: Tensor, after: Tensor) -> float:
    """Mean share of a similarity that is lost when pixels are replaced. before, after: [n], see `drops`.

    High is good where the most relevant pixels were replaced, low where they were kept.
    """
    check(before=before, after=after)
    return float(drops(before, after).nanmean())


@metric("trust", NEITHER, 0, 1, "share", GAUTAM)
def average_increase(before: Tensor, after: Tensor) -> float:
    """Share of similarities that rise when pixels are replaced; see `average_drop`. before, after: [n], see `rises`."""
    check(before=before, after=after)
    return float(rises(before, after).double().mean())


def prototype_margin(distance: Tensor, own: Tensor) -> Tensor:
    """How much nearer an image is to a prototype of its class than to any other, -1 to 1: (w - r) / (w + r), [N].

    r: distance to the nearest prototype of its class, w: to the nearest other one. distance: [N, P], 0 or more; own:
    [N, P] of bool, whether a prototype is of the image's class. Not a number without prototypes of both kinds.
    """
    right, wrong = (distance.double().masked_fill(~kind, torch.inf).amin(dim=1) for kind in (own, ~own))
    margin = (wrong - right) / (wrong + right + SMALL)
    return torch.where(right.isfinite() & wrong.isfinite(), margin, torch.nan)


def early_failures(margin: Tensor, right: Tensor) -> Tensor:
    """Whether an image is recognised and yet nearer to a prototype of another class, 1 or 0: [N].

    margin: [N], see `prototype_margin`; right: [N] of bool. Not a number for images that are not recognised.
    """
    return torch.where(right & ~margin.isnan(), (margin < 0).double(), torch.nan)


@metric("trust", LOWER, 0, 1, "share", "specs/models.md 7.3")
def early_failure(margin: Tensor, right: Tensor) -> float:
    """Share of recognised images whose nearest prototype is of another class: the reason fails, not yet the answer.

    margin: [N], see `prototype_margin`; right: [N] of bool. Not a number where no image is recognised. A model that
    decides by the nearest prototype has none.
    """
    return float(early_failures(margin, right).nanmean())


@metric("trust", LOWER, 0, float("inf"), "spreads", "specs/models.md 7.3; Kuhn 1955")
def matched_distance(first: Tensor, second: Tensor, scale: float) -> float:
    """Mean distance of prototypes to their partners in another run, matched so that it is least, by a scale.

    first: [P, D]; second: [Q, D]; those of the larger set that have no partner do not count. scale: a distance, such as
    the root mean square distance of codes to their class's mean. Not a number for a scale of 0.
    """
    check(first=first, second=second)
    if not scale:
        return float("nan")
    apart = torch.cdist(first.double(), second.double(), compute_mode="donot_use_mm_for_euclid_dist")
    rows, columns = linear_sum_assignment(apart.numpy())
    return float(apart[rows, columns].mean()) / scale


@metric("trust", HIGHER, -1, 1, "rank correlation", "specs/models.md 7.3; Kuhn 1955; Spearman 1904")
def matched_correlation(first: Tensor, second: Tensor) -> float:
    """How alike two runs' prototypes look at the same images: rank correlation with their partners, mean.

    first: similarity [N, P]; second: [N, Q], of another run, whose codes may mean something else; partners are matched
    so that the mean is highest, and those of the larger set that have none do not count. A prototype that is equally
    similar to all images is like no other.
    """
    check(first=first, second=second)
    ranks = [mean_ranks(similarity.T) for similarity in (first, second)]
    centred = [each - each.mean(dim=1, keepdim=True) for each in ranks]
    straight = [F.normalize(each, dim=1) for each in centred]
    alike = straight[0] @ straight[1].T
    rows, columns = linear_sum_assignment(alike.numpy(), maximize=True)
    return float(alike[rows, columns].mean())
