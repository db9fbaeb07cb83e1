"""The first layer of a model: so that everybody outside it speaks of pixels in [0, 1]."""

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each band; both are buffers, saved with the model.

    Starts as the identity; `fit` in the train room sets it from the training images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, bands: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("deviation", torch.ones(bands))

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1] -> the same shape, normalised by band."""
        return (images - self.mean[:, None, None]) / self.deviation[:, None, None]
