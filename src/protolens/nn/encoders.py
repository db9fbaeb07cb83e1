"""Networks that turn images into codes."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from protolens.nn.normalise import Whiten

Activation = Literal["relu", "sigmoid"]


def activation(name: Activation) -> nn.Module:
    """The layer of that name."""
    return nn.ReLU() if name == "relu" else nn.Sigmoid()


class ConvEncoder(nn.Module):
    """3x3 convolutions with stride 2, each halving the map (rounded up) and followed by its activation.

    PrototypeDL, section "Network Architecture". [B, bands, H, W] -> [B, widths[-1], h, w]; `shapes` lists the
    (channels, height, width) of the input and after each layer, which a decoder mirrors.
    """

    def __init__(self, bands: int, size: tuple[int, int], widths: Sequence[int], hidden: Activation = "relu"):
        super().__init__()
        self.shapes = [(bands, *size)]
        layers: list[nn.Module] = []
        for width in widths:
            channels, height, length = self.shapes[-1]
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), activation(hidden)]
            self.shapes.append((width, (height + 1) // 2, (length + 1) // 2))
        self.layers = nn.Sequential(*layers)

    @property
    def features(self) -> int:
        """Length of the flattened code."""
        channels, height, width = self.shapes[-1]
        return channels * height * width

    def forward(self, images: Tensor) -> Tensor:
        """[B, bands, H, W] -> [B, widths[-1], h, w]."""
        code: Tensor = self.layers(images)
        return code


class SmallEncoder(nn.Sequential):
    """Two convolutions and a dense layer, for images of 8 to 64 pixels. [B, bands, H, W] -> [B, features]."""

    def __init__(self, bands: int, features: int = 128):
        super().__init__(
            # the maximum first: the same numbers, and a quarter of them to rectify
            *(nn.Conv2d(bands, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
            # any image size ends in the same grid, so the dense layer does not depend on it
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, features), nn.ReLU()),
        )
        self.features = features


class StrongEncoder(nn.Sequential):
    """Whitened patches, convolutions with batch normalisation in three widening blocks, then one maximum a channel.

    The shape of the fast CIFAR-10 networks (Jordan 2024, arXiv:2404.00498). Each convolution begins as the identity
    for as many channels as it takes. For images of 5 pixels and more. [B, bands, H, W] in [0, 1] -> [B, widths[-1]].
    """

    def __init__(self, bands: int, widths: Sequence[int] = (64, 256, 256)):
        whiten = Whiten(bands)
        layers: list[nn.Module] = [whiten, nn.GELU()]
        channels = whiten.out_channels
        for place, width in enumerate(widths, start=1):
            pool = nn.MaxPool2d(2, ceil_mode=place == len(widths))  # small maps lose no row at the end
            layers += [self._convolution(channels, width), pool, nn.BatchNorm2d(width), nn.GELU()]
            layers += [self._convolution(width, width), nn.BatchNorm2d(width), nn.GELU()]
            channels = width
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.features = channels

    @staticmethod
    def _convolution(taken: int, width: int) -> nn.Conv2d:
        convolution = nn.Conv2d(taken, width, 3, padding=1, bias=False)
        nn.init.dirac_(convolution.weight[:taken])
        return convolution
