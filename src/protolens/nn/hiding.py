"""A first layer that hides regions of every image from the layers behind it."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from protolens.config import Box
from protolens.errors import ProtolensError
from protolens.nn.normalise import OfPixels

LEVELS = 256  # values of a pixel in a file


class Hidden(OfPixels):
    """Puts the median of the training images' pixels, band by band, in the place of all pixels in some boxes.

    boxes: left, top, right, bottom in pixels, right and bottom outside; size: height and width of images. Raises
    ProtolensError for a box that is empty or reaches beyond the image.
    """

    fill: Tensor
    visible: Tensor

    def __init__(self, boxes: Sequence[Box], bands: int, size: tuple[int, int]):
        super().__init__()
        visible = torch.ones(size, dtype=torch.bool)
        for box in boxes:
            refuse_outside(box, size)
            left, top, right, bottom = box
            visible[top:bottom, left:right] = False
        self.register_buffer("fill", torch.zeros(bands))
        self.register_buffer("visible", visible, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        return torch.where(self.visible, images, self.fill[:, None, None])

    def learn(self, batches: Iterable[Tensor]) -> None:
        """Take the median of each band."""
        self.fill.copy_(medians(batches))


def refuse_outside(box: Box, size: tuple[int, int]) -> None:
    """Raise ProtolensError for a box that is no region of images of this height and width."""
    (left, top, right, bottom), (height, width) = box, size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        said = ",".join(map(str, box))
        raise ProtolensError(
            f"{said} is no region of images of {width} x {height} pixels; write left,top,right,bottom with "
            f"left < right <= {width} and top < bottom <= {height}"
        )


def medians(batches: Iterable[Tensor]) -> Tensor:
    """The lower median of all pixels of each band, [C]. batches: [B, C, H, W] in [0, 1], made of bytes."""
    counts: Tensor | int = 0
    for images in batches:
        levels = (images * (LEVELS - 1)).round().to(torch.int64).movedim(1, 0).flatten(1)
        counts = counts + torch.stack([band.bincount(minlength=LEVELS) for band in levels])
    assert isinstance(counts, Tensor)
    passed = counts.cumsum(dim=1)
    half = (passed[:, -1:] + 1) // 2
    return (passed < half).sum(dim=1) / (LEVELS - 1)
