"""The picture files of a run as data that a page can hold."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from protolens.errors import ProtolensError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

T = TypeVar("T")
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
        return Picture(encoded(self.image.crop(box)))

    def edged(self, colour: str) -> "Picture":
        """The picture with a broad edge of a colour."""
        from PIL import ImageOps

        return Picture(encoded(ImageOps.expand(self.image.convert("RGB"), max(self.image.size) // 8, colour)))

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
        return encoded(small)


def encoded(image: "Image") -> bytes:
    """The PNG file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
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
            self.pictures[name] = self._read(name, mend, "picture", _to_picture)
        return self.pictures[name]

    def arrays(self, name: str, mend: str) -> "dict[str, NDArray[Any]]":
        """The arrays of an npz file by their names. Raises ProtolensError as `open` does."""
        return self._read(name, mend, "file", _to_arrays)

    def _read(self, name: str, mend: str, kind: str, read: Callable[[bytes], T]) -> T:
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ProtolensError(f"{self.folder}: the {kind} {name} lies outside of the run folder; {mend}")
        try:
            return read(path.read_bytes())
        except FileNotFoundError:
            raise ProtolensError(f"the {kind} {path} is missing; {mend}") from None
        except (OSError, ValueError, SyntaxError, EOFError, BadZipFile) as error:
            raise ProtolensError(f"the {kind} {path} cannot be read ({_first(error)}); {mend}") from error


def _to_picture(content: bytes) -> Picture:
    picture = Picture(content)
    picture.image.load()
    return picture


def _to_arrays(content: bytes) -> "dict[str, NDArray[Any]]":
    import numpy as np

    with np.load(io.BytesIO(content)) as file:
        return dict(file)


def _first(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Pillow names the memory address of its buffer
    return "it is no PNG file" if "cannot identify" in str(error) else str(error).rstrip(".")
