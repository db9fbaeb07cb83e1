"""k-means over more vectors than fit into memory: a greedy k-means++ start, then Lloyd's rounds in passes over blocks.

Vectors belong to groups, such as classes: each group has centres of its own, and all groups are clustered in the same
passes. Every process of a team passes over blocks of its own; sums are added up, so that any number of processes finds
the same centres. Only the centres and a bounded sample stay in memory.

Lloyd: Least squares quantization in PCM, 1982. Arthur, Vassilvitskii: k-means++, 2007; of some draws the best is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from protolens.nn import slots_of
from protolens.train.embedding import Block, Pass, embed
from protolens.train.lloyd import Assigner, Sums, Table, parts_of
from protolens.train.loop import Training
from protolens.train.team import Team

ROUNDS = 300
TOLERANCE = 1e-4  # of the mean variance of a feature: if all centres together move less, squared, it is done
STARTS, ROUNDS_OF_A_START = 4, 10  # on the sample
SAMPLE, SAMPLE_PER_CENTRE = 50_000, 100


@dataclass(frozen=True)
class Clusters:
    """Centres, those of a group side by side. A group with fewer different vectors than asked for has fewer."""

    centres: Tensor  # [P, D]
    group: Tensor  # [P]
    counts: Tensor  # [P], vectors of the group that are nearest to the centre
    inertia: float  # sum over vectors of the squared distance to their centre
    rounds: int


@dataclass(frozen=True)
class Sample:
    """Some vectors of each group, in a table, and what is known of all vectors."""

    table: Table  # [G, S, D]
    mean: Tensor  # [D]
    variance: float  # of a feature, mean over features
    squares: Tensor  # [G], sum of squared lengths, float64


def kmeans(
    blocks: Pass,
    wanted: Sequence[int],
    team: Team,
    seed: int,
    *,
    start: Tensor | None = None,
    spherical: bool = False,
    rounds: int = ROUNDS,
) -> Clusters:
    """Cluster the vectors of each group by squared Euclidean distance.

    wanted: number of centres of each group, 1 or more; start: [sum of wanted, D], where centres begin, else the best of
    some greedy k-means++ starts on a sample; spherical: centres have length 1, for vectors of length 1: then distance
    orders as cosine similarity does. A centre that loses all its vectors goes to the vector of the sample that is
    farthest from its own. Ends when the centres have come to rest, or after so many rounds.
    """
    sample = draw_sample(blocks, wanted, team, seed)
    begin = best_start(sample, wanted, seed, spherical) if start is None else as_table(start, torch.tensor(wanted))
    begin = Table(team.lead(begin.values), team.lead(begin.there))  # one bit apart they would not end in the same round
    table, sums, taken = lloyd(blocks, begin, sample, team, rounds, spherical)
    groups = torch.arange(len(wanted), device=table.values.device)[:, None].expand_as(table.there)
    there = table.there
    inertia = float(inertias(table, sums, sample.squares).sum())
    return Clusters(table.values[there], groups[there], sums.counts[there], inertia, taken)


@torch.no_grad()
def cluster(
    training: Training, *, spherical: bool = False, memory: float = 0.25, shard: int = 1000
) -> dict[str, object]:
    """Make the prototypes the centres of the codes of their classes' images, without augmentation (KMEx).

    spherical: for codes of length 1; memory: GiB of codes above which they are written to files, shard: images of such
    a file. A class with fewer different codes than prototypes loses the others. The caller seeds torch's global
    generator, alike in all processes.
    """
    model = training.model
    slots = slots_of(model.class_of(), len(model.task.classes))
    wanted = (slots >= 0).sum(dim=1).tolist()
    blocks = embed(training, memory, shard)
    found = kmeans(blocks, wanted, training.team, torch.initial_seed(), spherical=spherical)
    if len(found.centres) < len(model.prototypes):
        have = torch.bincount(found.group, minlength=len(slots))
        model.keep(slots[torch.arange(slots.shape[1], device=slots.device) < have[:, None]])
    model.prototypes.vectors.copy_(found.centres)
    vectors = int(found.counts.sum())
    return {"centres": len(found.centres), "vectors": vectors, "inertia": found.inertia, "rounds": found.rounds}


def lloyd(
    blocks: Pass, table: Table, sample: Sample, team: Team, rounds: int, spherical: bool
) -> tuple[Table, Sums, int]:
    """Assign and average in turn; returns the centres, what is assigned to them, and the rounds taken."""
    assigner = Assigner(blocks, sample.mean, team)
    for taken in range(1, rounds + 1):  # noqa: B007  it is told
        moved = average(assigner.assign(table), table, sample, spherical)
        step = float((moved.values - table.values)[table.there].square().sum())
        table = moved
        if step <= TOLERANCE * sample.variance:
            break
    return table, assigner.assign(table), taken


def average(sums: Sums, table: Table, sample: Sample, spherical: bool) -> Table:
    """The mean of each centre's vectors; a centre without any goes to where the sample is served worst."""
    values = (sums.vectors / sums.counts.clamp_min(1)[:, :, None]).to(table.values.dtype)
    empty = table.there & (sums.counts == 0)
    if empty.any():
        apart = nearest_squared(sample.table, table)
        farthest = apart.topk(min(values.shape[1], apart.shape[1]), dim=1).indices
        rank = (empty.cumsum(dim=1) - 1).clamp(0, farthest.shape[1] - 1)
        values = torch.where(empty[:, :, None], rows(sample.table.values, farthest.gather(1, rank)), values)
    if spherical:
        values = torch.nn.functional.normalize(values, dim=2)
    return Table(values, table.there)


