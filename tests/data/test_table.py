"""A folder of images with a table of labels: labels.csv."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.config import DataConfig
from protolens.data import DataSet, open_data, read_image
from protolens.errors import ProtolensError
from tests.data.conftest import Save, photograph

COUNT = 30


def opened(path, **settings) -> DataSet:
    return open_data(DataConfig(name=f"folder:{path}", **settings))


def refusal(path, **settings) -> str:
    with pytest.raises(ProtolensError) as caught:
        opened(path, **settings)
    return str(caught.value)


def marks(row: int) -> list[int]:
    """Which of sun, sea and sand the photograph of this number shows: all, some or nothing."""
    return [int(row % 2 == 0), int(row % 3 == 0), int(row % 5 < 2)]


@pytest.fixture
def album(save: Save, tmp_path):
    for row in range(COUNT):
        save(f"photos/{row}.png", photograph(row, (40, 40)))
    write(
        tmp_path, ["file,sun,sea,sand"] + [f"photos/{row}.png,{','.join(map(str, marks(row)))}" for row in range(COUNT)]
    )
    return tmp_path


def write(folder, lines: list[str], encoding: str = "utf-8") -> None:
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding=encoding)


def replace(folder, number: int, line: str) -> None:
    """Another text for a line, counted from 1 as in messages."""
    lines = (folder / "labels.csv").read_text().splitlines()
    write(folder, [*lines[: number - 1], line, *lines[number:]])


def splits(data: DataSet) -> tuple:
    return data.training, data.validation, data.test


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_labels_are_those_of_the_table(album, memory):
    data = opened(album, memory=memory, size=16)
    assert (data.task.classes, data.task.several) == (("sun", "sea", "sand"), True)
    assert sorted(name for images in splits(data) for name in images.names) == sorted(
        f"photos/{row}.png" for row in range(COUNT)
    )
    for images in splits(data):
        assert images.labels.dtype == torch.int64
        assert images.labels.tolist() == [marks(int(name[7:-4])) for name in images.names]
        for row, name in enumerate(images.names):
            assert torch.equal(images.take(torch.tensor([row]))[0], read_image(album / name, 3, (16, 16)))


def test_streaming_has_the_same_digests_as_memory(album):
    assert opened(album).digests == opened(album, memory=0.0).digests


def test_a_label_changes_the_digest_of_its_split(album):
    before = opened(album)
    name = before.training.names[3]
    row = int(name[7:-4])
    replace(album, row + 2, f"{name},{','.join(str(1 - mark) for mark in marks(row))}")
    write_splits(album, before)
    assert opened(album).digests["training"] != before.digests["training"]
    assert opened(album).digests["test"] == before.digests["test"]


def write_splits(album, data: DataSet) -> None:
    """Add a column that says in which split of the data each image lies."""
    side = {name: images.name for images in splits(data) for name in images.names}
    first, *lines = (album / "labels.csv").read_text().splitlines()
    write(album, [f"{first},Split"] + [f"{line},{side[line.split(',')[0]]}" for line in lines])


def test_a_column_says_the_splits(album):
    words = ["train", "Training", "val", "test"]
    lines = [f"photos/{row}.png,{marks(row)[0]},{words[row % 4]},{marks(row)[1]}" for row in range(COUNT)]
    write(album, ["file,sun,split,sea", *lines])
    data = opened(album)
    assert data.task.classes == ("sun", "sea")
    for images, sides in zip(splits(data), ((0, 1), (2,), (3,)), strict=True):
        rows = [row for row in range(COUNT) if row % 4 in sides]
        assert list(images.names) == [f"photos/{row}.png" for row in rows]
        assert images.labels.tolist() == [marks(row)[:2] for row in rows]
    assert "The set itself brings training and validation and test." in data.notes


def test_a_class_that_a_split_lacks_is_told_or_refused(album):
    lines = [f"photos/{row}.png,{row % 2},{int(row > 3)},{'test' if row < 4 else 'training'}" for row in range(COUNT)]
    write(album, ["file,sun,sea,split", *lines])
    assert "No test image shows sea." in opened(album).notes
    write(album, ["file,sun,sea,split", *(line.replace(",1,training", ",0,training") for line in lines)])
    assert refusal(album) == (
        f"folder:{album}: class sea has only 0 images or groups of images to share out, but validation, training need "
        "one each; add some or remove the class"
    )


def test_a_photograph_with_other_labels_in_two_splits_is_a_leak(album):
    shutil.copy(album / "photos/0.png", album / "photos/copy.png")
    lines = [f"photos/{row}.png,{','.join(map(str, marks(row)))},train" for row in range(COUNT)]
    write(album, ["file,sun,sea,sand,split", *lines, "photos/copy.png,0,0,1,test"])
    assert "1 picture stands in two splits: photos/0.png (training) = photos/copy.png (test)" in refusal(album)


def test_names_with_commas_a_byte_order_mark_and_empty_lines(album):
    shutil.copy(album / "photos/0.png", album / "a, b.png")
    lines = (album / "labels.csv").read_text().splitlines()
    write(album, [*lines, "", '"a, b.png",1,1,1', ",,,"], encoding="utf-8-sig")
    data = opened(album)
    assert sum(len(images) for images in splits(data)) == COUNT + 1
    assert data.task.classes == ("sun", "sea", "sand")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("photos/7.png,1,0", "has 3 columns instead of 4; mend it"),
        ("photos/7.png,1,0,2", "has '2' for a class; write 0 or 1"),
        ("photos/7.png,1,,0", "has '' for a class; write 0 or 1"),
        ("photos/8.png,0,1,0", None),
        ("photos/nowhere.png,0,1,0", "names 'photos/nowhere.png', but there is no such file in {album}; mend the path"),
        (",0,1,0", "names '', but there is no such file in {album}; mend the path"),
    ],
)
def test_a_bad_line_is_named(album, line, problem):
    replace(album, 9, line)
    number = 9 if problem else 10
    problem = problem or "names photos/8.png again, which line 9 has already; remove one of them"
    assert refusal(album) == f"{album / 'labels.csv'} line {number} {problem.format(album=album)}"


def test_an_unknown_split_is_named(album):
    write(album, ["file,sun,sea,split", "photos/0.png,0,1,training", "photos/1.png,0,1,dev"])
    assert refusal(album) == f"{album / 'labels.csv'} line 3 has the split 'dev'; write training, validation or test"
    write(album, ["file,sun,sea,split", "photos/0.png,0,1,test"])
    assert refusal(album) == (f"{album / 'labels.csv'} has no line whose split is training; a classifier needs some")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("", " line 1 names no classes; it needs the file's column, then one a class, by commas"),
        ("file;sun;sea", " line 1 names no classes; it needs the file's column, then one a class, by commas"),
        ("file,split", " line 1 names no classes; it needs the file's column, then one a class, by commas"),
        ("file,sun,sea,sun", " line 1 names sun twice; give each class a name of its own"),
        ("file,sun,,sand", " line 1 has a column without a name; give each class a name of its own"),
        ("file,sun,sea,sand", " names no images; add a line for each"),
    ],
)
def test_a_bad_header_and_a_table_without_lines_are_named(album, header, problem):
    write(album, [header])
    assert refusal(album) == f"{album / 'labels.csv'}{problem}"


def test_a_table_that_is_no_text_is_a_sentence(album):
    (album / "labels.csv").write_bytes(b"file,\xff\xfe\n")
    assert refusal(album).startswith(f"{album / 'labels.csv'} cannot be read (")


def test_one_class_only(album):
    write(album, ["file,sun", "photos/0.png,1", "photos/1.png,0"])
    assert refusal(album) == f"folder:{album} has one class only (sun); a classifier needs two or more"


@given(st.text(max_size=60))
def test_any_text_at_all_gives_a_listing_or_a_sentence(tmp_path_factory, text):
    from protolens.data.table import list_table

    folder = tmp_path_factory.mktemp("table")
    (folder / "labels.csv").write_bytes(text.encode())
    with pytest.raises(ProtolensError, match="labels.csv"):
        list_table(folder)  # no file that the text names is there


def test_unreadable_images_of_a_table_are_left_out_when_asked(album):
    (album / "photos/7.png").write_bytes(b"")
    assert "photos/7.png cannot be read (it is empty); --skip-unreadable" in refusal(album)
    data = opened(album, skip_unreadable=True)
    assert sum(len(images) for images in splits(data)) == COUNT - 1
    assert np.all(
        [marks(int(name[7:-4])) == data.training.labels[row].tolist() for row, name in enumerate(data.training.names)]
    )
