"""Do prototypes mean parts? What lies where a prototype looks, in images whose parts are known: CUB's beaks and wings.

For n pairs of an image and a prototype, and Q parts. The region of a pair is a square around the pixel where the
prototype's map is highest; `hits` [n, Q] says which parts lie in it, `seen` [n, Q] which parts the image shows, and
`prototype` [n] whose region it is. A part that an image does not show counts neither for nor against a prototype, as
in both published codes. A pair whose image shows no part says nothing, and a prototype without any other pair is not
asked.

Consistency and stability: Huang et al., Evaluation and Improvement of Interpretability for Self-Explainable
Part-Prototype Networks, ICCV 2023, arXiv:2212.05946, with its code (EvalProtoPNet). Left and right parts are two.
Purity: Nauta et al., PIP-Net, CVPR 2023, with its code. Left and right parts are one: see `together`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.evaluation.metric import HIGHER, metric

REGION = 72 / 224  # side of a region by the shorter side of the image, as in Huang et al.
PATCH = 32 / 224  # and as in PIP-Net
LEAST = 0.8  # share of images from which on a prototype is consistent
HUANG = "Huang et al. 2023, arXiv:2212.05946"
PIPNET = "Nauta et al. 2023, PIP-Net, CVPR 2023, pages 2744-2753"
AT_ONCE = {"cpu": 2**18}  # pixels of enlarged maps that are held together: what a cache holds is twice as fast
MOST = 2**26  # the same of other devices
SIDES = ("left ", "right ")


def highest_pixels(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of the highest pixel of each map, enlarged by bicubic interpolation: [n, h, w] -> [n, 2] as x, y.

    size: height and width of the image. Of equal pixels the first counts, and a map of one value looks nowhere: not a
    number.
    """
    (height, width), (rows, columns) = size, maps.shape[1:]
    down, across = (_enlarging(*sides).to(maps) for sides in ((height, rows), (width, columns)))
    at_once = max(1, AT_ONCE.get(maps.device.type, MOST) // (height * width))
    middle = torch.cat([_highest(part, down, across) for part in maps.split(at_once)]) + 0.5
    flat = maps.flatten(1).amax(dim=1) == maps.flatten(1).amin(dim=1)
    return torch.where(flat[:, None], torch.nan, middle)


def _highest(maps: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Column and row of the highest pixel of each enlarged map, [n, h, w] -> [n, 2]."""
    # interpolation is linear in each direction: two products of matrices, many times faster than pixel by pixel
    large = down @ maps @ across.T
    row = large.amax(dim=2).argmax(dim=1)
    return torch.stack([large[torch.arange(len(row), device=row.device), row].argmax(dim=1), row], dim=1)


def _enlarging(length: int, places: int) -> Tensor:
    """What each place of a line adds to each of its pixels, bicubic, [length, places]."""
    return F.interpolate(torch.eye(places)[None, None], (length, places), mode="bicubic", align_corners=False)[0, 0]


def in_region(centres: Tensor, parts: Tensor, side: float) -> Tensor:
    """Which parts lie in the square around a centre, edges included: [n, Q] of bool.

    centres: [n, 2]; parts: [n, Q, 2], both x and y in pixels; side: of the square, in pixels. Where a part is not seen
    or a prototype looks nowhere (not a number) it does not lie there.
    """
    return (parts - centres[:, None]).abs().amax(dim=2) <= side / 2


def together(values: Tensor, names: Sequence[str]) -> Tensor:
    """The same with left and right parts as one: true where either is. [n, Q] of bool -> [n, fewer].

    names: of the parts; "left wing" and "right wing" become one where both exist. The order is that of the first ones.
    """
    plain = [next((name.removeprefix(side) for side in SIDES if name.startswith(side)), name) for name in names]
    both = [all(side + short in names for side in SIDES) for short in plain]
    words = [short if pair else name for short, pair, name in zip(plain, both, names, strict=True)]
    order = list(dict.fromkeys(words))
    member = F.one_hot(torch.tensor([order.index(word) for word in words]), len(order))
    return (values.double() @ member.double()) > 0


def shares_of_parts(hits: Tensor, seen: Tensor, prototype: Tensor, prototypes: int) -> Tensor:
    """Of the images in which a part is seen, the share where it lies in the prototype's region: [P, Q], float64.

    Not a number where none of a prototype's images shows the part. hits, seen: [n, Q] of bool; prototype: [n].
    """
    return _sums(hits & seen, prototype, prototypes) / _sums(seen, prototype, prototypes)


def _sums(values: Tensor, prototype: Tensor, prototypes: int) -> Tensor:
    """Sums over the pairs of each prototype, [n, ...] -> [P, ...], float64."""
    start = torch.zeros(prototypes, *values.shape[1:], dtype=torch.float64)
    return start.index_add_(0, prototype, values.double())


def _best_shares(hits: Tensor, seen: Tensor, prototype: Tensor) -> Tensor:
    """The share of its best part, for each prototype that is asked: [P or fewer]."""
    shares = shares_of_parts(hits, seen, prototype, int(prototype.max()) + 1 if len(prototype) else 0)
    return shares[~shares.isnan().all(dim=1)].nan_to_num(-1.0).amax(dim=1)


@metric("transparency", HIGHER, 0, 1, "share", PIPNET)
def part_purity(hits: Tensor, seen: Tensor, prototype: Tensor) -> float:
    """Share of a prototype's nearest images in which its best part lies in its patch, mean over prototypes.

    hits, seen: [n, Q] of bool, of the images most similar to each prototype, whatever their class; prototype: [n].
    Not a number where no prototype is asked.
    """
    return float(_best_shares(hits, seen, prototype).mean())


@metric("transparency", HIGHER, 0, 1, "share", HUANG)
def part_consistency(hits: Tensor, seen: Tensor, prototype: Tensor, least: float = LEAST) -> float:
    """Share of prototypes that have a part which lies in their region in most images of their class.

    hits, seen: [n, Q] of bool, of all images of each prototype's class; prototype: [n]; least: what share of the
    images that show the part is most. Not a number where no prototype is asked.
    """
    return float((_best_shares(hits, seen, prototype) >= least).double().mean())


@metric("transparency", HIGHER, 0, 1, "share", HUANG)
def part_stability(hits: Tensor, changed: Tensor, seen: Tensor, prototype: Tensor) -> float:
    """Share of a class's images in which noise changes no part that lies in a prototype's region, mean over prototypes.

    hits, changed: [n, Q] of bool, of images as they are and with noise, of all images of each prototype's class; seen:
    [n, Q]; prototype: [n]. A region that is empty both times has not changed. The first version of the published code
    subtracts and sums, so that a part lost and one gained cancel; here, as in the later one, they do not.
    """
    told = seen.any(dim=1)
    same = (hits == changed)[told].all(dim=1)
    count = int(prototype.max()) + 1 if len(prototype) else 0
    asked = prototype[told].bincount(minlength=count)
    return float((_sums(same, prototype[told], count)[asked > 0] / asked[asked > 0]).mean())


class Meanings(NamedTuple):
    """What each of P prototypes means."""

    part: Tensor  # [P], number of its best part; -1 where it is not asked
    share: Tensor  # [P], of the images that show the part, those where it lies in the region
    images: Tensor  # [P], how many show it
    apart: Tensor  # [P], how far it lies from the middle of the region, in pixels, mean over those images


def meanings(centres: Tensor, parts: Tensor, prototype: Tensor, prototypes: int, side: float) -> Meanings:
    """The part that lies most often in each prototype's region; of equal ones, the one nearest to its middle.

    centres: [n, 2]; parts: [n, Q, 2]; prototype: [n]; side: of the region, in pixels. What is unknown is not a number.
    """
    hits, seen = in_region(centres, parts, side), ~parts.isnan().any(dim=2)
    shares, images = shares_of_parts(hits, seen, prototype, prototypes), _sums(seen, prototype, prototypes)
    far = (parts - centres[:, None]).double().norm(dim=2)
    apart = _sums(far.nan_to_num(0.0), prototype, prototypes) / _sums(~far.isnan(), prototype, prototypes)
    highest = shares.nan_to_num(-1.0).amax(dim=1, keepdim=True)
    unknown = torch.finfo(apart.dtype).max
    part = apart.nan_to_num(unknown).masked_fill(shares != highest, torch.inf).argmin(dim=1)
    of_part = (torch.arange(prototypes), part)
    asked = highest[:, 0] >= 0
    return Meanings(torch.where(asked, part, -1), shares[of_part], images[of_part].long(), apart[of_part])
