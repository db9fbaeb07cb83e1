"""From one image file to uint8 pixels with the model's bands and size. The same for folders, streams and `explain`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protolens.errors import ProtolensError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = NDArray[np.uint8]
FORMATS = ("PNG", "JPEG", "TIFF", "PPM", "BMP", "WEBP")
TIFF = frozenset({".tif", ".tiff"})
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".webp"}) | TIFF
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})


class UnreadableError(Exception):
    """A file gives no pixels. The text says why and fits into "NAME cannot be read (...)"."""


def read_image(path: Path, task_bands: int, size: tuple[int, int]) -> Tensor:
    """One image file as a folder's would be read. size: height and width; returns uint8 [C, H, W].

    Raises ProtolensError when the file is missing, damaged, of an unknown format, or has other bands.
    """
    try:
        with quiet_decoders():
            return torch.tensor(decode(path, task_bands, size))
    except UnreadableError as reason:
        raise ProtolensError(f"{path} cannot be read ({reason})") from reason


def decode(path: Path, bands: int, size: tuple[int, int]) -> Pixels:
    """The pixels of a file, upright, over white, cropped and resized. Returns [bands, height, width].

    Raises UnreadableError for whatever is wrong with the file.
    """
    try:
        if path.suffix.lower() in TIFF and not _is_plain_tiff(path, bands):
            pixels = _tiff_pixels(path, bands)
        else:
            pixels = _picture_pixels(path, size)
        return fit(pixels, bands, size)
    except Exception as error:  # decoders raise anything at all on damaged files
        raise UnreadableError(_reason(error, path)) from error


def count_bands(path: Path) -> int:
    """How many bands a file has once it is over white, from its header alone. Raises UnreadableError."""
    from PIL import Image

    try:
        if path.suffix.lower() in TIFF and not _is_plain_tiff(path, 0):
            return _tiff_shape(path)[0]
        with Image.open(path, formats=FORMATS) as picture:
            return 1 if _is_grey(picture.mode) else 3
    except Exception as error:
        raise UnreadableError(_reason(error, path)) from error


def fit(pixels: Pixels, bands: int, size: tuple[int, int]) -> Pixels:
    """Cut the largest centred window of the asked shape, resize it without aliasing, convert grey and colour.

    pixels: [C, h, w]; size: height and width; returns [bands, height, width], the same pixels where nothing differs.
    Integer arithmetic throughout, so that every machine gets the same bytes. Raises UnreadableError for other bands.
    """

    height, width = size
    if pixels.shape[1:] != size:
        zoom = min(pixels.shape[1] / height, pixels.shape[2] / width)
        rows, columns = max(1, round(zoom * height)), max(1, round(zoom * width))
        top, left = (pixels.shape[1] - rows) // 2, (pixels.shape[2] - columns) // 2
        pixels = resized(pixels[:, top : top + rows, left : left + columns], size)
    return to_bands(pixels, bands)


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Another height and width without aliasing, whatever the shape was. [C, h, w] -> [C, *size]."""
    from PIL import Image

    height, width = size
    window = np.ascontiguousarray(pixels)
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in window]
    return np.stack([np.asarray(plane) for plane in planes])


