"""What stays under noise, against one image at a time, and early failures by their definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from protolens.attribution import attribute
from protolens.evaluation.scores import wilson_interval
from protolens.evaluation.shaking import DRAWS, NOISES, Reasons, shaken, share_with_interval, steadiness, summary
from protolens.evaluation.trust import early_failure, early_failures, prototype_margin
from protolens.models import build_model, state_digest
from tests.conftest import make_task

SIZE = (16, 16)


@st.composite
def seen(draw):
    """distance [N, P], own [N, P], right [N]."""
    images, prototypes = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    own = torch.rand(images, prototypes, generator=generator) < 0.4
    return torch.rand(images, prototypes, generator=generator), own, torch.rand(images, generator=generator) < 0.7


@given(seen())
def test_margins_and_early_failures_are_what_their_definition_says(case):
    distance, own, right = case
    failed = []
    margins = prototype_margin(distance, own)
    for row in range(len(distance)):
        same = [float(d) for d, mine in zip(distance[row], own[row], strict=True) if mine]
        other = [float(d) for d, mine in zip(distance[row], own[row], strict=True) if not mine]
        if not same or not other:
            assert margins[row].isnan()
            continue
        expected = (min(other) - min(same)) / (min(other) + min(same) + 1e-8)
        assert float(margins[row]) == pytest.approx(expected, abs=1e-9)
        assert -1 <= float(margins[row]) <= 1
        if right[row]:
            failed.append(expected < 0)
    found = early_failure(margins, right)
    assert int((~early_failures(margins, right).isnan()).sum()) == len(failed)
    assert math.isnan(found) if not failed else found == pytest.approx(sum(failed) / len(failed))


def test_a_code_on_prototypes_of_two_classes_has_no_margin_to_either():
    assert prototype_margin(torch.zeros(1, 2), torch.tensor([[True, False]])).tolist() == [0.0]


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_of_its_size_depends_on_the_image_and_the_draw_alone_and_stays_in_range(noise):
    images = torch.full((400, 1, 8, 8), 0.5)
    rows = torch.arange(400)
    apart = shaken(images, rows, noise, 0, 7) - images
    size = NOISES[noise]
    if noise == "uniform":
        assert float(apart.abs().max()) <= size + 1e-6
        assert float(apart.std()) == pytest.approx(size / math.sqrt(3), rel=0.05)
    else:
        assert float(apart.std()) == pytest.approx(size, rel=0.05)
    some = torch.tensor([3, 200])
    torch.testing.assert_close(shaken(images[some], some, noise, 0, 7), shaken(images, rows, noise, 0, 7)[some])
    assert not torch.equal(shaken(images, rows, noise, 1, 7), shaken(images, rows, noise, 0, 7))
    dark = shaken(torch.zeros(4, 3, 8, 8), torch.arange(4), noise, 0, 0)
    assert float(dark.min()) == 0.0


@pytest.mark.parametrize("name", ["protovae", "prototypedl", "blackbox", "kmex"])
def test_figures_are_those_of_one_image_and_draw_at_a_time(name):
    model = build_model({"name": name}, make_task(1, SIZE), 0).eval()
    generator = torch.Generator().manual_seed(2)
    images, labels, rows = torch.rand(4, 1, *SIZE, generator=generator), torch.arange(4), torch.arange(10, 14)
    before = state_digest(model)
    found = steadiness(model, images, labels, rows, ["self", "edges"], seed=5)
    assert state_digest(model) == before
    for noise in NOISES:
        for draw in range(DRAWS):
            for row in range(4):
                one = images[row : row + 1]
                moved = shaken(one, rows[row : row + 1], noise, draw, 5)
                clean, dirty = (Reasons.of(model, each, labels[row : row + 1]) for each in (one, moved))
                stays = int(clean.targets) == int(dirty.targets)
                own = {
                    key.removeprefix(f"{noise} "): float(values[row, draw])
                    for key, values in found.items()
                    if noise in key
                }
                assert own["decision_stays"] == stays
                if not stays:
                    assert math.isnan(own["nearest_stays"])
                    continue
                assert own["nearest_stays"] == (int(clean.nearest) == int(dirty.nearest))
                pair = clean.adds[0].tolist(), dirty.adds[0].tolist()
                if sum(value != 0 for value in pair[0]) < 2:
                    assert math.isnan(own["contributions"])
                else:
                    assert own["contributions"] == pytest.approx(spearmanr(*pair).statistic, abs=0.02)
                maps = [attribute(model, each, clean.targets, "edges", 5).flatten() for each in (one, moved)]
                assert own["edges correlation"] == pytest.approx(spearmanr(*maps).statistic, abs=1e-3)


def test_the_summary_counts_images_and_not_draws():
    found = {
        f"{noise} {key}": torch.tensor([[1.0, 0.0, torch.nan], [1.0, 1.0, 1.0]])
        for noise in ("uniform", "gaussian")
        for key in ("decision_stays", "nearest_stays", "contributions", "similarities", "margin", "early_failure")
    }
    found |= {"none margin": torch.tensor([[0.5], [torch.nan]]), "none early_failure": torch.tensor([[0.0], [1.0]])}
    content = summary(found, [])
    assert content["uniform"]["decision_stays"]["mean"] == pytest.approx(0.75)
    assert content["uniform"]["decision_stays"]["interval"] == list(wilson_interval(1.5, 2))
    assert content["none"]["margin"]["mean"] == 0.5
    assert content["none"]["early_failure"]["mean"] == 0.5
    assert share_with_interval(torch.full((2,), torch.nan)) == {"mean": None, "interval": None}


def test_one_prototype_has_no_order_and_a_map_of_one_value_no_rank_correlation():
    model = build_model({"name": "protovae", "per_class": 1}, make_task(1, SIZE, classes=2), 0).eval()
    model.keep(torch.tensor([0]))
    images = torch.zeros(2, 1, *SIZE)
    found = steadiness(model, images, torch.tensor([0, 1]), torch.arange(2), ["edges"], seed=0)
    assert found["uniform contributions"].isnan().all()
    assert found["uniform edges correlation"].isnan().all()
    assert found["none margin"].isnan().all()
