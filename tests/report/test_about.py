import shlex

import pytest

from protolens.report.about import (
    again_section,
    edited_sentence,
    head_of,
    leak_sentence,
    model_words,
    path_of,
    shape_words,
)
from protolens.train import Run


def test_the_commands_make_the_run_again(maker, monkeypatch):
    run = maker().write()
    monkeypatch.chdir(run.folder.parent)
    assert again_section(run)["commands"] == [
        "protolens fit drawn-run/config.toml --out drawn-run-again",
        "protolens evaluate drawn-run-again",
    ]


def test_a_folder_with_a_space_is_still_one_word_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my runs; rm" / "a"
    assert shlex.split(f"protolens evaluate {path_of(folder)}") == ["protolens", "evaluate", "my runs; rm/a"]


def test_the_settings_to_make_it_again_are_those_of_the_run_without_its_place(maker):
    import tomllib

    run = maker().write()
    settings = tomllib.loads(again_section(run)["toml"])
    written = tomllib.loads((run.folder / "config.toml").read_text())
    assert written["data"].pop("root")
    assert settings == written


@pytest.mark.parametrize(
    ("name", "begins"), [("prototypedl", "PrototypeDL: prototypes in "), ("stranger", "stranger. ")]
)
def test_a_model_is_described_by_its_own_words(name, begins):
    words = model_words({"model": {"name": name, "parameters": 1200}}, 15)
    assert words.startswith(begins)
    assert words.endswith("15\xa0prototypes, 1,200\xa0parameters.")


def test_a_shape_is_said_with_its_bands():
    shapes = [shape_words({"width": 30, "height": 20, "bands": bands}) for bands in (1, 3, 5)]
    assert shapes == ["30 × 20 pixels, grey", "30 × 20 pixels, colour", "30 × 20 pixels, 5 bands"]


def test_leaks_are_counted_by_what_was_done():
    leaks = [
        {"action": "kept", "why": "group", "key": "patient 3"},
        {"action": "dropped", "why": "pixels", "key": "00ff"},
        {"action": "dropped", "why": "pixels", "key": "00ff"},
    ]
    assert leak_sentence(leaks) == (
        "Yes: 3\xa0pairs of images with 1\xa0picture and 1\xa0group in common, 2 dropped, 1 kept."
    )
    assert leak_sentence(leaks[1:]) == "Yes: 2\xa0pairs of images with 1\xa0picture in common, 2 dropped."
    assert leak_sentence([]).startswith("No: ")
    assert "the first 20 stand below" in leak_sentence(leaks * 10)


def test_a_run_made_elsewhere_is_named_by_its_folder(maker):
    run = maker().write()
    assert path_of(Run.open(run.folder).folder) == str(run.folder)


def test_an_edited_run_says_what_was_edited_and_by_which_command(run_maker, tmp_path):
    run = run_maker(folder=tmp_path / "mine edited").write()
    (tmp_path / "mine").mkdir()
    assert edited_sentence(run) == ""
    edits = [
        {"kind": "off", "prototype": 3},
        {"kind": "move", "prototype": 4, "to": "barn owl"},
        {"kind": "forbid", "box": [0, 0, 8, 1]},
    ]
    found = {"mended": 2, "broken": 1013, "sentence": "A sentence.", "after": {"images": 2000}}
    entry = {"of": "mine", "model": "abc", "edits": edits, "history": [], "consequences": found}
    run.facts["edited"] = entry
    assert edited_sentence(run) == (
        "This is mine, but prototype 3 is switched off; prototype 4 speaks for barn owl; columns 0 to 7, row 0, are "
        "not shown. Over 2,000 validation images 2 decisions were mended and 1,013 broken. A sentence."
    )
    again = again_section(run)
    words = ["edit", str(tmp_path / "mine"), "--off", "3", "--move", "4:barn owl", "--forbid", "0,0,8,1"]
    # a folder with a space is quoted
    assert shlex.split(again["commands"][0])[1:-2] == words
    assert ("edited from", "mine, model abc") in again["facts"]
    assert head_of(run)["model"].endswith("Edited by hand.")
    run.facts["edited"] = entry | {"history": [entry]}
    assert edited_sentence(run).startswith("This is mine (itself edited), but prototype 3")
