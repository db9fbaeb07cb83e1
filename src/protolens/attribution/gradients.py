"""Attributions by the slope of a logit: few lines each, so none comes from a package.

Every function takes logits (images [N, C, H, W] to [N, K]), images [B, C, H, W], targets [B], and returns [B, H, W].
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from protolens.attribution.perturbation import rounds
from protolens.errors import ProtolensError
from protolens.nn import Tapped, upsampled

Logits = Callable[[Tensor], Tensor]


def slopes(logits: Logits, images: Tensor, targets: Tensor) -> Tensor:
    """The gradient of each image's target logit, [B, C, H, W]. Parameters get none."""
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        return _slope(logits(leaf), targets, leaf)


def gradient(logits: Logits, images: Tensor, targets: Tensor) -> Tensor:
    """The steepest band of each pixel (Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034, section 3.1)."""
    return slopes(logits, images, targets).abs().amax(dim=1)


def integrated_gradients(
    logits: Logits, images: Tensor, targets: Tensor, steps: int = 32, baseline: float = 0.0
) -> Tensor:
    """Slopes along the straight way from an image of one value, times the way, summed over bands.

    Sundararajan, Taly, Yan 2017, arXiv:1703.01365, eq. 1, by the midpoint rule: the sum over pixels is the difference
    between the logits of both, up to the error of that rule. steps: of the way; baseline: value of all its pixels.
    """
    shares = (torch.arange(steps, device=images.device, dtype=images.dtype) + 0.5) / steps
    total = torch.zeros_like(images)
    for image, step in rounds(images, steps):
        begun = baseline + shares[step].view(-1, 1, 1, 1) * (images[image] - baseline)
        total.index_add_(0, image, slopes(logits, begun, targets[image]))
    return (total / steps * (images - baseline)).sum(dim=1)


def smoothgrad(
    logits: Logits, images: Tensor, targets: Tensor, samples: int = 25, noise: float = 0.1, seed: int = 0
) -> Tensor:
    """The gradient map's mean over noisy copies of the image (Smilkov et al. 2017, arXiv:1706.03825).

    samples: copies; noise: standard deviation as a share of the image's range. All images get the same noise.
    """
    drawn = torch.randn(samples, *images.shape[1:], generator=Generator().manual_seed(seed)).to(images)
    flat = images.flatten(1)
    width = (noise * (flat.amax(dim=1) - flat.amin(dim=1))).view(-1, 1, 1, 1)
    total = images.new_zeros(len(images), *images.shape[2:])
    for image, copy in rounds(images, samples):
        total.index_add_(0, image, gradient(logits, images[image] + width[image] * drawn[copy], targets[image]))
    return total / samples


def gradcam(network: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Maps of a layer weighted by their mean slope, summed, those that speak against cut off, as large as the image.

    Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2. network: images to logits; layer: name of one that gives maps
    [B, D, h, w], usually the last.
    """
    with torch.enable_grad():
        logits, (maps,) = Tapped(network, out_of=[layer])(images.detach().clone().requires_grad_())
        slope = _slope(logits, targets, maps)
    weighted = (maps.detach() * slope.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).relu()
    size = (images.shape[2], images.shape[3])
    return upsampled(weighted, size)[:, 0]


def _slope(logits: Tensor, targets: Tensor, of: Tensor) -> Tensor:
    chosen = logits.gather(1, targets[:, None]).sum()
    found = torch.autograd.grad(chosen, of, allow_unused=True)[0] if chosen.requires_grad else None
    if found is None:
        raise ProtolensError(
            "the logit has no slope: what this model decides by, such as the nearest of some centres, jumps; take a "
            "method that needs none, such as lrp, occlusion or lime"
        )
    return found
