"""Degradation of explanations: pixels in order, in batches, beside one image and one share at a time.

Inpainting is held against what the authors of ROAD do: a sparse system of linear equations for each image and band,
solved by SciPy.
"""

import numpy as np
import torch
from common import Figure, arguments, in_turn, show
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn

from protolens.config import Task
from protolens.evaluation.degradation import NEIGHBOURS, inpainted, ranks, said_when_removed
from protolens.evaluation.maps import rank_correlations
from protolens.models import build_model
from protolens.train.device import keep_freed_memory

IMAGES, SIDE, STEPS = 64, 28, 16


def one_by_one(network: nn.Module, images: Tensor, maps: Tensor) -> Tensor:
    """What is said of each image when each share of its highest pixels shows the image's mean, [S, B, K]."""
    said = torch.zeros(STEPS + 1, len(images), 10)
    for row, (image, own) in enumerate(zip(images, maps, strict=True)):
        order = own.flatten().argsort(descending=True)
        for step in range(STEPS + 1):
            changed = image.clone().flatten(1)
            changed[:, order[: round(step / STEPS * own.numel())]] = image.mean()
            said[step, row] = network(changed.view_as(image)[None])[0]
    return said


def solved(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """A band [H, W] whose missing pixels are the weighted means of their neighbours."""
    height, width = image.shape
    numbers = np.cumsum(~kept).reshape(kept.shape) - 1
    count = int((~kept).sum())
    left, right = lil_matrix((count, count)), np.zeros(count)
    for y, x in zip(*np.nonzero(~kept), strict=True):
        row = numbers[y, x]
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                weight, there = NEIGHBOURS[dy + 1][dx + 1], (y + dy, x + dx)
                if not weight or not (0 <= there[0] < height and 0 <= there[1] < width):
                    continue
                left[row, row] += weight
                if kept[there]:
                    right[row] += weight * image[there]
                else:
                    left[row, numbers[there]] -= weight
    result = image.copy()
    result[~kept] = spsolve(left.tocsr(), right)
    return result


def pairs(maps: Tensor) -> None:
    """Rank correlations of all pairs of methods, image by image, by SciPy."""
    from scipy.stats import spearmanr

    for image in range(maps.shape[1]):
        spearmanr(maps[:, image].flatten(1).numpy(), axis=1)


def main() -> None:
    given = arguments(__doc__)
    keep_freed_memory()
    torch.manual_seed(0)
    network = build_model({"name": "blackbox"}, Task(tuple("0123456789"), 1, SIDE, SIDE), 0).eval()
    images, maps = torch.rand(IMAGES, 1, SIDE, SIDE), torch.randn(IMAGES, SIDE, SIDE)
    shares = [step / STEPS for step in range(STEPS + 1)]
    with torch.no_grad():
        ours, theirs = in_turn(
            lambda: said_when_removed(network, images, ranks(maps), shares, "mean"),
            lambda: one_by_one(network, images, maps),
            rounds=3,
        )
        what = f"{IMAGES} images of {SIDE} x {SIDE}"
        figures = [Figure(f"deletion, {what}, {STEPS} steps", ours, theirs, "s", theirs / ours, None)]
        kept = torch.rand(IMAGES, SIDE, SIDE) < 0.2
        ours, theirs = in_turn(
            lambda: inpainted(images, kept, noise=0.0),
            lambda: [solved(image[0].numpy(), own.numpy()) for image, own in zip(images, kept, strict=True)],
            rounds=2,
        )
        figures.append(Figure(f"inpainting, {what}, 20 % kept", ours, theirs, "s", theirs / ours, None))
        several = torch.randn(12, IMAGES, SIDE, SIDE)
        ours, theirs = in_turn(lambda: rank_correlations(several), lambda: pairs(several), rounds=3)
        figures.append(Figure(f"agreement of 12 methods, {what}", ours, theirs, "s", theirs / ours, None))
    show(figures, given.json)


if __name__ == "__main__":
    main()
