"""Images that people drop, and what is no image."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from protolens.data.decode import quiet_decoders
from protolens.errors import ProtolensError
from protolens.serve import uploads as module
from protolens.serve.uploads import Uploads, limit_pixels

GREY, COLOUR = (1, 8, 8), (3, 16, 16)


@pytest.fixture
def uploads():
    with quiet_decoders(), limit_pixels():
        yield Uploads([GREY, COLOUR])


def png(size=(16, 16), mode="RGB") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of some kilobytes that says that it has side x side pixels, and has them: all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 1)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_an_image_comes_back_as_each_model_takes_it(uploads):
    number = uploads.add(png())
    assert uploads.pixels(number, GREY).shape == (1, 8, 8)
    assert uploads.pixels(number, COLOUR).dtype == torch.uint8
    whole = torch.from_numpy(np.asarray(Image.open(io.BytesIO(png()))).copy()).permute(2, 0, 1)
    assert torch.equal(uploads.pixels(number, COLOUR), whole)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        png()[:90],
        b"\x80\x04K\x01.",
        b"II*\0" + b"\xff" * 64,
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(uploads, content):
    with pytest.raises(ProtolensError, match=r"drop (another|a PNG)"):
        uploads.add(content)
    assert not uploads.kept


def test_a_bomb_is_refused_before_it_is_unpacked(uploads):
    content = bomb(30_000)
    assert len(content) < 200_000
    with pytest.raises(ProtolensError, match="more than 50,000,000"):
        uploads.add(content)


def test_only_the_last_are_kept(uploads, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    numbers = [uploads.add(png()) for _ in range(5)]
    assert len(set(numbers)) == 5
    assert list(uploads.kept) == numbers[2:]
    with pytest.raises(ProtolensError, match="drop it again"):
        uploads.pixels(numbers[0], GREY)


def test_a_model_that_came_later_says_so(uploads):
    number = uploads.add(png())
    with pytest.raises(ProtolensError, match="no model of that size"):
        uploads.pixels(number, (3, 99, 99))


def test_bands_that_one_model_cannot_take_are_told_for_that_model_alone():
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((16, 16, 5), dtype=np.uint8), photometric="minisblack", planarconfig="contig")
    with quiet_decoders():
        uploads = Uploads([GREY, (5, 16, 16)])
        number = uploads.add(file.getvalue())
    assert uploads.pixels(number, (5, 16, 16)).shape == (5, 16, 16)
    with pytest.raises(ProtolensError, match="this model cannot take the image"):
        uploads.pixels(number, GREY)


def test_nothing_is_left_on_the_disk(uploads, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    uploads.add(png())
    assert not list(tmp_path.iterdir())
