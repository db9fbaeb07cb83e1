"""The sets that protolens knows by name, and how each is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protolens.config import DataConfig
from protolens.data.cub import open_cub
from protolens.data.folder import open_folder, open_pictures
from protolens.data.landcover import open_landcover
from protolens.data.medmnist import open_medmnist
from protolens.data.source import Source, images_of_array, resized_note
from protolens.data.torchvision_sets import open_torchvision
from protolens.errors import ProtolensError, did_you_mean


@dataclass(frozen=True)
class Entry:
    """about: a line for `protolens list data`; open: from the settings and what follows the colon."""

    about: str
    open: Callable[[DataConfig, str], Source]


def open_digits(config: DataConfig, _: str = "") -> Source:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels of 0 to 16, scaled to bytes; they need no file."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    names = [f"digits/{row}" for row in range(len(pixels))]
    images = images_of_array("training", pixels, digits.target, names, config)
    classes = tuple("0123456789")
    return Source(
        classes, {"training": images}, resized_note(config, (8, 8)), mirror="a mirrored digit is another sign"
    )


def _torchvision(name: str) -> Callable[[DataConfig, str], Source]:
    return lambda config, _: open_torchvision(config, name)


CATALOG = {
    "digits": Entry("1,797 handwritten digits, 8x8 grey, 10 classes; embedded, needs no file", open_digits),
    "mnist": Entry("70,000 handwritten digits, 28x28 grey, 10 classes", _torchvision("MNIST")),
    "fashion-mnist": Entry("70,000 pieces of clothing, 28x28 grey, 10 classes", _torchvision("FashionMNIST")),
    "cifar10": Entry("60,000 small photographs, 32x32 colour, 10 classes", _torchvision("CIFAR10")),
    "cub": Entry("11,788 photographs of birds cut to their boxes, 200 classes, or the first 50 of them", open_cub),
    "cub:whole": Entry("the same photographs, not cut", open_cub),
    "medmnist:NAME": Entry("medical images of MedMNIST v2, from NAME.npz with its own splits", open_medmnist),
    "torchvision:NAME": Entry(
        "any classification set of torchvision, by its class: SVHN, GTSRB, ...", open_torchvision
    ),
    "landcover:FOLDER": Entry(
        "aerial tiles with masks (DeepGlobe, Dubai) cut to windows of several classes", open_landcover
    ),
    "folder:PATH": Entry(
        "your own images: one folder a class, train/, val/, test/ of such, or labels.csv", open_folder
    ),
}


def catalog() -> dict[str, str]:
    """Each name that data.name understands, with a line about it."""
    return {name: entry.about for name, entry in CATALOG.items()}


def open_source(config: DataConfig) -> Source:
    """The set that config.name stands for, not yet split. Raises ProtolensError for an unknown name."""
    kind, colon, argument = config.name.partition(":")
    for name, entry in CATALOG.items():
        known, known_colon, placeholder = name.partition(":")
        if kind == known and known_colon and not argument:
            raise ProtolensError(f"data.name = {config.name} lacks the {placeholder.lower()} after a colon")
        if (kind, colon) == (known, known_colon):
            return entry.open(config, argument)
    hint = f"; did you mean folder:{config.name}?" if Path(config.name).is_dir() else did_you_mean(config.name, CATALOG)
    raise ProtolensError(f"data.name = {config.name} is no known data set{hint}")


def open_whole(config: DataConfig) -> Source:
    """As `open_source`, for images that are only looked at: those of a folder may have no classes."""
    kind, _, path = config.name.partition(":")
    return open_pictures(config, path) if kind == "folder" and path else open_source(config)
