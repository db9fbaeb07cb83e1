"""Augmentation against scipy, image by image."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Generator

from protolens.config import Augmentation
from protolens.data import augment
from protolens.data.augment import affine_draws, deform, random_crop, smooth

EVERYTHING = Augmentation(elastic_alpha=20.0, rotate=15.0, shift=0.1, scale=0.2, shear=10.0, crop=3, flip=True)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def photos(count: int = 4, bands: int = 2, size: tuple[int, int] = (17, 23)) -> torch.Tensor:
    return torch.rand((count, bands, *size), generator=generator(9))


def sampled(image: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """Bilinear values of each band at the places, by scipy in double precision."""
    bands = [ndimage.map_coordinates(band.double().numpy(), (rows, columns), order=1, mode="nearest") for band in image]
    return torch.tensor(np.stack(bands), dtype=torch.float32)


@given(st.floats(0.3, 8), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None)
def test_smoothing_is_the_gaussian_filter_of_scipy_with_zeros_outside(sigma, height, width):
    field = torch.rand((height, width), generator=generator())
    expected = ndimage.gaussian_filter(field.double().numpy(), sigma, mode="constant", cval=0)
    assert np.allclose(smooth(field, sigma).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(28, 28), (17, 23)])
@pytest.mark.parametrize(("sigma", "alpha"), [(4.0, 20.0), (2.0, 8.0)])
def test_elastic_deformation_is_simards(size, sigma, alpha):
    images = photos(size=size)
    deformed = deform(images, Augmentation(elastic_sigma=sigma, elastic_alpha=alpha), generator())
    fields = torch.empty((len(images), 2, *size)).uniform_(-1, 1, generator=generator())
    rows, columns = np.mgrid[: size[0], : size[1]]
    for image, result, (across, down) in zip(images, deformed, fields.double().numpy(), strict=True):
        right, below = (alpha * ndimage.gaussian_filter(field, sigma, mode="constant") for field in (across, down))
        assert torch.allclose(result, sampled(image, rows + below, columns + right), atol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (17, 23)])
def test_affine_maps_are_those_of_scipy(size):
    settings = Augmentation(rotate=30.0, shift=0.2, scale=0.3, shear=20.0)
    images = photos(size=size)
    moved = deform(images, settings, generator())
    maps = affine_draws(settings, len(images), size, generator()).double().numpy()
    centre = (np.array(size)[::-1] - 1) / 2  # x, y
    for image, result, matrix in zip(images, moved, maps, strict=True):
        inverse = np.linalg.inv(matrix[:, :2])
        offset = centre - inverse @ (centre + matrix[:, 2])
        # scipy counts rows first: the same map with its axes exchanged
        bands = [
            ndimage.affine_transform(band.double().numpy(), inverse[::-1, ::-1], offset[::-1], order=1, mode="nearest")
            for band in image
        ]
        assert np.allclose(result.numpy(), np.stack(bands), atol=1e-5)


def test_affine_then_elastic_is_one_sampling():
    settings = Augmentation(rotate=30.0, scale=0.3, elastic_sigma=3.0, elastic_alpha=10.0)
    images, size = photos(), (17, 23)
    source = generator()
    fields = torch.empty((len(images), 2, *size)).uniform_(-1, 1, generator=source)
    maps = affine_draws(settings, len(images), size, source).double().numpy()
    rows, columns = np.mgrid[: size[0], : size[1]]
    middle = (np.array(size) - 1) / 2
    result = deform(images, settings, generator())
    for image, got, field, matrix in zip(images, result, fields.double().numpy(), maps, strict=True):
        right, below = (10 * ndimage.gaussian_filter(one, 3.0, mode="constant") for one in field)
        places = np.stack([columns + right - middle[1], rows + below - middle[0]]).reshape(2, -1)
        x, y = np.linalg.solve(matrix[:, :2], places - matrix[:, 2:]).reshape(2, *size)
        assert torch.allclose(got, sampled(image, y + middle[0], x + middle[1]), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Augmentation(rotate=10.0), "rotation"),
        (Augmentation(shift=0.25), "shift"),
        (Augmentation(scale=0.1), "scale"),
        (Augmentation(shear=10.0), "shear"),
    ],
)
def test_affine_draws_fill_their_range_and_leave_it_never(settings, expected):
    maps = affine_draws(settings, 4000, (20, 40), generator()).double()
    linear, shift = maps[:, :, :2], maps[:, :, 2]
    drawn = {
        "rotation": torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0])) / 10,
        "shift": shift[:, 0] / 40 / 0.25,
        "scale": (linear[:, 0, 0] - 1) / 0.1,
        "shear": torch.rad2deg(torch.atan(linear[:, 0, 1])) / 10,
    }[expected]
    assert drawn.abs().max() <= 1 + 1e-6
    assert drawn.max() > 0.99
    assert drawn.min() < -0.99
    assert abs(drawn.mean()) < 0.05
    if expected == "shift":
        assert (shift[:, 1] / 20 / 0.25).abs().max() == pytest.approx(1, abs=0.01)
    else:
        assert shift.abs().max() == 0


def test_a_rotation_turns_the_image_about_its_centre():
    image = torch.zeros((1, 1, 9, 9))
    image[0, 0, 4, 4] = 1
    turned = deform(image.expand(50, -1, -1, -1), Augmentation(rotate=45.0), generator())
    assert torch.allclose(turned[:, 0, 4, 4], torch.ones(50), atol=1e-5)


def test_a_shift_moves_by_whole_pixels_where_it_is_drawn_so():
    image = photos(1)
    settings = Augmentation(shift=0.2)
    (matrix,) = affine_draws(settings, 1, (17, 23), generator())
    (moved,) = deform(image, settings, generator())
    rows, columns = np.mgrid[:17, :23]
    expected = sampled(image[0], rows - matrix[1, 2].item(), columns - matrix[0, 2].item())
    assert torch.allclose(moved, expected, atol=1e-5)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(0, 100))
@settings(deadline=None)
def test_a_crop_is_a_window_of_the_image_padded_with_zeros(count, bands, pad, seed):
    images = photos(count, bands, (6, 5)) + 0.1
    cropped = random_crop(images, pad, generator(seed))
    rows, columns = torch.randint(2 * pad + 1, (2, count), generator=generator(seed)).tolist()
    for image, result, row, column in zip(images, cropped, rows, columns, strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (pad, pad), (pad, pad)))
        assert np.array_equal(result.numpy(), padded[:, row : row + 6, column : column + 5])


def test_all_windows_of_a_crop_are_drawn():
    images = torch.ones((400, 1, 4, 4))
    corners = {tuple(map(tuple, image[0].tolist())) for image in random_crop(images, 1, generator())}
    assert len(corners) == 9


def test_a_flip_mirrors_about_half_of_the_images_left_to_right():
    images = photos(400, 1, (3, 4))
    result = augment(images, Augmentation(flip=True), generator())
    mirrored = (result == images.flip(-1)).flatten(1).all(dim=1)
    kept = (result == images).flatten(1).all(dim=1)
    assert (mirrored | kept).all()
    assert 150 < mirrored.sum() < 250


def test_without_settings_the_images_stay_as_they_are():
    images = photos()
    assert torch.equal(augment(images, Augmentation(), generator()), images)


def test_the_same_state_of_the_generator_gives_the_same_bits():
    first, again, other = (augment(photos(), EVERYTHING, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    images = photos(6)
    changed = images.clone()
    changed[[0, 1, 3, 4, 5]] = torch.rand((5, *images.shape[1:]), generator=generator(77))
    alone = augment(images, EVERYTHING, generator())[2]
    assert torch.equal(augment(changed, EVERYTHING, generator())[2], alone)


@given(st.integers(1, 6), st.sampled_from([1, 3, 5]), st.integers(0, 1000))
@settings(deadline=None)
def test_shape_and_range_stay(count, bands, seed):
    images = photos(count, bands)
    result = augment(images, EVERYTHING, generator(seed))
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6


def test_all_bands_move_together():
    grey = photos(5, 1)
    result = augment(grey.expand(-1, 3, -1, -1), EVERYTHING, generator())
    assert torch.equal(result[:, 0], result[:, 1])
    assert torch.equal(result[:, 0], result[:, 2])


def test_augmentation_leaves_its_input_and_the_global_random_state_alone():
    images = photos()
    copy, before = images.clone(), torch.get_rng_state()
    augment(images, EVERYTHING, generator())
    assert torch.equal(images, copy)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_shear_of_all_but_a_right_angle_stays_finite():
    assert augment(photos(), Augmentation(shear=math.nextafter(90, 0)), generator()).isfinite().all()
