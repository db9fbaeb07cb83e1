"""Would the same prototypes be found again? k-means anew, from other starts and from other images of the same kind.

"Robust global explanations" of seeds/001. Prototypes of KMEx are centres of codes, so they can be found again in
seconds; those of other models need another training, and `compare` matches runs of other seeds.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Generator, Tensor

from protolens.config import seed_of
from protolens.data import DataSet, Images
from protolens.evaluation.budget import Clock, rate_of, tried
from protolens.evaluation.predicates import spread_of_classes
from protolens.evaluation.sampling import mean_of
from protolens.evaluation.trust import matched_correlation, matched_distance
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import Team, batch_for
from protolens.train.clustering import kmeans
from protolens.train.embedding import Block, blocks_of
from protolens.train.progress import Narrator

RESAMPLES = 10
CODES = 20_000  # training codes, of all that there are, that are clustered anew
CHECKED = 5_000  # validation codes whose similarity to prototypes is compared
WAYS = ("start", "sample", "both", "random")


@dataclass(frozen=True)
class Codes:
    """Codes [n, D] of the images of a split, or of their places, the class of each [n], and how many there are."""

    vectors: Tensor
    labels: Tensor
    there: int


@dataclass(frozen=True)
class Centres:
    """Prototypes [P, D], those of a class side by side, and the class of each [P]."""

    vectors: Tensor
    class_of: Tensor


@torch.no_grad()
def codes_of(model: PrototypeModel, images: Images, most: int, seed: int) -> Codes:
    """Some codes of a split on the CPU, drawn by the seed, image by image, in evaluation mode."""
    with evaluation_mode(model):
        (one,) = blocks_of(model, images, [torch.arange(1)])
        places = len(one.vectors)
        order = torch.randperm(len(images), generator=Generator().manual_seed(seed_of(seed, "codes", images.name)))
        some = order[: max(1, most // places)].sort().values
        blocks = list(blocks_of(model, images, some.split(batch_for(images))))
    vectors, labels = (torch.cat([getattr(block, name).cpu() for block in blocks]) for name in ("vectors", "group"))
    return Codes(vectors[:most], labels[:most], len(images) * places)


def found_again(model: PrototypeModel, data: DataSet, seed: int) -> dict[str, Any]:
    """How far prototypes of KMEx are from their partners when codes are clustered again; see `again_in_each_way`.

    distance: between partners, by the spread of the classes' codes, 0 where the same are found; correlation: of how
    similar validation codes are to partners; partners are matched within each class. run: the run's own prototypes,
    where only some codes are clustered: what these alone change.
    """
    training = codes_of(model, data.training, CODES, seed)
    validation = codes_of(model, data.validation, CHECKED, seed).vectors
    with Narrator(True) as narrator, narrator.counting("clustering again, part", RESAMPLES) as step:
        found = defaultdict(list)
        for way, pair in partners(model, training, validation, RESAMPLES, seed):
            found[way].append(pair)
            if way == WAYS[-1]:
                step()
    return {
        "codes": len(training.vectors),
        "of": training.there,
        "checked": len(validation),
        "resamples": RESAMPLES,
        **{way: summary(torch.tensor(values, dtype=torch.float64)) for way, values in found.items()},
    }


def seconds_of_finding(model: PrototypeModel, data: DataSet, seed: int, clock: Clock = time.monotonic) -> float:
    """How long `found_again` will take, by a few images and by one round of clustering their codes."""
    few = codes_of(model, data.training, tried(CODES), seed)
    places = few.there // len(data.training)
    each = rate_of(lambda n: codes_of(model, data.training, n * places, seed), tried(len(data.training)), clock)
    splits = ((data.training, CODES), (data.validation, CHECKED))
    images = [min(len(split), max(1, most // places)) for split, most in splits]
    # as many codes as there will be, of which many are equal
    of_training, of_validation = (torch.arange(places * count) % len(few.vectors) for count in images)
    codes = Codes(few.vectors[of_training], few.labels[of_training], few.there)
    begun = clock()
    for _ in partners(model, codes, few.vectors[of_validation], 1, seed):
        pass
    return sum(images) * each + RESAMPLES * (clock() - begun)


def partners(
    model: PrototypeModel, training: Codes, validation: Tensor, rounds: int, seed: int
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Distance and correlation of partners by the name of each way: "run" once, WAYS in each of so many rounds.

    validation: [V, D], codes whose similarity is compared.
    """
    order = model.class_of().cpu().argsort(stable=True)
    own = Centres(model.prototypes.vectors.detach().cpu()[order], model.class_of().cpu()[order])
    settings = model.settings
    spherical, by_distance = settings.similarity == "cosine", settings.similarity == "distance"
    reference = clustered(training, own, spherical, seed, start=own.vectors)
    scale = spread_of_classes(training.vectors, training.labels)
    for way, other in chain([("run", own)], again_in_each_way(training, reference, spherical, seed, rounds)):
        yield way, matched(reference, other, validation, scale, by_distance)


