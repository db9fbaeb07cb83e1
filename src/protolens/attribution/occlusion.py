"""Occlusion, and the controls that every comparison needs: chance, and edges without any classifier."""

import zlib
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.attribution.perturbation import rounds
from protolens.data import drawn_for_each


@torch.no_grad()
def occlusion(
    answer: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, window: int = 0, stride: int = 0
) -> Tensor:
    """How much what is said of the target class falls when a window is hidden, mean over the windows of a pixel.

    Zeiler, Fergus 2014, arXiv:1311.2901, section 4.2. answer: images [N, C, H, W] to [N, K]; images: [B, C, H, W];
    targets: [B]; window, stride: pixels, 0 for a quarter of the shorter side and a third of the window. A hidden
    window shows the image's mean. Returns [B, H, W].
    """
    _, _, height, width = images.shape
    window = window or max(1, min(height, width) // 4)
    stride = stride or max(1, window // 3)
    tops, lefts = (sorted({*range(0, side - window, stride), side - window}) for side in (height, width))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    hidden = torch.stack(
        [(rows >= y) & (rows < y + window) & (columns >= x) & (columns < x + window) for y in tops for x in lefts]
    ).to(images.device)
    whole, mean = answer(images).gather(1, targets[:, None]), images.mean(dim=(2, 3), keepdim=True)
    falls = []
    for image, place in rounds(images, len(hidden)):
        seen = torch.where(hidden[place][:, None], mean[image], images[image])
        falls.append(whole[image, 0] - answer(seen).gather(1, targets[image, None])[:, 0])
    fall = torch.cat(falls).view(len(images), len(hidden))
    masks = hidden.flatten(1).to(fall.dtype)
    return (fall @ masks / masks.sum(dim=0)).view(len(images), height, width)


def chance(images: Tensor, seed: int) -> Tensor:
    """Uniform random numbers, [B, H, W]: what knows nothing. Drawn from the seed and the image's own pixels."""
    own = [zlib.crc32(image.cpu().contiguous().numpy().tobytes()) for image in images.detach()]
    return drawn_for_each(torch.rand, images.shape[2:], own, seed, "chance").to(images.device)


def edges(images: Tensor) -> Tensor:
    """The length of Sobel's gradient, largest over bands, [B, H, W]: what knows the image and no classifier."""
    kernel = images.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    flat = F.pad(images.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    both = F.conv2d(flat, torch.stack([kernel, kernel.T])[:, None])
    return both.square().sum(dim=1).sqrt().view(images.shape).amax(dim=1)
