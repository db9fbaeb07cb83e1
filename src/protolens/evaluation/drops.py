"""What half of an image's pixels is worth to its likeness to the prototypes of its class: average drop and increase.

Gautam et al., KMEx, TMLR 2024, arXiv:2312.07822, whose code replaces the most relevant half of the pixels by those of
one image of noise; Chattopadhyay et al., Grad-CAM++, 2018, arXiv:1710.11063, keep that half. Both are measured, and
beside maps that know nothing of the model, by which the sign can be judged.

Half an image of noise looks like no image at all: where similarity is by distance nearly all of it is lost whichever
half that is, and the figures of a good map and of random numbers are alike. So pixels are also replaced by what is seen
around them. That in turn favours maps of whole regions when the first pixels go, for single ones are guessed well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Generator, Tensor

from protolens.attribution import CONTROLS, chance, edges, likeness, prp_of_own
from protolens.config import seed_of
from protolens.errors import ProtolensError
from protolens.evaluation.degradation import inpainted, ranks
from protolens.evaluation.promises import shows_class_of
from protolens.evaluation.trust import drops, rises
from protolens.models import PrototypeModel, evaluation_mode
from protolens.nn import upsampled

SHARE = 0.5  # of the pixels that is replaced
FILLINGS = ("noise", "inpaint")  # as published, and by what is around (Rong et al. 2022, arXiv:2202.00449)
CONVENTIONS = ("remove_top", "keep_top")
MEASURES = ("average_drop", "average_increase")
# which way a good map differs from one that knows nothing
WANTED = {
    ("average_drop", "remove_top"): 1,
    ("average_drop", "keep_top"): -1,
    ("average_increase", "remove_top"): -1,
    ("average_increase", "keep_top"): 1,
}
BYTES = 1 << 26  # of images in which pixels are replaced, and as much again for relevance


@dataclass(frozen=True)
class Damage:
    """How pixels are replaced: such a share of them; noise: [C, H, W], one image; seed: of ties and of inpainting."""

    noise: Tensor
    share: float = SHARE
    seed: int = 0

    @classmethod
    def drawn(cls, shape: Sequence[int], seed: int, share: float = SHARE) -> "Damage":
        """By uniform noise in [0, 1]. shape: [C, H, W]."""
        generator = Generator().manual_seed(seed_of(seed, "drop"))
        return cls(torch.rand(*shape, generator=generator), share, seed)

    def done(self, images: Tensor, order: Tensor, filling: str, convention: str) -> Tensor:
        """The images without the pixels that come first, or without those that come last: [B, M, C, H, W].

        images: [B, C, H, W]; order: [B, M, H, W], of several maps of each image, see `ranks`.
        """
        pixels = order[0, 0].numel()
        count = round(self.share * pixels)
        gone = order < count if convention == "remove_top" else order >= pixels - count
        if filling == "noise":
            return torch.where(gone[:, :, None], self.noise.to(images), images[:, None])
        every = images[:, None].expand(-1, order.shape[1], -1, -1, -1)
        return inpainted(every.flatten(0, 1), ~gone.flatten(0, 1), self.seed).view(every.shape)

    def order(self, maps: Tensor) -> Tensor:
        """Place of each pixel by the size of its relevance, 0 for the largest. [B, M, H, W] -> same."""
        return ranks(maps.abs().flatten(0, 1), self.seed).view(maps.shape)


def own_prototypes(labels: Tensor, class_of: Tensor) -> Tensor:
    """The prototypes of each image's class or classes, [B, Q], filled up with -1. labels: [B] or [B, K]; class_of: [P].

    Q is the most that an image has, and 1 where none has any.
    """
    own = shows_class_of(labels, class_of)
    most = max(1, int(own.sum(dim=1).max()))
    there, order = own.long().sort(dim=1, descending=True, stable=True)
    return torch.where(there.bool(), order, -1)[:, :most]


def kinds_of_maps(model: PrototypeModel, image: Tensor) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which maps of its prototypes a model has, the controls with them, and why it has no others.

    prp: relevance (Gautam et al. 2023), which needs a rule for all that the network does; self: the model's own map of
    similarity at places, which needs places. image: [1, C, H, W].
    """
    left_out = {}
    with evaluation_mode(model):
        try:
            prp_of_own(model, image, torch.zeros(1, 1, dtype=torch.long))
        except ProtolensError as error:
            left_out["prp"] = str(error)
        with torch.no_grad():
            if model.evidence(image).maps is None:
                left_out["self"] = f"prototypes of {model.name} stand for whole images and have no map of places"
    return tuple(name for name in ("prp", "self", *CONTROLS) if name not in left_out), left_out


