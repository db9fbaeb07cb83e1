"""The picture files of a run as data that a page can hold."""

import base64
import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from protolens.errors import ProtolensError

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 256  # pixels of the longer side that a page holds
THUMBNAIL = 96  # and where the same picture is shown again, small
OUTSIDE = 1  # pixels from a box to the middle of the line around it
Box = tuple[int, int, int, int]  # left, top, right, bottom in a picture's own pixels; right and bottom are exclusive
SEEN = 16  # levels of 256 between the darkest and the lightest pixel of a picture that shows something


@dataclass(frozen=True)
class Shown:
    """How a picture is shown: its size in pixels, and whether its own pixels are drawn with hard edges."""

    width: int
    height: int
    hard: bool


@dataclass(frozen=True)
class Frame:
    """A rectangle around a box of a picture, in the pixels that it is shown with."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """A PNG picture. content: the bytes of its file."""

    content: bytes

    @cached_property
    def image(self) -> "Image":
        """The decoded picture, grey or RGB."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.content))
        return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")

    @property
    def blank(self) -> bool:
        """Whether the eye sees nothing in it: every band has about one value."""
        import numpy as np

        return bool((np.ptp(np.asarray(self.image), axis=(0, 1)) < SEEN).all())

    @cached_property
    def uri(self) -> str:
        """The picture for a page, large pictures reduced to LARGEST pixels."""
        return self._uri(LARGEST)

    @cached_property
    def thumbnail(self) -> str:
        """The picture for small places."""
        return self._uri(THUMBNAIL)

    def shown(self, target: int) -> Shown:
        """How to show it with a longer side of at most `target` pixels: enlarged to whole multiples, never blurred."""
        width, height = self.image.size
        scale = target / max(width, height)
        hard = scale >= 1
        if hard:
            scale = int(scale)
        return Shown(max(1, round(width * scale)), max(1, round(height * scale)), hard)

    def frame(self, box: Box, target: int) -> Frame:
        """Where a line around a box runs when the picture is shown: just outside, so that it hides nothing."""
        shown, (width, height) = self.shown(target), self.image.size
        left, right = (shown.width * x / width for x in box[::2])
        top, bottom = (shown.height * y / height for y in box[1::2])
        place = (left - OUTSIDE, top - OUTSIDE, right - left + 2 * OUTSIDE, bottom - top + 2 * OUTSIDE)
        return Frame(*(round(value, 2) for value in place))

    def crop(self, box: Box) -> "Picture":
        """The part of the picture in a box."""
        buffer = io.BytesIO()
        self.image.crop(box).save(buffer, format="PNG", optimize=True)
        return Picture(buffer.getvalue())

    def at(self, target: int) -> "Image":
        """The picture as `shown` says, in RGB."""
        from PIL.Image import Resampling

        shown = self.shown(target)
        method = Resampling.NEAREST if shown.hard else Resampling.LANCZOS
        return self.image.convert("RGB").resize((shown.width, shown.height), method)

    def _uri(self, largest: int) -> str:
        return f"data:image/png;base64,{base64.b64encode(self._reduced(largest)).decode()}"

    def _reduced(self, largest: int) -> bytes:
        if max(self.image.size) <= largest:
            return self.content
        small = self.image.copy()
        small.thumbnail((largest, largest))
        buffer = io.BytesIO()
        small.save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()


@dataclass
class Album:
    """The pictures in a run folder, each read once."""

    folder: Path
    pictures: dict[str, Picture] = field(default_factory=dict)

    def open(self, name: str, mend: str) -> Picture:
        """The picture at a path below the folder. `mend`: what to do where it is missing, for the message.

        Raises ProtolensError when it is missing, no picture, or outside of the folder.
        """
        if name not in self.pictures:
            self.pictures[name] = self._read(name, mend)
        return self.pictures[name]

    def _read(self, name: str, mend: str) -> Picture:
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ProtolensError(f"{self.folder}: the picture {name} lies outside of the run folder; {mend}")
        try:
            picture = Picture(path.read_bytes())
            picture.image.load()
        except FileNotFoundError:
            raise ProtolensError(f"the picture {path} is missing; {mend}") from None
        except (OSError, ValueError, SyntaxError) as error:
            raise ProtolensError(f"the picture {path} cannot be read ({_first(error)}); {mend}") from error
        return picture


def _first(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Pillow names the memory address of its buffer
    return "it is no PNG file" if "cannot identify" in str(error) else str(error).rstrip(".")
