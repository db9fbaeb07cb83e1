"""Prototypes that stand at places: the patch of a training image that each is, and how much of the image it sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protolens.report.numbers import percent
from protolens.report.pictures import Box, Picture


@dataclass(frozen=True)
class Patch:
    """Where a prototype stands in its training image."""

    box: Box  # where it is most similar
    field: Box | None  # the pixels that can influence the place; None where these are all
    sight: str  # how much that is, in words
    close: Picture  # what is in the box


def read_patch(origin: Mapping[str, Any] | None, image: Picture) -> Patch | None:
    """The patch of a prototype's provenance in prototypes.json; None for prototypes without places."""
    if not origin or not origin.get("box"):
        return None
    box, field = to_box(origin["box"]), to_box(origin["field"])
    width, height = image.image.size
    share = (field[2] - field[0]) * (field[3] - field[1]) / (width * height)
    if share >= 1:
        return Patch(box, None, "the patch can see the whole image", image.crop(box))
    return Patch(box, field, f"the patch can see {percent(share)} of the image", image.crop(box))


def to_box(sides: list[int]) -> Box:
    """A box as JSON holds it."""
    left, top, right, bottom = sides
    return left, top, right, bottom
