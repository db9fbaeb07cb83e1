"""Projection and pruning of 200 prototypes over 5,000 MNIST images: ours against plain loops, as in ProtoPNet.

Both begin with what the forward pass gives: the code at every place, and its similarity to every prototype. The loops
go over batches and prototypes to project, and over images and prototypes with a heap each to find the nearest images
for pruning. Both ways must find the same. Needs PROTOLENS_DATA with MNIST.
"""

import heapq
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from common import Figure, arguments, seconds, show
from numpy.typing import NDArray
from torch import Tensor

from protolens.config import DataConfig
from protolens.data import open_data, to_float
from protolens.models import PrototypeModel, build_model
from protolens.nn import slots_of
from protolens.train.device import keep_freed_memory
from protolens.train.projection import Patches, choose, look, smallest

IMAGES, PER_CLASS, NEAREST = 5000, 20, 6
BATCH = 75  # of the published projection
OURS = 250
ROUNDS = 3


@dataclass(frozen=True)
class Seen:
    """What the forward pass gives for N images."""

    codes: Tensor  # [N, D, h, w]
    maps: NDArray[np.float32]  # [N, P, h, w], similarity
    similarity: Tensor  # [N, P]
    labels: Tensor  # [N]


def see(model: PrototypeModel, pixels: Tensor, labels: Tensor) -> Seen:
    """One forward pass in batches."""
    found = [model.evidence(part) for part in pixels.split(OURS)]
    maps = torch.cat([each.maps for each in found if each.maps is not None])
    codes, similarity = (torch.cat([getattr(each, name) for each in found]) for name in ("code", "similarity"))
    return Seen(codes.contiguous(memory_format=torch.channels_last), maps.numpy(), similarity, labels)


def loop_projection(seen: Seen, class_of: list[int]) -> list[tuple[int, int]]:
    """Image and place of the nearest patch of the prototype's class, by a loop over batches and prototypes."""
    best = [(-float("inf"), -1, -1)] * len(class_of)
    for start in range(0, len(seen.maps), BATCH):
        maps = seen.maps[start : start + BATCH]
        of_class: dict[int, list[int]] = {}
        for row, label in enumerate(seen.labels[start : start + BATCH].tolist()):
            of_class.setdefault(label, []).append(row)
        for number, k in enumerate(class_of):
            if k not in of_class:
                continue
            own = maps[of_class[k]][:, number]
            largest = float(np.amax(own))
            if largest > best[number][0]:
                row, place = divmod(int(np.argmax(own)), own[0].size)
                best[number] = (largest, start + of_class[k][row], place)
    return [(image, place) for _, image, place in best]


def loop_nearest(seen: Seen) -> list[list[int]]:
    """The nearest images of each prototype, by a loop over images and prototypes with a heap for each prototype."""
    heaps: list[list[tuple[float, int]]] = [[] for _ in seen.maps[0]]
    for image, maps in enumerate(seen.maps):
        for number, heap in enumerate(heaps):
            entry = (float(np.amax(maps[number])), -image)
            if len(heap) < NEAREST:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    return [[-image for _, image in sorted(heap, reverse=True)] for heap in heaps]


def our_projection(seen: Seen, model: PrototypeModel) -> list[tuple[int, int]]:
    """The same by the functions of `fit`."""
    vectors = model.prototypes.vectors
    found, slots = Patches.none(len(vectors), 1, vectors.device), slots_of(model.class_of(), len(model.task.classes))
    for start in range(0, len(seen.codes), OURS):
        part = slice(start, start + OURS)
        look(found, seen.codes[part], seen.labels[part], vectors, slots, start)
    image, place = choose(found, distinct=False)
    return list(zip(image.tolist(), place.tolist(), strict=True))


def our_nearest(seen: Seen) -> list[list[int]]:
    """The same by the functions of `fit`."""
    found = Patches.none(seen.similarity.shape[1], NEAREST, seen.similarity.device)
    for start in range(0, len(seen.similarity), OURS):
        best, column = smallest(-seen.similarity[start : start + OURS].T, NEAREST)
        found.merge(best, column + start, column)
    return found.image.tolist()


@torch.inference_mode()
def main() -> None:
    given = arguments(__doc__)
    keep_freed_memory()
    data = open_data(DataConfig(name="mnist"))
    model = build_model({"name": "protopnet", "per_class": PER_CLASS}, data.task, 0).eval()
    model.to(memory_format=torch.channels_last)
    rows = torch.arange(IMAGES)
    pixels, labels = to_float(data.training.take(rows), torch.device("cpu")), data.training.labels[rows]
    seen, class_of = see(model, pixels, labels), model.class_of().tolist()
    # where rounding decides, another patch or neighbour may be chosen, but none that is less alike
    mine, theirs = our_projection(seen, model), loop_projection(seen, class_of)
    same(*([seen.maps[i, j].flat[place] for j, (i, place) in enumerate(found)] for found in (mine, theirs)))
    neighbours = (our_nearest(seen), loop_nearest(seen))
    same(*([seen.similarity[found, j].tolist() for j, found in enumerate(every)] for every in neighbours))
    times = [
        (
            seconds(lambda: (our_projection(seen, model), our_nearest(seen))),
            seconds(lambda: (loop_projection(seen, class_of), loop_nearest(seen))),
            seconds(lambda: see(model, pixels, labels)),
        )
        for _ in range(ROUNDS)
    ]
    ours, loop, forward = (median(column) for column in zip(*times, strict=True))
    ours_whole, loop_whole = ours + 2 * forward, loop + 2 * forward
    show(
        [
            Figure("projection and pruning without the forward pass", ours, loop, "s", loop / ours, 20.0),
            Figure("the same with a forward pass each", ours_whole, loop_whole, "s", loop_whole / ours_whole, None),
        ],
        given.json,
    )


def same(mine: list[Any], theirs: list[Any]) -> None:
    """Stop where two lists of similarities differ by more than rounding."""
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    main()