def again_in_each_way(
    codes: Codes, reference: Centres, spherical: bool, seed: int, rounds: int = RESAMPLES
) -> Iterator[tuple[str, Centres]]:
    """So many sets of prototypes each way, with its name.

    start: of the same codes, from another start; sample: of as many codes of each class, drawn with replacement, from
    where the reference ends; both: of other codes from another start; random: codes of each class by chance in the
    place of prototypes, the control.
    """
    for number in range(rounds):
        own = seed_of(seed, "resample", number)
        generator = Generator().manual_seed(own)
        other = resampled(codes, generator)
        yield "start", clustered(codes, reference, spherical, own)
        yield "sample", clustered(other, reference, spherical, own, start=reference.vectors)
        yield "both", clustered(other, reference, spherical, own)
        yield "random", by_chance(codes, reference, generator)


def resampled(codes: Codes, generator: Generator) -> Codes:
    """As many codes of each class, drawn with replacement."""
    order = codes.labels.argsort(stable=True)
    counts = codes.labels.bincount()
    size, begin = counts[codes.labels[order]], (counts.cumsum(0) - counts)[codes.labels[order]]
    chosen = order[begin + (torch.rand(len(order), generator=generator, dtype=torch.float64) * size).long()]
    return Codes(codes.vectors[chosen], codes.labels[chosen], codes.there)


def clustered(codes: Codes, like: Centres, spherical: bool, seed: int, start: Tensor | None = None) -> Centres:
    """Centres of each class's codes, as many as `like` has of it; classes without codes or centres are left out."""
    wanted = like.class_of.bincount(minlength=int(codes.labels.max()) + 1)
    there = codes.labels.bincount(minlength=len(wanted)) > 0
    kept = ((wanted > 0) & there).nonzero().flatten()
    place = torch.full_like(wanted, -1)
    place[kept] = torch.arange(len(kept))
    chosen = place[codes.labels] >= 0
    vectors, group = codes.vectors[chosen], place[codes.labels[chosen]]
    begin = None if start is None else start[place[like.class_of] >= 0]
    block = Block(torch.arange(len(vectors)), vectors, group)
    team = Team(vectors.device)
    found = kmeans(lambda: [block], wanted[kept].tolist(), team, seed, start=begin, spherical=spherical)
    return Centres(found.centres, kept[found.group])


def by_chance(codes: Codes, like: Centres, generator: Generator) -> Centres:
    """Codes by chance, as many of each class as there are prototypes of it, or as there are codes."""
    order = torch.randperm(len(codes.labels), generator=generator)
    chosen = [
        order[codes.labels[order] == k][:count] for k, count in enumerate(like.class_of.bincount().tolist()) if count
    ]
    rows = torch.cat(chosen)
    return Centres(codes.vectors[rows], codes.labels[rows])


def matched(first: Centres, second: Centres, codes: Tensor, scale: float, by_distance: bool) -> tuple[float, float]:
    """Distance and correlation of partners, mean over the pairs of all classes; not a number where undefined.

    codes: [V, D], whose similarity is compared, by distance or by dot product.
    """
    both = [similarity(codes, each.vectors, by_distance) for each in (first, second)]
    distances, correlations, pairs = [], [], []
    for k in first.class_of.unique().tolist():
        mine, theirs = first.class_of == k, second.class_of == k
        if theirs.any():
            distances.append(matched_distance(first.vectors[mine], second.vectors[theirs], scale))
            correlations.append(matched_correlation(both[0][:, mine], both[1][:, theirs]))
            pairs.append(min(int(mine.sum()), int(theirs.sum())))
    weights = torch.tensor(pairs, dtype=torch.float64) / max(1, sum(pairs))
    distance, correlation = (float(torch.tensor(v, dtype=torch.float64) @ weights) for v in (distances, correlations))
    return (distance, correlation) if pairs else (torch.nan, torch.nan)


def similarity(codes: Tensor, vectors: Tensor, by_distance: bool) -> Tensor:
    """In the order of the model's similarity: [V, D], [P, D] -> [V, P]."""
    return -torch.cdist(codes.double(), vectors.double()) if by_distance else codes @ vectors.T


def summary(values: Tensor) -> dict[str, Any]:
    """Mean over resamples with its interval, which a single one does not have. values: [R, 2]."""
    told = {name: mean_of(column) for name, column in zip(("distance", "correlation"), values.T, strict=True)}
    return told if len(values) > 1 else {name: one | {"interval": None} for name, one in told.items()}
