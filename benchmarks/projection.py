"""Projection and pruning of 200 prototypes over 5,000 MNIST images: ours against plain loops, as in ProtoPNet.

The loop goes over batches and prototypes to project, and over images and prototypes with a heap each to find the
nearest patches for pruning. Both ways get the same codes, and must find the same patches. Needs PROTOLENS_DATA with
MNIST.
"""

import heapq
from statistics import median

import numpy as np
import torch
from common import Figure, arguments, seconds, show
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from protolens.config import DataConfig
from protolens.data import open_data, to_float
from protolens.models import PrototypeModel, build_model
from protolens.nn import Slots, nearest_places
from protolens.train.projection import Patches, choose, look

IMAGES, PER_CLASS, NEAREST = 5000, 20, 6
BATCH = 75  # of the published projection
OURS = 250
ROUNDS = 3


def distances(codes: Tensor, prototypes: Tensor) -> NDArray[np.float32]:
    """Squared distance at every place the published way, by two convolutions: [B, P, h, w]."""
    squares = F.conv2d(codes.square(), torch.ones_like(prototypes)[:, :, None, None])
    products = F.conv2d(codes, prototypes[:, :, None, None])
    return F.relu(squares - 2 * products + prototypes.square().sum(dim=1)[:, None, None]).numpy()


def loop_projection(codes: Tensor, labels: Tensor, model: PrototypeModel) -> list[tuple[int, int]]:
    """Image and place of the nearest patch of the prototype's class, by a loop over batches and prototypes."""
    prototypes, class_of = model.prototypes.vectors, model.class_of().tolist()
    best = [(float("inf"), -1, -1)] * len(prototypes)
    for start in range(0, len(codes), BATCH):
        distance = distances(codes[start : start + BATCH], prototypes)
        of_class: dict[int, list[int]] = {}
        for row, label in enumerate(labels[start : start + BATCH].tolist()):
            of_class.setdefault(label, []).append(row)
        for number, k in enumerate(class_of):
            if k not in of_class:
                continue
            own = distance[of_class[k]][:, number]
            smallest = float(np.amin(own))
            if smallest < best[number][0]:
                row, place = divmod(int(np.argmin(own)), own[0].size)
                best[number] = (smallest, start + of_class[k][row], place)
    return [(image, place) for _, image, place in best]


def loop_nearest(codes: Tensor, model: PrototypeModel) -> list[list[int]]:
    """The nearest images of each prototype, by a loop over images and prototypes with a heap for each prototype."""
    prototypes = model.prototypes.vectors
    heaps: list[list[tuple[float, int]]] = [[] for _ in prototypes]
    for start in range(0, len(codes), BATCH):
        distance = distances(codes[start : start + BATCH], prototypes)
        for row, maps in enumerate(distance):
            for number, heap in enumerate(heaps):
                entry = (-float(np.amin(maps[number])), start + row)
                if len(heap) < NEAREST:
                    heapq.heappush(heap, entry)
                else:
                    heapq.heappushpop(heap, entry)
    return [[image for _, image in sorted(heap, reverse=True)] for heap in heaps]


def our_projection(codes: Tensor, labels: Tensor, model: PrototypeModel) -> list[tuple[int, int]]:
    """The same by the functions of `fit`."""
    vectors = model.prototypes.vectors
    found, slots = Patches.none(len(vectors), 1, vectors.device), Slots(model.class_of(), len(model.task.classes))
    for start in range(0, len(codes), OURS):
        look(found, codes[start : start + OURS], labels[start : start + OURS], vectors, slots, start)
    image, place = choose(found, distinct=False)
    return list(zip(image.tolist(), place.tolist(), strict=True))


def our_nearest(codes: Tensor, model: PrototypeModel) -> list[list[int]]:
    """The same by the functions of `fit`."""
    found = Patches.none(len(model.prototypes), NEAREST, model.device)
    for start in range(0, len(codes), OURS):
        distance = nearest_places(codes[start : start + OURS], model.prototypes.vectors).distance.T
        best, column = distance.topk(min(NEAREST, distance.shape[1]), dim=1, largest=False)
        found.merge(best, column + start, column)
    return found.image.tolist()


@torch.inference_mode()
def main() -> None:
    given = arguments(__doc__)
    data = open_data(DataConfig(name="mnist"))
    model = build_model({"name": "protopnet", "per_class": PER_CLASS}, data.task, 0).eval()
    model.to(memory_format=torch.channels_last)
    rows = torch.arange(IMAGES)
    pixels, labels = to_float(data.training.take(rows), torch.device("cpu")), data.training.labels[rows]
    network = model.network_of_places()
    assert network is not None

    def embed() -> Tensor:
        return torch.cat([network(part) for part in pixels.split(OURS)])

    codes = embed()
    assert our_projection(codes, labels, model) == loop_projection(codes, labels, model)
    # neighbours may swap where rounding decides; their distances may not differ
    nearest = torch.from_numpy(distances(codes, model.prototypes.vectors)).amin(dim=(2, 3)).T
    mine, theirs = (nearest.gather(1, torch.tensor(found(codes, model))) for found in (our_nearest, loop_nearest))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    times = [
        (
            seconds(lambda: (our_projection(codes, labels, model), our_nearest(codes, model))),
            seconds(lambda: (loop_projection(codes, labels, model), loop_nearest(codes, model))),
            seconds(embed),
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


if __name__ == "__main__":
    main()
