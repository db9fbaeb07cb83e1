"""Planted illnesses are found, healthy prototypes are not accused, and the order of prototypes does not matter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.evaluation.background import background_of_places, detail_of_windows, middles, off_object, plain
from protolens.evaluation.illnesses import (
    ALIKE,
    COINCIDE,
    correlation,
    edge_of_data,
    own_and_other_weight,
    relative_distances,
    shared_variation,
    shares_of_own,
    speaks_for_own,
    strongest_stranger,
)
from protolens.evaluation.promises import duplicates, shows_class_of


def blobs(generator: torch.Generator, prototypes: int = 6, classes: int = 3, images: int = 120):
    """Similarities that rise with the class and vary by prototype; labels [N], classes of prototypes [P]."""
    labels = torch.arange(images) % classes
    class_of = torch.arange(prototypes) % classes
    own = shows_class_of(labels, class_of)
    similarity = 5.0 * own + torch.randn(images, prototypes, generator=generator)
    return similarity, own, class_of


def test_relative_distances_are_those_of_every_pair_by_their_median(generator):
    vectors = torch.randn(5, 3, generator=generator)
    pairs = {(i, j): float((vectors[i] - vectors[j]).norm()) for i in range(5) for j in range(i)}
    usual = sorted(pairs.values())[4]  # of ten, the lower one in the middle
    found = relative_distances(vectors)
    for (i, j), distance in pairs.items():
        assert float(found[i, j]) == pytest.approx(distance / usual, rel=1e-6)
        assert found[i, j] == found[j, i]
    assert found.diagonal().isinf().all()


def test_a_planted_copy_is_the_only_duplicate_and_agrees_with_the_claim_of_seeds(generator):
    vectors = torch.randn(8, 16, generator=generator)
    vectors[5] = vectors[2] + 1e-5
    close = relative_distances(vectors) <= COINCIDE
    assert close.nonzero().tolist() == [[2, 5], [5, 2]]
    assert duplicates(vectors) == pytest.approx(2 / 8)


def test_one_prototype_far_away_makes_no_others_coincide(generator):
    vectors = torch.randn(8, 16, generator=generator)
    vectors[0] *= 1e4
    assert not (relative_distances(vectors) <= COINCIDE).any()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_equal_vectors_coincide_and_one_alone_does_not(count):
    close = relative_distances(torch.ones(count, 3)) <= COINCIDE
    assert int(close.sum()) == count * (count - 1)


def test_correlation_is_numpys_and_none_with_a_constant(generator):
    columns = torch.randn(40, 4, generator=generator)
    assert correlation(columns).numpy() == pytest.approx(np.corrcoef(columns.double().numpy().T))
    columns[:, 1] = 3.0
    found = correlation(columns)
    assert found[1].tolist() == [0, 0, 0, 0]
    assert found[0, 2] == pytest.approx(np.corrcoef(columns[:, 0], columns[:, 2])[0, 1])
    # two that are found in one and the same image are not alike for that
    columns[:, :2] = 0
    columns[7, :2] = 1
    assert correlation(columns)[0, 1] == 0


def test_the_same_up_to_scale_is_said_twice_and_agreeing_on_classes_alone_is_not(generator):
    similarity, own, class_of = blobs(generator)
    similarity[:, 3] = 2 * similarity[:, 0] + 7  # of class 0 both
    found = shared_variation(similarity, own, class_of)
    assert (found >= ALIKE).nonzero().tolist() == [[0, 3], [3, 0]]
    # prototypes 1 and 4 of class 1 see its images alike, but not the same of them
    assert correlation(similarity)[1, 4] > 0.8
    assert abs(found[1, 4]) < 0.5


def test_a_class_of_few_images_and_prototypes_of_two_classes_share_nothing(generator):
    similarity, own, class_of = blobs(generator, images=27)  # nine images of each class
    similarity[:, 3] = similarity[:, 0]
    assert not shared_variation(similarity, own, class_of).any()
    similarity, own, class_of = blobs(generator)
    similarity[:, 1] = similarity[:, 0]
    assert shared_variation(similarity, own, class_of)[0, 1] == 0


@given(st.permutations(range(6)))
def test_the_order_of_prototypes_does_not_matter(order):
    generator = torch.Generator().manual_seed(1)
    similarity, own, class_of = blobs(generator)
    vectors, weights = torch.randn(6, 4, generator=generator), torch.randn(6, 3, generator=generator)
    some = torch.tensor(order)
    both = [
        (relative_distances(vectors)[some][:, some], relative_distances(vectors[some])),
        (
            shared_variation(similarity, own, class_of)[some][:, some],
            shared_variation(similarity[:, some], own[:, some], class_of[some]),
        ),
    ]
    wins = torch.softmax(similarity, dim=1)
    both.append((shares_of_own(wins, own)[some], shares_of_own(wins[:, some], own[:, some])))
    mine = own_and_other_weight(weights, class_of)
    both += [(a[some], b) for a, b in zip(mine, own_and_other_weight(weights[some], class_of[some]), strict=True)]
    speaks = speaks_for_own(similarity, own, mine[0])
    permuted = speaks_for_own(similarity[:, some], own[:, some], mine[0][some])
    both += [(a[some], b) for a, b in zip(speaks, permuted, strict=True)]
    for before, after in both:
        assert torch.allclose(before.double(), after.double(), atol=1e-9)


def test_the_edge_of_the_data_is_a_distance_that_all_but_one_in_a_thousand_keep():
    usual = torch.arange(1, 2001).double()
    assert edge_of_data(usual) == 1999
    assert edge_of_data(torch.tensor([2.0, 5.0, 1.0])) == 5  # too few to leave one out
    assert edge_of_data(torch.zeros(9)) == 0


def test_shares_and_strangers_are_counts_of_images():
    wins = torch.tensor([[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]]).double()
    labels, class_of = torch.tensor([0, 2, 2, 1]), torch.tensor([0, 1, 2])
    own = shows_class_of(labels, class_of)
    share = shares_of_own(wins, own)
    assert share[:2].tolist() == pytest.approx([1 / 2.5, 1 / 1.5])
    assert share[2].isnan()
    shown = torch.nn.functional.one_hot(labels, 3)
    other, theirs = strongest_stranger(wins, shown, class_of)
    assert other[:2].tolist() == [2, 2]
    assert theirs[:2].tolist() == pytest.approx([1.5 / 2.5, 0.5 / 1.5])


def test_what_a_prototype_adds_to_its_class_is_a_difference_of_means_with_welchs_error(generator):
    similarity, own, _ = blobs(generator)
    weight = torch.tensor([1.0, -2.0, 0.5, 1.0, 1.0, 0.0])
    more, error = speaks_for_own(similarity, own, weight)
    for j in range(6):
        adds = (similarity[:, j] * weight[j]).double().numpy()
        inside, outside = adds[own[:, j].numpy()], adds[~own[:, j].numpy()]
        assert float(more[j]) == pytest.approx(inside.mean() - outside.mean(), abs=1e-9)
        variance = inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)
        assert float(error[j]) == pytest.approx(variance**0.5, abs=1e-9)
    assert (more < 0).nonzero().flatten().tolist() == [1]
    assert speaks_for_own(similarity, torch.ones_like(own), weight)[0].isnan().all()


def test_own_and_other_weights_are_told_apart():
    weights = torch.tensor([[1.0, -0.5], [0.2, 0.9], [-0.1, -0.3]])
    mine, largest, other = own_and_other_weight(weights, torch.tensor([0, 0, 0]))
    assert mine.tolist() == pytest.approx([1.0, 0.2, -0.1])
    assert largest.tolist() == pytest.approx([-0.5, 0.9, -0.3])
    assert other.tolist() == [1, 1, 1]


@given(st.integers(0, 1000))
def test_a_point_is_off_an_object_by_its_distance_to_the_hull_of_its_parts(seed):
    """The hull and the distance to it by SciPy and by walking along its edges."""
    from scipy.spatial import ConvexHull

    random = np.random.default_rng(seed)
    parts, point, reach = random.uniform(20, 80, (6, 2)), random.uniform(0, 100, 2), 10.0
    hull = ConvexHull(parts)
    inside = bool((hull.equations[:, :2] @ point + hull.equations[:, 2] <= 0).all())
    corners = parts[hull.vertices]
    steps = np.linspace(0, 1, 400)[:, None]
    edges = [a + steps * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    distance = 0.0 if inside else float(np.linalg.norm(np.concatenate(edges) - point, axis=1).min())
    unseen = np.full((1, 2), np.nan)
    found = off_object(
        torch.tensor(point)[None],
        torch.tensor([[0.0, 0, 100, 100]]),
        torch.tensor(np.concatenate([parts, unseen]))[None],
        reach,
    )
    if abs(distance - reach) > 0.5:
        assert found.tolist() == [[distance > reach]]


def test_outside_of_the_box_is_off_the_object_whatever_its_parts():
    points = torch.tensor([[5.0, 5], [50, 50]])
    boxes = torch.tensor([[10.0, 10, 90, 90]] * 2)
    parts = torch.full((2, 2, 2), torch.nan)
    parts[1, 0] = 20.0
    assert off_object(points, boxes, parts, 12.0).tolist() == [[True, False], [True, True]]


def test_detail_is_the_standard_deviation_of_a_window_cut_at_the_edge(generator):
    images = torch.rand(2, 3, 28, 28, generator=generator)
    found = detail_of_windows(images, (7, 7))
    rows = middles(7, 28).long().tolist()
    for place, (row, column) in enumerate((r, c) for r in rows for c in rows):
        cut = images[:, :, max(0, row - 4) : row + 5, max(0, column - 4) : column + 5].double()
        slow = cut.flatten(2).var(dim=2, correction=0).mean(dim=1).sqrt()
        assert found[:, place // 7, place % 7].tolist() == pytest.approx(slow.tolist(), abs=1e-9)


def test_a_stroke_on_a_plain_ground_is_no_background_and_an_empty_image_is_nothing_but():
    images = torch.zeros(2, 1, 28, 28)
    images[0, :, 10:18, 13:15] = 1
    found = plain(detail_of_windows(images, (7, 7)))
    assert not found[0, 2:5, 3].any()
    assert found[0, [0, 0, 6, 6], [0, 6, 0, 6]].all()
    assert found[1].all()


class Marked:
    """Images of which box and parts are known."""

    shape, has_marks = (3, 60, 60), True

    def marks(self, some):
        parts = torch.tensor([[30.0, 30], [torch.nan, torch.nan]]).expand(len(some), 2, 2)
        return torch.tensor([[0.0, 0, 60, 60]]).expand(len(some), 4), parts


def test_marks_decide_where_they_are_known():
    found = background_of_places(Marked(), torch.arange(2), (3, 3))
    # places are 20 pixels apart, and a part reaches 36 of 224 of 60, which is 9.6
    assert (~found[0]).nonzero().tolist() == [[1, 1]]
    assert torch.equal(found[0], found[1])
