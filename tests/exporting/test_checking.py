"""What counts as a difference between two arithmetics, and which images it is asked on."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.exporting.checking import (
    COUNT,
    LEAST,
    MOST,
    OWN,
    ROUNDS,
    SHARE,
    Subject,
    decided,
    difference,
    gap,
    in_double,
    well_decided,
)
from protolens.models import build_model
from tests.conftest import make_task

numbers = st.floats(-100, 100, width=32)


@st.composite
def arithmetics(draw):
    """Values of N images at E entries, by two arithmetics and in truth."""
    images, entries = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rows = st.lists(st.lists(numbers, min_size=entries, max_size=entries), min_size=images, max_size=images)
    return tuple(torch.tensor(draw(rows)) for _ in range(3))


@given(arithmetics(), st.booleans())
def test_each_entry_is_held_against_its_own_largest_value(values, exact):
    ours, theirs, truth = values
    found = difference(ours, theirs, truth.double() if exact else None)
    cells = [(image, entry) for image in range(len(ours)) for entry in range(ours.shape[1])]
    apart = {(i, e): abs(ours[i, e].item() - theirs[i, e].item()) for i, e in cells}
    lost = max(abs(ours[i, e].item() - truth[i, e].item()) for i, e in cells) if exact else 0.0
    shares = []
    for e in range(ours.shape[1]):
        scale = max(abs(ours[i, e].item()) for i in range(len(ours)))
        allowed = max(SHARE * scale, min(OWN * lost, MOST * scale)) + LEAST
        shares.append((max(apart[i, e] for i in range(len(ours))) / allowed, allowed))
    share, _ = max(shares)
    assert found.largest == pytest.approx(max(apart.values()), rel=1e-9)
    assert found.share == pytest.approx(share, rel=1e-6)
    assert any(found.allowed == pytest.approx(allowed) for own, allowed in shares if own == pytest.approx(share))


def test_a_class_that_is_never_chosen_hides_no_difference_of_the_others():
    ours = torch.tensor([[1.0, -1e4], [2.0, -1e4]])
    theirs = torch.tensor([[1.001, -1e4], [2.0, -1e4]])
    assert difference(ours, theirs, ours.double()).share > 1


def test_what_is_no_number_is_equal_to_itself_alone():
    values = torch.tensor([1.0, math.inf, -math.inf, math.nan, math.nan, math.inf])
    others = torch.tensor([1.5, math.inf, math.inf, math.nan, 0.0, 3.0])
    assert gap(values, others).tolist() == [0.5, 0.0, math.inf, 0.0, math.inf, math.inf]
    assert difference(values[None], others[None], None).share == math.inf


@torch.no_grad()
def test_a_choice_between_twins_hangs_on_rounding_where_they_are_nearest():
    model = build_model({"name": "kmex", "per_class": [3, 1, 1, 1]}, make_task(), 0).eval()
    images = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    codes = model.code(images)
    model.prototypes.vectors[0] = codes[0]
    model.prototypes.vectors[1:3] = codes[1]
    sure = decided(model, in_double(model), images)
    best = model.evidence(images).similarity[:, :3].argmax(dim=1)
    assert best[:2].tolist() == [0, 1]
    assert torch.equal(sure, best == 0)
    assert torch.equal(decided(model, None, images), sure)


@torch.no_grad()
def test_a_choice_is_sure_where_the_lead_is_more_than_rounding():
    model = build_model({"name": "kmex", "per_class": [3, 1, 1, 1]}, make_task(), 0).eval().requires_grad_(False)
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    code = model.code(images)
    for lead, sure in ((1e-3, True), (1e-9, False)):
        model.prototypes.vectors[0] = 0.9 * code[0]
        model.prototypes.vectors[1] = (0.9 + lead) * code[0]
        model.prototypes.vectors[2] = 3 * code[0]
        assert decided(model, in_double(model), images[:1]).tolist() == [sure]


def test_models_that_choose_nothing_are_sure_of_every_image():
    for name in ("prototypedl", "blackbox", "protopnet"):
        model = build_model({"name": name}, make_task(), 0).eval()
        with torch.no_grad():
            assert decided(model, None, torch.rand(3, 1, 28, 28)).all()
    one = build_model({"name": "kmex", "per_class": 1}, make_task(), 0).eval()
    with torch.no_grad():
        assert decided(one, in_double(one), torch.rand(3, 1, 28, 28)).all()


class Fixed(torch.nn.Module):
    """Says of each image, by its first pixel, how far ahead the first candidate is."""

    def evidence(self, images):
        return images

    def candidates(self, images):
        lead = images[:, 0, 0, 0]
        return torch.stack([lead, torch.zeros_like(lead)], dim=1)[:, None]


def rounds(*leads: list[float]) -> Subject:
    """A subject whose images have these leads, a list a round."""

    def draw(number: int) -> torch.Tensor:
        values = leads[number] if number < len(leads) else []
        return torch.tensor(values).view(-1, 1, 1, 1)

    return Subject("images", draw)


def test_images_that_hang_on_rounding_are_passed_over_where_there_are_others():
    first = [1.0] * 20 + [0.0] * 13
    images, passed = well_decided(Fixed(), copy.deepcopy(Fixed()), rounds(first, [2.0] * 33))
    assert images.flatten().tolist() == [1.0] * 20 + [2.0] * 13
    assert passed == 13
    images, passed = well_decided(Fixed(), Fixed(), rounds(first))
    assert (len(images), passed) == (20, 13)


def test_no_more_images_are_drawn_than_it_takes():
    drawn, subject = [], rounds([1.0] * COUNT, [2.0] * COUNT)
    watched = Subject("images", lambda number: drawn.append(number) or subject.draw(number))
    images, passed = well_decided(Fixed(), Fixed(), watched)
    assert (len(images), passed) == (COUNT, 0)
    assert set(drawn) == {0}


def test_where_all_hang_on_rounding_there_are_none_after_some_rounds():
    images, passed = well_decided(Fixed(), Fixed(), rounds(*[[0.0] * COUNT] * 9))
    assert (len(images), passed) == (0, ROUNDS * COUNT)
