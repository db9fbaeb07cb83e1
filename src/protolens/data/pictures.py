"""Tensors as pictures that people can look at."""

import io

import torch
from torch import Tensor

HEAT = 0.6  # how much of a heat map's colour covers the image below


def to_png(image: Tensor) -> bytes:
    """One image as the bytes of a PNG file. image: [C, H, W], uint8, or float in [0, 1].

    One band is shown as grey, three as colour, two as the grey of the first; of more, the first three are shown.
    """
    from PIL import Image

    pixels = shown_bands(image).permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def shown_bands(image: Tensor) -> Tensor:
    """The bands that a picture shows, as uint8: [C, H, W] -> [1 or 3, H, W]."""
    if image.dtype != torch.uint8:
        image = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    return image[: 3 if image.shape[0] >= 3 else 1]


def with_heat(image: Tensor, heat: Tensor) -> Tensor:
    """An image below a heat map in viridis, from the least to the most of its own values: [3, H, W], uint8.

    image: [C, H, W], uint8, or float in [0, 1]; heat: [H, W]. A map of one value has the colour of the least.
    """
    from matplotlib import colormaps

    heat = heat.detach().double().cpu()
    low, high = heat.min(), heat.max()
    share = (heat - low) / (high - low) if high > low else torch.zeros_like(heat)
    colour = 255 * torch.from_numpy(colormaps["viridis"](share.numpy())[:, :, :3]).permute(2, 0, 1)
    return ((1 - HEAT) * shown_bands(image).cpu() + HEAT * colour).round().to(torch.uint8)
