"""Whether prototypes keep their promises: do images of a class find its prototypes, and is what they find one thing?

The three claims and the two weaknesses that seeds/002 collects about ProtoPNet, as numbers for any model of the family.
"""

from typing import Any

import torch
from torch import Tensor

from protolens.config import seed_of
from protolens.data import Images, to_float
from protolens.evaluation.metric import HIGHER, LOWER, metric
from protolens.evaluation.transparency import unused
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import area_under_roc, batch_for, number

NEAREST = 5  # neighbours that are asked
CLAIMS = "the claims that seeds/002 collects about Chen et al. 2019, arXiv:1806.10574"


def shows_class_of(labels: Tensor, class_of: Tensor) -> Tensor:
    """Whether an image shows the class of a prototype, [N, P] of bool. labels: [N] or [N, K]; class_of: [P]."""
    return labels[:, None] == class_of if labels.ndim == 1 else labels[:, class_of].bool()


@metric("transparency", HIGHER, 0, 1, "share", CLAIMS)
def own_class_nearest(similarity: Tensor, labels: Tensor, class_of: Tensor, count: int = NEAREST) -> float:
    """Share of an image's nearest prototypes that have its class, mean over images; higher is better, 0 to 1.

    similarity: [N, P]; labels: [N] or [N, K]; class_of: [P]. Asks `count` prototypes, or as many as the image's classes
    have where these are fewer, so that 1 can be reached; an image whose classes have none does not count. Not a number
    where no image counts.
    """
    order = similarity.argsort(dim=1, descending=True, stable=True)
    own = shows_class_of(labels, class_of).gather(1, order)
    asked = own.sum(dim=1, keepdim=True).clamp_max(count)
    first = torch.arange(own.shape[1]) < asked
    share = (own & first).sum(dim=1).double() / asked[:, 0].clamp_min(1)
    return float(share[asked[:, 0] > 0].mean())


@metric("transparency", HIGHER, 0, 1, "share", CLAIMS)
def patches_of_own_class(similarity: Tensor, labels: Tensor, class_of: Tensor, count: int = NEAREST) -> float:
    """Share of a prototype's nearest images that have its class, mean over prototypes; higher is better, 0 to 1.

    similarity: [N, P], where an image counts by its most similar patch; labels: [N] or [N, K]; class_of: [P].
    """
    nearest = similarity.topk(min(count, len(similarity)), dim=0).indices
    return float(shows_class_of(labels, class_of).gather(0, nearest).double().mean())


def stranger_overlap(similarity: Tensor, labels: Tensor, class_of: Tensor) -> float | None:
    """Chance that an image of another class is more like a prototype than one of its own class; lower is better.

    0: none ever is; 0.5: the class makes no difference. Mean over prototypes, None where no class can be compared.
    similarity: [N, P]; labels: [N] or [N, K]; class_of: [P].
    """
    own = shows_class_of(labels, class_of)
    asked = [j for j, members in enumerate(own.sum(dim=0).tolist()) if 0 < members < len(labels)]
    overlaps = [1 - area_under_roc(similarity[:, j], own[:, j]) for j in asked]
    return sum(overlaps) / len(overlaps) if overlaps else None


@metric("diversity", LOWER, 0, 1, "share", CLAIMS)
def duplicates(vectors: Tensor) -> float:
    """Share of prototypes that coincide with another one; lower is better, 0 to 1. vectors: [P, D].

    Two coincide when they are a thousand times nearer to each other than two prototypes are on average.
    """
    distance = torch.cdist(vectors.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist")
    if len(vectors) < 2:
        return 0.0
    mean = distance.sum() / (len(vectors) * (len(vectors) - 1))
    distance.fill_diagonal_(torch.inf)
    return float((distance.amin(dim=1) <= mean / 1000).double().mean())


def spread(codes: Tensor) -> Tensor:
    """Mean squared distance between two of n codes, [..., n, D] -> [...]."""
    count = codes.shape[-2]
    # twice the variance, without the pairs of a code with itself
    return 2 * codes.double().var(dim=-2, correction=0).sum(dim=-1) * count / (count - 1)


@torch.inference_mode()
def consistency(model: PrototypeModel, images: Images, similarity: Tensor, seed: int) -> float | None:
    """How alike the patches are that a prototype highlights in its nearest images; lower is better.

    Mean squared distance between their codes over that between patches at random places of the same images: 0 where
    a prototype always finds the same part, 1 where it finds anything. A code without places is one patch, compared
    with codes of random images. similarity: [N, P] of these images. None where there is no spread to compare with.
    """
    nearest = similarity.topk(min(NEAREST, len(similarity)), dim=0).indices.T
    if nearest.shape[1] < 2:
        return None
    count = nearest.shape[1]
    generator = torch.Generator().manual_seed(seed_of(seed, "consistency"))
    found, other = [], []
    with evaluation_mode(model):
        for part in torch.arange(len(nearest)).split(max(1, batch_for(images) // count)):
            highlighted, anywhere = _patches(
                model, images, nearest[part].flatten(), part.repeat_interleave(count), generator
            )
            found.append(highlighted.view(len(part), count, -1))
            other.append(anywhere.view(len(part), count, -1))
    random = float(spread(torch.cat(other)).mean())
    return float(spread(torch.cat(found)).mean()) / random if random > 0 else None


def _patches(
    model: PrototypeModel, images: Images, some: Tensor, prototypes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The code that a prototype highlights in each image and one at random: [n, D] each. some, prototypes: [n]."""
    evidence = model.evidence(to_float(images.take(some), model.device)).cpu()
    if evidence.maps is None:
        strangers = torch.randint(len(images), (len(some),), generator=generator)
        return evidence.code, model.evidence(to_float(images.take(strangers), model.device)).code.cpu()
    rows = torch.arange(len(some))
    place = evidence.maps[rows, prototypes].flatten(1).argmax(dim=1)
    patches = evidence.code.flatten(2)
    anywhere = torch.randint(patches.shape[2], (len(some),), generator=generator)
    return patches[rows, :, place], patches[rows, :, anywhere]


def promises(model: PrototypeModel, images: Images, similarity: Tensor, seed: int) -> dict[str, Any]:
    """All of them, for evaluation.json. similarity: [N, P] of the images of a split."""
    class_of, vectors = model.class_of().cpu(), model.prototypes.vectors.detach().cpu()
    return {
        "own_class_nearest": number(own_class_nearest(similarity, images.labels, class_of)),
        "patches_of_own_class": patches_of_own_class(similarity, images.labels, class_of),
        "consistency": consistency(model, images, similarity, seed),
        "duplicates": duplicates(vectors),
        "unused": unused(similarity),
        "stranger_overlap": stranger_overlap(similarity, images.labels, class_of),
    }
