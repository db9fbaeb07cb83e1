"""Prototypes that stand at places: each is compared with the code at every place of a map, and the nearest counts."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.nn.precision import in_full_precision


class Nearest(NamedTuple):
    """The place of each map that is nearest to each prototype."""

    distance: Tensor  # [B, P], squared Euclidean, exact and with gradient
    place: Tensor  # [B, P], row x width + column
    maps: Tensor  # [B, P, h, w], squared Euclidean distance at every place, without gradient


@in_full_precision
def nearest_places(codes: Tensor, prototypes: Tensor) -> Nearest:
    """Compare codes at places [B, D, h, w] with prototypes [P, D] (ProtoPNet, sec. 2.1).

    The expanded form |z|^2 - 2 z p + |p|^2 of all places is one matrix product, but rounding spoils small distances;
    it chooses the place, and the distance there is computed from differences.
    """
    count, _, height, width = codes.shape
    patches = codes.permute(0, 2, 3, 1).flatten(1, 2)
    with torch.no_grad():
        maps = expanded_distance(patches, prototypes)
        place = maps.min(dim=1).indices
        first = torch.arange(count, device=codes.device)[:, None] * patches.shape[1]
    near = patches.flatten(0, 1).index_select(0, (first + place).flatten()).view(count, *prototypes.shape)
    distance = (near - prototypes).square().sum(dim=2)
    maps = maps.scatter(1, place[:, None], distance.detach()[:, None])
    return Nearest(distance, place, maps.transpose(1, 2).reshape(count, -1, height, width))


def expanded_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distance, exact to some 1e-6 of the squared norms, never negative.

    first: [..., N, D]; second: [..., M, D] -> [..., N, M].
    """
    distance = first @ (-2 * second).mT
    distance += first.square().sum(dim=-1, keepdim=True)
    distance += second.square().sum(dim=-1)[..., None, :]
    return distance.clamp_min_(0)


def own_distances(codes: Tensor, labels: Tensor, prototypes: Tensor, slots: Tensor) -> Tensor:
    """Squared distance of every place to the prototypes of the map's own class: [B, M, h w], inf for an empty slot.

    codes: [B, D, h, w]; labels: [B]; prototypes: [P, D]; slots: [K, M], of `slots_of`. One batched product, a Kth of
    the work of comparing all.
    """
    own = slots[labels]
    distance = expanded_distance(prototypes[own], codes.permute(0, 2, 3, 1).flatten(1, 2))
    return distance.masked_fill_((own < 0)[:, :, None], torch.inf)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, P, h, w] as large as the image, bicubic as ProtoPNet draws them: [B, P, H, W].

    A map of one value stays one: rounding would draw a pattern that is not there.
    """
    first, flat = maps[..., :1, :1], maps.amax(dim=(2, 3), keepdim=True) == maps.amin(dim=(2, 3), keepdim=True)
    return torch.where(flat, first, F.interpolate(maps, size=size, mode="bicubic", align_corners=False))


def percentile_boxes(maps: Tensor, share: float = 0.95) -> Tensor:
    """The smallest box around all pixels at or above a percentile of each map (ProtoPNet, sec. 3.2).

    maps: [..., H, W] -> [..., 4] as left, top, right, bottom; right and bottom are exclusive. Disconnected islands lie
    all inside one box.
    """
    height, width = maps.shape[-2:]
    threshold = maps.flatten(-2).double().quantile(share, dim=-1)[..., None, None]
    inside = maps.double() >= threshold
    left, right = _span(inside.any(dim=-2), width)
    top, bottom = _span(inside.any(dim=-1), height)
    return torch.stack([left, top, right, bottom], dim=-1)


def _span(inside: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """First and last position plus one at which a line holds. [..., L] -> [...], [...]."""
    line = inside.to(torch.uint8)
    return line.argmax(dim=-1), length - line.flip(-1).argmax(dim=-1)


class Where(NamedTuple):
    """Where a map is highest."""

    place: tuple[int, int]  # row and column in the map
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image; right and bottom are exclusive


def locate(maps: Tensor, size: tuple[int, int]) -> list[Where]:
    """The highest place of each map, and the box around the highest twentieth of its pixels (ProtoPNet, sec. 3.2).

    maps: [N, h, w], similarity at each place; size: height and width of the image.
    """
    boxes = percentile_boxes(upsampled(maps[None], size)[0]).tolist()
    highest = maps.flatten(1).argmax(dim=1).tolist()
    return [
        Where(divmod(place, maps.shape[2]), (left, top, right, bottom))
        for place, (left, top, right, bottom) in zip(highest, boxes, strict=True)
    ]