def inertias(table: Table, sums: Sums, squares: Tensor) -> Tensor:
    """Sum of squared distances of each group's vectors to their centres, [G], from what a pass has added up."""
    values = table.values.double()
    at_centres = (sums.counts * values.square().sum(dim=2)).sum(dim=1)
    return (squares - 2 * (values * sums.vectors).sum(dim=(1, 2)) + at_centres).clamp_min(0)


def draw_sample(blocks: Pass, wanted: Sequence[int], team: Team, seed: int) -> Sample:
    """The mean and spread of all vectors, and some of each group: the same ones for any number of processes."""
    squares, total, sizes = survey(blocks, len(wanted), team)
    count, features = int(sizes.sum()), len(total)
    mean = total / count
    limit = max(SAMPLE // len(wanted), SAMPLE_PER_CENTRE * max(wanted))
    chance = limit / sizes.clamp_min(1)
    parts = []
    for block in blocks():
        kept = hashed(block.number, seed).to(chance.device) < chance[block.group]
        parts.append((block.number.to(kept.device)[kept], block.group[kept], block.vectors[kept]))
    number, group, vectors = (team.gather(torch.cat(column)) for column in zip(*parts, strict=True))
    order = number.argsort()
    order = order[group[order].argsort(stable=True)]
    group, vectors = group[order], vectors[order]
    table = as_table(vectors, torch.bincount(group, minlength=len(wanted)))
    variance = float(squares.sum() / count - mean.square().sum()) / features
    return Sample(table, mean.to(vectors.dtype), variance, squares)


def survey(blocks: Pass, groups: int, team: Team) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of squared lengths of each group [G], sum of all vectors [D], both in float64; vectors of each group [G]."""
    found: list[Tensor] = []
    for vectors, group in parts_of(blocks):
        lengths = torch.linalg.vector_norm(vectors, dim=1).double().square()
        squares = lengths.new_zeros(groups).index_add_(0, group, lengths)
        part = [squares, vectors.sum(dim=0).double(), torch.bincount(group, minlength=groups)]
        found = [so_far + some for so_far, some in zip(found, part, strict=True)] if found else part
    squares, total, sizes = map(team.sum, found)
    return squares, total, sizes


def hashed(number: Tensor, seed: int) -> Tensor:
    """A number in [0, 1) for each number, as if drawn at random (the finaliser of SplitMix64). number: [n] int64."""
    values = number.numpy().astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    values ^= values >> np.uint64(31)
    return torch.from_numpy((values >> np.uint64(11)).astype(np.float64) / 2**53)


def best_start(sample: Sample, wanted: Sequence[int], seed: int, spherical: bool) -> Table:
    """Of some starts, each with some rounds on the sample, the one that serves a group's sample best."""
    table, alone = sample.table, Team(sample.mean.device)
    groups, size, _ = table.values.shape
    group = torch.arange(groups, device=table.values.device)[:, None].expand(groups, size)[table.there]
    block = Block(torch.arange(len(group)), table.values[table.there], group)
    squares = survey(lambda: [block], groups, alone)[0]
    best: Table | None = None
    least = squares.new_full((groups,), torch.inf)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STARTS):
        begin = spread(table, wanted, generator)
        found, sums, _ = lloyd(lambda: [block], begin, sample, alone, ROUNDS_OF_A_START, spherical)
        inertia = inertias(found, sums, squares)
        better = inertia < least
        least = torch.minimum(inertia, least)
        best = found if best is None else choose(better, found, best)
    assert best is not None
    return best


