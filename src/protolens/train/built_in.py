"""The prototypes that a network has built in, the rows of its last layer, beside those that a run has found for it.

A plain classifier is a self-explainable model with one prototype a class and the dot product as similarity. Whether its
prototypes are like any image depends on the measure: the image with the largest dot product and the nearest one differ
(Gautam et al., TMLR 2024, arXiv:2312.07822, compare both). Only training images are read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from protolens.config import RunConfig, seed_of
from protolens.data import Images
from protolens.data.pictures import to_png
from protolens.files import write_bytes, write_json
from protolens.models import PrototypeModel
from protolens.train.planes import bent_plane, plane_of_distances, plane_of_dot_products

SAMPLE = 2000  # images whose codes are drawn


@dataclass(frozen=True)
class Nearest:
    """The image nearest to each of P vectors by some measure. index, value: [P]; value: dot product or distance."""

    index: Tensor
    value: Tensor


@dataclass(frozen=True)
class Comparison:
    """One pass over N images of a split, on the CPU."""

    dot_product: Nearest  # of the K built-in prototypes
    distance: Nearest  # of the same
    found: Nearest  # of the model's prototypes, by distance
    unit: float  # mean distance of a code to the nearest of the model's prototypes of its class
    codes: Tensor  # [n, D], of the images in the sample


class Beside:
    """Compares the codes of images, batch by batch, with both kinds of prototypes.

    built_in: [K, D]; images: how many there are; sample: positions of images in order, [n], whose codes are kept.
    """

    def __init__(self, model: PrototypeModel, built_in: Tensor, images: int, sample: Tensor):
        self.built_in, self.found, self.class_of = built_in, model.prototypes.vectors, model.class_of()
        self.best = torch.full((2 * len(built_in) + len(self.found),), -torch.inf, device=model.device)
        self.index = torch.zeros(len(self.best), dtype=torch.long, device=model.device)
        self.wanted = torch.zeros(images, dtype=torch.bool).index_fill_(0, sample, True).to(model.device)
        self.codes: list[Tensor] = []
        self.own: list[Tensor] = []
        self.seen = 0

    @torch.inference_mode()
    def see(self, code: Tensor, labels: Tensor) -> None:
        """The next images: codes [B, D] and labels [B]."""
        apart = distances(code, self.found)
        score, where = torch.cat([code @ self.built_in.T, -distances(code, self.built_in), -apart], dim=1).max(dim=0)
        self.index = torch.where(score > self.best, where + self.seen, self.index)
        self.best = torch.maximum(score, self.best)
        self.own.append(own_distance(apart, labels, self.class_of).double())
        self.codes.append(code[self.wanted[self.seen : self.seen + len(code)]].cpu())
        self.seen += len(code)

    def told(self) -> Comparison:
        """What all of them were like."""
        parts = [len(self.built_in), len(self.built_in), len(self.found)]
        of, at = (values.cpu().split(parts) for values in (self.best, self.index))
        nearest = (Nearest(at[0], of[0]), Nearest(at[1], -of[1]), Nearest(at[2], -of[2]))
        own = torch.cat(self.own)
        return Comparison(*nearest, float(own.sum()) / max(1, len(own)), torch.cat(self.codes))


def distances(codes: Tensor, vectors: Tensor) -> Tensor:
    """Euclidean distances by differences, [B, D], [P, D] -> [B, P]."""
    return torch.cdist(codes, vectors, compute_mode="donot_use_mm_for_euclid_dist")


def own_distance(distance: Tensor, labels: Tensor, class_of: Tensor) -> Tensor:
    """To the nearest prototype of an image's class, for images whose class has one: [B, P], [B], [P] -> [b]."""
    own = distance.masked_fill(labels[:, None] != class_of, torch.inf).amin(dim=1)
    return own[own.isfinite()]