def to_bands(images: Pixels, bands: int) -> Pixels:
    """Grey as three equal bands, or colour as grey (ITU-R 601). images: [..., C, H, W]. Else UnreadableError."""
    have = images.shape[-3]
    if have == bands:
        return images
    if (have, bands) == (1, 3):
        return np.repeat(images, 3, axis=-3)
    if (have, bands) == (3, 1):
        red, green, blue = (images[..., band, None, :, :].astype(np.uint32) for band in range(3))
        return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)
    raise UnreadableError(f"it has {have} band{'s' * (have != 1)}, not {bands}")


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Decompression bombs become errors, and remarks of the decoders stay unsaid. Enter it outside of threads."""
    from PIL import Image

    log = logging.getLogger("tifffile")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        log.setLevel(level)


def _refuse_bomb(pixels: int) -> None:
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        raise UnreadableError(f"{pixels:,} pixels, more than {Image.MAX_IMAGE_PIXELS:,}")


def _is_grey(mode: str) -> bool:
    return mode in GREY_MODES or mode.startswith("I;")


def _picture_pixels(path: Path, size: tuple[int, int]) -> Pixels:
    """[C, h, w] by Pillow; a JPEG at an eighth, a quarter or half of its size where that is twice what is needed."""
    from PIL import Image

    with Image.open(path, formats=FORMATS) as picture:
        _refuse_bomb(picture.width * picture.height)
        picture.draft(picture.mode, (2 * max(size), 2 * max(size)))
        return picture_pixels(picture)


def picture_pixels(picture: "Picture") -> Pixels:
    """A Pillow image as [C, h, w]: upright, palette as colour, over white where transparent. Raises UnreadableError."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    grey = _is_grey(picture.mode)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        return to_bytes(np.asarray(picture))[None]
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    pixels = np.asarray(picture.convert("L" if grey else "RGB"))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def to_bytes(values: NDArray[Any]) -> Pixels:
    """Pixel values of any depth as uint8: 16-bit divided by 257, floats in [0, 1] times 255, both rounded.

    Raises UnreadableError for other types and ranges: no guess is made about what their white is.
    """
    kind = values.dtype
    if kind == np.uint8:
        return values
    if kind == np.bool_:
        return values.astype(np.uint8) * 255
    if np.issubdtype(kind, np.floating):
        if not (values.min() >= 0 and values.max() <= 1):  # NaN compares false
            raise UnreadableError("it holds floats outside of 0 to 1")
        return np.rint(values * 255).astype(np.uint8)
    # Pillow gives a 16-bit PGM as 32-bit integers
    if kind in (np.uint16, np.int32) and values.min() >= 0 and values.max() <= 65535:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise UnreadableError(f"it holds {kind} values; 8-bit, unsigned 16-bit, or floats of 0 to 1 can be read")


def _is_plain_tiff(path: Path, bands: int) -> bool:
    """Whether a TIFF is a usual picture, which Pillow reads in more compressions; else it is a stack of bands."""
    from tifffile import EXTRASAMPLE, PHOTOMETRIC, TiffFile

    with TiffFile(path) as file:
        page, pages = file.series[0].keyframe, len(file.series[0].pages)
        if pages > 1 or page.samplesperpixel == 1:
            return bool(pages == 1)
        alpha = page.extrasamples in ((EXTRASAMPLE.ASSOCALPHA,), (EXTRASAMPLE.UNASSALPHA,))
        colour = page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR, PHOTOMETRIC.SEPARATED)
        # four samples are four bands where four were asked for, whatever the file calls the last one
        wanted = page.samplesperpixel == bands > 3
        return bool(colour and page.bitspersample == 8 and (alpha or not page.extrasamples) and not wanted)


def _tiff_shape(path: Path, wanted: int = 0) -> tuple[int, int]:
    """Number of bands of a many-band TIFF, and their axis: the first or the last. Raises UnreadableError if unclear."""
    from tifffile import TiffFile

    with TiffFile(path) as file:
        shape, axes = file.series[0].shape, file.series[0].axes
    if len(shape) != 3:
        raise UnreadableError(f"it has {len(shape)} axes, {' x '.join(map(str, shape))}, instead of 2 or 3")
    sides = {axis: shape[axis] for axis in (0, 2)}
    _refuse_bomb(int(np.prod(shape)) // min(shape))
    if "S" in axes:  # samples of a pixel, said by the file itself
        axis = axes.index("S")
    elif list(sides.values()).count(wanted) == 1:
        axis = next(axis for axis, side in sides.items() if side == wanted)
    elif shape.count(min(shape)) == 1 and min(shape) != shape[1]:
        axis = shape.index(min(shape))
    else:
        raise UnreadableError(
            f"which of its axes {' x '.join(map(str, shape))} are bands is unclear; data.bands says it"
        )
    return shape[axis], axis


def _tiff_pixels(path: Path, bands: int) -> Pixels:
    """[C, h, w] of a many-band TIFF, bands first or last."""
    from tifffile import imread

    _, axis = _tiff_shape(path, bands)
    values: NDArray[Any] = imread(path)
    return to_bytes(np.moveaxis(values, axis, 0))


def _reason(error: Exception, path: Path) -> str:
    """Why a decoder failed, in words that fit into brackets."""
    from PIL import Image, UnidentifiedImageError

    text = first_line(error)
    if isinstance(error, UnreadableError):
        return text
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    length = path.stat().st_size
    if length == 0:
        return "it is empty"
    if any(word in text.lower() for word in ("truncated", "eof", "failed to read", "not enough")):
        return f"truncated after {length:,} bytes"
    if isinstance(error, UnidentifiedImageError):
        return "no PNG, JPEG, TIFF, PPM, BMP or WebP image"
    return text if isinstance(error, OSError | ValueError | SyntaxError) else f"damaged: {text}"
