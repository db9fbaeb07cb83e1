"""Image files of all kinds become the bytes a model sees, or a sentence."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from protolens.data import read_image
from protolens.data.decode import count_bands, fit, to_bands, to_bytes
from protolens.errors import ProtolensError
from tests.data.conftest import Save, photograph

SIZE = (40, 50)  # of `photograph`: nothing is resized


def read(path: Path, bands: int = 3, size: tuple[int, int] = SIZE) -> np.ndarray:
    image = read_image(path, bands, size)
    assert image.dtype == torch.uint8
    assert image.shape == (bands, *size)
    return image.numpy()


def refusal(path: Path, bands: int = 3) -> str:
    with pytest.raises(ProtolensError) as caught:
        read_image(path, bands, SIZE)
    return str(caught.value)


def bands_first(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1)


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "ppm", "bmp"])
def test_lossless_colour_files_keep_every_pixel(save: Save, suffix):
    assert np.array_equal(read(save(f"a.{suffix}", photograph(1))), bands_first(photograph(1)))


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {"quality": 95}), ("webp", {"lossless": True})])
def test_jpeg_and_webp_are_read(save: Save, suffix, options):
    got = read(save(f"a.{suffix}", photograph(1), **options))
    assert np.abs(got.astype(int) - bands_first(photograph(1))).mean() < 6


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "bmp"])
def test_grey_files_keep_every_pixel_and_become_three_equal_bands(save: Save, suffix):
    grey = photograph(1)[:, :, 0]
    path = save(f"a.{suffix}", grey)
    assert count_bands(path) == 1
    assert np.array_equal(read(path, 1)[0], grey)
    assert all(np.array_equal(band, grey) for band in read(path, 3))


def test_colour_becomes_the_grey_of_pillow(save: Save):
    path = save("a.png", photograph(1))
    assert count_bands(path) == 3
    assert np.array_equal(read(path, 1)[0], np.asarray(Image.open(path).convert("L")))


def test_a_whole_array_of_colour_becomes_grey_as_one_image_does():
    images = np.stack([bands_first(photograph(seed)) for seed in range(3)])
    assert np.array_equal(to_bands(images, 1), np.stack([to_bands(image, 1) for image in images]))


def test_a_palette_becomes_colour(save: Save, tmp_path):
    indexed = Image.fromarray(photograph(1)).quantize(16)
    indexed.save(tmp_path / "a.png")
    assert count_bands(tmp_path / "a.png") == 3
    assert np.array_equal(read(tmp_path / "a.png"), bands_first(np.asarray(indexed.convert("RGB"))))


def test_cmyk_becomes_colour(tmp_path):
    picture = Image.fromarray(photograph(1)).convert("CMYK")
    picture.save(tmp_path / "a.tif")
    assert np.array_equal(read(tmp_path / "a.tif"), bands_first(np.asarray(picture.convert("RGB"))))


def test_a_black_and_white_file_holds_0_and_255(tmp_path):
    mask = photograph(1)[:, :, 0] > 128
    Image.fromarray(mask).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png", 1)[0], mask * 255)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_transparent_image_lies_over_white(tmp_path, suffix):
    pixels = np.dstack([photograph(1), np.tile(np.linspace(0, 255, SIZE[1]).astype(np.uint8), (SIZE[0], 1))])
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", lossless=True)
    share = pixels[:, :, 3:] / 255.0
    expected = share * pixels[:, :, :3] + (1 - share) * 255
    got = read(tmp_path / f"a.{suffix}")
    assert np.abs(got - bands_first(expected)).max() <= 1
    assert got[:, :, 0].min() == 255


def test_transparent_grey_stays_grey(tmp_path):
    pixels = np.dstack([photograph(1)[:, :, 0], np.zeros(SIZE, dtype=np.uint8)])
    Image.fromarray(pixels, "LA").save(tmp_path / "a.png")
    assert count_bands(tmp_path / "a.png") == 1
    assert read(tmp_path / "a.png", 1).min() == 255


def test_a_transparent_palette_lies_over_white(tmp_path):
    indexed = Image.fromarray(photograph(1)).quantize(4)
    indexed.save(tmp_path / "a.png", transparency=0)
    clear = np.asarray(indexed) == 0
    assert clear.any()
    assert (read(tmp_path / "a.png")[:, clear] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_respected(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photograph(1)).save(tmp_path / "a.png", exif=exif)
    pixels = photograph(1)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert np.array_equal(read(tmp_path / "a.png", size=upright.shape[:2]), bands_first(upright))


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_sixteen_bits_are_divided_by_257_and_rounded(tmp_path, suffix):
    values = np.linspace(0, 65535, 2000).astype(np.uint16).reshape(SIZE)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read(tmp_path / f"a.{suffix}", 1)[0], np.rint(values / 257))


def test_every_16_bit_value_is_rounded_to_the_nearest_byte():
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_bytes(values), np.floor(values / 257 + 0.5))


def test_floats_from_zero_to_one_are_read(tmp_path):
    values = np.linspace(0, 1, 2000, dtype=np.float32).reshape(SIZE)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert np.array_equal(read(tmp_path / "a.tif", 1)[0], np.rint(values * 255))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan"), float("inf")])
def test_floats_outside_of_zero_to_one_are_refused(tmp_path, wrong):
    values = np.full(SIZE, 0.5, dtype=np.float32)
    values[3, 4] = wrong
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert refusal(tmp_path / "a.tif", 1) == f"{tmp_path / 'a.tif'} cannot be read (it holds floats outside of 0 to 1)"


def test_signed_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((5, *SIZE), -3, dtype=np.int16))
    assert "it holds int16 values; 8-bit, unsigned 16-bit, or floats of 0 to 1" in refusal(tmp_path / "a.tif", 5)


STACK = np.random.default_rng(0).integers(0, 256, (5, *SIZE), dtype=np.uint8)


@pytest.mark.parametrize(
    ("stored", "options"),
    [
        (STACK, {}),
        (STACK, {"photometric": "minisblack", "planarconfig": "separate"}),
        (STACK.transpose(1, 2, 0), {}),
        (STACK.transpose(1, 2, 0), {"photometric": "minisblack", "planarconfig": "contig"}),
        (STACK, {"compression": "zlib"}),
    ],
)
def test_many_bands_are_read_first_or_last(tmp_path, stored, options):
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    assert count_bands(tmp_path / "a.tif") == 5
    assert np.array_equal(read(tmp_path / "a.tif", 5), STACK)


def test_many_bands_of_16_bits_and_of_floats_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK.astype(np.uint16) * 257)
    tifffile.imwrite(tmp_path / "b.tif", STACK / np.float32(255))
    assert np.array_equal(read(tmp_path / "a.tif", 5), STACK)
    assert np.array_equal(read(tmp_path / "b.tif", 5), STACK)


def test_two_bands_and_four_bands_are_no_grey_and_no_transparency(tmp_path):
    for bands in (2, 4):
        tifffile.imwrite(tmp_path / "a.tif", STACK[:bands], photometric="minisblack")
        assert count_bands(tmp_path / "a.tif") == bands
        assert np.array_equal(read(tmp_path / "a.tif", bands), STACK[:bands])


def test_the_fourth_band_is_transparency_only_where_four_were_not_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[:4].transpose(1, 2, 0))  # tifffile writes this as RGB with alpha
    assert count_bands(tmp_path / "a.tif") == 3
    assert np.array_equal(read(tmp_path / "a.tif", 4), STACK[:4])
    share = STACK[3] / 255
    assert np.abs(read(tmp_path / "a.tif", 3) - (share * STACK[:3] + (1 - share) * 255)).max() <= 1


def test_sixteen_bit_colour_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[:3].astype(np.uint16).transpose(1, 2, 0) * 257, photometric="rgb")
    assert np.array_equal(read(tmp_path / "a.tif", 3), STACK[:3])


def test_bands_that_cannot_be_told_from_sides_are_asked_for(tmp_path):
    cube = np.random.default_rng(0).integers(0, 256, (6, 6, 8), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", cube, photometric="minisblack")
    assert "which of its axes 6 x 6 x 8 are bands is unclear; data.bands says it" in refusal(tmp_path / "a.tif", 3)
    assert np.array_equal(read(tmp_path / "a.tif", 8, (6, 6)), cube.transpose(2, 0, 1))


def test_a_stack_of_colour_pages_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, *SIZE, 3), dtype=np.uint8))
    assert "it has 4 axes, 2 x 40 x 50 x 3, instead of 2 or 3" in refusal(tmp_path / "a.tif")


def test_other_bands_than_grey_and_colour_are_not_converted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    assert refusal(tmp_path / "a.tif", 3) == f"{tmp_path / 'a.tif'} cannot be read (it has 5 bands, not 3)"


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))
@settings(deadline=None)
def test_any_size_is_cut_at_the_centre_and_resized(rows, columns, height, width, bands):
    pixels = np.random.default_rng(0).integers(0, 256, (bands, rows, columns), dtype=np.uint8)
    got = fit(pixels, bands, (height, width))
    zoom = min(rows / height, columns / width)
    cut = max(1, round(zoom * height)), max(1, round(zoom * width))
    top, left = (rows - cut[0]) // 2, (columns - cut[1]) // 2
    for band, result in zip(pixels, got, strict=True):
        window = Image.fromarray(band).crop((left, top, left + cut[1], top + cut[0]))
        assert np.array_equal(result, np.asarray(window.resize((width, height), Image.Resampling.BILINEAR)))


def test_the_shorter_side_fills_the_square_and_shapes_stay():
    rows, columns = np.mgrid[:200, :300]
    disc = (((rows - 99.5) ** 2 + (columns - 149.5) ** 2 < 80**2) * 255).astype(np.uint8)[None]
    (small,) = fit(disc, 1, (50, 50)) > 127
    assert small.sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    assert small.any(axis=0).sum() == small.any(axis=1).sum() == 40


def test_resizing_does_not_alias():
    checks = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[None]
    inner = fit(checks, 1, (32, 32))[0, 1:-1, 1:-1].astype(int)
    assert np.abs(inner - 127.5).max() < 3


def test_a_large_jpeg_is_read_at_a_fraction_and_still_looks_the_same(save: Save):
    path = save("a.jpg", photograph(1, (1200, 1600)), quality=95)
    whole = fit(bands_first(np.asarray(Image.open(path))), 3, (32, 32))
    assert np.abs(read(path, size=(32, 32)).astype(int) - whole).mean() < 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "ppm"])
def test_a_truncated_file_says_how_much_of_it_is_there(save: Save, suffix, share):
    path = save(f"a.{suffix}", photograph(1))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    length = f"{int(share * len(content)):,}"
    assert refusal(path) == f"{path} cannot be read (truncated after {length} bytes)"


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "ppm", "webp"])
def test_a_part_of_a_file_is_never_an_image(save: Save, suffix, share):
    path = save(f"a.{suffix}", photograph(1))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refusal(path).startswith(f"{path} cannot be read (")


def test_a_phone_picture_with_a_second_one_inside_is_the_first(tmp_path):
    pictures = [Image.fromarray(photograph(seed)) for seed in range(2)]
    pictures[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pictures[1:], quality=95)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - bands_first(photograph(0))).mean() < 6


def test_an_empty_file_a_text_and_no_file_are_told_apart(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    assert "(it is empty)" in refusal(tmp_path / "empty.png")
    assert "(no PNG, JPEG, TIFF, PPM, BMP or WebP image)" in refusal(tmp_path / "text.png")
    assert "(no such file or directory)" in refusal(tmp_path / "missing.png")
    assert "(is a directory)" in refusal(tmp_path)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims to be so large, and holds next to nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_a_decompression_bomb_is_not_unpacked(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png_of_size(side, side))
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        assert "more than 89,478,485 pixels" in refusal(tmp_path / "bomb.png")
    assert remarks == []


def test_a_many_band_bomb_is_not_unpacked(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1999)
    assert "2,000 pixels, more than 1,999" in refusal(tmp_path / "a.tif", 5)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8\xff\xe0", b"P6 9 9 255\n"]),
)
@settings(deadline=None)
def test_rubbish_ends_in_a_sentence(tmp_path_factory, content, start):
    for suffix in ("png", "tif"):
        path = tmp_path_factory.getbasetemp() / f"rubbish.{suffix}"
        path.write_bytes(start + content[: 200 - len(start)])
        assert refusal(path).startswith(f"{path} cannot be read (")
