"""Normalisation of pixels, the first layer of a model, so that all speak of pixels in [0, 1]; and of codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each band; both are buffers, saved with the model.

    Starts as the identity, and `fit` in the train room sets it from the training images; with a fixed mean and
    deviation, as pretrained weights want them, it stays.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, bands: int, fixed: tuple[Sequence[float], Sequence[float]] | None = None):
        super().__init__()
        self.learns = fixed is None
        mean, deviation = fixed or ([0.0] * bands, [1.0] * bands)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1] -> the same shape, normalised by band."""
        return (images - self.mean[:, None, None]) / self.deviation[:, None, None]


class ToLength(nn.Module):
    """Stretch the code at each place to one length: squared distances between codes then order as cosines do."""

    def __init__(self, length: float):
        super().__init__()
        self.length = length

    def forward(self, codes: Tensor) -> Tensor:
        """[B, D, h, w] -> [B, D, h, w]; a code of zeros stays."""
        return self.length * nn.functional.normalize(codes, dim=1)
