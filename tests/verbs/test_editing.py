"""The verb `edit` as people type it."""

import json
from pathlib import Path

import pytest

from protolens.cli import main
from protolens.train import Run
from tests.test_cli import fails


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("edit") / "run"
    assert main(["fit", "--epochs", "4", "--train.batch", "64", "--out", str(folder)]) == 0
    return folder


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}


def test_without_out_it_tells_what_would_change_and_writes_nothing(run, capsys):
    before, own = files(run), Run.open(run).prototypes[4]["class"]
    other = "8" if own == "9" else "9"
    assert main(["edit", str(run), "--off", "3,7", "--off", "8", "--move", f"4:{other}", "--forbid", "0,0,8,1"]) == 0
    said = capsys.readouterr().out
    expected = f"prototypes 3, 7 and 8 are switched off; prototype 4 speaks for {other}; columns 0 to 7, row 0, are not"
    assert f"{run}: {expected} shown." in said
    assert "143 validation images" in said
    assert "of 143 decisions change" in said
    assert "95 % interval" in said
    assert "prototypedl adds up distances" in said
    assert said.endswith("nothing is saved; --out FOLDER leaves the edited model\n")
    assert files(run) == before


def test_as_json_it_tells_all_and_its_counts_are_those_of_the_table(run, capsys):
    assert main(["edit", str(run), "--off", "3,7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == str(run)
    assert {"before", "after", "difference", "interval", "chance", "sentence", "flips", "balanced", "classes"} < set(
        found
    )
    mended, broken = (sum(flip["way"] == way for flip in found["flips"]) for way in ("mended", "broken"))
    assert found["after"]["right"] - found["before"]["right"] == mended - broken
    assert main(["edit", str(run), "--off", "3,7"]) == 0
    changed = len(found["flips"])
    assert f"{changed} of 143 decisions change: {mended} are mended, {broken} broken," in capsys.readouterr().out


def test_with_out_it_leaves_a_run_with_a_report(run, capsys):
    out = run.with_name("edited")
    assert main(["edit", str(run), "--off", "0", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"{out}/report.html\nnext: protolens evaluate {out}\n")
    assert (out / "report.html").exists()
    assert Run.open(out).edited["kept"] == list(range(1, 15))
    assert main(["edit", str(out), "--forbid", "0,0,1,1", "--out", str(run.with_name("twice")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["of"]) == (str(run.with_name("twice")), str(out))
    assert Path(found["report"]).exists()
    assert (
        fails(capsys, "edit", run, "--off", "0", "--out", out) == f"{out} exists already; name another folder by --out"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "edit needs to know what to edit; write --off, --move or --forbid"),
        (["--off", "3;7"], "--off 3;7 is no list of whole numbers; write them with commas between, as in 3,7"),
        (["--off", "99"], "99 is not a prototype; this model has those from 0 to 14"),
        (["--move", "4"], "--move 4 is no number of a prototype and a class; write --move 4:nine"),
        (["--move", "4:nine"], "nine is not a class of this model"),
        (["--off", "4", "--move", "4:9"], "prototype 4 is switched off, so it cannot speak for 9"),
        (["--forbid", "0,0,8"], "--forbid 0,0,8 is no region; write left,top,right,bottom in pixels, as in 0,0,28,4"),
        (["--forbid", "0,0,9,8"], "0,0,9,8 is no region of images of 8 x 8 pixels"),
        (["--off", ",".join(map(str, range(15)))], "all prototypes are switched off; a model needs one at least"),
    ],
)
def test_a_wrong_edit_is_one_sentence(run, words, sentence, capsys):
    assert fails(capsys, "edit", run, *words).startswith(sentence)


def test_a_class_may_have_a_colon_in_its_name(run, capsys):
    assert fails(capsys, "edit", run, "--move", "4:a:b").startswith("a:b is not a class of this model")
