"""A round of k-means: each vector goes to the nearest centre of its group.

Vectors are compared anew only where another centre may have come nearer (Hamerly: Making k-means even faster, 2010).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from protolens.train.device import in_threads
from protolens.train.embedding import Pass
from protolens.train.team import Team

ROWS = 16_384  # of a part: so many that threads seldom wait for each other, few enough for a processor's cache
ROUNDING = 1e-4  # of bounds of distances, as a share of the length of a vector
FEW_GROUPS = 16  # up to which a vector is compared with the centres of all groups, in one product
GATHERED = 1 << 22  # numbers of centres that are copied for vectors of more groups


@dataclass(frozen=True)
class Table:
    """Centres by group, filled up: values [G, M, D], and which places hold one, [G, M]."""

    values: Tensor
    there: Tensor


@dataclass(frozen=True)
class Sums:
    """What a pass adds up for each centre: vectors [G, M, D] in float64, and how many, [G, M]."""

    vectors: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Known:
    """What is known of n vectors: their centre, bounds of distances, and their distance from the mean of all, [n] each.

    upper: to their centre at most; lower: to every other centre of their group at least.
    """

    nearest: Tensor  # int32
    upper: Tensor
    lower: Tensor
    length: Tensor


@dataclass(frozen=True)
class Centres:
    """Centres in a row, and how far each has moved. P = G x M, those of a group side by side, absent ones too."""

    centred: Tensor  # [P, D], from the mean of all vectors, which keeps rounding small
    offset: Tensor  # [P], so that offset - vector x centred is half the squared distance but for the vector's length
    groups: int
    moved: Tensor  # [P]
    most_moved: Tensor  # [G]


class Assigner:
    """Adds each vector to the sum of the nearest centre of its group, round after round.

    A vector is compared anew only if another centre may have come nearer than its own, by the distances that centres
    have moved (Hamerly: Making k-means even faster, 2010), and sums change by the vectors that change sides. That
    takes 16 bytes a vector.
    """

    def __init__(self, blocks: Pass, mean: Tensor, team: Team):
        self.blocks, self.mean, self.team = blocks, mean, team
        self.known: list[Known] = []
        self.table: Table | None = None
        self.sums: Sums | None = None  # of this process

    def assign(self, table: Table) -> Sums:
        """One pass. table: of the same shape in every round."""
        centres = self.place(table)
        groups, most, features = table.values.shape
        if self.sums is None:
            vectors = torch.zeros(groups * most, features, dtype=torch.float64, device=table.values.device)
            self.sums = Sums(vectors, torch.zeros(groups * most, dtype=torch.int64, device=vectors.device))
        found = in_threads(partial(compare, centres, self.mean), self.parts(), table.values.device)
        known = []
        for of_part, change in found:
            known.append(of_part)
            if change is not None:
                self.sums = Sums(self.sums.vectors.add_(change.vectors), self.sums.counts.add_(change.counts))
        self.known, self.table = known, table
        vectors, counts = self.team.sum(self.sums.vectors.clone()), self.team.sum(self.sums.counts.clone())
        return Sums(vectors.view(groups, most, features), counts.view(groups, most))

    def place(self, table: Table) -> Centres:
        """The centres, and how far they are from where they were in the last round."""
        groups = len(table.values)
        centred = (table.values - self.mean).flatten(0, 1)
        offset = (0.5 * centred.square().sum(dim=1) + centred @ self.mean).where(table.there.flatten(), torch.inf)
        before = table.values if self.table is None else self.table.values
        moved = (table.values - before).norm(dim=2)
        return Centres(centred, offset, groups, moved.flatten(), moved.amax(dim=1))

    def parts(self) -> Iterator[tuple[Tensor, Tensor, Known | None]]:
        """Vectors [n, D], groups [n] and what is known of them; in order."""
        for number, (vectors, group) in enumerate(parts_of(self.blocks)):
            yield vectors, group, self.known[number] if self.known else None


def compare(centres: Centres, mean: Tensor, part: tuple[Tensor, Tensor, Known | None]) -> tuple[Known, Sums | None]:
    """What is known of a part after centres have moved, and what changes of the sums of the centres, if anything."""
    vectors, group, known = part
    if known is None:
        length = (vectors - mean).norm(dim=1)
        nearest, upper, lower = two_nearest(centres, vectors, group, length)
        return Known(nearest.int(), upper, lower, length), sums_of(centres, vectors, nearest)
    upper = known.upper + centres.moved[known.nearest]
    lower = known.lower - centres.most_moved[group]
    doubtful = (upper + ROUNDING * known.length >= lower).nonzero().flatten()
    if not len(doubtful):
        return Known(known.nearest, upper, lower, known.length), None
    asked = vectors[doubtful]
    nearest, upper[doubtful], lower[doubtful] = two_nearest(centres, asked, group[doubtful], known.length[doubtful])
    before = known.nearest[doubtful].long()
    gone = (nearest != before).nonzero().flatten()
    after = known.nearest.clone()
    after[doubtful] = nearest.int()
    if not len(gone):
        return Known(after, upper, lower, known.length), None
    come, left = (sums_of(centres, asked[gone], which[gone]) for which in (nearest, before))
    change = Sums(come.vectors - left.vectors, come.counts - left.counts)
    return Known(after, upper, lower, known.length), change


def two_nearest(centres: Centres, vectors: Tensor, group: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest centre of each vector's group, the distance to it and to the second nearest: [n] each."""
    score = scores(centres, vectors, group)
    # three times faster than topk
    nearest = score.min(dim=1)
    second = score.scatter_(1, nearest.indices[:, None], torch.inf).amin(dim=1)
    lower, upper = ((length.square() + 2 * half).clamp_min_(0).sqrt_() for half in (second, nearest.values))
    return nearest.indices + group * score.shape[1], upper, lower


def scores(centres: Centres, vectors: Tensor, group: Tensor) -> Tensor:
    """Half the squared distance to the centres of a vector's group, but for the vector's length: [n, M]."""
    centred, offset, groups = centres.centred, centres.offset, centres.groups
    if groups > FEW_GROUPS:
        of_group, offsets = centred.view(groups, -1, centred.shape[1]), offset.view(groups, -1)
        few = max(1, GATHERED // of_group[0].numel())  # vectors at a time: each brings the centres of its group
        found = [
            torch.baddbmm(offsets[own][:, :, None], of_group[own], some[:, :, None], alpha=-1).squeeze(2)
            for some, own in zip(vectors.split(few), group.split(few), strict=True)
        ]
        return torch.cat(found)
    if vectors.device.type == "cpu":  # numpy's product is a fifth faster than torch's on processors of AMD
        product = vectors.numpy() @ centred.numpy().T
        score = torch.from_numpy(np.subtract(offset.numpy(), product, out=product))
    else:
        score = torch.addmm(offset, vectors, centred.T, alpha=-1)
    score = score.view(len(vectors), groups, len(centred) // groups)
    return score[torch.arange(len(vectors), device=vectors.device), group] if groups > 1 else score[:, 0]


def sums_of(centres: Centres, vectors: Tensor, nearest: Tensor) -> Sums:
    """The sum of the vectors of each centre, [P, D], and their number, [P]."""
    count = len(centres.centred)
    return Sums(
        torch.zeros_like(centres.centred).index_add_(0, nearest, vectors), torch.bincount(nearest, minlength=count)
    )


def parts_of(blocks: Pass) -> Iterator[tuple[Tensor, Tensor]]:
    """Vectors [n, D] and their groups [n], a part at a time."""
    for block in blocks():
        yield from zip(block.vectors.split(ROWS), block.group.split(ROWS), strict=True)
