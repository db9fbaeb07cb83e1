"""k-means in passes over blocks, against scikit-learn and slow definitions."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from protolens.train import Team
from protolens.train.clustering import kmeans
from protolens.train.embedding import Block
from protolens.train.lloyd import Assigner, Table
from tests.conftest import torchrun

ALONE = Team(torch.device("cpu"))


def clouds(count: int, features: int, centres: int, seed: int = 0) -> torch.Tensor:
    """Vectors [N, D] around so many centres, far from zero."""
    generator = torch.Generator().manual_seed(seed)
    middle = 5 * torch.randn(centres, features, generator=generator) + 20
    which = torch.randint(centres, (count,), generator=generator)
    return middle[which] + torch.randn(count, features, generator=generator)


def passes(vectors: torch.Tensor, group: torch.Tensor | None = None, size: int = 1000):
    group = torch.zeros(len(vectors), dtype=torch.int64) if group is None else group
    number = torch.arange(len(vectors))
    return lambda: [
        Block(*part) for part in zip(number.split(size), vectors.split(size), group.split(size), strict=True)
    ]


def inertia_of(vectors: torch.Tensor, centres: torch.Tensor) -> float:
    return float(torch.cdist(vectors.double(), centres.double()).amin(dim=1).square().sum())


def test_from_the_same_start_it_ends_where_scikit_learn_does():
    vectors = clouds(3000, 16, 12)
    start = vectors[:8]
    theirs = KMeans(8, init=start.numpy(), n_init=1, tol=1e-4).fit(vectors.numpy())
    ours = kmeans(passes(vectors), [8], ALONE, 0, start=start)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)
    assert torch.allclose(ours.centres, torch.from_numpy(theirs.cluster_centers_), atol=1e-2)
    assert torch.equal(ours.counts, torch.bincount(torch.from_numpy(theirs.labels_).long()))


def test_its_own_start_is_as_good_as_the_best_of_ten_of_scikit_learn():
    vectors = clouds(3000, 16, 12)
    theirs = KMeans(12, n_init=10, random_state=0).fit(vectors.numpy())
    ours = kmeans(passes(vectors), [12], ALONE, 0)
    assert ours.inertia <= theirs.inertia_ * 1.01
    assert ours.inertia == pytest.approx(inertia_of(vectors, ours.centres), rel=1e-5)


def test_groups_are_clustered_as_if_each_were_alone():
    vectors, group = clouds(600, 4, 9), torch.arange(600) % 3
    wanted = [2, 1, 4]
    start = torch.cat([vectors[group == g][:count] for g, count in enumerate(wanted)])
    together = kmeans(passes(vectors, group), wanted, ALONE, 0, start=start)
    assert together.group.tolist() == [0, 0, 1, 2, 2, 2, 2]
    for g, count in enumerate(wanted):
        own = vectors[group == g]
        alone = KMeans(count, init=own[:count].numpy(), n_init=1, tol=0).fit(own.numpy())
        assert inertia_of(own, together.centres[together.group == g]) == pytest.approx(alone.inertia_, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
def test_every_vector_counts_for_the_nearest_centre_of_its_group(count, features, wanted, groups, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randint(-2, 3, (count, features), generator=generator).float()  # many are equal
    group = torch.randint(groups, (count,), generator=generator)
    found = kmeans(passes(vectors, group, 7), [wanted] * groups, ALONE, seed)
    total = 0.0
    for g in range(groups):
        own, centres = vectors[group == g], found.centres[found.group == g]
        assert len(centres) <= min(wanted, len(own.unique(dim=0)))
        assert int(found.counts[found.group == g].sum()) == len(own)
        if len(own):
            total += inertia_of(own, centres)
            if wanted >= len(own.unique(dim=0)):
                assert inertia_of(own, centres) == pytest.approx(0, abs=1e-6)
    assert found.inertia == pytest.approx(total, rel=1e-4, abs=1e-4)
    assert found.centres.isfinite().all()


def test_a_centre_that_serves_nobody_goes_to_the_vector_that_is_served_worst():
    vectors = torch.tensor([[0.0], [1.0], [10.0], [11.0], [100.0]])
    found = kmeans(passes(vectors), [3], ALONE, 0, start=torch.tensor([[0.5], [10.5], [-900.0]]))
    assert sorted(found.centres[:, 0].tolist()) == pytest.approx([0.5, 10.5, 100])


def test_the_size_of_blocks_does_not_matter():
    vectors = clouds(2000, 6, 5)
    first, second = (kmeans(passes(vectors, size=size), [7], ALONE, 3) for size in (2000, 77))
    assert torch.allclose(first.centres, second.centres, rtol=1e-6)
    assert first.counts.tolist() == second.counts.tolist()


def test_spherical_centres_have_length_one_and_the_cosines_of_a_plain_loop():
    vectors = torch.nn.functional.normalize(clouds(400, 5, 4) - 20, dim=1)
    start = vectors[:4]
    found = kmeans(passes(vectors), [4], ALONE, 0, start=start, spherical=True)
    centres = start
    for _ in range(100):
        which = (vectors @ centres.T).argmax(dim=1)
        centres = torch.stack([torch.nn.functional.normalize(vectors[which == j].sum(dim=0), dim=0) for j in range(4)])
    assert torch.allclose(found.centres, centres, atol=1e-2)
    assert torch.allclose(found.centres.norm(dim=1), torch.ones(4))


SCRIPT = """
import json, sys
from pathlib import Path
import torch
from protolens.train import assemble
from protolens.train.clustering import kmeans
from tests.train.test_clustering import clouds, passes

