"""Does a prototype look at what the image is of? Windows of its nearest images, where the place that it is found lies.

The window is that of Huang et al. 2023, arXiv:2212.05946: 72 of 224 pixels a side, around the place. It lies off the
object where boxes and parts are known and it holds neither; elsewhere it is called plain where its pixels have no more
detail than the edge of the image, which says less: an object may be plain, and a ground may not.
"""

from math import ceil, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.data import Images
from protolens.evaluation.parts import REGION
from protolens.train import batch_for

NEAREST = 10  # images by which a prototype is judged
MOST = 0.5  # of them: from more on it is called background
DIRECTIONS = 360
TOGETHER = 100  # images whose places are compared with all directions at a time
ROUNDING = 1e-4  # standard deviation of pixels in [0, 1] that is none


def off_object(points: Tensor, boxes: Tensor, parts: Tensor, reach: float) -> Tensor:
    """Whether a point lies outside of the box of each object, or farther than `reach` from the hull of its parts.

    points: [L, 2], x and y; boxes: [n, 4], left, top, right, bottom; parts: [n, Q, 2], not a number where unseen ->
    [n, L]. An object none of whose parts is seen is its box. The hull is cut by DIRECTIONS lines, so it is too large by
    at most a hundredth of its longest edge.
    """
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (2 * pi / DIRECTIONS)
    ways = torch.stack([angles.cos(), angles.sin()])
    points, boxes, parts = points.double(), boxes.double(), parts.double()
    # a part that is not seen is the farthest in no direction
    farthest = (parts @ ways).nan_to_num(nan=-torch.inf).amax(dim=1)
    farthest[~parts.isfinite().all(dim=2).any(dim=1)] = torch.inf
    beyond = ((points @ ways) > farthest[:, None] + reach).any(dim=2)
    outside = (points < boxes[:, None, :2]).any(dim=2) | (points > boxes[:, None, 2:]).any(dim=2)
    return outside | beyond


def detail_of_windows(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Standard deviation of the pixels in the window around the middle of each place, over bands: [B, h, w].

    images: [B, C, H, W] in [0, 1]; grid: h, w. A window is cut at the edge of the image.
    """
    values = images.double()
    sides = tuple(2 * (max(3, ceil(REGION * side)) // 2) + 1 for side in values.shape[2:])
    halves = (sides[0] // 2, sides[1] // 2)

    def mean(pixels: Tensor) -> Tensor:
        return F.avg_pool2d(pixels, sides, stride=1, padding=halves, count_include_pad=False)

    variance = (mean(values.square()) - mean(values).square()).clamp_min(0).mean(dim=1)
    rows, columns = (middles(cells, side).long() for cells, side in zip(grid, values.shape[2:], strict=True))
    return variance[:, rows][:, :, columns].sqrt()


def middles(cells: int, side: int) -> Tensor:
    """The middle of each of some equal parts of a side, in pixels: [cells]."""
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * side / cells


def plain(detail: Tensor) -> Tensor:
    """Whether each window has no more detail than the middle one of those at the image's edge. [B, h, w] -> same."""
    edge = torch.ones(detail.shape[1:], dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    return detail <= detail[:, edge].median(dim=1).values[:, None, None] + ROUNDING


def background_of_places(images: Images, some: Tensor, grid: tuple[int, int]) -> Tensor:
    """Whether each place of these images is background, [n, h, w] of bool. some: [n], positions in the split."""
    height, width = images.shape[1:]
    if not images.has_marks:
        batches = some.split(batch_for(images))
        return torch.cat([plain(detail_of_windows(images.take(part) / 255, grid)) for part in batches])
    down, across = torch.meshgrid(middles(grid[0], height), middles(grid[1], width), indexing="ij")
    points = torch.stack([across, down], dim=2).view(-1, 2)
    reach = REGION * min(height, width) / 2
    found = [off_object(points, *images.marks(part), reach) for part in some.split(TOGETHER)]
    return torch.cat(found).view(len(some), *grid)
