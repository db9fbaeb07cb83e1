"""The birds: official split, boxes, names and damaged folders, on a small folder in the official layout."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from protolens.config import DataConfig
from protolens.data import MemoryImages, StreamedImages, open_data
from protolens.data.catalog import open_source
from protolens.errors import ProtolensError
from tests.data.conftest import photograph

CLASSES = ["001.Black_footed_Albatross", "002.Crested_Auklet", "003.Brown_Creeper"]
BOXES = ["3.4 5.6 20.2 30.0", "0.00 0.00 50.00 40.00", "10.5 2.5 30.5 20.5", "-4.0 30.0 20.0 400.0"]
COUNT = 24


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """24 images of 50 x 40 pixels in three classes; every third is for the test. The numbers have gaps."""
    folder = tmp_path / "CUB_200_2011"
    images, labels, splits, boxes = [], [], [], []
    for row in range(COUNT):
        number, place = 10 + 3 * row, row % 3
        name = f"{CLASSES[place]}/bird_{row}.{'jpg' if row % 2 else 'png'}"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(photograph(row))
        (picture.convert("L") if row == 5 else picture).save(path)
        images.append(f"{number} {name}")
        labels.append(f"{number} {place + 1}")
        splits.append(f"{number} {int(row // 3 % 3 != 2)}")
        boxes.append(f"{number} {BOXES[row % 4]}")
    write(folder / "images.txt", images)
    write(folder / "image_class_labels.txt", labels[::-1])  # beside the number, the order says nothing
    write(folder / "train_test_split.txt", splits)
    write(folder / "bounding_boxes.txt", boxes)
    write(folder / "classes.txt", [f"{index + 1} {name}" for index, name in enumerate(CLASSES)])
    return folder


def write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def config(folder: Path, **settings: object) -> DataConfig:
    return DataConfig(name="cub", root=str(folder.parent), **{"size": 16, **settings})


def replace_name(settings: DataConfig, name: str) -> DataConfig:
    return dataclasses.replace(settings, name=name)


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(ProtolensError) as caught:
        open_source(config(folder, **settings))
    return str(caught.value)


def replace(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line] = text
    write(path, [each for each in lines if each])


def test_each_bird_is_in_its_official_split_with_its_class(birds):
    source = open_source(config(birds))
    assert source.classes == ("Black footed Albatross", "Crested Auklet", "Brown Creeper")
    assert source.mirror == ""
    rows = {
        "training": [r for r in range(COUNT) if r // 3 % 3 != 2],
        "test": [r for r in range(COUNT) if r // 3 % 3 == 2],
    }
    assert set(source.parts) == set(rows)
    for split, images in source.parts.items():
        assert [int(Path(name).stem.removeprefix("bird_")) for name in images.names] == rows[split]
        assert images.labels.tolist() == [row % 3 for row in rows[split]]
        assert all((birds / "images" / name).is_file() for name in images.names)


def test_pixels_are_those_that_pillow_cuts_and_resizes(birds):
    seen = 0
    for images in open_source(config(birds)).parts.values():
        for position, name in enumerate(images.names):
            row = int(Path(name).stem.removeprefix("bird_"))
            left, top, width, height = map(float, BOXES[row % 4].split())
            corners = (max(left, 0), max(top, 0), min(left + width, 50), min(top + height, 40))
            with Image.open(birds / "images" / name) as picture:
                cut = (
                    picture.convert("RGB").crop(tuple(map(round, corners))).resize((16, 16), Image.Resampling.BILINEAR)
                )
            pixels = images.take(torch.tensor([position]))[0].numpy()
            assert np.array_equal(pixels, np.asarray(cut).transpose(2, 0, 1)), name
            seen += 1
    assert seen == COUNT


def test_the_size_is_224_colour_pixels_unless_asked_for_otherwise(birds):
    assert open_source(config(birds, size=None)).parts["test"].shape == (3, 224, 224)
    assert open_source(config(birds, bands=1)).parts["test"].shape == (1, 16, 16)
    assert open_source(config(birds)).notes == ("Birds were cut to their bounding box and resized to 16 x 16 pixels.",)


def test_birds_that_do_not_fit_into_memory_are_streamed_with_the_same_pixels(birds):
    held, streamed = (open_source(config(birds, memory=memory)).parts["training"] for memory in (1.0, 0.0))
    assert isinstance(held, MemoryImages)
    assert isinstance(streamed, StreamedImages)
    assert torch.equal(held.take(torch.arange(len(held))), streamed.take(torch.arange(len(held))))
    assert held.digest == streamed.digest


def test_validation_comes_out_of_training(birds):
    data = open_data(config(birds, validation=0.2))
    assert len(data.training) + len(data.validation) == len(open_source(config(birds)).parts["training"])
    assert "The set itself brings training and test." in data.notes


def test_the_root_may_be_the_folder_itself(birds):
    below = open_source(config(birds))
    itself = open_source(DataConfig(name="cub", root=str(birds), size=16))
    assert itself.parts["test"].digest == below.parts["test"].digest


def test_the_first_fifty_classes_are_found_by_their_folder(birds):
    renamed = birds.rename(birds.with_name("CUB_50"))
    assert len(open_source(config(renamed)).parts["training"]) > 0


def test_without_a_folder_the_sentence_says_where_it_belongs_and_where_to_get_it(tmp_path):
    assert refusal(tmp_path / "CUB_200_2011") == (
        f"cub: neither {tmp_path} nor CUB_200_2011 or CUB_50 in it holds an images.txt (data.root or PROTOLENS_DATA "
        "name that folder); get CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011"
    )


def test_a_listed_image_that_is_missing_is_named(birds):
    path = birds / "images" / CLASSES[1] / "bird_4.png"
    path.unlink()
    assert refusal(birds) == f"{path} does not exist but images.txt lists it; unpack CUB_200_2011.tgz again"


@pytest.mark.parametrize("file", ["image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"])
def test_a_table_without_a_line_for_an_image_is_named(birds, file):
    number = (birds / file).read_text().splitlines()[7].split()[0]
    replace(birds / file, 7, "")
    assert refusal(birds) == f"{birds / file} has no line for number {number}; unpack CUB_200_2011.tgz again"


def test_a_label_without_a_class_is_named(birds):
    replace(birds / "image_class_labels.txt", COUNT - 1, "10 4")
    assert refusal(birds) == f"{birds / 'classes.txt'} has no line for number 4; unpack CUB_200_2011.tgz again"


def test_a_missing_table_is_named(birds):
    (birds / "classes.txt").unlink()
    assert refusal(birds).startswith(f"{birds / 'classes.txt'} cannot be read (")


def test_a_box_that_is_no_box_is_named(birds):
    replace(birds / "bounding_boxes.txt", 0, "10 3.4 wide 20.2 30.0")
    assert refusal(birds) == (
        f"{birds / 'bounding_boxes.txt'} holds '3.4 wide 20.2 30.0' instead of left, top, width and height; "
        "mend that line"
    )


@pytest.mark.parametrize("box", ["10 10 0 5", "60 10 20 20", "10 -30 20 25", "10 10 20 0.4"])
def test_a_box_without_area_in_its_image_is_an_error_that_names_the_image(birds, box):
    replace(birds / "bounding_boxes.txt", 0, f"10 {box}")
    path = birds / "images" / CLASSES[0] / "bird_0.png"
    said = refusal(birds)
    assert said.startswith(f"{path} has the box ({float(box.split()[0])}, ")
    assert "which has no area inside its 50 x 40 pixels; mend its left, top, width and height" in said
    source = open_source(config(birds, skip_unreadable=True))
    assert f"{CLASSES[0]}/bird_0.png" not in source.parts["training"].names
    assert source.notes[1].startswith(str(path))


def test_a_damaged_image_is_named(birds):
    path = birds / "images" / CLASSES[1] / "bird_1.jpg"
    path.write_bytes(path.read_bytes()[:300])
    assert refusal(birds).startswith(f"{path} cannot be read (")


def with_parts(birds: Path) -> Path:
    """Two parts of each bird: the second of every other one is not seen."""
    numbers = [line.split()[0] for line in (birds / "images.txt").read_text().splitlines()]
    (birds / "parts").mkdir()
    lines = [f"{n} 1 {10 + i:.2f} 12.50 1\n{n} 2 40.00 {30 + i / 4:.2f} {i % 2}" for i, n in enumerate(numbers)]
    write(birds / "parts" / "part_locs.txt", lines)
    return birds


@pytest.mark.parametrize("whole", [False, True])
def test_boxes_and_parts_are_where_the_pixels_are(birds, whole):
    data = open_data(replace_name(config(with_parts(birds), size=32), "cub:whole" if whole else "cub"))
    boxes, parts = data.test.marks(torch.arange(len(data.test)))
    rows = [int(Path(name).stem.removeprefix("bird_")) for name in data.test.names]
    for place, row in enumerate(rows):
        left, top, width, height = map(float, BOXES[row % 4].split())
        edges = [max(0, round(left)), max(0, round(top)), min(50, round(left + width)), min(40, round(top + height))]
        window = [0, 0, 50, 40] if whole else edges
        across, down = 32 / (window[2] - window[0]), 32 / (window[3] - window[1])
        expected = [(edges[0] - window[0]) * across, (edges[1] - window[1]) * down]
        expected += [(edges[2] - window[0]) * across, (edges[3] - window[1]) * down]
        assert boxes[place].tolist() == pytest.approx(expected, abs=1e-4)
        assert whole or boxes[place].tolist() == [0, 0, 32, 32]
        first = [(10 + row - window[0]) * across, (12.5 - window[1]) * down]
        assert parts[place, 0].tolist() == pytest.approx(first, abs=1e-4)
        assert bool(parts[place, 1].isnan().all()) == (row % 2 == 0)


def test_a_whole_photograph_is_what_pillow_resizes(birds):
    images = open_source(replace_name(config(birds), "cub:whole")).parts["test"]
    path = birds / "images" / images.names[0]
    with Image.open(path) as picture:
        expected = picture.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images.take(torch.tensor([0]))[0].permute(1, 2, 0), np.asarray(expected))


def test_without_the_table_of_parts_nothing_is_known_and_a_damaged_one_is_named(birds):
    images = open_source(config(birds)).parts["test"]
    assert not images.has_marks
    with pytest.raises(ProtolensError, match="no boxes and parts are known"):
        images.marks(torch.tensor([0]))
    replace(with_parts(birds) / "parts" / "part_locs.txt", 3, "10 2 x y 1")
    assert "part_locs.txt cannot be read" in refusal(birds)


def test_another_word_behind_the_name_is_refused(birds):
    with pytest.raises(ProtolensError, match="write cub for birds in their boxes, cub:whole for photographs"):
        open_source(replace_name(config(birds), "cub:half"))


def test_the_real_birds_are_whole(data_root):
    if not (data_root / "CUB_50").is_dir() or (data_root / "CUB_200_2011").is_dir():
        pytest.skip(f"{data_root} does not hold CUB_50 alone: the photographs of birds that this test reads")
    source = open_source(DataConfig(name="cub", root=str(data_root), size=8))
    assert {split: len(images) for split, images in source.parts.items()} == {"training": 1500, "test": 1389}
    assert len(source.classes) == 50
    assert source.classes[:2] == ("Black footed Albatross", "Laysan Albatross")
    assert torch.bincount(source.parts["training"].labels).tolist() == [30] * 50
