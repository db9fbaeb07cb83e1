"""Activation maximisation: against a plain loop, for any model, which is left as it was."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from protolens.errors import ProtolensError
from protolens.explanation.maximisation import PHOTOGRAPHS, Maximisation, maximise, total_variation
from protolens.models import MODELS, build_model, state_digest
from tests.conftest import make_task

QUICK = Maximisation(rounds=2, steps=8)


def images(count=3, bands=1, size=(12, 12)):
    return torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(1))


def model_named(name, **settings):
    return build_model({"name": name, **settings}, make_task(size=(12, 12)), 0)


class Linear(torch.nn.Module):
    """Two prototypes whose similarity is a weighted sum of pixels."""

    name = "linear"

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)
        self.prototypes = range(len(weights))
        self.device = torch.device("cpu")

    def evidence(self, pictures):
        return SimpleNamespace(similarity=pictures.flatten(1) @ self.weights.flatten(1).T)


def slow_maximise(weights, number, image, settings):
    """One picture of one band, begun again at stronger copies until it is more alike than the image."""

    def similarity(of, picture):
        return sum(w * v for ws, vs in zip(weights[of], picture, strict=True) for w, v in zip(ws, vs, strict=True))

    blank = [[settings.background for _ in row] for row in image]
    unit = max(abs(similarity(of, image) - similarity(of, blank)) for of in range(len(weights)))
    strength = settings.start
    while True:
        start = [[settings.background + strength * (v - settings.background) for v in row] for row in image]
        picture = slow_climb(weights[number], start, settings, settings.gain / unit)
        if strength == 1 or similarity(number, picture) >= similarity(number, image):
            return picture, strength
        strength = min(1, max(0.25, 2 * strength))


def slow_climb(weights, x, settings, gain):
    """Adam as its paper writes it, with gradients worked out by hand."""
    height, width = len(x), len(x[0])

    def sign(value):
        return (value > 0) - (value < 0)

    for number in range(settings.rounds):
        rate, first, second = settings.rate / 2**number, {}, {}
        for step in range(1, settings.steps + 1):
            slopes = {}
            for i in range(height):
                for j in range(width):
                    slope = -gain * weights[i][j]
                    slope += settings.bound * ((x[i][j] > 1) - (x[i][j] < 0)) / (height * width)
                    for k, m in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                        if 0 <= k < height and 0 <= m < width:
                            pairs = (height - 1) * width if m == j else height * (width - 1)
                            slope += settings.variation * sign(x[i][j] - x[k][m]) / pairs
                    slopes[i, j] = slope
            for (i, j), slope in slopes.items():
                first[i, j] = 0.9 * first.get((i, j), 0) + 0.1 * slope
                second[i, j] = 0.999 * second.get((i, j), 0) + 0.001 * slope * slope
                mean, square = first[i, j] / (1 - 0.9**step), second[i, j] / (1 - 0.999**step)
                x[i][j] -= rate * mean / (math.sqrt(square) + 1e-8)
    return [[min(1, max(0, v)) for v in row] for row in x]


@pytest.mark.parametrize(
    ("settings", "strengths"),
    [
        (Maximisation(rounds=3, steps=15), [0.3, 1, 0.3]),
        (replace(PHOTOGRAPHS, rounds=3, steps=15), [0.4, 1, 0.4]),
        (Maximisation(start=0.0, rounds=1, steps=2), [0.5, 1, 1]),
    ],
    ids=["grey", "photographs", "blank"],
)
def test_pictures_equal_those_of_a_plain_loop_with_gradients_by_hand(settings, strengths):
    weights = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(3)).double()
    start = images(3, size=(4, 3)).double()
    chosen = [1, 0, 1]
    found = maximise(Linear(weights), start, chosen, settings)
    begun = []
    for picture, image, number in zip(found, start, chosen, strict=True):
        expected, strength = slow_maximise(weights.tolist(), number, image[0].tolist(), settings)
        torch.testing.assert_close(picture[0], torch.tensor(expected).double(), atol=1e-6, rtol=0)
        begun.append(strength)
    assert begun == strengths


def test_total_variation_is_the_mean_difference_down_plus_that_across():
    (picture,) = images(1, bands=2, size=(5, 4)).double()
    down = [abs(picture[c, i, j] - picture[c, i + 1, j]) for c in range(2) for i in range(4) for j in range(4)]
    across = [abs(picture[c, i, j] - picture[c, i, j + 1]) for c in range(2) for i in range(5) for j in range(3)]
    expected = sum(down) / len(down) + sum(across) / len(across)
    assert float(total_variation(picture[None])) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", MODELS)
def test_any_model_is_more_alike_afterwards_gets_pictures_in_range_and_stays_as_it_was(name):
    soft = {"temperature": 1.0} if name == "concepts" else {}  # hard concepts have no slope
    model = model_named(name, **soft).train()
    next(model.children()).eval()  # a part that does not learn
    frozen = next(model.parameters())
    frozen.requires_grad_(False)
    for parameter in list(model.parameters())[1:]:
        parameter.grad = torch.ones_like(parameter)
    learns = [p.requires_grad for p in model.parameters()]
    digest, state = state_digest(model), torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    last = len(model.prototypes) - 1
    settings = Maximisation(rounds=2, steps=20, variation=0, bound=100)  # an untrained model's slopes are small
    pictures = maximise(model, images(), [0, last, last], settings)
    assert state_digest(model) == digest
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == learns
    assert frozen.grad is None
    assert all(bool((p.grad == 1).all()) for p in list(model.parameters())[1:])
    assert 0 <= pictures.min() <= pictures.max() <= 1
    rows = torch.arange(3), torch.tensor([0, last, last])
    with torch.inference_mode():
        model.eval()
        before, after = (model.evidence(some).similarity[rows] for some in (images(), pictures))
    assert (after > before).all()


def test_a_pair_s_picture_does_not_depend_on_the_other_pairs_even_with_jitter():
    model, settings = model_named("prototypedl"), Maximisation(rounds=2, steps=8, jitter=2)
    together = maximise(model, images(), [3, 1, 2], settings, seed=5)
    for row, number in enumerate((3, 1, 2)):
        alone = maximise(model, images()[row : row + 1], torch.tensor([number]), settings, seed=5)
        torch.testing.assert_close(alone[0], together[row], atol=1e-4, rtol=0)


def test_jitter_is_drawn_by_the_seed():
    model, settings = model_named("prototypedl"), Maximisation(rounds=1, steps=8, jitter=3)
    first, same, other = (maximise(model, images(), [0, 1, 2], settings, seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_it_works_where_gradients_are_off():
    model = model_named("blackbox")
    expected = maximise(model, images(), [0, 1, 2], QUICK)
    with torch.inference_mode():
        found = maximise(model, images(), [0, 1, 2], QUICK)
    assert torch.equal(found, expected)
    assert maximise(model, images(0), [], QUICK).shape == (0, 1, 12, 12)


def test_a_model_that_fails_is_left_as_it_was(monkeypatch):
    model = model_named("flint").train()
    model.predictor.eval()
    digest, modes = state_digest(model), [module.training for module in model.modules()]

    def fail(_images):
        assert not model.training
        raise RuntimeError("broken")

    monkeypatch.setattr(model, "evidence", fail)
    with pytest.raises(RuntimeError, match="broken"):
        maximise(model, images(), [0, 1, 2], QUICK)
    assert [module.training for module in model.modules()] == modes
    assert state_digest(model) == digest
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize("number", [-1, 15])
def test_a_prototype_that_does_not_exist_is_named(number):
    with pytest.raises(ProtolensError, match=rf"^prototypedl has no prototype {number}; known are 0 to 14$"):
        maximise(model_named("prototypedl"), images(), [0, number, 1], QUICK)
