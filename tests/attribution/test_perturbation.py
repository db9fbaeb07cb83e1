"""LIME and KernelSHAP against scikit-learn, against shap, and against Shapley values by enumeration."""

from itertools import permutations
from math import comb

import numpy as np
import pytest
import shap
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from torch import Tensor, nn
from torchvision.models import resnet18

from protolens.attribution import perturbation
from protolens.attribution.kernel_shap import coalitions, kernel_shap, shapley_values
from protolens.attribution.lime import lime, linear_weights
from protolens.attribution.perturbation import answers, check_segments, fill_of, folded, painted, superpixels
from protolens.errors import ProtolensError


def classifier(bands: int = 3) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(bands, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4), nn.Softmax(1)
    )
    network[4].weight.data *= 20
    return network.eval()


def stripes(images: int, count: int, height: int = 12, width: int = 12) -> Tensor:
    """Segments as upright stripes."""
    return (torch.arange(width) * count // width).expand(images, height, width).contiguous()


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_superpixels_are_numbered_without_gaps_and_follow_edges(bands):
    images = torch.zeros(2, bands, 32, 32)
    images[:, :, :, 13:] = 1.0
    images[1] = images[1].transpose(1, 2).clone()
    images += 0.01 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    segments = superpixels(images.clamp(0, 1), 20)
    counts = check_segments(images, segments)
    assert segments.shape == (2, 32, 32)
    assert all(8 <= count <= 40 for count in counts.tolist())
    left, right = set(segments[0, :, :13].flatten().tolist()), set(segments[0, :, 13:].flatten().tolist())
    assert not left & right


def test_an_image_of_one_value_still_has_segments():
    segments = superpixels(torch.full((1, 1, 28, 28), 0.5), 30)
    assert int(check_segments(torch.rand(1, 1, 28, 28), segments)[0]) >= 1


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [
        (torch.zeros(1, 4, 4), "have to be whole numbers"),
        (torch.zeros(1, 4, 5, dtype=torch.long), "have to be whole numbers"),
        (torch.tensor([[[0, 2]] * 2]).repeat_interleave(2, 1).repeat_interleave(2, 2), "numbered from 0 without gaps"),
    ],
)
def test_segments_that_do_not_fit_are_refused(segments, sentence):
    with pytest.raises(ProtolensError, match=sentence):
        check_segments(torch.rand(1, 3, 4, 4), segments)


def test_hidden_segments_show_their_mean_the_image_s_or_black():
    images, segments = torch.rand(2, 3, 6, 6), torch.randint(4, (2, 6, 6))
    segments[:, 0, :4] = torch.arange(4)
    own, whole = fill_of(images, segments, "segment"), fill_of(images, segments, "image")
    for image in range(2):
        for number in range(4):
            there = segments[image] == number
            expected = images[image][:, there].mean(dim=1, keepdim=True)
            torch.testing.assert_close(own[image][:, there], expected.expand(-1, int(there.sum())))
        torch.testing.assert_close(whole[image, :, 0, 0], images[image].mean(dim=(1, 2)))
    assert not fill_of(images, segments, "black").any()


def test_answers_are_those_to_each_image_alone(monkeypatch):
    network, images, segments = classifier(), torch.rand(3, 3, 12, 12), stripes(3, 4)
    hidden, targets = fill_of(images, segments, "image"), torch.tensor([2, 0, 1])
    kept = torch.rand(7, 4) < 0.5
    whole = answers(network, images, hidden, segments, kept, targets)
    monkeypatch.setattr(perturbation, "BYTES_AT_ONCE", 5 * images[0].numel() * 4)
    torch.testing.assert_close(answers(network, images, hidden, segments, kept, targets), whole, rtol=1e-5, atol=1e-7)
    for image in range(3):
        for row in range(7):
            seen = torch.where(kept[row][segments[image]], images[image], hidden[image])
            assert float(network(seen[None])[0, targets[image]]) == pytest.approx(float(whole[image, row]), rel=1e-4)


