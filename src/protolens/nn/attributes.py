"""The networks of FLINT: predictors whose hidden maps are tapped, attributes made of them, a decoder of attributes.

Parekh, Mozharovskyi, d'Alche-Buc: A Framework to Learn with Interpretation, NeurIPS 2021, arXiv:2010.09345; layers as
in its published code.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protolens.nn.decoders import doubling
from protolens.nn.heads import LinearHead
from protolens.nn.normalise import Normalise
from protolens.nn.prototypes import VectorPrototypes, kept_part

GRID = 3  # rows and columns to which the maps of attributes are averaged
MAPS = 64  # of the attribute network
FEATURES = MAPS * GRID * GRID


class SmallPredictor(nn.Module):
    """Two convolutions, tapped at half the image's size, and two dense layers, for grey images of some 28 pixels."""

    def __init__(self, bands: int, classes: int, size: tuple[int, int]):
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(bands, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.MaxPool2d(2), nn.Dropout(), nn.ReLU()),
        )
        places = (size[0] // 2) * (size[1] // 2)
        self.dense = nn.Sequential(
            *(nn.Flatten(), nn.Linear(32 * places, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, classes))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, bands, H, W] -> logits [B, K] and the tapped maps, one [B, 32, H // 2, W // 2]."""
        maps = self.convolutions(images)
        return self.dense(maps), [maps]


class SmallAttributes(nn.Module):
    """A convolution on the tapped maps of SmallPredictor, averaged to a grid: codes [B, 576]."""

    features = FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(32, MAPS, 3, padding=1), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(GRID))

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """The one tapped map, [B, 32, h, w] -> codes [B, 576]."""
        code: Tensor = self.layers(taps[0])
        return code.flatten(1)


class Block(nn.Module):
    """Two 3x3 convolutions around which the input goes, too: a ResNet's basic block without batch normalisation."""

    def __init__(self, channels: int, width: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        same = stride == 1 and channels == width
        self.around = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, width, h / stride rounded up, w / stride rounded up]."""
        return F.relu(self.second(F.relu(self.first(maps))) + self.around(maps))


class LargePredictor(nn.Module):
    """ResNet-18 without batch normalisation and without its early pooling, for photographs of some 32 pixels.

    Tapped are the maps of its third layer, and those that enter the last block of its fourth.
    """

    def __init__(self, bands: int, classes: int):
        super().__init__()
        self.normalise = Normalise(bands)
        blocks: list[nn.Module] = [nn.Conv2d(bands, 64, 3, padding=1, bias=False), nn.ReLU()]
        for before, width in pairwise((64, 64, 128, 256)):
            blocks += [Block(before, width, stride=width // before), Block(width, width)]
        self.layers = nn.Sequential(*blocks)
        self.narrow = Block(256, 512, stride=2)
        self.last = Block(512, 512)
        self.dense = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, classes))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, bands, H, W] -> logits [B, K] and the tapped maps, [B, 256, H / 4, W / 4] and [B, 512, H / 8, W / 8]."""
        third = self.layers(self.normalise(images))
        fourth = self.narrow(third)
        return self.dense(self.last(fourth)), [third, fourth]


class LargeAttributes(nn.Module):
    """Convolutions that join both tapped maps of LargePredictor, averaged to a grid: codes [B, 576]."""

    features = FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv2d(256, MAPS, 3, stride=2, padding=1)
        self.fourth = nn.Conv2d(512, MAPS, 3, padding=1)
        self.both = nn.Conv2d(2 * MAPS, MAPS, 3, padding=1)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """[B, 256, h, w] and [B, 512, h / 2, w / 2] -> codes [B, 576]."""
        joined = torch.cat([F.relu(self.third(taps[0])), F.relu(self.fourth(taps[1]))], dim=1)
        return F.adaptive_avg_pool2d(F.relu(self.both(joined)), GRID).flatten(1)


class AttributePrototypes(VectorPrototypes):
    """The last layer of the attribute network: a vector and an intercept for each of P attributes."""

    def __init__(self, prototypes: int, features: int):
        super().__init__(prototypes, features)
        # a ReLU that is active for no image at the start never learns
        self.intercept = nn.Parameter(torch.full((prototypes,), 0.1))

    def forward(self, code: Tensor) -> Tensor:
        """Attributes before their activation, [B, D] -> [B, P]."""
        return F.linear(code, self.vectors, self.intercept)

    def keep(self, kept: Tensor) -> None:
        """Drop all attributes but these. kept: [Q]."""
        super().keep(kept)
        self.intercept = kept_part(self.intercept, kept)


class AttributeDecoder(nn.Module):
    """A dense layer to a quarter of the image's size, then two transposed convolutions up to it.

    [B, P] -> [B, bands, H, W], unbounded. widths: maps on the way; a third width is followed by one more convolution.
    The original's last layer is a ReLU for grey images, which can die, and a dense one for colour, which has 25 million
    weights at 32 pixels; here it is linear, and a convolution.
    """

    def __init__(self, attributes: int, bands: int, size: tuple[int, int], widths: Sequence[int]):
        super().__init__()
        half, quarter = (tuple(-(-side // share) for side in size) for share in (2, 4))
        grid = (widths[0], *quarter)
        self.start = LinearHead(attributes, math.prod(grid))
        layers: list[nn.Module] = [nn.Unflatten(1, grid)]
        sizes = list(pairwise((quarter, half, size)))
        for step, (before, after) in enumerate(pairwise([*widths, bands])):
            if step < len(sizes):
                layers += [doubling(before, after, *sizes[step]), nn.ReLU()]
            else:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, attributes: Tensor) -> Tensor:
        """[B, P] -> [B, bands, H, W]."""
        pictures: Tensor = self.layers(self.start(attributes))
        return pictures

    def keep(self, kept: Tensor) -> None:
        """Drop the weights of all attributes but these. kept: [Q]."""
        self.start.keep(kept)


def imitation(logits: Tensor, predictor: Tensor) -> Tensor:
    """Cross entropy of the interpreter's probabilities under the predictor's (FLINT, L_of). Both [B, K].

    The predictor is a target here: no gradient goes into its logits.
    """
    return F.cross_entropy(logits, predictor.detach().softmax(dim=1))


def indecision(attributes: Tensor) -> Tensor:
    """Mean entropy of each image's attributes, less the entropy of their mean over the batch (FLINT, L_cd).

    Small where an image has few attributes and the batch has many. attributes: [B, P]; their absolute values count, as
    logits of a softmax: the term is weak until they have grown.
    """
    return entropy(attributes.abs()).mean() - entropy(attributes.mean(dim=0).abs())


def entropy(scores: Tensor) -> Tensor:
    """Entropy in nats of the softmax over the last dimension. [..., P] -> [...]."""
    logarithms = scores.log_softmax(dim=-1)
    return -(logarithms.exp() * logarithms).sum(dim=-1)
