"""Deformation of a batch of training images: affine and elastic in one sampling, then crop and mirror."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from protolens.config import Augmentation

TRUNCATE = 4.0  # standard deviations at which the Gaussian kernel ends, as in scipy.ndimage


def augment(images: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Deform each image by its own random draws.

    images: [B, C, H, W] floats in [0, 1], on the generator's device; returns the same shape and range. An image's
    result depends on its own pixels and draws only; the same state of the generator gives the same bits.
    """
    images = deform(images, settings, generator)
    if settings.crop:
        images = random_crop(images, settings.crop, generator)
    if settings.flip:
        mirrored = torch.rand(len(images), generator=generator, device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images


def deform(images: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Move, turn, scale and shear, then deform elastically, by one bilinear sampling; the border pixels go on outside.

    images: [B, C, H, W]; returns the same shape.
    """
    affine = settings.rotate or settings.shift or settings.scale or settings.shear
    if not affine and not settings.elastic_alpha:
        return images
    count, _, height, width = images.shape
    places = _pixel_places(height, width, images.device)[None]
    if settings.elastic_alpha:
        fields = torch.empty((count, 2, height, width), device=images.device).uniform_(-1, 1, generator=generator)
        places = smooth(fields, settings.elastic_sigma).mul_(settings.elastic_alpha).add_(places)
    if affine:
        places = affine_places(places, affine_draws(settings, count, (height, width), generator))
    return sample(images, places)


def smooth(fields: Tensor, sigma: float) -> Tensor:
    """Gaussian filter with zeros outside, as two products with banded matrices.

    fields: [..., H, W]; sigma: pixels; returns the same shape. Equals scipy.ndimage.gaussian_filter(mode="constant").
    """
    rows, columns = (_gaussian_band(side, sigma, fields.device) for side in fields.shape[-2:])
    return rows @ (fields @ columns)


def affine_draws(settings: Augmentation, count: int, size: tuple[int, int], generator: Generator) -> Tensor:
    """A random affine map for each image, about its centre. Returns [B, 2, 3]: rows x and y of output <- input.

    The map shears along x, scales, rotates, then shifts by at most a share of the side; each quantity is uniform.
    """
    height, width = size
    draws = torch.empty((count, 5), device=generator.device).uniform_(-1, 1, generator=generator)
    limits = (math.radians(settings.rotate), settings.scale, math.radians(settings.shear))
    angle, scale, shear = (draws[:, i] * limit for i, limit in enumerate(limits))
    zoom, cos, sin, slant = 1 + scale, angle.cos(), angle.sin(), shear.tan()
    shift_x, shift_y = draws[:, 3] * settings.shift * width, draws[:, 4] * settings.shift * height
    x = torch.stack([zoom * cos, zoom * (cos * slant - sin), shift_x], dim=1)
    y = torch.stack([zoom * sin, zoom * (sin * slant + cos), shift_y], dim=1)
    return torch.stack([x, y], dim=1)


def affine_places(places: Tensor, maps: Tensor) -> Tensor:
    """Where in the input the map finds each place of the output.

    places: [B or 1, 2, H, W], x and y in pixels from the centre; maps: [B, 2, 3], output <- input; gives [B, 2, H, W].
    """
    forward, shift = maps[:, :, :2], maps[:, :, 2]
    moved = places - shift[:, :, None, None]
    # the inverse of a 2x2 matrix, written out: a batched solve is far slower
    swapped = torch.stack([forward[:, 1, 1], -forward[:, 0, 1], -forward[:, 1, 0], forward[:, 0, 0]], dim=1)
    determinant = forward[:, 0, 0] * forward[:, 1, 1] - forward[:, 0, 1] * forward[:, 1, 0]
    inverse = (swapped / determinant[:, None]).view(-1, 2, 2)
    return (inverse @ moved.flatten(2)).view_as(moved)


def sample(images: Tensor, places: Tensor) -> Tensor:
    """Bilinear values at the places. images: [B, C, H, W]; places: [B, 2, H, W], x and y in pixels from the centre."""
    height, width = images.shape[-2:]
    halves = torch.tensor([2 / width, 2 / height], device=images.device)
    grid = (places * halves[:, None, None]).movedim(1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_crop(images: Tensor, pad: int, generator: Generator) -> Tensor:
    """Pad by zeros on all sides and cut a window of the old size at a random place, each image its own.

    images: [B, C, H, W]; pad: pixels; returns the same shape.
    """
    count, _, height, width = images.shape
    corners = torch.randint(2 * pad + 1, (2, count), generator=generator, device=images.device)
    windows = F.pad(images, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(count, device=images.device), :, corners[0], corners[1]]


def _pixel_places(height: int, width: int, device: torch.device) -> Tensor:
    """[2, H, W]: x and y of each pixel's centre, in pixels from the image's centre."""
    x = torch.arange(width, device=device) - (width - 1) / 2
    y = torch.arange(height, device=device) - (height - 1) / 2
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def gaussian_kernel(sigma: float) -> Tensor:
    """The Gaussian filter of a line, [2 reach + 1] with sum 1, float64. sigma: pixels."""
    reach = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()


def _gaussian_band(side: int, sigma: float, device: torch.device) -> Tensor:
    """[side, side]: the Gaussian filter of a line as a symmetric matrix."""
    kernel = gaussian_kernel(sigma)
    reach = len(kernel) // 2
    apart = (torch.arange(side)[:, None] - torch.arange(side)).abs()
    band = torch.where(apart <= reach, kernel[(apart + reach).clamp(max=2 * reach)], 0.0)
    return band.to(device, torch.float32)
