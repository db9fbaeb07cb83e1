"""Classification sets of torchvision: opened where their files are, else downloaded, else a sentence about both."""

import contextlib
import inspect
import io
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from protolens.config import DataConfig
from protolens.data.decode import Pixels, UnreadableError, fit, picture_pixels
from protolens.data.images import Images
from protolens.data.reading import read_split
from protolens.data.source import Source, data_root, images_of_array, resized_note
from protolens.errors import ProtolensError, did_you_mean

DIGITS = frozenset({"MNIST", "QMNIST", "SVHN", "USPS", "SEMEION"})
MIRROR = {
    **dict.fromkeys(DIGITS, "a mirrored digit is another sign"),
    **dict.fromkeys(("KMNIST", "Omniglot", "RenderedSST2"), "a mirrored letter is another sign"),
    "GTSRB": "a mirrored traffic sign is another sign",
}
UNSPLIT = frozenset({"Caltech101", "Caltech256", "EuroSAT", "SUN397", "SEMEION"})
FIRST_FILES = {
    "MNIST": "MNIST/raw/train-images-idx3-ubyte",
    "FashionMNIST": "FashionMNIST/raw/train-images-idx3-ubyte",
    "CIFAR10": "cifar-10-batches-py/data_batch_1",
}
SPLIT_WORDS = {
    "training": ("train", "trainval", "train-standard"),
    "validation": ("val", "valid"),
    "test": ("test",),
}
NO_ANSWER = 30.0  # seconds after which a download has failed
LOOKED_AT = 25  # images that tell the usual size and band count
_may_download = ContextVar("may_download", default=True)


@contextlib.contextmanager
def without_downloads() -> Iterator[None]:
    """While inside, a set whose files are missing is an error: for work that can do without the images."""
    before = _may_download.set(False)
    try:
        yield
    finally:
        _may_download.reset(before)


@dataclass(frozen=True)
class DatasetReader:
    """Pixels and label of each item of a torchvision set by its number. size: height, width; of all if not resized."""

    dataset: Any
    word: str
    bands: int
    size: tuple[int, int]
    resized: bool

    def __call__(self, row: int) -> tuple[Pixels, int]:
        """Pixels [C, H, W] and label. Raises ProtolensError when the image cannot be read."""
        try:
            picture, label = self.dataset[row]
            pixels = _pixels(picture)
            if not self.resized and pixels.shape[1:] != self.size:
                raise UnreadableError(f"its size differs from {' x '.join(map(str, self.size))}; data.size resizes all")
            return fit(pixels, self.bands, self.size), int(label)
        except Exception as reason:  # decoders raise anything at all on damaged files
            raise ProtolensError(f"{self.word}/{row} cannot be read ({_last_line(reason)})") from reason


def open_torchvision(config: DataConfig, name: str) -> Source:
    """A set of torchvision by the name of its class. Raises ProtolensError for an unknown name or missing files."""
    cls = _class(name)
    datasets: dict[str, tuple[str, Any]] = {}
    notes: tuple[str, ...] = ()
    for split, choices in _choices(cls).items():
        word, dataset = _open_part(cls, choices, config)
        if dataset is None:
            continue
        if all(label is not None for _, label in _look_at(dataset, config)):
            datasets[split] = word, dataset
        else:
            notes += (f"The {word} part of {config.name} has no labels and was left out.",)
    if "training" not in datasets:
        raise ProtolensError(f"{config.name} has no training part with labels; choose another set")
    parts, about_images = _read_parts(datasets, config)
    largest = max(int(images.labels.max()) for images in parts.values())
    classes = _class_names(cls.__name__, datasets["training"][1], largest + 1)
    return Source(classes, parts, notes + about_images, mirror=MIRROR.get(cls.__name__, ""))


def _class(name: str) -> Any:
    """The torchvision class, whatever the case of its name."""
    from torchvision import datasets

    known = {
        word.lower(): getattr(datasets, word) for word in datasets.__all__ if _is_openable(getattr(datasets, word))
    }
    if name.lower() not in known:
        wrong = f"torchvision:{name} is not a classification set that opens by its root alone"
        raise ProtolensError(wrong + did_you_mean(name.lower(), known, "torchvision:"))
    return known[name.lower()]


def _is_openable(cls: Any) -> bool:
    if not inspect.isclass(cls):
        return False
    parameters = inspect.signature(cls).parameters
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return needed == ["root"] and (not {"train", "split"}.isdisjoint(parameters) or cls.__name__ in UNSPLIT)


def _choices(cls: Any) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """For each split what may be asked for, the first that exists counts: the word in names, and the arguments."""
    parameters = inspect.signature(cls).parameters
    if "train" in parameters:
        return {"training": [("train", {"train": True})], "test": [("test", {"train": False})]}
    if "split" in parameters:
        return {split: [(word, {"split": word}) for word in words] for split, words in SPLIT_WORDS.items()}
    return {"training": [("all", {})]}


def _open_part(cls: Any, choices: Sequence[tuple[str, dict[str, Any]]], config: DataConfig) -> tuple[str, Any]:
    """The first part that the set knows, and its word; None if it knows none."""
    for word, arguments in choices:
        try:
            return word, _construct(cls, arguments, config)
        except ValueError as unknown:
            if "for argument split" not in str(unknown):
                raise
    return "", None


