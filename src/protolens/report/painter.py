"""Maps as pictures: which prototype each place of an image is most like, what it adds to the logit, and the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protolens.errors import ProtolensError
from protolens.report.colours import CLASSES, OTHERS, PROTOTYPES, adds_to_colours, numbers_to_colours, scale_colours
from protolens.report.numbers import percent, places, signed
from protolens.report.pictures import Picture, encoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-3  # between the sum over places and the logit, as a share of the largest summand
NAMED = 4  # prototypes, or classes, that are named below a map: those that take most of it


@dataclass(frozen=True)
class Seen:
    """What a model sees in an image, and the truth where it is known."""

    prototypes: "NDArray[Any]"  # [h, w], number of the most similar prototype
    adds: "NDArray[Any]"  # [h, w], what each place adds to the logit of the explained class
    mask: "NDArray[Any] | None" = None  # [H, W], number of each pixel's class; beyond the last where it has none


@dataclass(frozen=True)
class Named:
    """A colour and what it stands for."""

    colour: str
    words: str


@dataclass(frozen=True)
class Maps:
    """The maps of an image as pictures of its size."""

    prototypes: Picture
    adds: Picture
    mask: Picture | None
    most: tuple[Named, ...]  # prototypes that take most places
    classes: tuple[Named, ...]  # that most pixels have
    sum: str  # over what all places add


class Painter:
    """Draws the maps of some images with the same colours and the same scale.

    seen: in these images, by any name of each; prototypes: how many the model has; classes: their names.
    """

    def __init__(self, seen: Mapping[str, Seen], prototypes: int, classes: Sequence[str]):
        import numpy as np

        taken = np.bincount(np.concatenate([each.prototypes.ravel() for each in seen.values()]), minlength=prototypes)
        self.coloured = sorted(np.argsort(-taken, kind="stable")[: len(PROTOTYPES)].tolist())
        self.largest = max(float(abs(each.adds).max()) for each in seen.values())
        self.seen, self.prototypes, self.classes = seen, prototypes, classes

    def colour_of(self, prototype: int) -> str:
        """That of a prototype: where there are more than colours, only the most common ones have one."""
        return PROTOTYPES[self.coloured.index(prototype)] if prototype in self.coloured else OTHERS

    def paint(self, name: str, picture: Picture, logit: float) -> Maps:
        """The maps of an image. Raises ProtolensError when its places do not sum to the logit."""
        seen = self.seen[name]
        refuse_false_sum(seen.adds, logit)
        size = picture.image.size
        colours = [self.colour_of(number) for number in range(self.prototypes)]
        return Maps(
            to_picture(numbers_to_colours(seen.prototypes, colours), size),
            to_picture(adds_to_colours(seen.adds, self.largest), size),
            None if seen.mask is None else to_picture(numbers_to_colours(seen.mask, self.class_colours), size),
            named_most(seen.prototypes, colours, [f"{number}:" for number in range(self.prototypes)]),
            () if seen.mask is None else named_most(seen.mask, self.class_colours, self.classes),
            signed(float(seen.adds.sum()), places([logit])),
        )

    @property
    def scale(self) -> dict[str, Any]:
        """The colours of what places add, and the ends that they lie between."""
        low, high = (signed(side * self.largest, places([self.largest])) for side in (-1, 1))
        return {"colours": scale_colours(), "low": low, "high": high}

    @property
    def class_colours(self) -> list[str]:
        """The colour of each class; those beyond the last one share that of all others."""
        return [*CLASSES, *[OTHERS] * len(self.classes)][: len(self.classes)]


def refuse_false_sum(adds: "NDArray[Any]", logit: float) -> None:
    """Raise ProtolensError when what places add, [h, w], does not sum to the logit."""
    total = float(adds.sum(dtype="float64"))
    if abs(total - logit) > TOLERANCE * max(1.0, abs(logit)):
        raise ProtolensError(
            f"what places add sums to {total:.4g} and not to the logit {logit:.4g}; explain the image again, these "
            "maps are not those of the model"
        )


def to_picture(colours: "NDArray[Any]", size: tuple[int, int]) -> Picture:
    """Colours of places, [h, w, 3], as a picture of a width and height: each pixel has that of the nearest place."""
    import torch

    from protolens.data.pictures import to_png

    (height, width), (right, bottom) = colours.shape[:2], size
    rows, columns = (
        (2 * torch.arange(side) + 1) * own // (2 * side) for side, own in ((bottom, height), (right, width))
    )
    return Picture(to_png(torch.from_numpy(colours)[rows][:, columns].permute(2, 0, 1)))


def named_most(numbers: "NDArray[Any]", colours: Sequence[str], names: Sequence[str]) -> tuple[Named, ...]:
    """Those that take most of a map, with their shares. numbers: [h, w]; what has no name is left out."""
    import numpy as np

    shares = np.bincount(numbers.ravel(), minlength=len(names))[: len(names)] / numbers.size
    most = [number for number in np.argsort(-shares, kind="stable").tolist()[:NAMED] if shares[number]]
    return tuple(Named(colours[number], f"{names[number]} {percent(float(shares[number]))}") for number in most)


def swatch(colour: str, side: int = 64) -> Picture:
    """A picture of one colour."""
    from PIL import Image

    return Picture(encoded(Image.new("RGB", (side, side), colour)))
