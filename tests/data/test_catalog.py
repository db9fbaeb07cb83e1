"""Every name of the catalog opens its set, from files that the tests write, and without a network."""

import re
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from protolens.config import Augmentation, DataConfig
from protolens.data import DataSet, catalog, open_data, without_downloads
from protolens.data.decode import fit
from protolens.errors import ProtolensError
from tests.data.conftest import photograph

FLIP = Augmentation(flip=True)


def refusal(name: str, **settings: object) -> str:
    with pytest.raises(ProtolensError) as caught:
        open_data(DataConfig(name=name, **settings))
    return str(caught.value)


def everything(data: DataSet) -> dict[str, tuple[np.ndarray, int]]:
    """Pixels and label of each image by its name."""
    found = {}
    for images in (data.training, data.validation, data.test):
        pixels = images.take(torch.arange(len(images))).numpy()
        found |= dict(zip(images.names, zip(pixels, images.labels.tolist(), strict=True), strict=True))
    return found


def test_the_catalog_has_a_line_about_each_name():
    assert list(catalog()) == [
        "digits",
        "mnist",
        "fashion-mnist",
        "cifar10",
        "cub",
        "cub:whole",
        "medmnist:NAME",
        "torchvision:NAME",
        "landcover:FOLDER",
        "folder:PATH",
    ]
    assert all(0 < len(line) < 90 and "\n" not in line for line in catalog().values())


def test_unknown_names_get_a_hint(tmp_path, monkeypatch):
    assert refusal("minst") == "data.name = minst is no known data set; did you mean mnist?"
    assert refusal("medmnist") == "data.name = medmnist lacks the name after a colon"
    assert refusal("folder:") == "data.name = folder: lacks the path after a colon"
    assert refusal("digits:3").startswith("data.name = digits:3 is no known data set")
    (tmp_path / "xrays").mkdir()
    monkeypatch.chdir(tmp_path)
    assert refusal("xrays") == "data.name = xrays is no known data set; did you mean folder:xrays?"


# ---- digits


def test_digits_are_those_of_scikit_learn_scaled_to_bytes():
    expected = load_digits()
    data = open_data(DataConfig())
    assert (data.name, data.task.classes, data.task.bands, data.task.size) == ("digits", tuple("0123456789"), 1, (8, 8))
    assert not data.task.several
    found = everything(data)
    assert len(found) == 1797
    for name, (pixels, label) in found.items():
        row = int(name.removeprefix("digits/"))
        assert np.array_equal(pixels[0], np.floor(expected.images[row] * 255 / 16 + 0.5))
        assert label == expected.target[row]
    assert data.leaks == ()


def test_digits_are_split_by_class():
    data = open_data(DataConfig())
    whole = np.bincount(load_digits().target)
    test, validation = (np.bincount(images.labels.numpy()) for images in (data.test, data.validation))
    assert np.abs(test - 0.2 * whole).max() <= 1
    assert np.abs(validation - 0.1 * (whole - test)).max() <= 1


def test_the_split_depends_on_its_own_seed_alone():
    first, again, other = (open_data(DataConfig(split_seed=seed)) for seed in (0, 0, 1))
    assert first.digests == again.digests
    assert first.digests != other.digests
    assert first.test.names != other.test.names


def test_another_size_keeps_the_splits():
    small, large = open_data(DataConfig()), open_data(DataConfig(size=16, bands=3))
    assert small.test.names == large.test.names
    assert small.validation.names == large.validation.names
    assert (large.task.bands, large.task.size) == (3, (16, 16))
    assert "Images were resized from 8 x 8 to 16 x 16 pixels." in large.notes
    row = torch.tensor([5])
    expected = fit(small.test.take(row)[0].numpy(), 3, (16, 16))
    assert np.array_equal(large.test.take(row)[0].numpy(), expected)