vectors, group = clouds(3000, 8, 10), torch.arange(3000) % 2
with assemble("cpu") as team:
    blocks = lambda: passes(vectors, group, 100)()[team.rank :: team.size]
    found = kmeans(blocks, [5, 6], team, 0)
    Path(f"{sys.argv[1]}-{team.size}-{team.rank}.json").write_text(
        json.dumps([found.centres.tolist(), found.counts.tolist(), found.inertia])
    )
"""


def test_two_processes_find_what_one_finds(tmp_path):
    results = []
    for processes in (1, 2):
        torchrun(tmp_path / "script.py", SCRIPT, [str(tmp_path / "found")], processes)
        results += [json.loads(path.read_text()) for path in sorted(tmp_path.glob(f"found-{processes}-*.json"))]
    one, *two = results
    assert len(two) == 2
    assert two[0] == two[1]
    assert two[0][1] == one[1]
    assert torch.allclose(torch.tensor(two[0][0]), torch.tensor(one[0]), rtol=1e-6)
    assert two[0][2] == pytest.approx(one[2], rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 20]))
def test_comparing_only_where_a_centre_may_have_come_nearer_changes_nothing(seed, groups):
    generator = torch.Generator().manual_seed(seed)
    vectors, group = torch.randn(300, 4, generator=generator), torch.randint(groups, (300,), generator=generator)
    blocks = [Block(part, vectors[part], group[part]) for part in torch.arange(300).split([0, 170, 130])]
    values = torch.randn(groups, 5, 4, generator=generator)
    there = torch.ones(groups, 5, dtype=torch.bool)
    there[0, 4] = False
    mean = vectors.mean(dim=0)
    assigner = Assigner(lambda: blocks, mean, ALONE)
    for _ in range(6):
        found = assigner.assign(Table(values, there))
        apart = torch.cdist(vectors[:, None], values[group]).squeeze(1).masked_fill(~there[group], torch.inf)
        nearest = apart.argmin(dim=1)
        for g in range(groups):
            for m in range(5):
                own = (group == g) & (nearest == m)
                assert int(found.counts[g, m]) == int(own.sum())
                torch.testing.assert_close(found.vectors[g, m], vectors[own].double().sum(dim=0), rtol=1e-4, atol=1e-4)
        values = values + torch.randn(values.shape, generator=generator) * 0.1
