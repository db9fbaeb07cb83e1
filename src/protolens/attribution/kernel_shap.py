"""KernelSHAP: Shapley values of an image's segments, by least squares over coalitions of them.

Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, NeurIPS 2017, arXiv:1705.07874. Coalitions are
drawn as Musco and Witter do (Provably Accurate Shapley Value Estimation via Leverage Score Sampling, ICLR 2025,
arXiv:2410.01917): equally many of each size, without repetition, each with its complement.
"""

from itertools import accumulate, combinations, pairwise
from math import comb

import torch
from torch import Generator, Tensor

from protolens.attribution.perturbation import Answer, Fill, Plan, map_of_segments
from protolens.config import seed_of
from protolens.errors import ProtolensError

LISTED = 8  # times as many coalitions of a size as are drawn: up to there all are listed first


def kernel_shap(
    answer: Answer,
    images: Tensor,
    targets: Tensor,
    segments: Tensor,
    samples: int = 1000,
    seed: int = 0,
    fill: Fill = "image",
) -> Tensor:
    """The Shapley value of each pixel's segment for what is said of the target class: [B, H, W].

    answer: images [N, C, H, W] to [N, K]; images: [B, C, H, W]; targets: [B]; segments: [B, H, W]; samples: images
    that the classifier sees for each, the whole and the empty one among them. Values sum to the difference between
    those two. Raises ProtolensError for fewer samples than a regression needs.
    """

    def plan(count: int) -> Plan:
        kept, weights = coalitions(count, samples, seed_of(seed, "kernel-shap", count))
        return kept, lambda said: shapley_values(kept.to(said.device), weights.to(said.device), said)

    return map_of_segments(answer, images, targets, segments, fill, plan)


def coalitions(players: int, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Which coalitions to look at, [M, d] booleans, and the weight of each in the regression, [M] float64.

    The first is empty, the second is of all; these two are met exactly and have no weight. M is at most `samples`, and
    2^d where that is less: then the values are exact. Raises ProtolensError for fewer samples than 2 d + 2, or than
    2^d.
    """
    least = min(2 * players + 2, 2**players)
    if samples < least:
        raise ProtolensError(
            f"{samples} samples are too few for {players} segments: take {least} or more, or fewer segments"
        )
    generator = Generator().manual_seed(seed)
    nobody = torch.zeros(1, players, dtype=torch.bool)
    rows, weights = [nobody, ~nobody], [0.0, 0.0]
    for size, pairs in allotted(players, (samples - 2) // 2).items():
        chosen = draw(players, size, pairs, generator)
        rows += [chosen, ~chosen]
        of_a_size = 2 * pairs if 2 * size == players else pairs
        weights += [(players - 1) / (size * (players - size)) / of_a_size] * (2 * pairs)
    return torch.cat(rows), torch.tensor(weights, dtype=torch.float64)


def allotted(players: int, pairs: int) -> dict[int, int]:
    """How many coalitions of each size up to half of the players are drawn, each with its complement.

    Equally many of each size, a size and its complement's being two, or all that there are.
    """
    sizes = range(1, players // 2 + 1)
    there = {size: comb(players, size) // (2 if 2 * size == players else 1) for size in sizes}
    share = {size: 1 if 2 * size == players else 2 for size in sizes}
    left, open_sizes, result = pairs, list(sizes), dict.fromkeys(sizes, 0)
    while open_sizes and left:
        unit = left / sum(share[size] for size in open_sizes)
        full = [size for size in open_sizes if there[size] <= unit * share[size]]
        if not full:
            break
        for size in full:
            result[size] = there[size]
            left -= there[size]
            open_sizes.remove(size)
    ends = list(accumulate((share[size] for size in open_sizes), initial=0))
    for size, (begin, end) in zip(open_sizes, pairwise(ends), strict=True):
        result[size] = round(left * end / ends[-1]) - round(left * begin / ends[-1])
    return {size: number for size, number in result.items() if number}


def draw(players: int, size: int, number: int, generator: Generator) -> Tensor:
    """So many different coalitions of a size, [N, d] booleans, of which none is another's complement."""
    half = 2 * size == players  # then the one with the first player stands for both
    there = comb(players, size) // (2 if half else 1)
    if there <= LISTED * number:
        firsts = ((0, *rest) for rest in combinations(range(1, players), size - 1)) if half else None
        members = torch.tensor(list(firsts or combinations(range(players), size)))
        members = members[torch.randperm(there, generator=generator)[:number]]
        return torch.zeros(number, players, dtype=torch.bool).scatter_(1, members, True)
    found: dict[bytes, Tensor] = {}
    while len(found) < number:
        order = torch.rand(number, players, generator=generator).argsort(dim=1)
        rows = torch.zeros(number, players, dtype=torch.bool).scatter_(1, order[:, :size], True)
        if half:
            rows ^= ~rows[:, :1]
        found |= {row.numpy().tobytes(): row for row in rows}
    return torch.stack(list(found.values())[:number])


def shapley_values(kept: Tensor, weights: Tensor, said: Tensor) -> Tensor:
    """Values of d players that solve the weighted regression and sum to all's value less nobody's: [B, d], float64.

    kept: [M, d], nobody first, then all; weights: [M]; said: [B, M], values of the coalitions.
    """
    said = said.double()
    nobody, everybody = said[:, 0], said[:, 1]
    if kept.shape[1] == 1:
        return (everybody - nobody)[:, None]
    z = kept[2:].double()
    weighted = z * weights[2:, None]
    normal, right = weighted.T @ z, (said[:, 2:] - nobody[:, None]) @ weighted
    free, ones = torch.linalg.solve(normal, torch.cat([right, torch.ones_like(right[:1])]).T).T.split([len(right), 1])
    missing = everybody - nobody - free.sum(dim=1)
    return free + missing[:, None] * ones / ones.sum()
