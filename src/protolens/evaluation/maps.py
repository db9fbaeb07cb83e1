"""Figures of maps themselves: do they agree, are they simple, do they stay, do they depend on the model?

Pure functions of maps [B, H, W], or of a function that makes them. What pixels do to the decision is in `degradation`.
"""

import copy
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from protolens.attribution import Answer
from protolens.config import seed_of
from protolens.evaluation.degradation import top

Network = TypeVar("Network", bound=nn.Module)
Explain = Callable[[Tensor], Tensor]  # images [N, C, H, W] to maps [N, H, W]


def mean_ranks(values: Tensor) -> Tensor:
    """Place of each value in its row from low to high, from 1, equal ones with the mean of theirs: [B, N], float64."""
    ordered, order = values.sort(dim=1)
    count = values.shape[1]
    places = torch.arange(count, device=values.device).expand_as(order)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(begins, places, 0).cummax(dim=1).values
    ends = torch.ones_like(begins)
    ends[:, :-1] = begins[:, 1:]
    last = torch.where(ends, places, count).flip(1).cummin(dim=1).values.flip(1)
    mean = (first + last).double() / 2 + 1
    return torch.empty_like(mean).scatter_(1, order, mean)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of two maps of each image, [B], -1 to 1; not a number where a map has one value everywhere."""
    return rank_correlations(torch.stack([first, second]))[:, 0, 1]


def rank_correlations(maps: Tensor) -> Tensor:
    """Rank correlation (Spearman) of each map of an image with each other, [B, M, M]; see `spearman`.

    maps: [M, B, H, W], of M methods.
    """
    ranks = torch.stack([mean_ranks(of_method.flatten(1)) for of_method in maps], dim=1)
    centred = ranks - ranks.mean(dim=2, keepdim=True)
    length = centred.norm(dim=2, keepdim=True)
    straight = torch.where(length > 0, centred / length, torch.nan)
    return straight @ straight.mT


def overlap(first: Tensor, second: Tensor, share: float = 0.2) -> Tensor:
    """Share of one map's highest pixels that are among the other's, [B], 0 to 1; chance gives `share`."""
    return overlaps(torch.stack([first, second]), share)[:, 0, 1]


def overlaps(maps: Tensor, share: float = 0.2) -> Tensor:
    """Share of the highest pixels of each map of an image that are among those of each other, [B, M, M]; see `overlap`.

    maps: [M, B, H, W], of M methods. Of equal pixels other ones are taken in each method.
    """
    highest = torch.stack([top(of_method, share, seed) for seed, of_method in enumerate(maps)], dim=1).flatten(2)
    return highest.double() @ highest.double().mT / highest.sum(dim=2, keepdim=True).clamp_min(1)


def complexity(maps: Tensor) -> Tensor:
    """Entropy of the shares that pixels have of a map, by size, in nats: [B], 0 to log(H W); low is simple.

    Bhatt, Weller, Moura 2020, arXiv:2005.00631, definition 3. A map of zeros counts as even.
    """
    size = maps.flatten(1).double().abs()
    total = size.sum(dim=1, keepdim=True)
    share = torch.where(total > 0, size / total, 1 / size.shape[1])
    return -torch.special.xlogy(share, share).sum(dim=1)


def max_sensitivity(explain: Explain, images: Tensor, radius: float = 0.02, samples: int = 10, seed: int = 0) -> Tensor:
    """The most that a map changes, as a share of its length, when the image does by no more than a radius: [B].

    Yeh et al. 2019, arXiv:1901.09392, definition 2, by so many samples, uniform within the radius of each pixel. Low is
    good; 0 for a map that does not look at the image, and not a number for one of zeros.
    """
    whole = explain(images).flatten(1).double()
    length, worst = whole.norm(dim=1), whole.new_zeros(len(images))
    for sample in range(samples):
        generator = Generator().manual_seed(seed_of(seed, "sensitivity", sample))
        moved = (2 * torch.rand(images.shape[1:], generator=generator) - 1).to(images) * radius
        changed = explain((images + moved).clamp(0, 1)).flatten(1).double()
        worst = torch.maximum(worst, (changed - whole).norm(dim=1))
    return torch.where(length > 0, worst / length, torch.nan)


@torch.no_grad()
def infidelity(
    answer: Answer,
    images: Tensor,
    maps: Tensor,
    targets: Tensor,
    samples: int = 50,
    noise: float = 0.2,
    seed: int = 0,
) -> Tensor:
    """Mean squared error of the change that a map predicts for noise, beside the mean squared change: [B]; low is good.

    Yeh et al. 2019, arXiv:1901.09392, definition 1 and section 3.4: the map is scaled by the number that suits it best,
    for maps have units of their own; 1 is what a map of zeros gets. noise: standard deviation, the same in all bands.
    """
    whole = answer(images).gather(1, targets[:, None])[:, 0].double()
    predicted, changes = [], []
    for sample in range(samples):
        generator = Generator().manual_seed(seed_of(seed, "infidelity", sample))
        moved = noise * torch.randn(images.shape[2:], generator=generator).to(images)
        predicted.append((maps * moved).flatten(1).sum(dim=1).double())
        changes.append(whole - answer(images - moved).gather(1, targets[:, None])[:, 0].double())
    p, c = torch.stack(predicted), torch.stack(changes)
    scale = (p * c).sum(dim=0) / p.square().sum(dim=0).clamp_min(1e-30)
    return (scale * p - c).square().mean(dim=0) / c.square().mean(dim=0).clamp_min(1e-30)


def randomised(model: Network, seed: int = 0) -> Iterator[tuple[str, Network]]:
    """Copies of a model whose weights are shuffled from the output down, one more layer each time, with its name.

    The check of Adebayo et al. 2018, arXiv:1810.03292: maps that stay as they were do not explain the model. Values
    are shuffled within each tensor, so that their sizes stay.
    """
    shuffled = copy.deepcopy(model)
    layers = [(name, module) for name, module in shuffled.named_modules() if list(module.parameters(recurse=False))]
    for name, module in reversed(layers):
        for parameter_name, parameter in module.named_parameters(recurse=False):
            generator = Generator().manual_seed(seed_of(seed, "randomised", name, parameter_name))
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.data = parameter.data.flatten()[order].view_as(parameter)
        yield name, shuffled


def pointing_game(maps: Tensor, boxes: Tensor, tolerance: int = 0) -> Tensor:
    """Whether the highest pixel lies in the box, [B], 1 or 0; a box of nothing is never hit.

    Zhang et al. 2018, doi:10.1007/s11263-017-1059-x, section 4.1. boxes: [B, 4] as left, top, right, bottom, the last
    two exclusive; tolerance: pixels around it that count too, 15 in the paper. Of equal pixels the share inside counts.
    """
    rows, columns = _places(maps)
    left, above, right, below = (boxes[:, side, None, None] for side in range(4))
    across = (columns >= left - tolerance) & (columns < right + tolerance)
    down = (rows >= above - tolerance) & (rows < below + tolerance)
    return _share_of_highest(maps, across & down & (right > left) & (below > above))


def pointing_at_parts(maps: Tensor, parts: Tensor, tolerance: float) -> Tensor:
    """Whether the highest pixel is as near as that to a part that is seen, [B], 1 or 0; not a number without parts.

    parts: [B, Q, 2] as x, y in pixels, not a number where unseen; tolerance: pixels. Of equal pixels the share counts.
    """
    rows, columns = _places(maps)
    # a pixel's middle lies half a pixel from its edge; one part at a time, for images times parts times pixels are many
    near = torch.zeros_like(maps, dtype=torch.bool)
    for x, y in parts.movedim(0, -1):
        apart = (columns + 0.5 - x[:, None, None]).square() + (rows + 0.5 - y[:, None, None]).square()
        near |= apart <= tolerance**2
    found = _share_of_highest(maps, near)
    return torch.where(parts.isnan().any(dim=2).all(dim=1), torch.nan, found)


def _places(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the rows [H, 1] and of the columns [1, W]."""
    _, height, width = maps.shape
    return torch.arange(height, device=maps.device)[:, None], torch.arange(width, device=maps.device)[None]


def _share_of_highest(maps: Tensor, inside: Tensor) -> Tensor:
    """Share of the highest pixels of each map [B, H, W] that are inside [B, H, W]: [B]."""
    highest = maps.flatten(1) == maps.flatten(1).amax(dim=1, keepdim=True)
    return (highest & inside.flatten(1)).sum(dim=1).double() / highest.sum(dim=1)
