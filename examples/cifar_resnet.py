"""The residual networks for CIFAR-10 of He et al. 2016 (arXiv:1512.03385, sec. 4.2): an example of one's own network.

    protolens convert examples/cifar_resnet.py:resnet56 --weights FILE.safetensors --data cifar10

Shortcuts take every second pixel and fill new channels with zeros (option A), so that they have no weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.stride = 1 if before == after else 2
        self.filling = (after - before) // 2
        self.conv1 = nn.Conv2d(before, after, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h / stride, w / stride]."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(maps)))))
        shortcut = F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.filling, self.filling))
        return torch.relu(inner + shortcut)


class CifarResNet(nn.Module):
    """Three layers of blocks with 16, 32 and 64 channels, the mean over places, and a linear layer."""

    # what the pixels in [0, 1] have to become, said as timm says it; without it a network gets them as they are
    default_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # noqa: RUF012

    def __init__(self, blocks: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._layer(16, 16, blocks)
        self.layer2 = self._layer(16, 32, blocks)
        self.layer3 = self._layer(32, 64, blocks)
        self.linear = nn.Linear(64, CLASSES)

    @staticmethod
    def _layer(before: int, after: int, blocks: int) -> nn.Sequential:
        return nn.Sequential(Block(before, after), *(Block(after, after) for _ in range(blocks - 1)))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 32, 32], normalised -> logits [B, 10]."""
        maps = torch.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return self.linear(maps.mean(dim=(2, 3)))


def resnet20() -> nn.Module:
    """20 layers."""
    return CifarResNet(3)


def resnet56() -> nn.Module:
    """56 layers."""
    return CifarResNet(9)