def map_of(model: PrototypeModel, images: Tensor, own: Tensor, kind: str, seed: int) -> Tensor:
    """A map of each of an image's prototypes [B, Q, H, W], or one for all of them [B, 1, H, W], from a control.

    own: [B, Q], which prototypes, all there. The similarity at places counts from where it is least.
    """
    if kind == "prp":
        return prp_of_own(model, images, own).sum(dim=2)
    if kind != "self":
        return (edges(images) if kind == "edges" else chance(images, seed))[:, None]
    maps = model.evidence(images).maps
    assert maps is not None
    chosen = maps[torch.arange(len(own), device=maps.device)[:, None], own]
    return upsampled(chosen - chosen.amin(dim=(2, 3), keepdim=True), (images.shape[2], images.shape[3]))


@torch.no_grad()
def drops_of(
    model: PrototypeModel, images: Tensor, labels: Tensor, kinds: Sequence[str], damage: Damage
) -> dict[str, Tensor]:
    """Drop and increase of each image, mean over the prototypes of its class, by "MAP FILLING MEASURE CONVENTION": [B].

    images: [B, C, H, W]; labels: [B] or [B, K]; kinds: of maps. Also how many prototypes its classes have, "pairs",
    and to how many it has a similarity above zero, "positive". Not a number for an image without such prototypes.
    Similarity is taken as `likeness` says. One that is a dot product can be zero or less; it has an increase then, but
    no drop.
    """
    own = own_prototypes(labels.to(images.device), model.class_of())
    size = max(1, BYTES // (own.shape[1] * prod(images.shape[1:]) * images.element_size()))
    parts: list[dict[str, Tensor]] = []
    with evaluation_mode(model):
        for some, asked in zip(images.split(size), own.split(size), strict=True):
            there, which = asked >= 0, asked.clamp_min(0)
            before = likeness(model.evidence(some)).gather(1, which)
            found = {"pairs": there.sum(dim=1), "positive": (there & (before > 0)).sum(dim=1)}
            for kind in kinds:
                order = damage.order(map_of(model, some, which, kind, damage.seed))
                for filling, convention in product(FILLINGS, CONVENTIONS):
                    after = likeness_of(model, damage.done(some, order, filling, convention), which)
                    for measure, each in zip(MEASURES, (drops(before, after), rises(before, after)), strict=True):
                        known = torch.where(there, each.double(), torch.nan)
                        found[f"{kind} {filling} {measure} {convention}"] = known.nanmean(dim=1)
            parts.append(found)
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def likeness_of(model: PrototypeModel, images: Tensor, own: Tensor) -> Tensor:
    """Likeness of an image's pictures to its prototypes: of each picture to its own one, or of one to all. [B, Q].

    images: [B, M, C, H, W], M being Q or 1; own: [B, Q].
    """
    count, each = images.shape[:2]
    found = likeness(model.evidence(images.flatten(0, 1))).view(count, each, -1)
    return found.expand(-1, own.shape[1], -1).gather(2, own[:, :, None])[:, :, 0]


def names_of(kinds: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Map, filling, measure and convention of all figures."""
    return list(product(kinds, FILLINGS, MEASURES, CONVENTIONS))
