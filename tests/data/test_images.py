"""Images of a split: by number, from memory or streamed, with fingerprints."""

import hashlib
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.data import MemoryImages, StreamedImages
from protolens.data.images import Annotations, hash_pixels
from protolens.errors import ProtolensError

COUNT = 23


class ArrayReader:
    """Hands out the images of an array, as a reader of files would."""

    def __init__(self, pixels: np.ndarray, labels: list[int]):
        self.pixels, self.labels = pixels, labels

    def __call__(self, row: int) -> tuple[np.ndarray, int]:
        return self.pixels[row], self.labels[row]


class SpoiltReader(ArrayReader):
    def __call__(self, row: int) -> tuple[np.ndarray, int]:
        raise ProtolensError("cat/7.png cannot be read (truncated after 12 bytes)")


class SignalReader(ArrayReader):
    """Images that are white where the process ignores Ctrl-C."""

    def __call__(self, row: int) -> tuple[np.ndarray, int]:
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return np.full_like(self.pixels[row], 255 * ignored), 0


def pictures(bands: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, bands, 5, 7), dtype=np.uint8)


def both(workers: int = 0) -> tuple[MemoryImages, StreamedImages]:
    pixels, labels, names = pictures(), [row % 3 for row in range(COUNT)], [f"train/{row}" for row in range(COUNT)]
    memory = MemoryImages("training", torch.from_numpy(pixels), torch.tensor(labels), names)
    reader = ArrayReader(pixels, labels)
    return memory, StreamedImages("training", reader, torch.tensor(labels), names, (2, 5, 7), workers)


@given(st.lists(st.integers(0, COUNT - 1), max_size=40))
def test_take_gives_the_images_of_the_numbers(rows):
    for images in both():
        taken = images.take(torch.tensor(rows, dtype=torch.int64))
        assert taken.dtype == torch.uint8
        assert taken.tolist() == [pictures()[row].tolist() for row in rows]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_and_streaming_gives_the_same_bits_as_memory(workers):
    parts = [torch.tensor(part, dtype=torch.int64) for part in ([4, 1, 1], [22], [], list(range(COUNT))[::-1])]
    memory, streamed = both(workers)
    expected = [memory.take(part) for part in parts]
    for images in (memory, streamed):
        got = list(images.batches(parts))
        assert [len(batch) for batch in got] == [3, 1, 0, COUNT]
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_a_subset_of_a_subset_keeps_images_labels_names_and_hashes_together():
    for images in both():
        part = images.subset("validation", torch.tensor([20, 3, 9, 5])).subset("test", torch.tensor([2, 0]))
        assert part.name == "test"
        assert part.take(torch.tensor([0, 1])).tolist() == [pictures()[9].tolist(), pictures()[20].tolist()]
        assert part.labels.tolist() == [9 % 3, 20 % 3]
        assert part.names == ["train/9", "train/20"]
        assert part.hashes.tolist() == [images.hashes[9].item(), images.hashes[20].item()]
        assert (len(part), part.shape) == (2, (2, 5, 7))


def test_a_subset_in_memory_shares_the_pixels():
    memory, _ = both()
    assert memory.subset("test", torch.tensor([1])).pixels.data_ptr() == memory.pixels.data_ptr()


def test_hashes_are_equal_exactly_where_pixels_are():
    pixels = pictures()
    pixels[7] = pixels[2]
    pixels[8] = pixels[2]
    pixels[8, 1, 4, 6] ^= 1
    hashes = hash_pixels(pixels).tolist()
    equal = {(a, b) for a in range(COUNT) for b in range(a) if hashes[a] == hashes[b]}
    assert equal == {(7, 2)}
    assert {len(value) for value in hashes} == {16}


def test_the_shape_is_part_of_a_hash():
    flat = np.zeros((1, 1, 2, 6), dtype=np.uint8)
    assert hash_pixels(flat) != hash_pixels(flat.reshape(1, 1, 3, 4))


def test_memory_and_stream_have_the_same_hashes_and_digest():
    memory, streamed = both()
    assert memory.hashes.tolist() == streamed.hashes.tolist()
    assert memory.digest == streamed.digest


