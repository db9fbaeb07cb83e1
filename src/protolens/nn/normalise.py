"""First layers that bring pixels in [0, 1] to the scale that networks like, and the length of codes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_VARIANCE = 1e-8  # a band of one value everywhere is only shifted


class OfPixels(nn.Module, ABC):
    """A first layer whose numbers begin as statistics of the training images: `fit` sets them."""

    learns = True

    @abstractmethod
    def learn(self, batches: Iterable[Tensor]) -> None:
        """Set the statistics. batches: all training images, [B, C, H, W] in [0, 1], on the CPU, some at a time."""


class Normalise(OfPixels):
    """Subtract the mean and divide by the standard deviation of each band.

    Starts as the identity; with a fixed mean and deviation, as pretrained weights want them, it stays.
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

    def learn(self, batches: Iterable[Tensor]) -> None:
        """Take the mean and deviation of each band."""
        mean, covariance = _moments(images.movedim(1, -1).flatten(0, 2) for images in batches)
        self.mean.copy_(mean)
        self.deviation.copy_(covariance.diagonal().clamp_min(LEAST_VARIANCE).sqrt())


class Whiten(nn.Conv2d, OfPixels):
    """A convolution whose filters turn small patches of training images into uncorrelated numbers of variance 1.

    The filters are the principal components of the patches, each divided by its standard deviation, and the same with
    the other sign, so that a rectifier behind them loses nothing; the bias takes the mean away (Jordan 2024,
    arXiv:2404.00498, section 3.2). [B, C, H, W] -> [B, 2 * C * side**2, H - side + 1, W - side + 1].
    """

    FLOOR = 5e-4  # added to each variance, as a share of their mean: weak components are mostly noise

    def __init__(self, bands: int, side: int = 2):
        super().__init__(bands, 2 * bands * side**2, side)

    @torch.no_grad()
    def learn(self, batches: Iterable[Tensor]) -> None:
        """Take the principal components of the patches."""
        side = self.kernel_size[0]
        mean, covariance = _moments(F.unfold(images, side).movedim(1, -1).flatten(0, 1) for images in batches)
        variances, components = torch.linalg.eigh(covariance)
        floor = self.FLOOR * variances.mean() + LEAST_VARIANCE
        rows = (components / (variances.clamp_min(0) + floor).sqrt()).T
        rows = torch.cat([rows, -rows])
        self.weight.copy_(rows.view_as(self.weight))
        assert self.bias is not None
        self.bias.copy_(-(rows @ mean))


def _moments(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D], over their number, of vectors that come as [N, D] at a time."""
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for vectors in batches:
        values = vectors.double()
        count, total, products = count + len(values), total + values.sum(dim=0), products + values.T @ values
    mean = total / count
    return mean, products / count - mean[:, None] * mean


class ToLength(nn.Module):
    """Stretch the code at each place to one length: squared distances between codes then order as cosines do."""

    def __init__(self, length: float):
        super().__init__()
        self.length = length

    def forward(self, codes: Tensor) -> Tensor:
        """[B, D, h, w] -> [B, D, h, w]; a code of zeros stays."""
        return self.length * nn.functional.normalize(codes, dim=1)
