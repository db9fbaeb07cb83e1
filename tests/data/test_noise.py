"""Noise that belongs to an image, against a generator for each."""

import torch

from protolens.config import seed_of
from protolens.data import drawn_for_each


def test_an_image_gets_the_same_noise_whatever_stands_beside_it():
    several = drawn_for_each(torch.randn, (2, 3, 4), [7, 1, 7], 5, "why", 2)
    assert several.shape == (3, 2, 3, 4)
    assert torch.equal(several[0], several[2])
    assert not torch.equal(several[0], several[1])
    alone = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed_of(5, "why", 2, 1)))
    assert torch.equal(several[1], alone)
    assert not torch.equal(drawn_for_each(torch.randn, (2, 3, 4), [1], 6, "why", 2)[0], alone)
    assert not torch.equal(drawn_for_each(torch.randn, (2, 3, 4), [1], 5, "why", 3)[0], alone)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    uniform = drawn_for_each(torch.rand, (50, 50), [0], 0, "uniform")
    assert 0 <= float(uniform.min()) < 0.01 < 0.99 < float(uniform.max()) < 1
    assert torch.equal(torch.get_rng_state(), state)