def test_the_digest_is_sha256_over_hashes_and_labels_in_order():
    memory, _ = both()
    content = b"".join(memory.hashes.tolist()) + b"".join(int(k).to_bytes(8, "little") for k in memory.labels)
    assert memory.digest == hashlib.sha256(content).hexdigest()


def test_the_digest_changes_with_a_pixel_a_label_and_the_order():
    memory, _ = both()
    other_pixel = memory.pixels.clone()
    other_pixel[3, 0, 0, 0] ^= 1
    other_label = memory.labels.clone()
    other_label[3] = (other_label[3] + 1) % 3
    others = [
        MemoryImages("training", other_pixel, memory.labels, memory.names),
        MemoryImages("training", memory.pixels, other_label, memory.names),
        memory.subset("training", torch.arange(COUNT).flip(0)),
    ]
    assert len({memory.digest, *(images.digest for images in others)}) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_while_streaming_ends_in_its_own_sentence(workers):
    labels = torch.zeros(COUNT, dtype=torch.int64)
    images = StreamedImages("training", SpoiltReader(pictures(), []), labels, [""] * COUNT, (2, 5, 7), workers)
    with pytest.raises(ProtolensError) as caught:
        list(images.batches([torch.tensor([1, 2])]))
    assert str(caught.value) == "cat/7.png cannot be read (truncated after 12 bytes)"


def test_reading_processes_leave_ctrl_c_to_the_main_process():
    labels = torch.zeros(COUNT, dtype=torch.int64)
    images = StreamedImages("training", SignalReader(pictures(), []), labels, [""] * COUNT, (2, 5, 7), workers=1)
    (batch,) = images.batches([torch.tensor([0, 1])])
    assert batch.min() == 255


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_leaves_the_global_random_state_alone(workers):
    before = torch.get_rng_state()
    _, streamed = both(workers)
    list(streamed.batches([torch.tensor([0])]))
    assert torch.equal(torch.get_rng_state(), before)


def with_masks() -> tuple[MemoryImages, StreamedImages]:
    masks = np.random.default_rng(1).integers(0, 256, (COUNT, 5, 7), dtype=np.uint8)
    memory, streamed = both()
    for images in (memory, streamed):
        images.annotations = Annotations(mask=masks.__getitem__)
    return memory, streamed


@given(st.lists(st.integers(0, 4), max_size=12))
def test_masks_belong_to_the_images_of_the_numbers_through_every_subset(rows):
    for images in with_masks():
        part = images.subset("validation", torch.tensor([20, 3, 9, 5, 0, 7])).subset("test", torch.arange(5).flip(0))
        assert part.has_masks
        masks = part.masks(torch.tensor(rows, dtype=torch.int64))
        assert (masks.dtype, masks.shape) == (torch.uint8, (len(rows), 5, 7))
        expected = [images.annotations.mask([20, 3, 9, 5, 0][4 - row]).tolist() for row in rows]
        assert masks.tolist() == expected


def test_images_without_masks_say_so():
    for images in both():
        assert not images.has_masks
        with pytest.raises(ProtolensError) as caught:
            images.masks(torch.tensor([0]))
        assert str(caught.value) == "the training images have no masks; sets of landcover:FOLDER have them"


def test_the_digest_of_several_labels_changes_with_one_of_them():
    memory, _ = both()
    several = torch.stack([memory.labels == k for k in range(3)], dim=1).long()
    other = several.clone()
    other[3, 1] ^= 1
    sets = [MemoryImages("training", memory.pixels, labels, memory.names) for labels in (several, other)]
    content = b"".join(memory.hashes.tolist()) + b"".join(int(k).to_bytes(8, "little") for k in several.flatten())
    assert sets[0].digest == hashlib.sha256(content).hexdigest() != sets[1].digest


def test_no_images_have_no_hashes():
    memory, streamed = both()
    for images in (memory, streamed):
        assert images.subset("test", torch.tensor([], dtype=torch.int64)).hashes.shape == (0,)
    empty = MemoryImages("test", torch.zeros((0, 1, 4, 4), dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), [])
    assert empty.hashes.shape == (0,)