def spread(sample: Table, wanted: Sequence[int], generator: Generator) -> Table:
    """Greedy k-means++: each next centre is a vector drawn by its squared distance to the centres so far.

    Of 2 + log M draws the one that lowers the sum of distances most is taken. A group whose vectors all lie on centres
    gets no more.
    """
    values, present = sample.values, sample.there
    most = max(wanted)
    tries = 2 + int(math.log(most))
    near = torch.full(present.shape, torch.inf, dtype=torch.float64, device=values.device)
    centres, there = [], []
    for number in range(most):
        chance = near if number else present.double()
        possible = chance.sum(dim=1) > 0
        weights = torch.where(possible[:, None], chance, 1.0).cpu()
        drawn = torch.multinomial(weights, tries, replacement=True, generator=generator).to(values.device)
        candidates = rows(values, drawn)
        # by differences: between equal vectors it has to be zero
        apart = torch.cdist(values, candidates, compute_mode="donot_use_mm_for_euclid_dist").double().square()
        nearer = torch.minimum(near[:, :, None], apart).masked_fill(~present[:, :, None], 0)
        winner = nearer.sum(dim=1).argmin(dim=1)
        group = torch.arange(len(winner), device=values.device)
        centres.append(candidates[group, winner])
        there.append(possible & (torch.tensor(wanted, device=values.device) > number))
        near = nearer[group, :, winner]
    return Table(torch.stack(centres, dim=1), torch.stack(there, dim=1))


def choose(which: Tensor, first: Table, second: Table) -> Table:
    """The first where it is wanted, group by group. which: [G]."""
    return Table(
        torch.where(which[:, None, None], first.values, second.values),
        torch.where(which[:, None], first.there, second.there),
    )


def as_table(vectors: Tensor, counts: Tensor) -> Table:
    """Vectors that stand side by side by group, [n, D], as a table. counts: [G], how many each group has."""
    counts = counts.to(vectors.device)
    there = torch.arange(int(counts.max()), device=vectors.device) < counts[:, None]
    values = vectors.new_zeros(*there.shape, vectors.shape[1])
    values[there] = vectors
    return Table(values, there)


def rows(values: Tensor, which: Tensor) -> Tensor:
    """Rows of each table: [G, S, D] at [G, n] -> [G, n, D]."""
    return values.gather(1, which[:, :, None].expand(*which.shape, values.shape[2]))


def nearest_squared(sample: Table, table: Table) -> Tensor:
    """Squared distance of each vector of a sample to the nearest centre of its group, [G, S]; -1 for an empty place."""
    apart = torch.cdist(sample.values, table.values).masked_fill(~table.there[:, None], torch.inf)
    return apart.amin(dim=2).square().masked_fill(~sample.there, -1)
