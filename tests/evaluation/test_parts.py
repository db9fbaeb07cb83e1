"""What lies where prototypes look, against slow definitions, planted prototypes and chance."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from protolens.evaluation.parts import (
    AT_ONCE,
    highest_pixels,
    in_region,
    meanings,
    part_consistency,
    part_purity,
    part_stability,
    shares_of_parts,
    together,
)

NAMES = ("back", "left wing", "tail", "right wing", "left foot")


@st.composite
def asked(draw):
    """Pairs of 9 images and some prototypes: hits, hits after noise, seen [n, 5], and prototype [n]."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    prototypes, pairs = draw(st.integers(1, 4)), draw(st.integers(1, 25))
    seen = torch.rand(pairs, 5, generator=generator) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    hits, changed = (seen & (torch.rand(pairs, 5, generator=generator) < 0.7) for _ in range(2))
    kept = torch.rand(pairs, 1, generator=generator) < 0.5
    return hits, torch.where(kept, hits, changed), seen, torch.randint(prototypes, (pairs,), generator=generator)


def best_share(hits, seen, rows):
    """The highest share of a part over these pairs, None where no part is seen in any."""
    shares = []
    for part in range(hits.shape[1]):
        shown = [row for row in rows if seen[row, part]]
        if shown:
            shares.append(sum(bool(hits[row, part]) for row in shown) / len(shown))
    return max(shares, default=None)


def rows_of(prototype):
    return [
        [row for row, own in enumerate(prototype.tolist()) if own == each] for each in sorted(set(prototype.tolist()))
    ]


@given(asked())
def test_purity_and_consistency_are_those_that_loops_find(case):
    hits, _, seen, prototype = case
    best = [best_share(hits, seen, rows) for rows in rows_of(prototype)]
    best = [share for share in best if share is not None]
    if not best:
        assert math.isnan(part_purity(hits, seen, prototype))
        assert math.isnan(part_consistency(hits, seen, prototype))
        return
    assert part_purity(hits, seen, prototype) == pytest.approx(sum(best) / len(best))
    for least in (0.5, 0.8, 1.0):
        consistent = sum(share >= least for share in best) / len(best)
        assert part_consistency(hits, seen, prototype, least) == pytest.approx(consistent)


@given(asked())
def test_stability_is_the_one_that_loops_find(case):
    hits, changed, seen, prototype = case
    stable = []
    for rows in rows_of(prototype):
        told = [row for row in rows if any(seen[row].tolist())]
        if told:
            stable.append(sum(hits[row].tolist() == changed[row].tolist() for row in told) / len(told))
    found = part_stability(hits, changed, seen, prototype)
    assert math.isnan(found) if not stable else found == pytest.approx(sum(stable) / len(stable))


@given(asked(), st.integers(0, 1000))
def test_no_figure_depends_on_the_order_of_pairs_prototypes_or_parts(case, seed):
    hits, changed, seen, prototype = case
    generator = torch.Generator().manual_seed(seed)
    order, parts = torch.randperm(len(hits), generator=generator), torch.randperm(5, generator=generator)
    number = torch.randperm(9, generator=generator)[prototype][order]
    mixed = [values[order][:, parts] for values in (hits, changed, seen)]
    before = (part_purity(hits, seen, prototype), part_consistency(hits, seen, prototype))
    after = (part_purity(mixed[0], mixed[2], number), part_consistency(mixed[0], mixed[2], number))
    assert after == pytest.approx(before, nan_ok=True)
    stable = part_stability(hits, changed, seen, prototype)
    assert part_stability(*mixed, number) == pytest.approx(stable, nan_ok=True)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(5, 40), st.integers(5, 40), st.integers(0, 1000))
def test_the_highest_pixel_is_that_of_the_map_enlarged_by_torch(rows, columns, height, width, seed):
    maps = torch.randn(6, rows, columns, generator=torch.Generator().manual_seed(seed))
    large = F.interpolate(maps[None], size=(height, width), mode="bicubic", align_corners=False)[0]
    for own, each, (x, y) in zip(maps, large, highest_pixels(maps, (height, width)).tolist(), strict=True):
        if own.min() == own.max():
            assert math.isnan(x)
            assert math.isnan(y)
        else:
            assert float(each[int(y), int(x)]) == pytest.approx(float(each.max()), abs=1e-5)
            assert (x % 1, y % 1) == (0.5, 0.5)


def test_many_maps_are_enlarged_in_parts_with_the_same_result(monkeypatch):
    maps = torch.randn(30, 3, 4, generator=torch.Generator().manual_seed(0))
    whole = highest_pixels(maps, (12, 20))
    monkeypatch.setitem(AT_ONCE, "cpu", 500)
    assert torch.equal(highest_pixels(maps, (12, 20)), whole)


