"""k-means in passes over blocks: as good and as fast as scikit-learn's Lloyd, in memory that does not grow.

Both begin at the same centres and take the same rounds over the same 400,000 vectors. Peak memory is that of processes
of their own, that write the vectors into Parquet shards and read them in each pass.
Times are the least of several turns: what else the machine does only ever adds.
"""

import subprocess
import sys
import warnings
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import Figure, arguments, seconds, show
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from protolens.shards import Shard
from protolens.train import Team
from protolens.train.clustering import kmeans
from protolens.train.device import keep_freed_memory
from protolens.train.embedding import Block, read_shard, write_shard

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


def cluster_shards(count: int) -> None:
    """Write so many vectors into shards, then cluster them from there."""
    with TemporaryDirectory() as folder:
        images = torch.arange(count).split(ROWS)
        shards = [Shard(Path(folder) / f"{number}.parquet", part, {}) for number, part in enumerate(images)]
        for number, shard in enumerate(shards):
            write_shard(shard, Block(shard.images, draw(number), torch.zeros(ROWS, dtype=torch.int64)))
        blocks = lambda: chain.from_iterable(read_shard(shard, ALONE.device) for shard in shards)  # noqa: E731
        kmeans(blocks, [CENTRES], ALONE, 0, rounds=3)


def peak(count: int) -> float:
    """Peak memory in MiB of a process that clusters so many vectors from shards."""
    words = [sys.executable, __file__, "--peak", str(count)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout)


def compare(vectors: torch.Tensor, rounds: int) -> tuple[list[float], list[float]]:
    """Least seconds of ours and of scikit-learn, then the inertia of each; the same start and rounds."""
    start = vectors[:CENTRES].clone()
    block = Block(torch.arange(len(vectors)), vectors, torch.zeros(len(vectors), dtype=torch.int64))
    theirs = KMeans(CENTRES, init=start.numpy(), n_init=1, max_iter=ROUNDS, tol=0, algorithm="lloyd", copy_x=False)
    inertias = {}

    def our_way() -> None:
        inertias["ours"] = kmeans(lambda: [block], [CENTRES], ALONE, 0, start=start, rounds=ROUNDS).inertia

    def their_way() -> None:
        inertias["theirs"] = float(theirs.fit(vectors.numpy()).inertia_)

    with threadpool_limits(torch.get_num_threads()):
        times = [(seconds(our_way), seconds(their_way)) for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)], [inertias["ours"], inertias["theirs"]]


def main() -> None:
    given = arguments(__doc__)
    warnings.filterwarnings("ignore", module="sklearn")  # that it has not converged after so few rounds
    keep_freed_memory()
    vectors = torch.cat([draw(number) for number in range(MEDIUM // ROWS)])
    _, (ours, theirs) = compare(vectors[:SMALL].clone(), rounds=1)
    figures = [Figure("k-means, inertia of 100,000 x 256", ours, theirs, "squared distance", theirs / ours, 0.99)]
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        (ours, theirs), _ = compare(vectors, rounds=5)
        name = f"k-means, 10 rounds on 400,000 x 256, threads: {threads}"
        figures.append(Figure(name, ours, theirs, "s", theirs / ours, 1.0))
    large, small = peak(LARGE), peak(SMALL)
    name = "k-means, peak memory of 1,000,000 vectors against 100,000"
    figures.append(Figure(name, large, small, "MiB", small / large, 0.9))
    show(figures, given.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        cluster_shards(int(sys.argv[2]))
        # of this process alone: getrusage tells the largest of it and of the one that started it
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(int(line.split()[1]) / 1024)
    else:
        main()
