"""Transparency: is the relation between prototypes and decisions one that can be read?

Gautam et al., KMEx, TMLR 2024, arXiv:2312.07822; the predicate of seeds/001. For N images, P prototypes and K classes.
What a prototype is "used" by: the images that it is the most similar one to; with absolute contributions to the
predicted class in place of similarity, those that it decides most about. Of equal ones each is used by a share.
"""

import math

from torch import Tensor
from torch.nn import functional as F

from protolens.evaluation.metric import HIGHER, LOWER, check, entropy, metric

GAUTAM = "Gautam et al. 2024, arXiv:2312.07822"


def winners(similarity: Tensor) -> Tensor:
    """Which prototype is the most similar one to each image, equal ones by a share. [N, P] -> same, rows sum to 1."""
    check(similarity=similarity)
    first = (similarity == similarity.amax(dim=1, keepdim=True)).double()
    return first / first.sum(dim=1, keepdim=True)


def use(similarity: Tensor) -> Tensor:
    """How many images each prototype is the most similar one to, [P]. similarity: [N, P]."""
    return winners(similarity).sum(dim=0)


@metric("transparency", LOWER, 0, 1, "share", GAUTAM)
def unused(similarity: Tensor) -> float:
    """Share of prototypes that are the most similar one to no image: a breach of transparency. similarity: [N, P]."""
    return float((use(similarity) == 0).double().mean())


def unused_of_classes(similarity: Tensor, class_of: Tensor, classes: int) -> Tensor:
    """The same of each class's prototypes, [K]; not a number for a class without any. class_of: [P]."""
    idle = (use(similarity) == 0).double()
    members = F.one_hot(class_of, classes).double()
    return (idle @ members) / members.sum(dim=0)


@metric("transparency", HIGHER, 0, 1, "share of log P", GAUTAM)
def entropy_of_use(similarity: Tensor) -> float:
    """How evenly images are spread over prototypes: entropy by that of all alike; 1 for a single one. [N, P]."""
    counts = use(similarity)
    if len(counts) == 1:
        return 1.0
    return float(entropy(counts / counts.sum()) / math.log(len(counts)))


@metric("transparency", HIGHER, 0, 1, "share", GAUTAM)
def nearest_agreement(similarity: Tensor, class_of: Tensor, predicted: Tensor) -> float:
    """Share of images whose most similar prototype has the predicted class. [N, P], [P], [N]."""
    own = class_of[None] == predicted[:, None]
    return float((winners(similarity) * own).sum(dim=1).mean())


def purities(similarity: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Share of the most common class among the images that use each prototype, [P]; not a number without images.

    similarity: [N, P]; labels: [N] class numbers.
    """
    table = winners(similarity).T @ F.one_hot(labels, classes).double()
    return table.amax(dim=1) / table.sum(dim=1)


@metric("transparency", HIGHER, 0, 1, "share", GAUTAM)
def purity(similarity: Tensor, labels: Tensor, classes: int) -> float:
    """Mean over used prototypes of the share of the most common class among their images. [N, P], [N]."""
    return float(purities(similarity, labels, classes).nanmean())
