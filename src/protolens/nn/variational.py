"""The networks of ProtoVAE: an encoder to a Gaussian, its mirror as decoder, and the divergence that ties both.

Gautam et al.: ProtoVAE, NeurIPS 2022, arXiv:2210.08151; layers and initial weights as in its published code.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from protolens.nn.precision import in_full_precision

LARGEST_LOG_VARIANCE = -math.log(1e-8)


class VariationalEncoder(nn.Module):
    """Blocks of 3x3 convolution, ReLU, batch normalisation and 2x2 mean, then two dense layers.

    [B, bands, H, W] -> mean and log-variance of a Gaussian, each [B, features]. `shapes` lists the (channels, height,
    width) of the input and after each block, which the decoder mirrors. A side of one pixel is not halved.
    """

    def __init__(self, bands: int, size: tuple[int, int], widths: Sequence[int], features: int):
        super().__init__()
        self.features = features
        self.shapes = [(bands, *size)]
        layers: list[nn.Module] = []
        for width in widths:
            channels, height, length = self.shapes[-1]
            step = strides(height, length)
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(width), nn.AvgPool2d(step)]
            self.shapes.append((width, height // step[0], length // step[1]))
        dense = nn.Linear(math.prod(self.shapes[-1]), 2 * features)
        layers += [nn.Flatten(), dense, nn.ReLU(), nn.Linear(2 * features, 2 * features)]
        self.layers = nn.Sequential(*layers).apply(start)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, bands, H, W] -> mean and log-variance, each [B, features]; variances lie between 1e-8 and 1e8."""
        mean, log_variance = self.layers(images).chunk(2, dim=1)
        return mean, log_variance.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)


class VariationalDecoder(nn.Module):
    """A dense layer, then two convolutions for each block of the encoder, the second of which undoes its halving.

    [B, features] -> [B, bands, H, W] in [-1, 1].
    """

    def __init__(self, encoder: VariationalEncoder):
        super().__init__()
        smallest, bands = encoder.shapes[-1], encoder.shapes[0][0]
        places = math.prod(smallest)
        layers: list[nn.Module] = [nn.Linear(encoder.features, places), nn.ReLU(), nn.BatchNorm1d(places)]
        layers.append(nn.Unflatten(1, smallest))
        # the blocks' widths backwards, that of the first block twice: 64 -> 32 -> 32 -> bands
        widths = [shape[0] for shape in encoder.shapes[:0:-1]]
        widths.append(widths[-1])
        for (before, after), (small, large) in zip(pairwise(widths), pairwise(encoder.shapes[::-1]), strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(after)]
            layers += [enlarging(after, small[1:], large[1:]), nn.ReLU(), nn.BatchNorm2d(after)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], bands, 3, padding=1), nn.Tanh()).apply(start)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, code: Tensor) -> Tensor:
        """[B, features] -> [B, bands, H, W] in [-1, 1]."""
        pictures: Tensor = self.layers(code)
        return pictures


def strides(height: int, width: int) -> tuple[int, int]:
    """By what a block divides each side of a map: 2, but 1 where there is a single pixel."""
    return 1 + (height > 1), 1 + (width > 1)


def enlarging(channels: int, small: tuple[int, int], large: tuple[int, int]) -> nn.ConvTranspose2d:
    """The transposed convolution from maps of one size to those that a block made them from: 4x4 with stride 2."""
    rows, columns = strides(*large)
    # two sizes halve to the same one; the output padding tells which of them it was
    padding = (large[0] - rows * small[0], large[1] - columns * small[1])
    kernel = (2 + rows, 2 + columns)
    return nn.ConvTranspose2d(channels, channels, kernel, (rows, columns), padding=1, output_padding=padding)


def start(layer: nn.Module) -> None:
    """Initial weights uniform within 0.08, biases zero."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.uniform_(layer.weight, -0.08, 0.08)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


@in_full_precision
def mixture_divergence(
    mean: Tensor,
    log_variance: Tensor,
    similarity: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    class_of: Tensor,
    detach_shares: bool = False,
) -> Tensor:
    """Mean divergence of each image's Gaussian from N(p, 1) around the prototypes p of its class (ProtoVAE).

    A prototype counts by its share in the similarity to those of the class; the divergence is a mean over features, as
    in the published code. An image whose class has no prototype counts as 0. With shares that are not detached the term
    also falls when a prototype leaves all codes, for that lowers its share.

    mean, log_variance: [B, D]; similarity: [B, P], not negative; labels: [B]; prototypes: [P, D]; class_of: [P].
    """
    own = labels[:, None] == class_of
    shares = similarity.where(own, 0.0)
    shares = shares / shares.sum(dim=1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)
    if detach_shares:
        shares = shares.detach()
    # only the pairs of an image and a prototype of its class: all pairs are K times as many
    image, prototype = own.nonzero(as_tuple=True)
    shift = (mean[image] - prototypes[prototype]).square().mean(dim=1)
    spread = (log_variance.exp() - 1 - log_variance).mean(dim=1)
    return (shares[own] * 0.5 * (spread[image] + shift)).sum() / len(mean)