def test_a_map_of_one_value_looks_nowhere_and_hits_nothing():
    centres = highest_pixels(torch.full((2, 3, 3), 0.25), (9, 9))
    assert centres.isnan().all()
    assert not in_region(centres, torch.rand(2, 4, 2) * 9, 99).any()


def test_a_part_is_hit_up_to_half_a_side_away_and_never_unseen():
    centres = torch.tensor([[10.5, 20.5]]).expand(5, 2)
    parts = torch.tensor([[[14.5, 16.5]], [[14.6, 20.5]], [[10.5, 16.4]], [[math.nan, 20.5]], [[10.5, 20.5]]])
    assert in_region(centres, parts, 8)[:, 0].tolist() == [True, False, False, False, True]


@given(asked())
def test_left_and_right_become_one_where_both_have_a_name(case):
    hits = case[0]
    slow = [[row[0], row[1] or row[3], row[2], row[4]] for row in hits.tolist()]
    assert together(hits, NAMES).tolist() == slow
    assert torch.equal(together(hits, "abcde"), hits)


def test_a_planted_prototype_that_always_looks_at_a_part_is_perfect_and_chance_is_not():
    generator = torch.Generator().manual_seed(0)
    images, prototypes, side = 400, 5, 224
    parts = torch.rand(images, 15, 2, generator=generator) * side
    parts[torch.rand(images, 15, generator=generator) < 0.3] = math.nan
    parts[:, :prototypes] = torch.rand(images, prototypes, 2, generator=generator) * side
    prototype = torch.arange(images) % prototypes
    seen = ~parts.isnan().any(dim=2)
    planted = parts[torch.arange(images), prototype]
    hits = in_region(planted, parts, 20)
    assert part_purity(hits, seen, prototype) == part_consistency(hits, seen, prototype) == 1
    assert part_stability(hits, hits, seen, prototype) == 1
    found = meanings(planted, parts, prototype, prototypes, 20)
    assert found.part.tolist() == list(range(prototypes))
    assert found.share.tolist() == [1] * prototypes
    assert found.apart.tolist() == [0] * prototypes
    # a square of 20 pixels holds a part by chance in less than 20 * 20 / (224 * 224) of the images; the best of 15 more
    anywhere, again = (torch.rand(images, 2, generator=generator) * side for _ in range(2))
    chance, other = (in_region(where, parts, 20) for where in (anywhere, again))
    assert part_purity(chance, seen, prototype) < 0.1
    assert part_consistency(chance, seen, prototype) == 0
    assert part_stability(chance, other, seen, prototype) < 0.95


def test_shares_count_only_images_that_show_the_part():
    hits = torch.tensor([[1, 0], [0, 0], [1, 0]]).bool()
    seen = torch.tensor([[1, 0], [1, 0], [1, 1]]).bool()
    shares = shares_of_parts(hits, seen, torch.tensor([0, 0, 2]), 3)
    assert shares[0, 0] == 0.5
    assert shares[2].tolist() == [1, 0]
    assert shares[0, 1].isnan()
    assert shares[1].isnan().all()


def test_one_image_and_no_image_give_a_defined_answer():
    one = torch.ones(1, 1, dtype=torch.bool)
    assert part_purity(one, one, torch.tensor([7])) == part_consistency(one, one, torch.tensor([7])) == 1
    none = torch.zeros(0, 3, dtype=torch.bool)
    numbers = torch.zeros(0, dtype=torch.int64)
    assert math.isnan(part_purity(none, none, numbers))
    assert math.isnan(part_consistency(none, none, numbers))
    assert math.isnan(part_stability(none, none, none, numbers))


def test_a_part_lost_and_another_gained_is_a_change():
    hits, changed = torch.tensor([[1, 0], [0, 1]]).bool(), torch.tensor([[0, 1], [0, 1]]).bool()
    seen = torch.ones(2, 2, dtype=torch.bool)
    assert part_stability(hits, changed, seen, torch.tensor([0, 0])) == 0.5


def test_of_parts_that_are_hit_as_often_the_nearest_gives_its_name():
    centres = torch.tensor([[10.0, 10.0], [10.0, 10.0], [math.nan, math.nan], [5.0, 5.0]])
    parts = torch.tensor([[[13.0, 10.0], [11.0, 10.0], [math.nan] * 2]] * 3 + [[[math.nan] * 2] * 3])
    found = meanings(centres, parts, torch.tensor([0, 0, 2, 3]), 4, 10)
    assert found.part.tolist() == [1, -1, 0, -1]
    assert found.share.tolist() == pytest.approx([1, math.nan, 0, math.nan], nan_ok=True)
    assert found.images[[0, 2]].tolist() == [2, 1]
    assert found.apart.tolist() == pytest.approx([1, math.nan, math.nan, math.nan], nan_ok=True)