@given(st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25)
def test_lime_s_weights_are_those_of_a_ridge_regression(players, seed):
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(40, players, generator=generator) < 0.5
    kept[0], kept[1] = True, False
    said = torch.rand(3, 40, generator=generator)
    distance = pairwise_distances(kept.double(), np.ones((1, players)), metric="cosine").ravel()
    count = np.sqrt(np.exp(-(distance**2) / 0.25**2))
    for row, found in zip(said.double().numpy(), linear_weights(kept, said), strict=True):
        expected = Ridge(alpha=1.0).fit(kept.double().numpy(), row, sample_weight=count).coef_
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def by_orders(values: dict[tuple[int, ...], float], players: int) -> list[float]:
    """Shapley values: what a player adds on average over all orders in which players come."""
    added = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            added[player] += values[tuple(sorted((*before, player)))] - values[before]
    return list(added / len(orders))


@pytest.mark.parametrize("players", [1, 2, 3, 5, 6])
def test_all_coalitions_give_exact_shapley_values(players):
    generator = torch.Generator().manual_seed(players)
    kept, weights = coalitions(players, 2**players, 0)
    assert len(kept.unique(dim=0)) == len(kept) == 2**players
    said = torch.rand(2, len(kept), generator=generator)
    found = shapley_values(kept, weights, said)
    for row in range(2):
        values = {
            tuple(members.nonzero().flatten().tolist()): float(value)
            for members, value in zip(kept, said[row], strict=True)
        }
        assert found[row].tolist() == pytest.approx(by_orders(values, players), abs=1e-6)


def exact(value, players: int) -> np.ndarray:
    """Shapley values by the sum over coalitions; value: [M, d] booleans to [M]."""
    members = (np.arange(2**players)[:, None] >> np.arange(players)) & 1
    values, sizes = value(members.astype(bool)), members.sum(axis=1)
    result = np.zeros(players)
    for player in range(players):
        without = np.flatnonzero(members[:, player] == 0)
        weight = 1 / (players * np.array([comb(players - 1, int(size)) for size in sizes[without]]))
        result[player] = weight @ (values[without + (1 << player)] - values[without])
    return result


@pytest.mark.parametrize("players", [10, 12])
def test_few_samples_come_as_near_to_exact_values_as_shap_does(players):
    network, errors = classifier(), []
    images, segments = torch.rand(20, 3, 12, 12), stripes(20, players)
    with torch.no_grad():
        targets = network(images).argmax(dim=1)
    hidden = fill_of(images, segments, "image")
    ours = kernel_shap(network, images, targets, segments, samples=300)
    for row in range(20):

        def value(members: np.ndarray, row: int = row) -> np.ndarray:
            kept = torch.from_numpy(members.astype(bool))
            one = slice(row, row + 1)
            return answers(network, images[one], hidden[one], segments[one], kept, targets[one])[0].numpy()

        truth = exact(value, players)
        np.random.seed(0)  # noqa: NPY002 - shap draws from it
        explainer = shap.KernelExplainer(value, np.zeros((1, players)))
        theirs = explainer.shap_values(np.ones((1, players)), nsamples=300, silent=True, l1_reg=0).ravel()
        mine = [float(ours[row][segments[row] == number][0]) for number in range(players)]
        errors.append([np.linalg.norm(found - truth) / np.linalg.norm(truth) for found in (mine, theirs)])
    mine, theirs = np.mean(errors, axis=0)
    assert mine < 1.1 * theirs


def test_values_sum_to_what_the_whole_image_adds_to_the_empty_one():
    network, images, segments = classifier(), torch.rand(4, 3, 12, 12), stripes(4, 9)
    targets = torch.tensor([0, 1, 2, 3])
    found = kernel_shap(network, images, targets, segments, samples=60, fill="segment")
    hidden = fill_of(images, segments, "segment")
    ends = answers(network, images, hidden, segments, torch.tensor([[False] * 9, [True] * 9]), targets)
    for row in range(4):
        values = [float(found[row][segments[row] == number][0]) for number in range(9)]
        assert sum(values) == pytest.approx(float(ends[row, 1] - ends[row, 0]), abs=1e-5)