def _construct(cls: Any, arguments: Mapping[str, Any], config: DataConfig) -> Any:
    """The set from the files under the root; they are downloaded only when they are missing."""
    root = data_root(config)
    takes = "download" in inspect.signature(cls).parameters
    downloads = takes and _may_download.get()
    try:
        with _quiet(io.StringIO()):
            return cls(root=root, **arguments, **({"download": False} if takes else {}))
    except Exception as missing:  # each set has its own way to say that files are missing
        if "for argument split" in str(missing):
            raise
        if not downloads:
            raise ProtolensError(f"{config.name} cannot be opened in {root} ({_last_line(missing)})") from missing
    sys.stderr.write(f"downloading {config.name} to {root}\n")
    try:
        with _quiet(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            return cls(root=root, **arguments, download=True)
    except Exception as error:
        raise _no_files(cls.__name__, config, root, error) from error


def _no_files(name: str, config: DataConfig, root: Path, error: Exception) -> ProtolensError:
    """The sentence for a set that is neither there nor to be had."""
    first = FIRST_FILES.get(name)
    if first and (root / first).exists():
        return ProtolensError(
            f"{config.name}: {root / first} or a file beside it is damaged ({_last_line(error)}); "
            "delete it, and it is downloaded anew"
        )
    return ProtolensError(
        f"{config.name}: {first or 'its files'} cannot be found in {root} or downloaded ({_last_line(error)}); "
        "set data.root or PROTOLENS_DATA to the folder that holds them"
    )


def _look_at(dataset: Any, config: DataConfig) -> list[tuple[tuple[int, ...], Any]]:
    """Shape [C, h, w] and label of a few images. Raises ProtolensError when there are no images with one class each."""
    found = []
    for row in np.unique(np.linspace(0, len(dataset) - 1, LOOKED_AT).astype(int)).tolist():
        with contextlib.suppress(Exception):  # an image that cannot be read is named when all are read
            picture, label = dataset[row]
            found.append((_pixels(picture).shape, label))
    if not found or any(label is not None and np.shape(label) != () for _, label in found):
        raise ProtolensError(f"{config.name} does not have one class for each image; choose a classification set")
    return found


def _read_parts(
    datasets: Mapping[str, tuple[str, Any]], config: DataConfig
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """The images of each split, and sentences about them."""
    have, bands = _usual_shape(datasets["training"][1], config)
    size = (config.size, config.size) if config.size else have
    total = sum(len(dataset) for _, dataset in datasets.values())
    parts: dict[str, Images] = {}
    notes = resized_note(config, have)
    for split, (word, dataset) in datasets.items():
        names = [f"{word}/{row}" for row in range(len(dataset))]
        arrays = _arrays(dataset)
        if arrays is not None:
            parts[split] = images_of_array(split, *arrays, names, config)
            continue
        reader = DatasetReader(dataset, word, bands, size, resized=config.size is not None)
        parts[split], left_out = read_split(split, reader, names, (bands, *size), config, total)
        notes += left_out
    return parts, notes


def _arrays(dataset: Any) -> tuple[Pixels, NDArray[np.integer]] | None:
    """Pixels [N, C, H, W] and labels [N] of a set that holds both as arrays; None for the others."""
    data = np.asarray(getattr(dataset, "data", None))
    labels = np.asarray(getattr(dataset, "targets", getattr(dataset, "labels", None)))
    if data.dtype != np.uint8 or data.ndim not in (3, 4) or labels.shape != data.shape[:1]:
        return None
    if data.ndim == 3:
        return data[:, None], labels
    if data.shape[1] not in (1, 3):
        data = np.ascontiguousarray(data.transpose(0, 3, 1, 2))
    return data, labels


def _usual_shape(dataset: Any, config: DataConfig) -> tuple[tuple[int, int], int]:
    """Height and width of the images, and the bands that most have or that were asked for, from a few of them."""
    shapes = [shape for shape, _ in _look_at(dataset, config)]
    sizes = Counter((height, width) for _, height, width in shapes)
    if len(sizes) > 1 and config.size is None:
        raise ProtolensError(f"{config.name} has images of several sizes; set data.size to the pixels a side")
    size, _ = sizes.most_common(1)[0]
    return size, config.bands or Counter(bands for bands, _, _ in shapes).most_common(1)[0][0]


def _pixels(picture: Any) -> Pixels:
    """[C, h, w] of a Pillow image or of a uint8 array [h, w], [h, w, C] or [C, h, w]."""
    if hasattr(picture, "convert"):
        return picture_pixels(picture)
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise UnreadableError(f"it is no picture but {type(picture).__name__}")
    if pixels.ndim == 2:
        return pixels[None]
    return pixels if pixels.shape[0] in (1, 3) else pixels.transpose(2, 0, 1)


def _class_names(name: str, dataset: Any, count: int) -> tuple[str, ...]:
    """A name for each class: the set's own where it has them all."""
    if name in DIGITS:
        return tuple("0123456789")
    listed = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if not isinstance(listed, list | tuple) or len(listed) < count:
        return tuple(f"class {index}" for index in range(count))
    return tuple(str(word) if not isinstance(word, list | tuple) else str(word[0]) for word in listed)


@contextlib.contextmanager
def _quiet(progress: TextIO) -> Iterator[None]:
    """Without torchvision's remarks, its bar going to `progress`; a server that is silent for long is unreachable."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NO_ANSWER)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(progress),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(before)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".:") if lines else type(error).__name__
