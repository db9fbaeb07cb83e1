"""The official files, where PROTOLENS_DATA names their folder: counts, classes, names, and what the guard finds."""

import hashlib

import numpy as np
import pytest
import torch

from protolens.config import DataConfig
from protolens.data import DataSet, open_data
from protolens.errors import ProtolensError


def opened(root, name: str, **settings: object) -> DataSet:
    return open_data(DataConfig(name=name, root=str(root), **settings))


@pytest.mark.parametrize(
    ("name", "training", "validation", "test", "shape"),
    [
        ("mnist", 54_000, 6_000, 10_000, (1, 28, 28)),
        ("fashion-mnist", 54_000, 6_000, 10_000, (1, 28, 28)),
        ("cifar10", 45_000, 5_000, 10_000, (3, 32, 32)),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_the_official_sets_are_whole_and_share_no_image(data_root, name, training, validation, test, shape):
    data = opened(data_root, name)
    assert [len(data.training), len(data.validation), len(data.test)] == pytest.approx(
        [training, validation, test], abs=5
    )
    assert len(data.training) + len(data.validation) == training + validation
    assert data.training.shape == data.test.shape == shape
    assert data.leaks == ()
    assert len(data.task.classes) == 10
    shares = torch.bincount(data.validation.labels) / (
        torch.bincount(data.validation.labels) + torch.bincount(data.training.labels)
    )
    assert shares == pytest.approx([0.1] * 10, abs=1e-3)


def test_mnist_has_its_known_digits(data_root):
    test = opened(data_root, "mnist").test
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert test.names[:2] == ["test/0", "test/1"]


def test_a_name_leads_back_to_the_official_file(data_root):
    data = opened(data_root, "mnist")
    raw = np.fromfile(data_root / "MNIST/raw/train-images-idx3-ubyte", dtype=np.uint8, offset=16).reshape(-1, 28, 28)
    for row in (0, 17, len(data.validation) - 1):
        number = int(data.validation.names[row].removeprefix("train/"))
        assert np.array_equal(data.validation.take(torch.tensor([row]))[0, 0].numpy(), raw[number])


def test_pneumonia_has_eight_pictures_in_training_and_validation_and_none_in_the_test(data_root):
    with np.load(data_root / "pneumoniamnist.npz", allow_pickle=False) as file:
        pictures = {
            word: {hashlib.sha256(image.tobytes()).digest() for image in file[f"{word}_images"]}
            for word in ("train", "val", "test")
        }
    assert len(pictures["train"] & pictures["val"]) == 8
    assert not (pictures["train"] | pictures["val"]) & pictures["test"]
    with pytest.raises(ProtolensError, match=r"^medmnist:pneumoniamnist: 8 pictures stand in two splits: train/"):
        opened(data_root, "medmnist:pneumoniamnist")
    allowed = opened(data_root, "medmnist:pneumoniamnist", leakage="allow")
    assert len({leak.key for leak in allowed.leaks}) == 8
    assert {(leak.first_split, leak.second_split, leak.action) for leak in allowed.leaks} == {
        ("training", "validation", "kept")
    }
    assert [len(images) for images in (allowed.training, allowed.validation, allowed.test)] == [4708, 524, 624]
    assert allowed.task.classes == ("normal", "pneumonia")


def test_dropping_takes_the_pictures_out_of_training_only(data_root):
    data = opened(data_root, "medmnist:pneumoniamnist", leakage="drop")
    dropped = {leak.first for leak in data.leaks}
    assert not dropped & set(data.training.names)
    assert len(data.training) == 4708 - len(dropped)
    assert not set(data.training.hashes.tolist()) & set(data.validation.hashes.tolist())
    assert (len(data.validation), len(data.test)) == (524, 624)
    assert f"{len(dropped)} training images have the same pixels as validation images and were dropped." in data.notes


def test_birds_open_as_a_folder(data_root):
    folder = data_root / "CUB_50" / "images"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: it holds the photographs of birds that this test reads")
    data = opened(data_root, f"folder:{folder}", size=16)
    assert len(data.task.classes) == 50
    assert len(data.training) + len(data.validation) + len(data.test) == 2889
    assert (data.task.bands, data.task.size) == (3, (16, 16))
