"""k-means in passes over blocks: as good and as fast as scikit-learn's Lloyd, in memory that does not grow.

Both begin at the same centres and take the same rounds over the same 400,000 vectors. Peak memory is that of processes
of their own, in which blocks are drawn when they are asked for, as if read from a disk.
"""

import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator

import torch
from common import Figure, arguments, in_turn, show
from sklearn.cluster import KMeans

from protolens.train import Team
from protolens.train.clustering import kmeans
from protolens.train.device import keep_freed_memory
from protolens.train.embedding import Block, Pass

FEATURES, CENTRES, ROUNDS = 256, 50, 10
SMALL, MEDIUM, LARGE = 100_000, 400_000, 1_000_000
ROWS = 20_000  # of a block
ALONE = Team(torch.device("cpu"))


def draw(number: int) -> torch.Tensor:
    """The vectors of a block: around 80 points, as codes of images lie, [ROWS, FEATURES]."""
    points = 2 * torch.randn(80, FEATURES, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(number + 1)
    near = points[torch.randint(80, (ROWS,), generator=generator)]
    return near + torch.randn(ROWS, FEATURES, generator=generator)


def streamed(count: int) -> Pass:
    """Blocks that are drawn anew in each pass."""

    def blocks() -> Iterator[Block]:
        for number in range(count // ROWS):
            yield Block(torch.arange(ROWS) + number * ROWS, draw(number), torch.zeros(ROWS, dtype=torch.int64))

    return blocks


def peak(count: int) -> float:
    """Peak memory in MiB of a process that clusters so many streamed vectors."""
    words = [sys.executable, __file__, "--peak", str(count)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout)


def compare(vectors: torch.Tensor, rounds: int) -> tuple[list[float], list[float]]:
    """Median seconds of ours and of scikit-learn, then the inertia of each; the same start and rounds."""
    start = vectors[:CENTRES].clone()
    block = Block(torch.arange(len(vectors)), vectors, torch.zeros(len(vectors), dtype=torch.int64))
    theirs = KMeans(CENTRES, init=start.numpy(), n_init=1, max_iter=ROUNDS, tol=0, algorithm="lloyd", copy_x=False)
    inertias = {}

    def our_way() -> None:
        inertias["ours"] = kmeans(lambda: [block], [CENTRES], ALONE, 0, start=start, rounds=ROUNDS).inertia

    def their_way() -> None:
        inertias["theirs"] = float(theirs.fit(vectors.numpy()).inertia_)

    times = in_turn(our_way, their_way, rounds=rounds)
    return times, [inertias["ours"], inertias["theirs"]]


def main() -> None:
    given = arguments(__doc__)
    warnings.filterwarnings("ignore", module="sklearn")  # that it has not converged after so few rounds
    keep_freed_memory()
    vectors = torch.cat([draw(number) for number in range(MEDIUM // ROWS)])
    _, (ours, theirs) = compare(vectors[:SMALL].clone(), rounds=1)
    figures = [Figure("k-means, inertia of 100,000 x 256", ours, theirs, "squared distance", theirs / ours, 0.99)]
    (ours, theirs), _ = compare(vectors, rounds=3)
    figures.append(Figure("k-means, 10 rounds on 400,000 x 256", ours, theirs, "s", theirs / ours, 1.0))
    large, small = peak(LARGE), peak(SMALL)
    name = "k-means, peak memory of 1,000,000 vectors against 100,000"
    figures.append(Figure(name, large, small, "MiB", small / large, 0.9))
    show(figures, given.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        kmeans(streamed(int(sys.argv[2])), [CENTRES], ALONE, 0, rounds=3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        main()
