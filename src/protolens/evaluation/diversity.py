"""Diversity: do prototypes hold information that does not overlap, in the embedding and in terms of attributes?

The predicate of seeds/001, which asks for both kinds (Celis et al. 2016, arXiv:1610.07183), and for figures by the
model's own similarity and by the other one. For P prototypes [P, D] and codes of images [N, D].
"""

import math

import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor
from torch.nn import functional as F

from protolens.evaluation.metric import HIGHER, LOWER, check, entropy, metric
from protolens.evaluation.transparency import GAUTAM

PANTYPES = "Kjaersgaard, Boubekki, Clemmensen 2024, arXiv:2403.09383"
CELIS = "Celis et al. 2016, arXiv:1610.07183; specs/models.md 7.5"


@metric("diversity", LOWER, 0, 1, "share of log P", GAUTAM)
def entropy_of_similarity(own: Tensor) -> float:
    """How alike prototypes look to each other by a softmax: 0 each only like itself, 1 all alike.

    own: similarity of the prototypes with themselves, [P, P]. With log((d + 1) / (d + 1e-4)) it is nearly 0 unless some
    nearly coincide: 50 prototypes, all a distance of 1 apart, have 0.0236, and 5 apart 0.0150.
    """
    check(own=own)
    if len(own) == 1:
        return 0.0
    return float(entropy(own.double().softmax(dim=1)).mean() / math.log(len(own)))


def log_volumes(vectors: Tensor, class_of: Tensor, classes: int) -> Tensor:
    """Log of the volume that the prototypes of each class span, by their number, [K]; see `volume`."""
    found = torch.full((classes,), torch.nan, dtype=torch.float64)
    for k in class_of.unique().tolist():
        own = vectors[class_of == k].double()
        lengths = torch.linalg.svdvals(own)
        # more prototypes than numbers in a code span nothing
        found[k] = lengths.log().mean() if len(own) <= own.shape[1] else -torch.inf
    return found


@metric("diversity", HIGHER, 0, 1, "", PANTYPES)
def volume(vectors: Tensor, class_of: Tensor, classes: int) -> float:
    """Volume that the directions of a class's prototypes span, by their number, mean over classes.

    1: all at right angles; 0: one lies where others are. vectors: [P, D]; class_of: [P]. The square root of the Gram
    determinant of Pantypes, for prototypes of length 1, so that neither their length nor their number counts.
    """
    check(vectors=vectors)
    return float(log_volumes(F.normalize(vectors.double()), class_of, classes).exp().nanmean())


def cosine_kernel(vectors: Tensor) -> Tensor:
    """Cosine of each pair of prototypes, [P, D] -> [P, P]."""
    straight = F.normalize(vectors.double())
    return straight @ straight.T


def distances(vectors: Tensor) -> Tensor:
    """Euclidean distance of each pair, [P, D] -> [P, P], float64; exactly 0 for equal ones."""
    return torch.cdist(vectors.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist")


def distance_kernel(vectors: Tensor, scale: float) -> Tensor:
    """exp(-d^2 / (2 scale^2)) of each pair, [P, D] -> [P, P]; 1 for equal ones. scale: above 0."""
    return torch.exp(-((distances(vectors) / scale) ** 2) / 2)


@metric("diversity", HIGHER, 0, 1, "share of P", "Friedman, Dieng 2023, arXiv:2210.02410")
def vendi_score(kernel: Tensor) -> float:
    """How many different prototypes there effectively are, by their number: exp of the entropy of eigenvalues.

    kernel: [P, P], symmetric, with ones on the diagonal. 1 / P where all coincide, 1 where none is like another.
    """
    check(kernel=kernel)
    values = torch.linalg.eigvalsh(kernel.double() / len(kernel)).clamp_min(0)
    return float(entropy(values / values.sum()).exp() / len(kernel))


@metric("diversity", LOWER, 0, float("inf"), "", "Davies, Bouldin 1979; " + PANTYPES)
def davies_bouldin(codes: Tensor, vectors: Tensor, assigned: Tensor) -> float:
    """How wide the cells of prototypes are beside the way to their worst neighbour, mean over used prototypes.

    codes: [N, D]; vectors: [P, D]; assigned: [N], the most similar prototype of each code. Two used prototypes that
    coincide make it infinite; fewer than two used ones have none, which is not a number.
    """
    check(codes=codes, vectors=vectors)
    used = assigned.unique()
    if len(used) < 2:
        return float("nan")
    apart = (codes.double() - vectors.double()[assigned]).norm(dim=1)
    width = torch.stack([apart[assigned == number].mean() for number in used])
    between = distances(vectors[used])
    ratio = (width[:, None] + width[None]) / between
    ratio.fill_diagonal_(0)
    return float(ratio.nan_to_num(nan=0.0, posinf=torch.inf).amax(dim=1).mean())


@metric("diversity", HIGHER, 0, float("inf"), "spreads", "specs/models.md 7.5")
def separation(vectors: Tensor, scale: float) -> float:
    """Mean distance of prototypes to their nearest other one, by a scale such as that of `matched_distance`. [P, D].

    Not a number for a single prototype, or a scale of 0.
    """
    check(vectors=vectors)
    if len(vectors) < 2 or not scale:
        return float("nan")
    return float(distances(vectors).fill_diagonal_(torch.inf).amin(dim=1).mean()) / scale


def area(points: Tensor) -> float:
    """Area of the convex hull of points in a plane, [n, 2]; 0 for fewer than three, or on one line."""
    if len(points.unique(dim=0)) < 3:
        return 0.0
    try:
        return float(ConvexHull(points.double().numpy()).volume)
    except QhullError:
        return 0.0


@metric("diversity", HIGHER, 0, 1, "share", PANTYPES)
def coverage(points: Tensor, labels: Tensor, chosen: Tensor) -> float:
    """Area around the images that stand for a class's prototypes, by that around all its images, mean over classes.

    points: [N, 2], codes in a plane; labels: [N]; chosen: [Q], numbers of images that are nearest to a prototype, which
    count for the class that they show. A class whose images have no area does not count.
    """
    check(points=points, chosen=chosen)
    shares = []
    for k in labels.unique().tolist():
        whole = area(points[labels == k])
        if whole > 0:
            shares.append(area(points[chosen[labels[chosen] == k]]) / whole)
    return sum(shares) / len(shares) if shares else float("nan")


@metric("diversity", HIGHER, 0, 1, "share of log v", CELIS)
def attribute_entropy(attributes: Tensor, values: int) -> float:
    """How evenly prototypes are spread over the values of attributes: entropy by that of all alike, mean.

    attributes: [P, A], number of the value that each prototype has of each attribute; values: how many there are, 2 or
    more.
    """
    check(attributes=attributes)
    shares = F.one_hot(attributes, values).double().mean(dim=0)
    return float(entropy(shares).mean() / math.log(values))


@metric("diversity", LOWER, 0, float("inf"), "nats", CELIS)
def attribute_divergence(attributes: Tensor, population: Tensor, values: int) -> float:
    """Kullback-Leibler divergence from how prototypes have attributes to how the images have them, mean.

    attributes: [P, A]; population: [N, A], of the images. Infinite where a prototype has what no image has.
    """
    check(attributes=attributes, population=population)
    own, whole = (F.one_hot(some, values).double().mean(dim=0) for some in (attributes, population))
    parts = torch.where(own > 0, own * (own.log() - whole.log()), 0.0)
    return float(parts.sum(dim=1).mean())