def test_bands_that_cannot_be_made_are_a_sentence():
    assert refusal("digits", bands=4) == "digits cannot be used with data.bands = 4 (it has 1 band, not 4)"


def test_digits_are_never_mirrored():
    sentence = "data.augment.flip is not for digits: a mirrored digit is another sign; set it to false"
    assert refusal("digits", augment=FLIP) == sentence


# ---- torchvision


def write_mnist(root: Path, name: str = "MNIST") -> dict[str, tuple[np.ndarray, list[int]]]:
    """A small set in the files of MNIST: 60 images for training, 20 for the test."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    written = {}
    for word, prefix, count in (("train", "train", 60), ("test", "t10k", 20)):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        head = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels.tobytes()
        )
        written |= {f"{word}/{row}": (pixels[row], int(labels[row])) for row in range(count)}
    return written


@pytest.mark.parametrize("name", ["mnist", "torchvision:MNIST", "torchvision:mnist"])
@pytest.mark.usefixtures("no_network")
def test_mnist_opens_from_its_files_without_a_network(tmp_path, name):
    written = write_mnist(tmp_path)
    data = open_data(DataConfig(name=name, root=str(tmp_path)))
    found = everything(data)
    assert found.keys() == written.keys()
    for image, (pixels, label) in written.items():
        assert np.array_equal(found[image][0][0], pixels)
        assert found[image][1] == label
    assert data.task.classes == tuple("0123456789")
    assert len(data.validation) == 10  # each class has one image at least
    assert {image.split("/")[0] for image in data.test.names} == {"test"}
    assert "mirrored digit" in refusal(name, root=str(tmp_path), augment=FLIP)


@pytest.mark.usefixtures("no_network")
def test_fashion_may_be_mirrored_and_the_root_may_come_from_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path, "FashionMNIST")
    monkeypatch.setenv("PROTOLENS_DATA", str(tmp_path))
    data = open_data(DataConfig(name="fashion-mnist", augment=FLIP))
    assert data.task.classes[:2] == ("T-shirt/top", "Trouser")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("fashion-mnist", "FashionMNIST/raw/train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_neither_files_nor_network_is_one_sentence(tmp_path, name, file, capfd):
    assert refusal(name, root=str(tmp_path)) == (
        f"{name}: {file} cannot be found in {tmp_path} or downloaded (<urlopen error no network>); set data.root or "
        "PROTOLENS_DATA to the folder that holds them"
    )
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == f"downloading {name} to {tmp_path}\n"


@pytest.mark.usefixtures("no_network")
def test_a_damaged_file_is_told_from_a_missing_one(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:5000])
    sentence = refusal("mnist", root=str(tmp_path))
    assert sentence.startswith(f"mnist: {path} or a file beside it is damaged (")
    assert sentence.endswith("); delete it, and it is downloaded anew")


class StandIn:
    """A set as torchvision has them: photographs by number, `count` a split, of 3 classes."""

    sizes = ((40, 50),)
    words = ("train", "val", "test")
    classes = ("ant", "bee", "fly")

    def __init__(self, root, split="train", transform=None, download=False):
        if split not in self.words:
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {self.words}.")
        file = Path(root) / f"{type(self).__name__}.txt"
        if download:
            print("Files already downloaded and verified")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("content")
        if not file.exists():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.split = split

    def __len__(self) -> int:
        return 12

    def __getitem__(self, row: int) -> tuple[object, object]:
        seed = row + 100 * self.words.index(self.split)
        return Image.fromarray(photograph(seed, self.sizes[row % len(self.sizes)])), row % 3


def stand_in(monkeypatch, **attributes: object) -> type[StandIn]:
    """Adds a class to torchvision.datasets as torchvision:Insects."""
    from torchvision import datasets

    cls = type("Insects", (StandIn,), attributes)
    monkeypatch.setattr(datasets, "Insects", cls, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Insects"))
    return cls


def insects(root: Path, **settings: object) -> DataSet:
    return open_data(DataConfig(name="torchvision:Insects", root=str(root), **settings))


def test_a_torchvision_set_is_downloaded_once_and_quietly(tmp_path, monkeypatch, capfd):
    stand_in(monkeypatch)
    data = insects(tmp_path)
    assert data.task.classes == ("ant", "bee", "fly")
    assert (data.task.bands, data.task.size) == (3, (40, 50))
    assert [len(data.training), len(data.validation), len(data.test)] == [12, 12, 12]
    assert data.validation.names[3] == "val/3"
    assert np.array_equal(data.test.take(torch.tensor([4]))[0].numpy(), photograph(204).transpose(2, 0, 1))
    assert data.test.labels.tolist() == [row % 3 for row in range(12)]
    assert capfd.readouterr() == ("", f"downloading torchvision:Insects to {tmp_path}\n")
    insects(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_downloaded_where_that_is_not_wanted(tmp_path, monkeypatch, capfd):
    stand_in(monkeypatch)
    sentence = r"torchvision:Insects cannot be opened in .* \(Dataset not found"
    with pytest.raises(ProtolensError, match=sentence), without_downloads():
        insects(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    insects(tmp_path)
    with without_downloads():
        assert len(insects(tmp_path).training) == 12  # the files are there now


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_images_of_several_sizes_need_a_size(tmp_path, monkeypatch, memory):
    stand_in(monkeypatch, sizes=((40, 50), (60, 45)))
    with pytest.raises(
        ProtolensError, match=r"^torchvision:Insects has images of several sizes; set data.size to the pixels"
    ):
        insects(tmp_path)
    data = insects(tmp_path, size=24, bands=1, memory=memory, workers=0)
    expected = fit(photograph(3, (60, 45)).transpose(2, 0, 1), 1, (24, 24))
    assert np.array_equal(data.training.take(torch.tensor([3]))[0].numpy(), expected)


def test_a_streamed_torchvision_set_gives_the_same_bits(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    memory, streamed = insects(tmp_path), insects(tmp_path, memory=0.0, workers=1)
    assert memory.digests == streamed.digests
    rows = torch.tensor([7, 0, 7])
    (batch,) = streamed.training.batches([rows])
    assert torch.equal(batch, memory.training.take(rows))


def test_other_words_for_the_splits_are_understood(tmp_path, monkeypatch):
    stand_in(monkeypatch, words=("trainval", "valid", "unlabeled"))
    data = insects(tmp_path)
    assert [images.names[0].split("/")[0] for images in (data.training, data.validation)] == ["trainval", "valid"]
    assert Counter(name.split("/")[0] for name in data.test.names) == {"trainval": 3}


def test_a_test_part_without_labels_is_left_out_and_carved(tmp_path, monkeypatch):
    def without(self, row):
        picture, label = StandIn.__getitem__(self, row)
        return picture, None if self.split == "test" else label

    stand_in(monkeypatch, __getitem__=without)
    data = insects(tmp_path)
    assert {name.split("/")[0] for name in data.test.names} == {"train"}
    assert "The test part of torchvision:Insects has no labels and was left out." in data.notes


def test_a_set_with_several_labels_is_refused(tmp_path, monkeypatch):
    stand_in(monkeypatch, __getitem__=lambda self, row: (StandIn.__getitem__(self, row)[0], torch.zeros(40)))
    with pytest.raises(ProtolensError, match="does not have one class for each image; choose a classification set"):
        insects(tmp_path)


def test_unreadable_images_of_torchvision_stop_or_are_left_out(tmp_path, monkeypatch):
    def spoilt(self, row):
        if row == 5:
            raise OSError("image file is truncated (3 bytes not processed)")
        return StandIn.__getitem__(self, row)

    stand_in(monkeypatch, __getitem__=spoilt)
    with pytest.raises(ProtolensError, match=re.escape("train/5 cannot be read (image file is truncated (3 bytes")):
        insects(tmp_path)
    assert [len(images) for images in (insects(tmp_path, skip_unreadable=True).training,)] == [11]


def test_sets_held_as_arrays_are_read_at_once_in_any_layout(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 9, 7), dtype=np.uint8)
    for data, labels in (
        (pixels, np.arange(60) % 3),
        (pixels.transpose(0, 2, 3, 1), list(range(3)) * 20),
        (torch.from_numpy(pixels[:, 0]), torch.arange(60) % 3),
    ):

        def prepare(self, root, train=True, data=data, labels=labels):
            self.data, self.targets = (data[:40], labels[:40]) if train else (data[40:], labels[40:])

        stand_in(
            monkeypatch,
            __init__=prepare,
            __len__=lambda self: len(self.data),
            __getitem__=lambda self, row: (
                Image.fromarray(np.zeros((9, 7, 3), dtype=np.uint8)),
                int(self.targets[row]),
            ),
        )
        found = everything(insects(tmp_path))
        bands = 1 if np.asarray(data).ndim == 3 else 3
        for name, (image, label) in found.items():
            row = int(name.split("/")[1]) + 40 * name.startswith("test")
            assert np.array_equal(image, pixels[row, :bands])
            assert label == row % 3


def test_unknown_and_unfit_torchvision_sets_get_a_hint():
    end = "is not a classification set that opens by its root alone"
    assert refusal("torchvision:cifr10") == f"torchvision:cifr10 {end}; did you mean torchvision:cifar10?"
    assert refusal("torchvision:Kinetics").startswith(f"torchvision:Kinetics {end}")
    assert refusal("torchvision:LSUN").startswith(f"torchvision:LSUN {end}")  # reads a pickle


@pytest.mark.parametrize(
    "name",
    [
        "STL10",
        "SVHN",
        "Flowers102",
        "Food101",
        "DTD",
        "GTSRB",
        "OxfordIIITPet",
        "Country211",
        "FGVCAircraft",
        "EuroSAT",
    ],
)
@pytest.mark.usefixtures("no_network")
def test_the_usual_torchvision_sets_are_known_and_missing(tmp_path, name):
    sentence = refusal(f"torchvision:{name}", root=str(tmp_path))
    assert sentence.startswith(f"torchvision:{name}: its files cannot be found in {tmp_path} or downloaded (")


# ---- MedMNIST


def write_medmnist(root: Path, name: str, classes: int = 3, **changes: np.ndarray) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = {}
    for word, count in (("train", 30), ("val", 12), ("test", 9)):
        arrays[f"{word}_images"] = generator.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{word}_labels"] = (np.arange(count, dtype=np.uint8) % classes)[:, None]
    arrays |= changes
    np.savez(root / f"{name}.npz", **arrays)
    return arrays


def medmnist(root: Path, name: str, **settings: object) -> DataSet:
    return open_data(DataConfig(name=f"medmnist:{name}", root=str(root), **settings))


def test_medmnist_brings_its_own_splits(tmp_path):
    arrays = write_medmnist(tmp_path, "unheardmnist")
    data = medmnist(tmp_path, "unheardmnist")
    assert data.task.classes == ("class 0", "class 1", "class 2")
    for images, word in ((data.training, "train"), (data.validation, "val"), (data.test, "test")):
        assert images.names[0] == f"{word}/0"
        whole = images.take(torch.arange(len(images))).numpy()
        assert np.array_equal(whole, arrays[f"{word}_images"].transpose(0, 3, 1, 2))
        assert images.labels.tolist() == arrays[f"{word}_labels"][:, 0].tolist()


def test_known_medmnist_classes_have_names_whatever_the_size(tmp_path):
    write_medmnist(tmp_path, "octmnist_64", classes=4)
    assert medmnist(tmp_path, "octmnist_64").task.classes[2] == "drusen"


def test_left_and_right_organs_are_not_mirrored(tmp_path):
    write_medmnist(tmp_path, "organamnist")
    sentence = refusal("medmnist:organamnist", root=str(tmp_path), augment=FLIP)
    assert "a mirrored left kidney is a right one" in sentence
    write_medmnist(tmp_path, "dermamnist", classes=7)
    medmnist(tmp_path, "dermamnist", augment=FLIP)


def chest_labels(classes: int = 14) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    counts = {"train": 30, "val": 12, "test": 9}
    return {
        f"{word}_labels": generator.integers(0, 2, (count, classes), dtype=np.uint8) for word, count in counts.items()
    }


@pytest.mark.parametrize("name", ["chestmnist", "chestmnist_64"])
def test_chest_x_rays_show_several_findings(tmp_path, name):
    arrays = write_medmnist(tmp_path, name, **chest_labels())
    data = medmnist(tmp_path, name)
    assert data.task.several
    assert len(data.task.classes) == 14
    assert (data.task.classes[0], data.task.classes[-2:]) == ("atelectasis", ("pleural thickening", "hernia"))
    for images, word in ((data.training, "train"), (data.validation, "val"), (data.test, "test")):
        assert images.labels.dtype == torch.int64
        assert np.array_equal(images.labels.numpy(), arrays[f"{word}_labels"])


def test_several_labels_of_an_unheard_set_have_numbers_for_names(tmp_path):
    write_medmnist(tmp_path, "unheardmnist", **chest_labels(3))
    data = medmnist(tmp_path, "unheardmnist")
    assert (data.task.classes, data.task.several) == (("class 0", "class 1", "class 2"), True)


@pytest.mark.parametrize("labels", [np.full((9, 14), 2), np.zeros((9, 13)), np.zeros((9, 1))])
def test_several_labels_that_are_not_ones_and_zeros_for_each_class_are_refused(tmp_path, labels):
    write_medmnist(tmp_path, "chestmnist", **{**chest_labels(), "test_labels": labels.astype(np.uint8)})
    sentence = refusal("medmnist:chestmnist", root=str(tmp_path))
    assert sentence == "medmnist:chestmnist has test labels outside of its 14 classes"


def test_volumes_and_floats_are_refused(tmp_path):
    write_medmnist(tmp_path, "b", train_images=np.zeros((30, 28, 28, 28), dtype=np.uint8))
    write_medmnist(tmp_path, "c", train_images=np.zeros((30, 28, 28)))
    path = str(tmp_path)
    assert "b.npz does not hold grey or colour images but 30 x 28 x 28 x 28 values" in refusal("medmnist:b", root=path)
    assert "c.npz does not hold grey or colour images but 30 x 28 x 28 values" in refusal("medmnist:c", root=path)


def test_a_missing_medmnist_file_is_a_sentence(tmp_path):
    sentence = refusal("medmnist:bloodmnist", root=str(tmp_path))
    assert sentence.startswith(f"{tmp_path / 'bloodmnist.npz'} does not exist")
    assert sentence.endswith("; get it from https://medmnist.com")
    write_medmnist(tmp_path, "bloodmnist")
    assert refusal("medmnist:blodmnist", root=str(tmp_path)).endswith("; did you mean medmnist:bloodmnist?")


def test_a_damaged_file_and_pickled_objects_are_a_sentence(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 but no more")
    write_medmnist(tmp_path, "b", train_images=np.array([{"an": "object"}]))
    np.savez(tmp_path / "c.npz", train_images=np.zeros(3))
    for name in "abc":
        assert f"{name}.npz is not a readable MedMNIST file (" in refusal(f"medmnist:{name}", root=str(tmp_path))


def test_a_file_larger_than_the_memory_allowed_is_not_opened(tmp_path):
    write_medmnist(tmp_path, "a")
    assert "holds 0.0 GiB of pixels; allow it by --data.memory 0.1" in refusal(
        "medmnist:a", root=str(tmp_path), memory=1e-5
    )
