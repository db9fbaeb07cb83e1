"""Images that people drop: decoded once, reduced to what the models take, kept in memory for a while."""

import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from protolens.config import Task
from protolens.data.decode import UnreadableError, decode
from protolens.errors import ProtolensError

LARGEST = 10 << 20  # bytes of an upload
PIXELS = 50_000_000  # of an image before it is reduced
KEPT = 64  # images
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
Shape = tuple[int, int, int]  # bands, height, width


def shape_of(task: Task) -> Shape:
    """What a model takes."""
    return (task.bands, task.height, task.width)


class Uploads:
    """The last images by number, as the models of this server take them."""

    def __init__(self, shapes: Iterable[Shape]):
        self.shapes = sorted(set(shapes))
        self.kept: OrderedDict[str, dict[Shape, Tensor | str]] = OrderedDict()
        self.lock = threading.Lock()

    def add(self, content: bytes) -> str:
        """Read the bytes of an image file; returns its number. Raises ProtolensError where they are none."""
        if not content:
            raise ProtolensError("the file is empty; drop a PNG, JPEG, TIFF, PPM, BMP or WebP image")
        read = {shape: _read(content, shape) for shape in self.shapes}
        reasons = [reason for reason in read.values() if isinstance(reason, str)]
        if len(reasons) == len(read):
            raise ProtolensError(f"this file cannot be read ({reasons[0]}); drop another image")
        number = secrets.token_urlsafe(12)
        with self.lock:
            self.kept[number] = read
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return number

    def pixels(self, number: str, shape: Shape) -> Tensor:
        """The image as a model takes it, uint8 [C, H, W]. Raises ProtolensError where it is gone, or does not fit."""
        with self.lock:
            read = self.kept.get(number)
        if read is None:
            raise ProtolensError("this image is no longer kept; drop it again")
        found = read.get(shape, "no model of that size was here when it came")
        if isinstance(found, str):
            raise ProtolensError(f"this model cannot take the image ({found})")
        return found


def _read(content: bytes, shape: Shape) -> Tensor | str:
    """The pixels, or why there are none."""
    # decoders tell a TIFF by its name, and read one of many bands from a file alone
    suffix = ".tif" if content[:4] in TIFF else ".png"
    with tempfile.TemporaryDirectory(prefix="protolens-") as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        try:
            return torch.from_numpy(decode(path, shape[0], shape[1:]).copy())
        except UnreadableError as reason:
            return str(reason)


@contextmanager
def limit_pixels(most: int = PIXELS) -> Iterator[None]:
    """While inside, no image of more pixels is decoded."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
