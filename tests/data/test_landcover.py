"""Aerial tiles cut into windows, in the two layouts."""

import csv
import json
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from protolens.config import DataConfig
from protolens.data import DataSet, MemoryImages, StreamedImages, landcover, open_data
from protolens.data.catalog import open_source
from protolens.data.landcover import count_classes
from protolens.data.source import Source
from protolens.errors import ProtolensError
from tests.data.conftest import photograph

CLASSES = ("urban", "agriculture", "rangeland", "forest", "water", "barren")
COLOURS = [(0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]
TILES, HEIGHT, WIDTH, WINDOW = 12, 70, 100, 32
NAMED = {"water": [4, "#E2A929"], "land": [1, "#8429F6"], "Unlabeled": [5, "#9B9B9B"], "road": [2, "#6EC1E4"]}


def drawn(seed: int, values: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Squares of 10 pixels with random numbers below `values`, [height, width]."""
    squares = np.random.default_rng(seed).integers(0, values, (height // 10 + 1, width // 10 + 1), dtype=np.uint8)
    return squares.repeat(10, axis=0).repeat(10, axis=1)[:height, :width]


@pytest.fixture
def globe(tmp_path: Path) -> Path:
    """DeepGlobe in small: tiles of 70 x 100 pixels; the colours of a mask are up to 20 off, as after compression."""
    for tile in range(TILES):
        colours = np.array(COLOURS)[drawn(tile, 7)]
        off = np.random.default_rng(tile).integers(-20, 21, colours.shape)
        Image.fromarray(photograph(tile, (HEIGHT, WIDTH))).save(tmp_path / f"{tile}_sat.jpg")
        Image.fromarray(np.clip(colours + off, 0, 255).astype(np.uint8)).save(tmp_path / f"{tile}_mask.png")
    return tmp_path


@pytest.fixture
def dubai(tmp_path: Path) -> Path:
    """The Dubai layout in small: three parts of each of four tiles, palettes with the values 1, 2, 4 and 5."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    (tmp_path / "classes.json").write_text(json.dumps(NAMED))
    for row in range(12):
        name = f"tile{row % 4 + 9}_part{row:03d}"
        mask = Image.fromarray(np.array([1, 2, 4, 5], dtype=np.uint8)[drawn(row, 4)], mode="P")
        mask.putpalette(list(range(30)))
        mask.save(tmp_path / f"masks/{name}.png")
        Image.fromarray(photograph(row, (HEIGHT, WIDTH))).save(tmp_path / f"images/{name}.jpg")
    return tmp_path


def config(folder: Path, **settings: object) -> DataConfig:
    return DataConfig(name=f"landcover:{folder.name}", root=str(folder.parent), **{"window": WINDOW, **settings})


def source(folder: Path, **settings: object) -> Source:
    return open_source(config(folder, **settings))


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(ProtolensError) as caught:
        source(folder, **settings)
    return str(caught.value)


def splits(data: DataSet) -> tuple:
    return data.training, data.validation, data.test


def place(name: str) -> tuple[str, int, int, int, int]:
    """Photograph, left, top, width and height, out of the name of a window."""
    photo, numbers = name.split("#xywh=")
    return photo, *map(int, numbers.split(","))


def names_at(folder: Path, tops: tuple[int, ...], lefts: tuple[int, ...]) -> list[str]:
    photographs = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    corners = [f"#xywh={left},{top},{WINDOW},{WINDOW}" for top in tops for left in lefts]
    return [photo + corner for photo in photographs for corner in corners]


def test_deepglobe_fills_the_middle_of_its_tiles(globe):
    assert source(globe, label_share=1e-9).parts["training"].names == names_at(globe, (3, 35), (2, 34, 66))


def test_dubai_begins_at_the_top_left(dubai):
    assert source(dubai, label_share=1e-9).parts["training"].names == names_at(dubai, (0, 32), (0, 32, 64))


def test_a_whole_tile_of_deepglobe_gives_a_hundred_windows_of_224_pixels(tmp_path):
    mask = np.zeros((2448, 2448, 3), dtype=np.uint8)
    mask[:, :1224], mask[:, 1224:] = COLOURS[3], COLOURS[4]
    Image.fromarray(mask).save(tmp_path / "7_mask.png", compress_level=1)
    Image.fromarray(mask // 2).save(tmp_path / "7_sat.jpg")
    images = source(tmp_path, window=None, size=8).parts["training"]
    corners = [(left, top) for top in range(104, 2344, 224) for left in range(104, 2344, 224)]
    assert images.names == [f"7_sat.jpg#xywh={left},{top},224,224" for left, top in corners]
    assert images.labels.tolist() == [[0, 0, 0, int(left < 1224), int(left >= 1224), 0] for left, _ in corners]


def tile_numbers(folder: Path, photo: str) -> np.ndarray:
    """The class of each pixel of a tile by the drawing it was made from, 255 = none."""
    if "_sat" in photo:
        numbers = drawn(int(photo.removesuffix("_sat.jpg")), 7)
        return np.where(numbers == 6, 255, numbers)
    numbers = drawn(int(photo[-7:-4]), 4)  # land, road and water in the order of their values
    return np.where(numbers == 3, 255, numbers)


@pytest.mark.parametrize("kind", ["globe", "dubai"])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_labels_are_the_classes_that_cover_enough_of_the_window(request, kind, share):
    folder = request.getfixturevalue(kind)
    opened = source(folder, label_share=share)
    assert opened.classes == (CLASSES if kind == "globe" else ("land", "road", "water"))
    assert (opened.several, list(opened.parts)) == (True, ["training"])
    images = opened.parts["training"]
    found = dict(zip(images.names, images.labels.tolist(), strict=True))
    for name in names_at(folder, *(((3, 35), (2, 34, 66)) if kind == "globe" else ((0, 32), (0, 32, 64)))):
        photo, left, top, width, height = place(name)
        window = tile_numbers(folder, photo)[top : top + height, left : left + width]
        expected = [int((window == k).mean() >= share) for k in range(len(opened.classes))]
        assert found.get(name) == (expected if any(expected) else None)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.booleans(), st.integers(0, 99))
def test_pixels_of_each_class_are_counted_window_by_window(height, width, window, centred, seed):
    numbers = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], dtype=np.uint8), (height, width))
    corners, counts = count_classes(numbers, window, 3, centred)
    row_spare, column_spare = (side % window // 2 if centred else 0 for side in (height, width))
    tops = range(row_spare, height - window + 1, window)
    lefts = range(column_spare, width - window + 1, window)
    expected = [(left, top) for top in tops for left in lefts]
    assert [tuple(corner) for corner in corners.tolist()] == expected
    for (left, top), row in zip(expected, counts.tolist(), strict=True):
        inside = numbers[top : top + window, left : left + window].ravel().tolist()
        assert row == [inside.count(k) for k in range(3)]


@pytest.mark.parametrize("side", [WINDOW, 12, 64])
def test_pixels_and_masks_are_those_that_pillow_cuts_and_resizes(globe, side):
    images = source(globe, size=side).parts["training"]
    assert images.shape == (3, side, side)
    every = torch.arange(len(images))
    pixels, masks = images.take(every).numpy(), images.masks(every).numpy()
    assert masks.dtype == np.uint8
    for row, name in enumerate(images.names):
        photo, left, top, width, height = place(name)
        box = (left, top, left + width, top + height)
        with Image.open(globe / photo) as picture:
            cut = picture.crop(box).resize((side, side), Image.Resampling.BILINEAR)
        numbers = Image.fromarray(tile_numbers(globe, photo).astype(np.uint8)).crop(box)
        assert np.array_equal(pixels[row], np.asarray(cut).transpose(2, 0, 1))
        assert np.array_equal(masks[row], np.asarray(numbers.resize((side, side), Image.Resampling.NEAREST)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["globe", "dubai"])
def test_streaming_gives_the_same_bits_labels_and_masks_as_memory(request, kind, workers):
    folder = request.getfixturevalue(kind)
    held = open_data(config(folder, size=20))
    flowing = open_data(config(folder, size=20, memory=0.0, workers=workers))
    assert held.digests == flowing.digests
    sent = pickle.loads(pickle.dumps(flowing.training.reader))  # as to processes that do not inherit it
    assert np.array_equal(sent(7)[0], flowing.training.reader(7)[0])
    for left, right in zip(splits(held), splits(flowing), strict=True):
        assert (type(left), type(right)) == (MemoryImages, StreamedImages)
        assert list(left.names) == list(right.names)
        assert torch.equal(left.labels, right.labels)
        parts = torch.arange(len(left)).flip(0).split(7)
        assert all(torch.equal(a, b) for a, b in zip(left.batches(parts), right.batches(parts), strict=True))
        assert all(torch.equal(left.masks(part), right.masks(part)) for part in parts)
    assert "Windows are read from their tiles each time; --data.memory 0.1 would hold them all." in flowing.notes


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_opening_decodes_a_photograph_once_not_for_each_window(globe, monkeypatch, memory):
    decoded, decode = [], landcover.picture_pixels
    monkeypatch.setattr(landcover, "picture_pixels", lambda picture: decoded.append(picture.size) or decode(picture))
    windows = len(source(globe, memory=memory).parts["training"])
    assert TILES <= len(decoded) < windows / 3  # a thread that is held up may want a tile that is no longer kept


def test_masks_stay_with_their_windows_in_every_split(dubai):
    for images in splits(open_data(config(dubai))):
        assert images.has_masks
        masks = images.masks(torch.arange(len(images)))
        shares = torch.stack([(masks == k).double().mean(dim=(1, 2)) for k in range(3)], dim=1)
        assert torch.equal((shares >= 0.05).long(), images.labels)


@pytest.mark.parametrize(("kind", "pattern"), [("globe", "_sat"), ("dubai", "_part")])
def test_windows_of_a_tile_stay_in_one_split(request, kind, pattern):
    data = open_data(config(request.getfixturevalue(kind)))
    sides = [{name.split(pattern)[0] for name in images.names} for images in splits(data)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == (12 if kind == "globe" else 4)
    assert all(sides)
    assert data.task.several


def test_tiles_may_be_folders_and_names_without_a_number_are_tiles_of_their_own():
    from protolens.data.splits import group_keys

    names = ["Tile 1/images/a.jpg#xywh=0,0,8,8", "images/tile12_part1.jpg#xywh=0,0,8,8", "images/tile1_part1.jpg#x"]
    assert group_keys([*names, "images/b.jpg#x"], landcover.TILE_NUMBER) == [
        "Tile 1", "images/tile12", "images/tile1", "images/b.jpg",
    ]  # fmt: skip


def test_another_group_of_ones_own_holds_instead(dubai):
    data = open_data(config(dubai, group=r"part\d+"))
    sides = [{place(name)[0] for name in images.names} for images in splits(data)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12


def test_windows_without_a_label_are_left_out_and_told(dubai):
    name = "tile9_part000.png"
    Image.fromarray(np.full((HEIGHT, WIDTH), 5, dtype=np.uint8)).save(dubai / "masks" / name)  # grey numbers do too
    opened = source(dubai, label_share=0.01)
    assert not any("part000" in name for name in opened.parts["training"].names)
    assert opened.notes == (
        "Tiles were cut into 72 windows of 32 x 32 pixels; a class that covers 0.01 of a window or more is one of its "
        "labels.",
        "6 windows without a label were left out.",
    )


def test_bands_and_resizing(globe):
    opened = source(globe, bands=1, size=8)
    assert opened.parts["training"].shape == (1, 8, 8)
    assert "Windows were resized from 32 x 32 to 8 x 8 pixels." in opened.notes


def test_a_folder_by_its_whole_path(globe, tmp_path_factory):
    elsewhere = DataConfig(name=f"landcover:{globe}", root=str(tmp_path_factory.mktemp("root")), window=WINDOW)
    assert open_source(elsewhere).parts["training"].digest == source(globe).parts["training"].digest


def test_a_folder_of_another_layout_or_none(tmp_path):
    end = (
        "holds neither *_sat.jpg with *_mask.png (DeepGlobe) nor classes.json, images/ and masks/ (Dubai); "
        "landcover:FOLDER needs such a folder, below data.root or PROTOLENS_DATA or by its whole path"
    )
    assert refusal(tmp_path) == f"{tmp_path} {end}"
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'} {end}"
    (tmp_path / "classes.json").write_text(json.dumps(NAMED))
    assert refusal(tmp_path) == f"{tmp_path / 'images'} holds no images; put the photographs of the tiles there"


@pytest.mark.parametrize(
    ("kind", "photo", "mask"),
    [
        ("globe", "3_sat.jpg", "3_mask.png"),
        ("dubai", "images/tile10_part001.jpg", "masks/tile10_part001.png"),
    ],
)
def test_a_mask_that_is_missing_of_another_size_or_damaged_is_named(request, kind, photo, mask):
    folder = request.getfixturevalue(kind)
    way_out = "; --skip-unreadable leaves such files out"
    whole = (folder / mask).read_bytes()
    (folder / mask).write_bytes(whole[: len(whole) // 2])
    assert refusal(folder).startswith(f"{folder / mask} cannot be read (")
    with Image.open(folder / photo) as picture:
        picture.resize((60, 50)).save(folder / photo)
    (folder / mask).write_bytes(whole)
    assert refusal(folder) == f"{folder / photo} has 60 x 50 pixels, but {folder / mask} {WIDTH} x {HEIGHT}{way_out}"
    assert len(source(folder, skip_unreadable=True).parts["training"]) == 6 * 11
    (folder / mask).unlink()
    assert refusal(folder) == f"{folder / photo} has no mask {folder / mask}; add it or remove the photograph"


def test_unknown_colours_and_numbers_are_named(tmp_path):
    way_out = "which stands for no class; --skip-unreadable leaves such files out"
    colours = np.full((40, 40, 3), 255, dtype=np.uint8)
    colours[3, 7] = (200, 90, 0)
    Image.fromarray(colours).save(tmp_path / "1_sat.jpg")
    Image.fromarray(colours).save(tmp_path / "1_mask.png")
    assert refusal(tmp_path) == f"{tmp_path / '1_mask.png'} has (200, 90, 0) at row 3, column 7, {way_out}"


def test_unknown_numbers_and_masks_of_colours_are_named(dubai):
    path = dubai / "masks/tile9_part000.png"
    numbers = np.full((HEIGHT, WIDTH), 4, dtype=np.uint8)
    numbers[20, 30] = 3
    Image.fromarray(numbers).save(path)
    assert refusal(dubai).startswith(f"{path} has 3 at row 20, column 30, which stands for no class; ")
    Image.fromarray(numbers).convert("RGB").save(path)
    assert refusal(dubai).startswith(f"{path} cannot be read (its pixels are RGB colours, not numbers of classes); ")


@pytest.mark.parametrize(
    "text", ["", "[]", "[1, 2]", '{"water": "deep"}', '{"water": [300]}', '{"water": [-1]}', '{"a": [1], "b": [1]}']
)
def test_bad_names_of_classes_are_a_sentence(dubai, text):
    (dubai / "classes.json").write_text(text)
    assert refusal(dubai).startswith(f'{dubai / "classes.json"} is not of the form {{"water": [4, "#E2A929"], ...}} (')


def test_windows_larger_than_every_tile_and_shares_that_no_class_has(globe):
    assert refusal(globe, window=101).endswith(" has no tile of 101 x 101 pixels or more; set a smaller data.window")
    assert refusal(globe, label_share=0.99).endswith(
        " has no class that covers 0.99 of a window; set a smaller data.label_share"
    )


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_a_truncated_photograph_stops_the_set_or_is_left_out_with_one_sentence(globe, memory):
    path = globe / "5_sat.jpg"
    path.write_bytes(path.read_bytes()[:-600])
    assert refusal(globe, memory=memory).startswith(f"{path} cannot be read (")
    opened = source(globe, memory=memory, skip_unreadable=True)
    images = opened.parts["training"]
    assert len(images) == 6 * (TILES - 1)
    assert sum(str(path) in note for note in opened.notes) == 1
    assert torch.equal(
        images.masks(torch.tensor([5]))[0], images.subset("test", torch.tensor([5])).masks(torch.tensor([0]))[0]
    )


# ---- the real tiles


def real_windows(root: Path) -> dict[str, list[int]]:
    """Labels of each window by its name, as chips64.csv says."""
    found = {}
    with (root / "dubai-landcover/chips64.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = f"images/{row['image']}.jpg#xywh={row['x']},{row['y']},64,64"
            found[name] = [int(float(row[k]) >= 0.05) for k in ("building", "land", "road", "vegetation", "water")]
    return found


@pytest.fixture
def real(data_root: Path) -> DataSet:
    if not (data_root / "dubai-landcover/chips64.csv").is_file():
        pytest.skip(f"{data_root} does not hold dubai-landcover, the aerial tiles that this test reads")
    return open_data(DataConfig(name="landcover:dubai-landcover", root=str(data_root)))


def test_the_windows_of_dubai_have_their_published_labels(real, data_root):
    assert real.task.classes == ("building", "land", "road", "vegetation", "water")
    assert (real.task.bands, real.task.size, real.task.several) == (3, (64, 64), True)
    expected = {name: labels for name, labels in real_windows(data_root).items() if any(labels)}
    found = {}
    for images in splits(real):
        found |= dict(zip(images.names, images.labels.tolist(), strict=True))
    assert len(found) == 5534
    assert found == expected
    assert "1 window without a label was left out." in real.notes


def test_the_tiles_of_dubai_stay_whole_and_every_split_has_every_class(real):
    sides: dict[str, set[str]] = defaultdict(set)
    for images in splits(real):
        assert images.labels.any(dim=0).all()
        for name in images.names:
            sides[name.split("_")[0]].add(images.name)
    assert len(sides) == 8
    assert all(len(where) == 1 for where in sides.values())
    assert real.leaks == ()
