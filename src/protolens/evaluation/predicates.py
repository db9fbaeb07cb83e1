"""The predicates of seeds/001 for a finished run: how transparent and how diverse its prototypes are.

What they are held against, the black box, is another run: the figures of trust are those of `compare`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from protolens.config import seed_of
from protolens.data import DataSet, Images, to_float
from protolens.evaluation.attributes import VALUES, attributes_of, levels
from protolens.evaluation.diversity import (
    attribute_divergence,
    attribute_entropy,
    cosine_kernel,
    coverage,
    davies_bouldin,
    distance_kernel,
    distances,
    entropy_of_similarity,
    separation,
    vendi_score,
    volume,
)
from protolens.evaluation.transparency import entropy_of_use, nearest_agreement, purity, unused, unused_of_classes
from protolens.models import PrototypeModel
from protolens.nn import log_ratio
from protolens.train import Run, number

POPULATION = 2000  # training images whose attributes are measured
AROUND = 5  # images nearest to a prototype that stand for it in the plane
DIFFERENCES = 1 << 26  # between prototypes that are held at a time


def transparency(
    similarity: Tensor, contributions: Tensor, predicted: Tensor, labels: Tensor, class_of: Tensor, classes: int
) -> dict[str, Any]:
    """By the most similar prototype of each image, and by the one that decides most: see `transparency`.

    similarity, contributions: [N, P], these to the predicted class; predicted: [N]; labels: [N] or [N, K]; class_of:
    [P]. Purity is None where images can show several classes.
    """
    strongest = contributions.abs()
    return {
        "by_similarity": {
            **_use(similarity, labels, classes),
            "nearest_agreement": nearest_agreement(similarity, class_of, predicted),
            "unused_of_classes": [number(share) for share in unused_of_classes(similarity, class_of, classes).tolist()],
        },
        "by_contribution": _use(strongest, labels, classes),
    }


def _use(similarity: Tensor, labels: Tensor, classes: int) -> dict[str, float | None]:
    return {
        "unused": unused(similarity),
        "entropy_of_use": entropy_of_use(similarity),
        "purity": purity(similarity, labels, classes) if labels.ndim == 1 else None,
    }


def diversity(model: PrototypeModel, codes: Tensor, similarity: Tensor, labels: Tensor) -> dict[str, Any]:
    """In the embedding: by the model's own similarity, by distance, and by dot product or its cosine.

    codes: [N, D] of test images, or the patches of them that are most like a prototype; similarity: [N, P]; labels: [N]
    or [N, K]. Figures that need one class of each image are None where it can show several, and those by the spread of
    codes where these are all alike.
    """
    own, vectors, class_of = alike_to_each_other(model), model.prototypes.vectors.detach().cpu(), model.class_of().cpu()
    classes, single = len(model.task.classes), labels.ndim == 1
    scale = spread_of_classes(codes, labels if single else torch.zeros(len(labels), dtype=torch.int64))
    alone = {"own": own, "distance": log_ratio(distances(vectors)), "dot_product": vectors @ vectors.T}
    kernels = {"distance": distance_kernel(vectors, scale) if scale else None, "cosine": cosine_kernel(vectors)}
    by_distance = -torch.cdist(codes.double(), vectors.double())
    nearest = {"own": similarity, "distance": by_distance, "dot_product": codes @ vectors.T}
    around = similarity.topk(min(AROUND, len(similarity)), dim=0).indices.flatten()
    cells = {name: davies_bouldin(codes, vectors, each.argmax(dim=1)) for name, each in nearest.items()}
    return {
        "volume": number(volume(vectors, class_of, classes)),
        "separation": number(separation(vectors, scale)),
        "entropy_of_similarity": {name: number(entropy_of_similarity(each)) for name, each in alone.items()},
        "vendi_score": {name: None if each is None else number(vendi_score(each)) for name, each in kernels.items()},
        "davies_bouldin": {name: number(value) for name, value in cells.items()},
        "coverage": number(coverage(in_a_plane(codes), labels, around)) if single else None,
    }


@torch.no_grad()
def alike_to_each_other(model: PrototypeModel) -> Tensor:
    """A model's own similarity of its prototypes to each other, [P, P] on the CPU."""
    vectors = model.prototypes.vectors
    # a similarity by distance takes the differences of all pairs
    parts = vectors.split(max(1, DIFFERENCES // vectors.numel()))
    return torch.cat([model.alike(part) for part in parts]).cpu()


def spread_of_classes(codes: Tensor, labels: Tensor) -> float:
    """Root mean square distance of codes to the mean of their class. codes: [N, D]; labels: [N]."""
    member = F.one_hot(labels).double()
    means = (member.T @ codes.double()) / member.sum(dim=0).clamp_min(1)[:, None]
    return float((codes - means[labels]).square().sum(dim=1).mean().sqrt())


def in_a_plane(codes: Tensor) -> Tensor:
    """The two principal components of codes. [N, D] -> [N, 2]."""
    centred = codes.double() - codes.double().mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    plane = centred @ directions[:, -2:]
    return F.pad(plane, (0, 2 - plane.shape[1]))


def combination(run: Run, data: DataSet) -> dict[str, Any]:
    """In terms of attributes: those of the training images that stand for prototypes, beside those of all."""
    some = torch.randperm(len(data.training), generator=Generator().manual_seed(seed_of(run.config.seed, "attributes")))
    standing = torch.tensor([entry["provenance"]["index"] for entry in run.prototypes])
    names, population = attributes_of(pixels(data.training, some[:POPULATION]))
    own = levels(attributes_of(pixels(data.training, standing))[1], population)
    whole = levels(population, population)
    each = {name: number(attribute_entropy(own[:, [place]], VALUES)) for place, name in enumerate(names)}
    return {
        "attribute_entropy": attribute_entropy(own, VALUES),
        "attribute_divergence": number(attribute_divergence(own, whole, VALUES)),
        "attributes": each,
    }


def pixels(images: Images, rows: Tensor) -> Tensor:
    """These images as floats, [n, C, H, W] in [0, 1]."""
    return to_float(images.take(rows), "cpu")


def means(figures: Mapping[str, Any], before: str = "") -> dict[str, float | None]:
    """Those of nested figures that are a mean with its interval, by dotted names, each the mean alone."""
    found = flat(figures, before).items()
    return {name.removesuffix(".mean"): value for name, value in found if name.endswith(".mean")}


def flat(figures: Mapping[str, Any], before: str = "") -> dict[str, float | None]:
    """Nested figures by dotted names; lists are left out."""
    found: dict[str, float | None] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        elif not isinstance(value, list):
            found[before + name] = value
    return found
