"""Part metrics of a model: where its prototypes look in images whose parts are known, and what they mean there.

A large region hits some part wherever it lies, and a bird is mostly in the middle: two controls, which know nothing of
the model, look at random places and at the middle of each image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from protolens.config import seed_of
from protolens.data import Images, drawn_for_each, plain_batches
from protolens.data.pictures import to_png
from protolens.evaluation.parts import (
    LEAST,
    PATCH,
    REGION,
    Meanings,
    highest_pixels,
    in_region,
    meanings,
    part_consistency,
    part_purity,
    part_stability,
    together,
)
from protolens.evaluation.promises import shows_class_of
from protolens.files import write_bytes
from protolens.models import PrototypeModel, evaluation_mode
from protolens.nn import IMAGENET
from protolens.train import Run, Team, batch_for, number

NEAREST = 10  # images whose patches tell how pure a prototype is, as in PIP-Net
NOISE = 0.2  # standard deviation of the noise that prototypes should bear, in units of a band's own in ImageNet
LIMIT = 0.25  # and the most of it at a pixel, as in the later published code; the first one has no limit
PICTURES = 4  # images that show what a prototype means
Change = Callable[[Tensor, Tensor], Tensor]  # images [B, C, H, W] with their numbers [B] -> the same, changed


@dataclass(frozen=True)
class Pairs:
    """Which prototypes are asked in which images, n pairs in the order of the images."""

    image: Tensor  # [n]
    prototype: Tensor  # [n]
    own: Tensor  # [n] of bool, whether the image shows the prototype's class
    near: Tensor  # [n] of bool, whether it is among the images nearest to the prototype

    @classmethod
    def of(cls, similarity: Tensor, labels: Tensor, class_of: Tensor) -> "Pairs":
        """All images of each prototype's class, and those nearest to it. [N, P], [N] or [N, K], [P]."""
        own = shows_class_of(labels, class_of)
        nearest = similarity.topk(min(NEAREST, len(similarity)), dim=0).indices
        near = torch.zeros_like(own).scatter_(0, nearest, True)
        image, prototype = (own | near).nonzero(as_tuple=True)
        return cls(image, prototype, own[image, prototype], near[image, prototype])


def scores_of_parts(run: Run, model: PrototypeModel, images: Images, similarity: Tensor, team: Team) -> dict[str, Any]:
    """Purity, consistency and stability of a model's prototypes over a split, beside controls; or `reason`, why not.

    similarity: [N, P] of these images. Writes pictures of the prototypes that are the most and the least consistent
    to RUN/examples.
    """
    if reason := why_not(model, images):
        return {"reason": reason}
    parts = images.marks(torch.arange(len(images)))[1]
    pairs = Pairs.of(similarity, images.labels, model.class_of().cpu())
    seed, (height, width) = run.config.seed, images.shape[1:]
    centres = looked_at(model, images, pairs, team)
    moved = looked_at(model, images, pairs, team, lambda floats, rows: noisy(floats, rows, seed))
    generator = Generator().manual_seed(seed_of(seed, "places of parts"))
    size = torch.tensor([width, height])
    anywhere, again = (torch.rand(centres.shape, generator=generator) * size for _ in range(2))
    middle = (size / 2).expand_as(centres)
    own, side = pairs.own, min(height, width)
    found = meanings(centres[own], parts[pairs.image[own]], pairs.prototype[own], similarity.shape[1], REGION * side)
    asked = parts, pairs, side, images.part_names
    return {
        "figures": figures(centres, moved, *asked),
        "controls": {"random": figures(anywhere, again, *asked), "centre": figures(middle, middle, *asked)},
        "prototypes": similarity.shape[1],
        "asked": int((found.part >= 0).sum()),
        "images": len(images),
        "region": REGION,
        "patch": PATCH,
        "nearest": NEAREST,
        "least": LEAST,
        "noise": NOISE,
        "limit": LIMIT,
        "meanings": [meaning(found, row, images.part_names) for row in range(len(found.part))],
        "shown": [shown(run, images, row, pairs, centres, similarity) for row in ends(found)],
    }


def why_not(model: PrototypeModel, images: Images) -> str:
    """Why parts cannot be asked for, in a sentence; empty where they can."""
    if not images.has_marks:
        return "The parts of what these images show are not known."
    if model.network_of_places() is None:
        return "The prototypes of this model have no place in an image."
    return ""


