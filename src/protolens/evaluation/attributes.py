"""What images are like in terms that people use, measured on their pixels, where nobody has labelled it.

Surrogates for the attributes of Celis et al. 2016, arXiv:1610.07183: strokes for grey images on a plain ground, colours
for photographs. Each is cut into as many levels as `VALUES`, equally common among the images of the population.
"""

import torch
from torch import Tensor

from protolens.evaluation.metric import check

VALUES = 4
STROKES = ("brightness", "thickness", "slant", "aspect")
COLOURS = ("brightness", "saturation", "hue", "detail")
SMALL = 1e-6


def attributes_of(images: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """The names of A attributes and their values [N, A]: of strokes for one band, of colours for three or more.

    images: [N, C, H, W] in [0, 1]. Of more than three bands the first three are taken for red, green and blue.
    """
    check(images=images)
    if images.shape[1] < 3:
        return STROKES, _strokes(images[:, 0].double())
    return COLOURS, _colours(images[:, :3].double())


def levels(values: Tensor, population: Tensor) -> Tensor:
    """The level of each value, 0 to VALUES - 1, with as many images of the population in each: [N, A] of int64.

    values: [N, A]; population: [M, A].
    """
    inner = torch.arange(1, VALUES, dtype=torch.float64) / VALUES
    edges = population.double().quantile(inner, dim=0).T.contiguous()
    return torch.searchsorted(edges, values.double().T.contiguous()).T


def _strokes(images: Tensor) -> Tensor:
    """[N, H, W] -> [N, 4]. Ink is what differs from the ground, which the image's edge shows."""
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], dim=1)
    ink = (images - border.median(dim=1).values[:, None, None]).abs()
    mass = ink.sum(dim=(1, 2)).clamp_min(SMALL)
    _, height, width = ink.shape
    down, across = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    middle_y = (ink.sum(dim=2) @ down) / mass
    middle_x = (ink.sum(dim=1) @ across) / mass
    off_y, off_x = down - middle_y[:, None], across - middle_x[:, None]
    spread_y = (ink.sum(dim=2) * off_y**2).sum(dim=1) / mass
    spread_x = (ink.sum(dim=1) * off_x**2).sum(dim=1) / mass
    together = torch.einsum("nhw,nh,nw->n", ink, off_y, off_x) / mass
    solid = ink > ink.amax(dim=(1, 2), keepdim=True) / 2
    framed = torch.nn.functional.pad(solid, (1, 1, 1, 1))
    outline = (framed[:, 1:] ^ framed[:, :-1]).sum(dim=(1, 2)) + (framed[:, :, 1:] ^ framed[:, :, :-1]).sum(dim=(1, 2))
    # a long stroke of width w has w pixels of ink on 2 of outline
    thickness = 2 * solid.sum(dim=(1, 2)) / outline.clamp_min(1)
    slant = -together / spread_y.clamp_min(SMALL)
    aspect = (spread_x.clamp_min(SMALL) / spread_y.clamp_min(SMALL)).log()
    return torch.stack([images.mean(dim=(1, 2)), thickness.double(), slant, aspect], dim=1)


def _colours(images: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, 4]. Hue is an angle from red, of the mean colour, -pi to pi."""
    red, green, blue = images.mean(dim=(2, 3)).T
    high, low = images.amax(dim=1), images.amin(dim=1)
    saturation = ((high - low) / high.clamp_min(SMALL)).mean(dim=(1, 2))
    hue = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)
    grey = images.mean(dim=1)
    detail = grey.diff(dim=1).abs().mean(dim=(1, 2)) + grey.diff(dim=2).abs().mean(dim=(1, 2))
    return torch.stack([grey.mean(dim=(1, 2)), saturation, hue, detail], dim=1)
