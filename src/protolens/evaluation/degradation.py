"""What is left of a decision when pixels go in the order of a map: the ground of `faithfulness`.

A map ranks pixels; those beyond a share of them are replaced, and the classifier looks again. What the others are
replaced by decides much (Rong et al. 2022, arXiv:2202.00449), so there are several ways, and random and edge maps
belong beside every map. Everything is batched over images; nothing here knows where a map comes from.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from protolens.attribution import Answer, chance
from protolens.config import seed_of
from protolens.data import gaussian_kernel

Filling = Literal["salt-and-pepper", "black", "mean", "blur", "inpaint"]
IMAGES_AT_ONCE = 500


def ranks(maps: Tensor, seed: int = 0) -> Tensor:
    """Place of each pixel in the order of its image, 0 for the highest, [B, H, W]; equal ones in random order.

    maps: [B, H, W]. Maps of superpixels are full of equals, and an order from the top left would favour it.
    """
    flat = maps.flatten(1)
    shuffled = torch.rand(flat.shape[1], generator=Generator().manual_seed(seed)).argsort().to(maps.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def top(maps: Tensor, share: float, seed: int = 0) -> Tensor:
    """Whether a pixel is among the highest share of its image, [B, H, W]; share x pixels is rounded."""
    return ranks(maps, seed) < round(share * maps[0].numel())


def replaced(images: Tensor, kept: Tensor, filling: Filling, seed: int = 0) -> Tensor:
    """The images with other pixels filled in where they are not kept: [B, C, H, W].

    images: [B, C, H, W] in [0, 1]; kept: [B, H, W]. filling: salt-and-pepper, each pixel black or white by chance, all
    bands alike (seeds/003); black; the image's mean by band; the image blurred, with a standard deviation of a tenth
    of the shorter side; or what the kept pixels around suggest (`inpainted`).
    """
    if filling == "inpaint":
        return inpainted(images, kept, seed)
    return torch.where(kept[:, None], images, filled(images, filling, seed))


def filled(images: Tensor, filling: Filling, seed: int = 0) -> Tensor:
    """What is seen where an image is hidden, [B, C, H, W]; see `replaced`. Not for inpaint: that asks where."""
    if filling == "black":
        return torch.zeros_like(images)
    if filling == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    if filling == "blur":
        return blurred(images, min(images.shape[2:]) / 10)
    drawn = chance(images, seed_of(seed, "salt-and-pepper"))[:, None] < 0.5
    return drawn.to(images).expand_as(images)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Gaussian filter with the border pixels going on outside. images: [B, C, H, W]; deviation: pixels."""
    kernel = gaussian_kernel(deviation).to(images)
    reach = len(kernel) // 2
    flat = F.pad(images.flatten(0, 1)[:, None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(flat, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1)).view(images.shape)


# how much each of the 8 neighbours counts (Rong et al. 2022, section 5)
NEIGHBOURS = ((1 / 12, 1 / 6, 1 / 12), (1 / 6, 0.0, 1 / 6), (1 / 12, 1 / 6, 1 / 12))


def inpainted(images: Tensor, kept: Tensor, seed: int = 0, noise: float = 0.01, tolerance: float = 1e-4) -> Tensor:
    """Each pixel that is not kept becomes the weighted mean of its neighbours, all at once, and some noise.

    Noisy linear imputation, Rong et al. 2022, arXiv:2202.00449, section 5: a system of linear equations a band, solved
    for all images together by conjugate gradients. images: [B, C, H, W]; kept: [B, H, W]; noise: standard deviation;
    tolerance: of the residual. An image of which nothing is kept becomes its mean.
    """
    none = ~kept.flatten(1).any(dim=1)
    known = kept | none[:, None, None]
    start = torch.where(none[:, None, None, None], images.mean(dim=(2, 3), keepdim=True), images)
    known, inside = known[:, None].to(images), torch.ones_like(images[:1, :1])
    kernel = images.new_tensor(NEIGHBOURS)[None, None]
    weight = F.conv2d(inside, kernel, padding=1)  # of the neighbours that there are

    def apart(values: Tensor) -> Tensor:
        """Weighted sum of the differences to the neighbours, at unknown pixels."""
        around = F.conv2d(values.flatten(0, 1)[:, None], kernel, padding=1).view(values.shape)
        return (1 - known) * (weight * values - around)

    values = known * start + (1 - known) * _mean_known(start, known)
    residual = -apart(values)
    direction, length = residual, residual.square().sum(dim=(2, 3), keepdim=True)
    for _ in range(images[0, 0].numel()):
        if float(length.max()) < tolerance**2:
            break
        slope = apart(direction)
        step = length / (direction * slope).sum(dim=(2, 3), keepdim=True).clamp_min(1e-20)
        values, residual = values + step * direction, residual - step * slope
        longer = residual.square().sum(dim=(2, 3), keepdim=True)
        direction, length = residual + longer / length.clamp_min(1e-20) * direction, longer
    drawn = torch.randn(images.shape[1:], generator=Generator().manual_seed(seed)).to(images)
    return (values + (1 - known) * noise * drawn).clamp(0, 1)


def _mean_known(images: Tensor, known: Tensor) -> Tensor:
    return (images * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True)


@torch.no_grad()
def said_when_kept(
    answer: Answer,
    images: Tensor,
    order: Tensor,
    shares: Sequence[float],
    filling: Filling = "salt-and-pepper",
    seed: int = 0,
) -> Tensor:
    """What is said of each image when only the first share of its pixels is kept: [S, B, K].

    order: [B, H, W], from `ranks`; shares: S of them, 0 to 1.
    """
    pixels, said = order[0].numel(), []
    for share in shares:
        kept = order < round(share * pixels)
        parts = zip(images.split(IMAGES_AT_ONCE), kept.split(IMAGES_AT_ONCE), strict=True)
        said.append(torch.cat([answer(replaced(some, there, filling, seed)) for some, there in parts]))
    return torch.stack(said)


def said_when_removed(
    answer: Answer,
    images: Tensor,
    order: Tensor,
    shares: Sequence[float],
    filling: Filling = "mean",
    seed: int = 0,
) -> Tensor:
    """What is said of each image when the first share of its pixels is replaced: [S, B, K]; see `said_when_kept`."""
    backwards = order[0].numel() - 1 - order
    return said_when_kept(answer, images, backwards, [1 - share for share in shares], filling, seed)


def area(shares: Sequence[float], values: Tensor) -> Tensor:
    """Area under curves by the trapezoid rule, as a share of the width. values: [S, ...]; returns [...]."""
    places = torch.tensor(shares, dtype=torch.float64, device=values.device)
    return torch.trapezoid(values.double(), places, dim=0) / (places[-1] - places[0])


def aopc(shares: Sequence[float], said: Tensor, most: float = 0.2) -> Tensor:
    """Mean fall of what is said of a class while the highest pixels go, up to a share of them: [B]; high is good.

    Samek et al. 2017, doi:10.1109/TNNLS.2016.2599820, eq. 12, as an area, since shares need not be even. said: [S, B],
    when each share is removed, the first none.
    """
    inside = [number for number, share in enumerate(shares) if share <= most]
    return said[0].double() - area([shares[number] for number in inside], said[inside])


def of_class(said: Tensor, targets: Tensor) -> Tensor:
    """What is said of one class of each image: [S, B, K] -> [S, B]. targets: [B]."""
    return said.gather(2, targets.expand(len(said), -1)[:, :, None])[:, :, 0].double()