@given(st.integers(2, 60), st.integers(0, 400), st.integers(0, 9))
@settings(max_examples=40)
def test_coalitions_come_in_pairs_without_repetition_and_within_the_budget(players, more, seed):
    samples = min(2 * players + 2, 2**players) + more
    kept, weights = coalitions(players, samples, seed)
    assert len(kept) <= samples
    assert len(kept) >= min(samples - 1, 2**players)
    rows = {tuple(row) for row in kept.tolist()}
    assert len(rows) == len(kept)
    assert all(tuple(not member for member in row) in rows for row in rows)
    for size in range(1, players):
        of_size = weights[kept.sum(dim=1) == size]
        if len(of_size):
            assert float(of_size.sum()) == pytest.approx((players - 1) / (size * (players - size)))


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_an_image_s_map_depends_on_its_seed_and_not_on_its_neighbours(method):
    network, images = classifier(), torch.rand(5, 3, 12, 12)
    segments = torch.cat([stripes(3, 4), stripes(2, 6)])
    targets = torch.tensor([0, 1, 2, 3, 0])
    found = method(network, images, targets, segments, samples=40, seed=3)
    assert found.shape == (5, 12, 12)
    for row in range(5):
        one = slice(row, row + 1)
        alone = method(network, images[one], targets[one], segments[one], samples=40, seed=3)
        torch.testing.assert_close(found[one], alone, rtol=1e-4, atol=1e-6)
    assert torch.equal(found, method(network, images, targets, segments, samples=40, seed=3))
    assert not torch.equal(found, method(network, images, targets, segments, samples=40, seed=4))


def test_the_segment_that_decides_gets_the_most():
    def answer(images: Tensor) -> Tensor:
        return torch.stack([images[:, 0, :, 3:6].mean(dim=(1, 2)), images[:, 0, :, :3].mean(dim=(1, 2))], dim=1)

    images, segments = torch.ones(1, 1, 12, 12), stripes(1, 4)
    for method in (lime, kernel_shap):
        found = method(answer, images, torch.tensor([0]), segments, samples=16, fill="black")
        assert found[0, 0].argmax() in (3, 4, 5)
        assert float(found[0, 0, 4]) > 5 * float(found[0, 0, [0, 7, 10]].abs().max())


def test_too_few_samples_are_refused_in_a_sentence():
    with pytest.raises(ProtolensError, match="20 samples are too few for 12 segments: take 26 or more"):
        kernel_shap(classifier(), torch.rand(1, 3, 12, 12), torch.tensor([0]), stripes(1, 12), samples=20)


def test_pixels_have_the_value_of_their_segment():
    segments = torch.tensor([[[0, 1], [2, 1]]])
    assert painted(torch.tensor([[5.0, 6.0, 7.0]]), segments).tolist() == [[[5.0, 6.0], [7.0, 6.0]]]


class Twice(nn.Module):
    """A convolution that is normalised at one place and not at another; `asks` makes it one that cannot be traced."""

    def __init__(self, asks: bool = False):
        super().__init__()
        self.convolution, self.norm, self.asks = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), asks

    def forward(self, images: Tensor) -> Tensor:
        if self.asks and images.sum() < 0:
            return images.flatten(1)
        return self.convolution(self.norm(self.convolution(images))).flatten(1)


def normalised(network: nn.Module) -> nn.Module:
    """In evaluation mode, with normalisation as after some training."""
    for layer in network.eval().modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.running_var, layer.weight.data, layer.bias.data):
                values.uniform_(0.5, 2)
    return network


def test_normalisation_goes_into_convolutions_where_that_changes_nothing():
    torch.manual_seed(0)
    network, images = normalised(resnet18()), torch.rand(4, 3, 32, 32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = folded(network, images)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in found.modules())
    torch.testing.assert_close(found(images), network(images), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("asks", [False, True])
def test_a_network_of_which_no_true_copy_can_be_made_stays_as_it_is(asks):
    torch.manual_seed(0)
    network = normalised(Twice(asks))
    assert folded(network, torch.rand(2, 3, 8, 8)) is network
