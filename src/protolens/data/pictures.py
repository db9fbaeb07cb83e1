"""Tensors as PNG files that people can look at."""

import io

import torch
from torch import Tensor


def to_png(image: Tensor) -> bytes:
    """One image as the bytes of a PNG file. image: [C, H, W], uint8, or float in [0, 1].

    One band is shown as grey, three as colour, two as the grey of the first; of more, the first three are shown.
    """
    from PIL import Image

    if image.dtype != torch.uint8:
        image = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    bands = 3 if image.shape[0] >= 3 else 1
    pixels = image[:bands].permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
