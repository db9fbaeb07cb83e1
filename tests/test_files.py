"""A file is written whole or not at all."""

import os

import pytest

from protolens.errors import ProtolensError
from protolens.files import read_json, whole_folder, write_bytes, write_json, write_text


def test_a_write_that_fails_leaves_the_old_file_and_no_remains(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ProtolensError, match=r"file cannot be written \(No space left on device\); free some space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(ProtolensError, match="cannot be written"):
        write_bytes(tmp_path / "file" / "inside", b"")


def test_json_comes_back_and_has_no_place_for_nan(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Größe", "list": [1, None]})
    assert read_json(tmp_path / "a.json") == {"name": "Größe", "list": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))


def test_json_that_is_missing_or_damaged_is_one_sentence(tmp_path):
    with pytest.raises(ProtolensError, match="a.json does not exist"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"half')
    with pytest.raises(ProtolensError, match="a.json cannot be read"):
        read_json(tmp_path / "a.json")


def test_a_folder_has_its_name_when_all_is_in_it_and_none_where_something_fails(tmp_path):
    path = tmp_path / "above" / "whole"
    with whole_folder(path) as temporary:
        write_text(temporary / "inner" / "file", "text")
        assert not path.exists()
    assert (path / "inner" / "file").read_text() == "text"

    def interrupted() -> None:
        with whole_folder(tmp_path / "half") as temporary:
            write_text(temporary / "file", "text")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProtolensError, match="whole exists already; name another folder by --out"), whole_folder(path):
        pass
    with pytest.raises(ProtolensError, match="cannot be written"), whole_folder(path / "inner" / "file" / "below"):
        pass
    assert [entry.name for entry in tmp_path.rglob("*") if entry.is_dir()] == ["above", "whole", "inner"]


@pytest.mark.parametrize("error", [RuntimeError("a fault"), OSError(28, "No space left on device")])
def test_of_a_folder_that_fails_nothing_is_left(tmp_path, error):
    expected = pytest.raises(type(error)) if isinstance(error, RuntimeError) else pytest.raises(ProtolensError)
    with expected, whole_folder(tmp_path / "folder") as place:
        write_text(place / "file", "words")
        raise error
    assert list(tmp_path.iterdir()) == []
