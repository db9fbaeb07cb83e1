"""Which images long measurements look at, and how their figures are told with intervals."""

from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any

import torch
from torch import Generator, Tensor

from protolens.config import seed_of
from protolens.data import Batch, Images, plain_batches
from protolens.errors import ProtolensError
from protolens.evaluation.scores import wilson_interval
from protolens.train import Team
from protolens.train.progress import Narrator

IMAGES = 1000
LEAST = 30  # images that a budget has to reach for
BATCH = 50


def drawn(there: int, images: int, seed: int) -> Tensor:
    """Numbers of so many images, or of all that there are, in order; those of fewer images are among those of more."""
    generator = Generator().manual_seed(seed_of(seed, "faithfulness"))
    return torch.randperm(there, generator=generator)[:images].sort().values


def watched(images: Images, team: Team) -> Iterator[tuple[Tensor, Batch]]:
    """The batches of this process, with the numbers of their images [B], saying how far it is.

    Raises ProtolensError in all processes where one would have none.
    """
    if len(images) < team.size:
        raise ProtolensError(f"{len(images)} images are too few for {team.size} processes")
    mine = torch.arange(len(images)).tensor_split(team.size)[team.rank].split(BATCH)
    with Narrator(team.leads) as narrator, narrator.counting(f"{BATCH} images each, part", len(mine)) as step:
        batches = plain_batches(images, BATCH, team.device, team.rank, team.size)
        for rows, batch in zip(mine, batches, strict=True):
            yield rows, batch
            step()


def told(methods: Sequence[str], about: str, leads: bool) -> Iterator[str]:
    """The same, saying how far it is."""
    with Narrator(leads) as narrator, narrator.counting(about, len(methods)) as step:
        for method in methods:
            yield method
            step()


def share_of(right: Tensor) -> dict[str, Any]:
    """Share of images, with its interval. right: [N] of bool."""
    count = int(right.sum())
    return {"mean": count / len(right), "interval": list(wilson_interval(count, len(right)))}


def mean_of(values: Tensor) -> dict[str, Any]:
    """Mean over the images that have the figure, with the 95 % interval of its standard error; None without any."""
    values = values[~values.isnan()].double()
    if not len(values):
        return {"mean": None, "interval": None}
    mean = float(values.mean())
    half = NormalDist().inv_cdf(0.975) * float(values.std(correction=min(1, len(values) - 1))) / sqrt(len(values))
    return {"mean": mean, "interval": [mean - half, mean + half]}


def numbers(values: Tensor) -> list[float | None]:
    """A tensor [M] as plain numbers, None where undefined."""
    return [None if value != value else value for value in values.tolist()]
