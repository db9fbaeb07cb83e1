"""A folder of photographs as a data set."""

import logging
import os
import shutil
import warnings

import numpy as np
import pytest
import tifffile
import torch

from protolens.config import DataConfig
from protolens.data import DataSet, open_data, open_whole, read_image
from protolens.errors import ProtolensError
from tests.data.conftest import Save, photograph


def opened(path, **settings) -> DataSet:
    return open_data(DataConfig(name=f"folder:{path}", **settings))


def refusal(path, **settings) -> str:
    with pytest.raises(ProtolensError) as caught:
        opened(path, **settings)
    return str(caught.value)


def splits(data: DataSet) -> tuple:
    return data.training, data.validation, data.test


def names(data: DataSet) -> list[str]:
    return sorted(name for images in splits(data) for name in images.names)


@pytest.fixture
def album(save: Save, tmp_path):
    """Ten photographs of each of two classes, of all sizes, one grey, one transparent, and files that are no images."""
    for kind, start in (("cat", 0), ("dog", 50)):
        for number in range(10):
            save(f"{kind}/{number}.png", photograph(start + number, (60 + 5 * number, 90 - 4 * number)))
    save("cat/3.png", photograph(3)[:, :, 0])
    save("dog/4.png", np.dstack([photograph(54), photograph(55)[:, :, 0]]))
    (tmp_path / "cat/notes.txt").write_text("not an image")
    (tmp_path / "cat/Thumbs.db").write_bytes(b"\0")
    (tmp_path / "dog/.DS_Store").write_bytes(b"\0")
    (tmp_path / "dog/._1.png").write_bytes(b"\0")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_an_album_becomes_three_splits_of_squares(album):
    data = opened(album)
    assert data.task.classes == ("cat", "dog")
    assert (data.task.bands, data.task.size) == (3, (64, 64))
    assert names(data) == sorted(f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(10))
    assert [len(images) for images in splits(data)] == [14, 2, 4]
    for images in splits(data):
        assert images.shape == (3, 64, 64)
        assert [data.task.classes[label] for label in images.labels.tolist()] == [n.split("/")[0] for n in images.names]


def test_images_are_those_that_read_image_reads(album):
    for images in splits(opened(album, size=32)):
        for row, name in enumerate(images.names):
            alone = read_image(album / name, 3, (32, 32))
            assert torch.equal(images.take(torch.tensor([row]))[0], alone)


def test_pictures_beside_each_other_have_no_classes_and_a_set_with_classes_is_opened_as_ever(album):
    settings = {"size": 16, "bands": 3}
    alone = open_whole(DataConfig(name=f"folder:{album / 'cat'}", **settings))
    assert alone.classes == ()
    assert alone.parts["training"].names == [f"{number}.png" for number in range(10)]
    assert torch.equal(alone.parts["training"].take(torch.tensor([7]))[0], read_image(album / "cat/7.png", 3, (16, 16)))
    both = open_whole(DataConfig(name=f"folder:{album}", **settings))
    assert (both.classes, len(both.parts["training"])) == (("cat", "dog"), 20)
    with pytest.raises(ProtolensError, match="put the images of each class into a folder of its own"):
        opened(album / "cat")  # nothing to learn from


def test_notes_tell_what_was_done_to_the_files(album):
    notes = opened(album).notes
    assert "Files that are no PNG, JPEG, TIFF, PPM, BMP or WebP images were left out: 1 .txt." in notes
    assert "Images were cut to their centred square and resized to 64 x 64 pixels." in notes
    assert "Most training images have 3 bands; 1 with others were converted." in notes
    assert "Test is 4 of 20 training images, about 0.2 of each class, drawn by data.split_seed = 0." in notes