@torch.inference_mode()
def looked_at(
    model: PrototypeModel,
    images: Images,
    pairs: Pairs,
    team: Team,
    change: Change | None = None,
) -> Tensor:
    """Where the prototype of each pair looks in its image, [n, 2] as x, y in pixels, on the CPU; see `highest_pixels`.

    change: of the images, such as noise.
    """
    mine, begin = torch.arange(len(images)).tensor_split(team.size)[team.rank], 0
    found = [torch.zeros(0, 2, device=team.device)]
    size = (images.shape[1], images.shape[2])
    with evaluation_mode(model):
        for batch in plain_batches(images, batch_for(images), team.device, team.rank, team.size):
            rows = mine[begin : begin + len(batch.images)]
            begin += len(rows)
            first, last = torch.searchsorted(pairs.image, torch.stack([rows[0], rows[-1] + 1])).tolist()
            seen = batch.images if change is None else change(batch.images, rows)
            maps = model.evidence(seen).maps
            assert maps is not None
            image, prototype = (of[first:last].to(team.device) for of in (pairs.image, pairs.prototype))
            found.append(highest_pixels(maps[image - rows[0], prototype].float(), size))
    return team.gather(torch.cat(found)).cpu()


def noisy(images: Tensor, rows: Tensor, seed: int) -> Tensor:
    """Images [B, C, H, W] with normal noise, cut off at its limit, the same for the same numbers [B] of the images.

    In units of the standard deviation that each colour band has in ImageNet, which the published code divides by
    before it adds the noise; of other bands, of their mean. Pixels may leave [0, 1], as there.
    """
    deviation = torch.tensor(IMAGENET[1])
    if images.shape[1] != len(deviation):
        deviation = deviation.mean().expand(images.shape[1])
    noise = drawn_for_each(torch.randn, images.shape[1:], rows.tolist(), seed, "noise of parts")
    return images + (NOISE * noise).clamp(-LIMIT, LIMIT).mul_(deviation[:, None, None]).to(images)


def figures(
    centres: Tensor, moved: Tensor, parts: Tensor, pairs: Pairs, side: int, names: tuple[str, ...]
) -> dict[str, float | None]:
    """The three figures of n pairs, None where no prototype is asked.

    centres, moved: [n, 2], where prototypes look in images as they are and with noise; parts: [N, Q, 2]; side: shorter
    one of the images, in pixels; names: of the parts.
    """
    there = parts[pairs.image]
    seen, own, near = ~there.isnan().any(dim=2), pairs.own, pairs.near
    hits, changed = (in_region(where, there, REGION * side) for where in (centres, moved))
    patch = in_region(centres, there, PATCH * side)
    pure = part_purity(together(patch[near], names), together(seen[near], names), pairs.prototype[near])
    return {
        "purity": number(pure),
        "consistency": number(part_consistency(hits[own], seen[own], pairs.prototype[own])),
        "stability": number(part_stability(hits[own], changed[own], seen[own], pairs.prototype[own])),
    }


def meaning(found: Meanings, row: int, names: tuple[str, ...]) -> dict[str, Any]:
    """The entry of a prototype: its part by name, None where it is not asked."""
    part = int(found.part[row])
    return {
        "part": names[part] if part >= 0 else None,
        "share": number(float(found.share[row])),
        "images": int(found.images[row]) if part >= 0 else 0,
    }


def ends(found: Meanings) -> list[int]:
    """The prototype that is the most consistent, and the least; of equal ones by how many images show its part.

    Of these, again, the nearest and the farthest part decides. Empty where none is asked.
    """
    asked = (found.part >= 0).nonzero().flatten().tolist()
    keys = zip(-found.share, -found.images, found.apart.nan_to_num(torch.inf), strict=True)
    key = {row: tuple(map(float, each)) for row, each in enumerate(keys)}
    order = sorted(asked, key=lambda row: key[row])
    return [order[0], order[-1]] if order else []


def shown(
    run: Run, images: Images, prototype: int, pairs: Pairs, centres: Tensor, similarity: Tensor
) -> dict[str, Any]:
    """The images of a prototype's class that are most similar to it, with the region in each; writes their pictures."""
    rows = (pairs.own & (pairs.prototype == prototype)).nonzero().flatten()
    order = similarity[pairs.image[rows], prototype].argsort(descending=True, stable=True)
    entries = []
    for row in rows[order][:PICTURES].tolist():
        index = int(pairs.image[row])
        name = f"examples/{index:06d}.png"
        write_bytes(run.folder / name, to_png(images.take(torch.tensor([index]))[0]))
        entries.append({"image": images.names[index], "picture": name, "box": region(centres[row], images.shape)})
    return {"prototype": prototype, "images": entries}


def region(centre: Tensor, shape: tuple[int, int, int]) -> list[int] | None:
    """The square around a centre as a box of whole pixels inside the image; None where a prototype looks nowhere."""
    if centre.isnan().any():
        return None
    _, height, width = shape
    half = REGION * min(height, width) / 2
    x, y = centre.tolist()
    ends = ((x - half, width), (y - half, height), (x + half, width), (y + half, height))
    return [min(most, max(0, round(end))) for end, most in ends]