def draw_balanced(labels: Tensor, most: int, seed: int) -> Tensor:
    """Positions of images drawn at random, equally many of each class where it has them, at most so many; in order.

    labels: [N].
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    each = max(1, most // max(1, len(labels.unique())))
    drawn = [order[labels[order] == k][:each] for k in labels.unique()]
    return torch.cat(drawn).sort().values


def begin_beside(model: PrototypeModel, images: Images, seed: int) -> Beside | None:
    """What compares these images with the model's prototypes and with those built in; None where there are none."""
    built_in = model.built_in_prototypes()
    if built_in is None:
        return None
    return Beside(model, built_in, len(images), draw_balanced(images.labels, SAMPLE, seed_of(seed, "map of codes")))


def write_built_in(
    folder: Path, model: PrototypeModel, images: Images, beside: Beside, digest: str, run: RunConfig
) -> None:
    """Write built_in.json, and the nearest image of each built-in prototype. beside: has seen all the images."""
    built_in, compared, sample = beside.built_in, beside.told(), beside.wanted.nonzero().flatten().cpu()
    prototypes = model.prototypes.vectors.detach().cpu()
    both = torch.cat([built_in.detach().cpu(), prototypes])
    how = run.train.map_of_codes
    content = {
        "model": digest,
        "data": images.digest,
        "unit": compared.unit,
        "built_in": _entries(folder, model, images, compared),
        "prototypes": _nearest(model, images, compared.found),
        "length": {
            name: float(vectors.norm(dim=1).mean())
            for name, vectors in (
                ("codes", compared.codes),
                ("built_in", both[: len(built_in)]),
                ("prototypes", prototypes),
            )
        },
        "map": {
            "how": how,
            "images": sample.tolist(),
            "classes": images.labels[sample].tolist(),
            "distance": draw_map(compared.codes, both, len(built_in), how, "distance", run.seed),
            "dot_product": draw_map(compared.codes, both, len(built_in), how, "dot_product", run.seed),
        },
    }
    write_json(folder / "built_in.json", content)


def _entries(folder: Path, model: PrototypeModel, images: Images, compared: Comparison) -> list[dict[str, Any]]:
    """What is nearest to each built-in prototype by either measure; its pictures are written."""
    kinds = {"dot_product": compared.dot_product, "distance": compared.distance}
    entries: list[dict[str, Any]] = [{"class": name} for name in model.task.classes]
    for kind, nearest in kinds.items():
        rows = zip(entries, _nearest(model, images, nearest), images.take(nearest.index), strict=True)
        for number, (entry, row, pixels) in enumerate(rows):
            name = f"prototypes/built-in-{number:04d}-{kind.replace('_', '-')}.png"
            write_bytes(folder / name, to_png(pixels))
            entry[kind] = row | {"image": name}
    return entries


def _nearest(model: PrototypeModel, images: Images, nearest: Nearest) -> list[dict[str, Any]]:
    """An entry for each vector: its nearest image and the value of the measure there."""
    classes = model.task.classes
    return [
        {"index": index, "name": images.names[index], "label": classes[int(images.labels[index])], "value": value}
        for index, value in zip(nearest.index.tolist(), nearest.value.tolist(), strict=True)
    ]


def draw_map(
    codes: Tensor, both: Tensor, built_in: int, how: str, measure: Literal["distance", "dot_product"], seed: int
) -> dict[str, Any]:
    """Codes and prototypes in a plane, as lists of x and y, and the share of each that a linear plane keeps.

    codes: [n, D]; both: built-in prototypes, so many, then the others, [K + P, D]; how: "pca" or "umap".
    """
    parts = {"codes": codes, "built_in": both[:built_in], "prototypes": both[built_in:]}
    if how == "umap":
        places, others = bent_plane(codes, both, "euclidean" if measure == "distance" else "cosine", seed)
        found = dict(zip(parts, (places, others[:built_in], others[built_in:]), strict=True))
        kept = None
    else:
        plane = (plane_of_distances if measure == "distance" else plane_of_dot_products)(codes)
        found = {name: plane.place(vectors) for name, vectors in parts.items()}
        kept = {name: plane.kept(vectors) for name, vectors in parts.items()}
    return {name: _columns(places) for name, places in found.items()} | {"kept": kept}


def _columns(places: Tensor) -> dict[str, list[float]]:
    """[N, 2] as lists of x and y with five significant digits."""
    return {
        name: [float(f"{value:.5g}") for value in column] for name, column in zip("xy", places.T.tolist(), strict=True)
    }