def test_most_files_being_grey_makes_the_set_grey(album, save: Save):
    for number in range(10):
        save(f"cat/{number}.png", photograph(number)[:, :, 0])
    save("dog/0.png", photograph(50)[:, :, 0])
    assert opened(album).task.bands == 1
    assert opened(album, bands=3).task.bands == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_gives_the_same_bits_as_memory(album, workers):
    memory, streamed = opened(album), opened(album, memory=0.0, workers=workers)
    assert memory.digests == streamed.digests
    assert len(set(memory.digests.values())) == 3
    for held, flowing in zip(splits(memory), splits(streamed), strict=True):
        assert type(held) is not type(flowing)
        assert list(held.names) == list(flowing.names)
        assert held.hashes.tolist() == flowing.hashes.tolist()
        parts = torch.arange(len(held)).flip(0).split(3)
        pairs = zip(held.batches(parts), flowing.batches(parts), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_pixels_decide_about_memory_over_all_splits_together(album):
    gib = 20 * 3 * 64 * 64 / 2**30
    assert type(opened(album, memory=gib).training).__name__ == "MemoryImages"
    assert type(opened(album, memory=gib * 0.999).training).__name__ == "StreamedImages"


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_a_truncated_file_stops_the_set_and_names_the_way_out(album, memory):
    path = album / "cat/7.png"
    path.write_bytes(path.read_bytes()[:1204])
    message = f"{path} cannot be read (truncated after 1,204 bytes); --skip-unreadable leaves such files out"
    assert refusal(album, memory=memory) == message


def test_a_refused_set_leaves_warnings_and_logs_as_they_were(album):
    (album / "cat/7.png").write_bytes(b"")
    filters, level = list(warnings.filters), logging.getLogger("tifffile").level
    with pytest.raises(ProtolensError) as caught:
        opened(album)
    assert "cat/7.png" in str(caught.value)  # and its traceback still holds the reading's frames
    assert (list(warnings.filters), logging.getLogger("tifffile").level) == (filters, level)


@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_unreadable_files_are_left_out_and_listed_when_asked(album, memory):
    path = album / "cat/7.png"
    path.write_bytes(path.read_bytes()[:1204])
    (album / "dog/0.png").write_bytes(b"")
    data = opened(album, memory=memory, skip_unreadable=True)
    assert len(names(data)) == 18
    assert not {"cat/7.png", "dog/0.png"} & set(names(data))
    assert f"{path} cannot be read (truncated after 1,204 bytes), so it was left out." in data.notes
    assert f"{album / 'dog/0.png'} cannot be read (it is empty), so it was left out." in data.notes
    assert opened(album, skip_unreadable=True).digests == data.digests


def test_many_band_images_make_a_many_band_set(tmp_path):
    bands = np.random.default_rng(0).integers(0, 65536, (12, 6, 20, 20), dtype=np.uint16)
    for number, image in enumerate(bands):
        path = tmp_path / ("field" if number % 2 else "forest") / f"{number}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, image)
    data = opened(tmp_path, size=20)
    assert (data.task.bands, data.task.size) == (6, (20, 20))
    for images in splits(data):
        for row, name in enumerate(images.names):
            number = int(name.split("/")[1].removesuffix(".tif"))
            assert np.array_equal(images.take(torch.tensor([row]))[0].numpy(), np.rint(bands[number] / 257))


def arrange(album, *folders: str) -> None:
    """Deal the photographs of the album out to folders of splits."""
    for kind in ("cat", "dog"):
        for number in range(10):
            place = album / folders[number % len(folders)] / kind
            place.mkdir(parents=True, exist_ok=True)
            shutil.move(album / kind / f"{number}.png", place)
        shutil.rmtree(album / kind)


def test_own_splits_stay_as_they_are(album):
    arrange(album, "train", "val", "test")
    data = opened(album)
    assert {name.split("/")[0] for name in data.training.names} == {"train"}
    assert {name.split("/")[0] for name in data.validation.names} == {"val"}
    assert {name.split("/")[0] for name in data.test.names} == {"test"}
    assert [len(images) for images in splits(data)] == [8, 6, 6]
    assert "The set itself brings training and validation and test." in data.notes


def test_validation_is_carved_from_training_where_it_is_missing(album):
    arrange(album, "Training", "Testing")
    data = opened(album, validation=0.2)
    assert {name.split("/")[0] for name in (*data.training.names, *data.validation.names)} == {"Training"}
    assert [len(images) for images in splits(data)] == [8, 2, 10]


def test_a_missing_test_is_carved_from_training_and_said_so(album):
    arrange(album, "train", "valid")
    data = opened(album)
    assert {name.split("/")[0] for name in data.test.names} == {"train"}
    assert {name.split("/")[0] for name in data.validation.names} == {"valid"}
    assert [len(images) for images in splits(data)] == [8, 10, 2]
    assert "Test is 2 of 10 training images, about 0.2 of each class, drawn by data.split_seed = 0." in data.notes


def test_a_class_may_be_called_train(save: Save, tmp_path):
    for kind in ("bus", "train", "tram"):
        for _ in range(3):
            save(f"{kind}/{os.urandom(4).hex()}.png")
    assert opened(tmp_path).task.classes == ("bus", "train", "tram")


def test_folders_inside_a_class_belong_to_it(save: Save, tmp_path):
    for number in range(12):
        save(f"{'ab'[number % 2]}/session {number % 3}/deeper/{number}.png")
    data = opened(tmp_path)
    assert data.task.classes == ("a", "b")
    assert "a/session 0/deeper/0.png" in names(data)


def test_copies_of_a_photograph_stay_on_one_side(album):
    for number in range(6):
        shutil.copy(album / "cat/1.png", album / f"cat/copy {number}.png")
    for seed in range(5):
        data = opened(album, split_seed=seed)
        sides = [sum("copy" in n or n == "cat/1.png" for n in images.names) for images in splits(data)]
        assert sorted(sides) == [0, 0, 7]
        assert data.leaks == ()


def test_a_group_stays_on_one_side(save: Save, tmp_path):
    for number in range(60):
        save(f"{'ab'[number % 2]}/patient{number % 15:02d}_{number}.png")
    data = opened(tmp_path, group=r"patient(\d+)")
    sides = [{name.split("patient")[1][:2] for name in images.names} for images in splits(data)]
    assert sum(map(len, sides)) == 15
    assert all(sides)
    assert sum(map(len, splits(data))) == 60


def test_a_group_on_two_own_sides_is_a_leak(album, save: Save):
    arrange(album, "train", "val", "test")
    save("train/cat/patient7 a.png")
    save("test/dog/patient7 b.png")
    group = r"patient\d|\d\.png"
    assert refusal(album, group=group) == (
        f"folder:{album}: 1 group stands in two splits: train/cat/patient7 a.png (training) and test/dog/patient7 "
        "b.png (test); --data.leakage drop leaves them out of training, or of validation where the test has them, "
        "--data.leakage allow keeps them"
    )
    dropped = opened(album, group=group, leakage="drop")
    assert "train/cat/patient7 a.png" not in dropped.training.names
    assert [(leak.why, leak.key) for leak in dropped.leaks] == [("group", "patient7")]


def test_a_name_without_the_group_is_a_sentence(album):
    assert refusal(album, group=r"patient(\d+)") == (
        "data.group = patient(\\d+) does not match cat/0.png; it must match the name of every image"
    )


def test_a_photograph_in_two_own_splits_stops_is_dropped_or_allowed(album):
    arrange(album, "train", "val", "test")
    shutil.copy(album / "train/cat/0.png", album / "test/cat/other.png")
    shutil.copy(album / "val/dog/1.png", album / "test/dog/other.png")
    assert refusal(album) == (
        f"folder:{album}: 2 pictures stand in two splits: train/cat/0.png (training) = test/cat/other.png (test), "
        "val/dog/1.png (validation) = test/dog/other.png (test); --data.leakage drop leaves them out of training, "
        "or of validation where the test has them, --data.leakage allow keeps them"
    )
    dropped = opened(album, leakage="drop")
    assert "train/cat/0.png" not in dropped.training.names
    assert "val/dog/1.png" not in dropped.validation.names
    assert [len(images) for images in splits(dropped)] == [7, 5, 8]
    assert [(leak.first, leak.second, leak.action) for leak in dropped.leaks] == [
        ("train/cat/0.png", "test/cat/other.png", "dropped"),
        ("val/dog/1.png", "test/dog/other.png", "dropped"),
    ]
    allowed = opened(album, leakage="allow")
    assert [len(images) for images in splits(allowed)] == [8, 6, 8]
    assert [leak.action for leak in allowed.leaks] == ["kept", "kept"]


def test_a_path_that_is_missing_or_a_file(tmp_path, save: Save):
    end = "folder:PATH needs a folder that holds one folder a class"
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'} does not exist; {end}"
    path = save("one.png")
    assert refusal(path) == f"{path} is a file; {end}"


def test_a_folder_without_folders_or_without_images(tmp_path):
    assert "holds no folders; put the images of each class into a folder of its own" in refusal(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/notes.txt").touch()
    assert f"{tmp_path} holds no images; it needs one folder a class with PNG, JPEG, " in refusal(tmp_path)


def test_an_empty_class_folder(album):
    (album / "emu").mkdir()
    kinds = "PNG, JPEG, TIFF, PPM, BMP or WebP"
    assert refusal(album) == f"{album / 'emu'} holds no images; put {kinds} files there or remove the folder"


def test_one_class_only(album):
    shutil.rmtree(album / "dog")
    assert refusal(album) == f"folder:{album} has one class only (cat); a classifier needs two or more"


def test_a_class_with_too_few_images(album, save: Save):
    for number in range(2):
        save(f"emu/{number}.png")
    assert refusal(album) == (
        f"folder:{album}: class emu has only 2 images or groups of images to share out, but test, validation, training "
        "need one each; add some or remove the class"
    )


def test_a_class_that_training_does_not_have(album, save: Save):
    arrange(album, "train", "test")
    save("test/emu/0.png")
    assert refusal(album) == f"{album / 'test/emu'} is a class without images in {album / 'train'}; put some there"


def test_a_test_without_training(album):
    arrange(album, "test")
    assert refusal(album) == f"{album / 'test'} is there but {album / 'train'} is not; name it train"


def test_two_folders_for_one_split(album):
    arrange(album, "train", "val", "valid")
    assert "both stand for validation; merge them or rename one" in refusal(album)


def test_folders_beside_the_splits_are_told(album, save: Save):
    arrange(album, "train", "test")
    save("sketches/1.png")
    assert "Folders beside the splits were left out: sketches." in opened(album).notes


def test_a_class_that_the_own_test_lacks_is_told(album):
    arrange(album, "train", "test")
    shutil.rmtree(album / "test/dog")
    assert "No test image shows dog." in opened(album).notes


def test_dropping_every_image_of_a_class_is_a_sentence(album):
    arrange(album, "train", "test")
    for path in (album / "train/dog").iterdir():
        shutil.copy(path, album / "test/dog" / f"copy of {path.name}")
    message = refusal(album, leakage="drop")
    assert message == f"folder:{album} has no training images of class dog left; add some, or choose another set"
