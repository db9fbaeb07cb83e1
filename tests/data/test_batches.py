"""Batches: every image once, the same for the same seeds, wherever an epoch is entered and over any processes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Generator

from protolens.config import Augmentation
from protolens.data import MemoryImages, balanced_weights, plain_batches, to_float, training_batches
from protolens.errors import ProtolensError

PLAIN = Augmentation()
WILD = Augmentation(elastic_alpha=5.0, rotate=10.0, shift=0.1, scale=0.1, shear=5.0, crop=1, flip=True)


def numbered(count: int) -> MemoryImages:
    """Images that show their own number: its low byte in the first row, its high byte below."""
    rows = torch.arange(count)
    pixels = torch.zeros((count, 1, 4, 4), dtype=torch.uint8)
    pixels[:, 0, 0] = (rows % 256).to(torch.uint8)[:, None]
    pixels[:, 0, 1] = (rows // 256).to(torch.uint8)[:, None]
    return MemoryImages("training", pixels, rows % 3, [f"train/{row}" for row in range(count)])


def shown(batch: torch.Tensor) -> list[int]:
    pixels = (batch * 255).round().long()
    return (pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0]).tolist()


def epoch(
    images: MemoryImages, batch: int = 8, augmentation: Augmentation = PLAIN, seed: int = 3, **where: int
) -> list:
    order = Generator().manual_seed(5)
    return list(training_batches(images, batch, order, augmentation, seed, "cpu", **where))


def same(a: list, b: list) -> bool:
    pairs = zip(a, b, strict=True)
    return all(torch.equal(x.images, y.images) and torch.equal(x.labels, y.labels) for x, y in pairs)


@given(st.integers(1, 300), st.integers(1, 40))
@settings(deadline=None)
def test_an_epoch_shows_every_image_once_in_nearly_equal_batches(count, batch):
    batches = epoch(numbered(count), batch)
    sizes = [len(step.labels) for step in batches]
    assert sorted(row for step in batches for row in shown(step.images)) == list(range(count))
    assert len(sizes) == -(-count // batch)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_labels_stay_with_their_images_and_the_order_is_drawn():
    batches = epoch(numbered(100))
    rows = [row for step in batches for row in shown(step.images)]
    assert [label for step in batches for label in step.labels.tolist()] == [row % 3 for row in rows]
    assert rows != sorted(rows)


def test_the_order_generator_moves_on_from_epoch_to_epoch():
    order = Generator().manual_seed(5)
    first, second = (list(training_batches(numbered(50), 8, order, PLAIN, 0, "cpu")) for _ in range(2))
    assert not same(first, second)


def test_the_same_seeds_give_the_same_bits_and_others_do_not():
    images = numbered(60)
    assert same(epoch(images, augmentation=WILD), epoch(images, augmentation=WILD))
    assert not same(epoch(images, augmentation=WILD), epoch(images, augmentation=WILD, seed=4))


@pytest.mark.parametrize("start", [0, 1, 5, 8])
def test_an_epoch_entered_in_its_middle_goes_on_with_the_same_bits(start):
    images = numbered(60)
    assert same(epoch(images, augmentation=WILD)[start:], epoch(images, augmentation=WILD, start=start))


def test_an_epoch_entered_in_its_middle_does_not_read_what_was_shown():
    images, read = numbered(60), []
    images.take = lambda rows: read.append(len(rows)) or numbered(60).take(rows)
    epoch(images, start=6)
    assert len(read) == 2


@given(st.integers(2, 60), st.integers(1, 4))
@settings(deadline=None)
def test_processes_share_each_batch(count, world):
    whole = epoch(numbered(count))
    ranks = [epoch(numbered(count), rank=rank, world=world) for rank in range(world)]
    for step, together in enumerate(whole):
        assert [row for rank in ranks for row in shown(rank[step].images)] == shown(together.images)


def test_each_process_draws_its_own_augmentation():
    images = numbered(60)
    images.pixels[:] = images.pixels[7].clone()
    left, right = (epoch(images, augmentation=Augmentation(rotate=40.0), rank=rank, world=2)[0] for rank in range(2))
    assert not torch.equal(left.images, right.images)


def test_training_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    epoch(numbered(20), augmentation=WILD)
    assert torch.equal(torch.get_rng_state(), before)


def test_class_weights_reach_each_image_of_the_loss():
    order = Generator().manual_seed(0)
    weight = torch.tensor([1.0, 2.0, 4.0])
    for step in training_batches(numbered(20), 8, order, PLAIN, 0, "cpu", class_weight=weight):
        assert step.weights.tolist() == [2.0**label for label in step.labels.tolist()]
    assert all(step.weights is None for step in epoch(numbered(20)))


@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 4))
@settings(deadline=None)
def test_plain_batches_go_through_all_images_in_order_over_all_ranks(count, batch, world):
    images = numbered(count)
    batches = [step for rank in range(world) for step in plain_batches(images, batch, "cpu", rank, world)]
    assert [row for step in batches for row in shown(step.images)] == list(range(count))
    assert [label for step in batches for label in step.labels.tolist()] == [row % 3 for row in range(count)]
    assert all(0 < len(step.labels) <= batch for step in batches)


def test_bytes_become_floats_from_zero_to_one():
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = to_float(every, "cpu")
    assert floats.dtype == torch.float32
    assert floats.flatten().tolist() == pytest.approx([value / 255 for value in range(256)])
    assert every.flatten().tolist() == list(range(256))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda some: [*some, 0, 1, 2, 3, 4]))
@settings(deadline=None)
def test_balanced_weights_are_those_of_scikit_learn(labels):
    expected = compute_class_weight("balanced", classes=np.arange(5), y=np.array(labels))
    assert balanced_weights(torch.tensor(labels), 5).tolist() == pytest.approx(expected.tolist())


def test_several_labels_stay_with_their_images_and_have_no_weights():
    images = numbered(20)
    images.labels = torch.stack([images.labels == k for k in range(3)], dim=1).long()
    for step in epoch(images):
        assert step.labels.tolist() == [[int(row % 3 == k) for k in range(3)] for row in shown(step.images)]
        assert step.weights is None
    with pytest.raises(ProtolensError, match="images that show several classes cannot be weighted by class"):
        balanced_weights(images.labels, 3)


def test_a_class_without_images_has_a_finite_weight():
    assert balanced_weights(torch.tensor([0, 0, 2]), 3).tolist() == [0.5, 1.0, 1.0]
