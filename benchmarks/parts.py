"""Part metrics of 200 prototypes on 100 images of 224 x 224 pixels with 15 parts: ours against plain loops.

Both begin with what the forward pass gives, a map of 7 x 7 places for each image and prototype, with and without noise,
and end with the same purity, consistency and stability. The loops go over prototypes and the images of their class, as
the published codes do: they enlarge one map at a time and look at one part after the other. Maps and parts are drawn.
"""

import math
from collections.abc import Sequence
from statistics import median

import torch
from common import Figure, arguments, seconds, show
from torch import Tensor
from torch.nn import functional as F

from protolens.evaluation.locating import NEAREST, Pairs, figures
from protolens.evaluation.parts import LEAST, PATCH, REGION, highest_pixels

IMAGES, CLASSES, PER_CLASS, PARTS, PLACES, SIDE = 100, 20, 10, 15, 7, 224
ROUNDS = 3
SIDED = ("eye", "leg", "wing")
NAMES = tuple(f"{side} {name}" for side in ("left", "right") for name in SIDED) + tuple("abcdefghi")
GROUPS = [part % len(SIDED) if part < 2 * len(SIDED) else part for part in range(PARTS)]  # left and right are one


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps [N, P, h, w] without and with noise, parts [N, Q, 2], similarity [N, P]."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(IMAGES, CLASSES * PER_CLASS, PLACES, PLACES, generator=generator)
    noisy = maps + 0.1 * torch.rand(maps.shape, generator=generator)
    parts = SIDE * torch.rand(IMAGES, PARTS, 2, generator=generator)
    parts[torch.rand(IMAGES, PARTS, generator=generator) < 0.2] = math.nan
    return maps, noisy, parts, maps.amax(dim=(2, 3))


def ours(maps: Tensor, noisy: Tensor, parts: Tensor, similarity: Tensor) -> dict[str, float | None]:
    """By the functions of `evaluate`."""
    pairs = Pairs.of(similarity, torch.arange(IMAGES) % CLASSES, torch.arange(CLASSES * PER_CLASS) // PER_CLASS)
    seen, moved = (highest_pixels(each[pairs.image, pairs.prototype], (SIDE, SIDE)) for each in (maps, noisy))
    return figures(seen, moved, parts, pairs, SIDE, NAMES)


def inside(one: Tensor, parts: list[list[float]], reach: float) -> list[bool]:
    """Which parts lie around the highest pixel of a map [h, w]."""
    large = F.interpolate(one[None, None], size=(SIDE, SIDE), mode="bicubic", align_corners=False)[0, 0]
    y, x = divmod(int(large.argmax()), SIDE)
    return [abs(px - x - 0.5) <= reach / 2 and abs(py - y - 0.5) <= reach / 2 for px, py in parts]


def loops(maps: Tensor, noisy: Tensor, parts: Tensor, similarity: Tensor) -> dict[str, float | None]:
    """By a loop over prototypes and images."""
    where = parts.tolist()
    purity, consistent, stable = [], [], []
    for number in range(CLASSES * PER_CLASS):
        own = [image for image in range(IMAGES) if image % CLASSES == number // PER_CLASS]
        hits = [inside(maps[image, number], where[image], REGION * SIDE) for image in own]
        again = [inside(noisy[image, number], where[image], REGION * SIDE) for image in own]
        stable.append(sum(map(list.__eq__, hits, again)) / len(own))
        consistent.append(best(hits, [where[image] for image in own], range(PARTS)) >= LEAST)
        nearest = similarity[:, number].topk(NEAREST).indices.tolist()
        patches = [inside(maps[image, number], where[image], PATCH * SIDE) for image in nearest]
        purity.append(best(patches, [where[image] for image in nearest], GROUPS))
    pairs = (("purity", purity), ("consistency", consistent), ("stability", stable))
    return {name: sum(values) / len(values) for name, values in pairs}


def best(hits: list[list[bool]], where: list[list[list[float]]], groups: Sequence[int]) -> float:
    """The highest share of a part, or of parts that are one, over images that show it."""
    found = []
    for group in set(groups):
        members = [part for part in range(PARTS) if groups[part] == group]
        shown = [row for row, points in enumerate(where) if any(not math.isnan(points[part][0]) for part in members)]
        if shown:
            found.append(sum(any(hits[row][part] for part in members) for row in shown) / len(shown))
    return max(found)


@torch.inference_mode()
def main() -> None:
    given = arguments(__doc__)
    case = drawn()
    mine, theirs = ours(*case), loops(*case)
    for name, value in theirs.items():
        assert value is not None
        assert abs((mine[name] or 0) - value) < 1e-9, f"{name}: {mine[name]} is not {value}"
    times = [(seconds(lambda: ours(*case)), seconds(lambda: loops(*case))) for _ in range(ROUNDS)]
    batched, slow = (median(column) for column in zip(*times, strict=True))
    show([Figure("part metrics without the forward pass", batched, slow, "s", slow / batched, None)], given.json)


if __name__ == "__main__":
    main()
