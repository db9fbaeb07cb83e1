"""First layers that are statistics of images, against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protolens.config import Task
from protolens.errors import ProtolensError
from protolens.models import build_model
from protolens.nn import Normalise, StrongEncoder, Whiten


def images_of(count, bands, height, width, seed=0):
    """Neighbours that are alike, as in photographs."""
    noise = torch.rand(count, bands, height + 1, width + 1, generator=torch.Generator().manual_seed(seed))
    return (noise[..., 1:, 1:] + noise[..., :-1, 1:] + noise[..., 1:, :-1]) / 3


@given(st.integers(1, 5), st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_normalise_learns_mean_and_deviation_of_each_band(bands, height, width, seed):
    images = images_of(7, bands, height, width, seed)
    layer = Normalise(bands)
    layer.learn(images.split(3))
    pixels = images.double().numpy()
    np.testing.assert_allclose(layer.mean.numpy(), pixels.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(layer.deviation.numpy(), pixels.std((0, 2, 3)), rtol=1e-4)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_whitened_patches_are_uncorrelated_with_variance_one_both_signs_and_no_mean(bands, side, seed):
    images = images_of(60, bands, 9, 8, seed)
    layer = Whiten(bands, side)
    layer.FLOOR = 0.0
    layer.learn(images.split(25))
    with torch.no_grad():
        found = layer(images).movedim(1, -1).flatten(0, 2).double().numpy()
    half = bands * side**2
    assert found.shape[1] == 2 * half
    np.testing.assert_allclose(found[:, :half], -found[:, half:], atol=1e-4)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(found[:, :half].T, ddof=0).reshape(half, half), np.eye(half), atol=2e-3)


def test_the_floor_is_added_to_each_variance():
    images = images_of(60, 3, 8, 8)
    layer = Whiten(3)
    layer.learn([images])
    patches = np.stack(
        [images[:, :, y : y + 2, x : x + 2].double().numpy().reshape(60, 12) for y in range(7) for x in range(7)]
    ).reshape(-1, 12)
    covariance = np.cov(patches.T, ddof=0)
    variances = np.linalg.eigvalsh(covariance)
    with torch.no_grad():
        rows = layer.weight[:12].flatten(1).double().numpy()
    after = np.diag(rows @ covariance @ rows.T)
    np.testing.assert_allclose(after, variances / (variances + 5e-4 * variances.mean()), rtol=1e-3)


@pytest.mark.parametrize("layer", [Normalise(2), Whiten(2)])
def test_images_of_one_value_give_finite_numbers(layer):
    layer.learn([torch.full((4, 2, 6, 6), 0.5)])
    assert layer(torch.rand(2, 2, 6, 6)).isfinite().all()
    assert layer(torch.full((1, 2, 6, 6), 0.5)).abs().max() < 1e-3


@pytest.mark.parametrize("side", [5, 6, 7, 8, 9, 31, 32])
def test_the_strong_encoder_takes_images_of_5_pixels_and_more(side):
    encoder = StrongEncoder(3, (4, 6, 8)).eval()
    assert encoder(torch.rand(2, 3, side, side)).shape == (2, 8)
    assert len(encoder(torch.rand(2, 3, 5, side))) == 2


def test_the_strong_network_refuses_smaller_images_in_a_sentence():
    with pytest.raises(ProtolensError, match=r"network = strong needs images of 5 pixels a side, not 4 x 9"):
        build_model({"name": "blackbox", "network": "strong"}, Task(("a", "b"), 3, 4, 9), 0)
