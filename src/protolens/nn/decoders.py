"""Networks that turn codes back into images: mirrors of an encoder."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protolens.nn.encoders import Activation, ConvEncoder, activation


class DeconvDecoder(nn.Module):
    """Transposed convolutions, each undoing one layer of the encoder (PrototypeDL, "Network Architecture").

    [B, features] -> [B, bands, H, W] in [0, 1]. Leaves a checkerboard pattern; UpConvDecoder does not.
    """

    def __init__(self, encoder: ConvEncoder, hidden: Activation = "relu"):
        super().__init__()
        self.start = encoder.shapes[-1]
        steps = list(zip(encoder.shapes[:0:-1], encoder.shapes[-2::-1], strict=True))
        layers: list[nn.Module] = []
        for (channels, height, width), (wanted, tall, wide) in steps:
            layers += [doubling(channels, wanted, (height, width), (tall, wide)), activation(hidden)]
        layers[-1] = nn.Sigmoid()
        self.layers = nn.Sequential(*layers)

    def forward(self, code: Tensor) -> Tensor:
        """[B, features] -> [B, bands, H, W] in [0, 1]."""
        images: Tensor = self.layers(code.view(-1, *self.start))
        return images


def doubling(channels: int, wanted: int, small: Sequence[int], large: Sequence[int]) -> nn.ConvTranspose2d:
    """The transposed 3x3 convolution from maps of one size, height and width, to others of twice that, or one less."""
    # two sizes halve to the same one; the output padding tells which of them it was
    padding = (large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1))
    return nn.ConvTranspose2d(channels, wanted, 3, stride=2, padding=1, output_padding=padding)


class UpConvDecoder(nn.Module):
    """Bilinear resizing and a 3x3 convolution for each layer of the encoder: no checkerboards.

    [B, features] -> [B, bands, H, W] in [0, 1].
    """

    def __init__(self, encoder: ConvEncoder, hidden: Activation = "relu"):
        super().__init__()
        self.start = encoder.shapes[-1]
        steps = list(pairwise(encoder.shapes[::-1]))
        layers = [UpConv(before[0], after[0], after[1:]) for before, after in steps[:-1]]
        (channels, *small), (bands, *large) = steps[-1]
        self.layers = nn.ModuleList([*layers, LastUpConv(channels, bands, (small[0], small[1]), (large[0], large[1]))])
        self.hidden = activation(hidden)

    def forward(self, code: Tensor) -> Tensor:
        """[B, features] -> [B, bands, H, W] in [0, 1]."""
        images: Tensor = code.view(-1, *self.start)
        for layer in self.layers[:-1]:
            images = self.hidden(layer(images))
        return self.layers[-1](images).sigmoid()


class UpConv(nn.Conv2d):
    """Bilinear resizing to `size`, then a 3x3 convolution with padding 1. [B, C, h, w] -> [B, D, *size]."""

    def __init__(self, channels: int, wanted: int, size: tuple[int, int]):
        super().__init__(channels, wanted, 3, padding=1)
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, D, *size]."""
        return super().forward(F.interpolate(images, size=self.size, mode="bilinear", align_corners=False))


class LastUpConv(UpConv):
    """The same from many channels to few bands, computed the other way round, which is exact.

    Resizing works on each channel alone, so the nine taps of the kernel can go first, as 1x1 convolutions on the small
    map: 9 D maps are resized instead of C, and each is shifted to its place, by two matrix products. Several times
    faster on a CPU (benchmarks/upconv.py).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, channels: int, wanted: int, before: tuple[int, int], size: tuple[int, int]):
        super().__init__(channels, wanted, size)
        self.register_buffer("rows", resize_and_shift(before[0], size[0]), persistent=False)
        self.register_buffer("columns", resize_and_shift(before[1], size[1]).T.contiguous(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, D, *size]."""
        assert self.bias is not None
        count, _, height, width = images.shape
        # a 1x1 convolution as one matrix product over all pixels: convolutions to few channels are slow
        taps = F.linear(images.permute(0, 2, 3, 1), self.weight.permute(0, 2, 3, 1).flatten(0, 2))
        # [B, h, w, D, 3, 3] as one matrix [3 h, 3 w] for each image and band
        tiles = taps.view(count, height, width, -1, 3, 3).permute(0, 3, 4, 1, 5, 2)
        tiles = tiles.reshape(count, -1, 3 * height, 3 * width)
        return self.rows @ (tiles @ self.columns) + self.bias[:, None, None]


def resize_and_shift(before: int, after: int) -> Tensor:
    """[after, 3 x before]: linear resizing of a line, shifted by -1, 0 and 1 with zeros coming in, side by side."""
    resize = F.interpolate(torch.eye(before)[None], size=after, mode="linear", align_corners=False)[0].T
    padded = F.pad(resize, (0, 0, 1, 1))
    return torch.cat([padded[shift : shift + after] for shift in range(3)], dim=1)
