"""What a table measures beside the evaluation: once for each model, as asked, and shown with the rest."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from protolens.errors import ProtolensError
from protolens.files import read_json
from protolens.tables import cells_of, make_table, read_table
from protolens.tables.measuring import lacking
from protolens.train import Run

KINDS = ("robustness", "gap", "uncertainty")
NET = '[data]\nname = "digits"\n[stages.train]\nepochs = 3\n'
BOX = '[model]\nname = "blackbox"\n'
TABLE = 'models = ["net.toml", "box.toml"]\nseeds = [1]\nconvert = ["kmex"]\n[settings.kmex]\nmodel.per_class = 1\n'
MEASURE = 'measure = ["robustness", "gap", "uncertainty"]\nimages = 30\n'
RUNS = ("net-1", "net-1-kmex", "box-1", "box-1-kmex")


@pytest.fixture(scope="module")
def made(tmp_path_factory, undrawn) -> Path:
    """A folder with a table that was made, then asked for measurements."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "net.toml").write_text(NET)
    (folder / "box.toml").write_text(NET + BOX)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for text in (TABLE, MEASURE + TABLE):
            (folder / "small.toml").write_text(text)
            make_table(Path("small.toml"))
    return folder


@pytest.fixture
def inside(made, monkeypatch) -> Path:
    monkeypatch.chdir(made)
    return made


def times_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_table_that_asks_for_more_measures_it_once_and_makes_no_run_again(inside):
    evaluated = max((inside / "runs" / name / "evaluation.json").stat().st_mtime_ns for name in RUNS)
    for name in RUNS:
        run = Run.open(inside / "runs" / name)
        told = {kind for kind in KINDS if run.told(f"{kind}.json")}
        assert told == set(KINDS) - ({"gap"} if name == "box-1" else set())
        assert all((run.folder / f"{kind}.html").exists() for kind in told)
        assert evaluated < (run.folder / "robustness.json").stat().st_mtime_ns
    assert read_json(inside / "runs/net-1/gap.json")["black_box"] == Run.open("runs/box-1").digest
    assert read_json(inside / "runs/net-1-kmex/gap.json")["black_box"] == Run.open("runs/net-1").digest
    times, page = times_of(inside / "runs"), (inside / "small.md").read_text()
    make_table(Path("small.toml"))
    assert times_of(inside / "runs") == times
    assert (inside / "small.md").read_text() == page


def test_what_was_measured_stands_in_all_files_of_the_table(inside):
    content = read_json(inside / "small.json")
    rows = {(row["recipe"], row["metric"]): row["values"] for row in content["rows"]}
    gap, holds = (read_json(inside / f"runs/net-1/{kind}.json") for kind in ("gap", "robustness"))
    refused = read_json(inside / "runs/net-1/uncertainty.json")["refusal"]["cautious"]["refused"]
    assert rows["net", "trust.gap.lrp.own"] == [gap["methods"]["lrp"]["own"]["mean"]]
    assert rows["net", "trust.noise.gaussian.decision_stays"] == [holds["noise"]["gaussian"]["decision_stays"]["mean"]]
    assert rows["net", "uncertainty.refused"] == [refused]
    page = (inside / "small.md").read_text().replace("\xa0", " ")
    for question in ("Does it decide for the reasons of its black box?", "Do its reasons hold?"):
        assert f"## {question}\n\nMeasured on 30 test images of each run, drawn by a seed.\n" in page
        assert question in (inside / "small.html").read_text()
    assert "trust.gap.lrp.edges" in (inside / "small.csv").read_text()
    (cell,) = (cell for cell in content["cells"] if cell["run"] == "runs/net-1")
    parts = [read_json(inside / f"runs/net-1/{name}.json")["seconds"] for name in ("evaluation", *KINDS)]
    assert cell["seconds"]["evaluation"] == pytest.approx(sum(parts))


def test_what_was_measured_otherwise_or_of_another_model_is_lacking(inside, tmp_path):
    cell = cells_of(read_table(Path("small.toml")))[0]
    run, asked = Run.open(cell.folder), cell.measures
    assert lacking(run, asked) == []
    assert lacking(run, replace(asked, images=31)) == ["robustness", "gap"]
    assert lacking(run, replace(asked, images=10_000)) == ["robustness", "gap"]
    assert lacking(run, replace(asked, others=("mnist",))) == ["uncertainty"]
    assert lacking(run, replace(asked, black_box=Path("runs/net-1"))) == ["gap"]
    with pytest.raises(ProtolensError, match="runs/nowhere"):
        lacking(run, replace(asked, black_box=Path("runs/nowhere")))
    other = Run.open(shutil.copytree(cell.folder, tmp_path / "other"))
    other.facts["model"]["digest"] = "of another model"
    assert lacking(other, asked) == list(KINDS)
    other.facts["data"]["several"] = True  # whose images are refused is a question of one class each
    assert lacking(other, asked) == ["robustness", "gap"]


def test_what_cannot_be_measured_is_told_with_its_kind(inside, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(inside, tmp_path / "copied"))
    Path("small.toml").write_text(MEASURE + 'others = ["folder:nowhere"]\n' + TABLE)
    content = make_table(Path("small.toml"))
    assert {cell["state"] for cell in content["cells"]} == {"failed"}
    assert content["cells"][0]["error"].startswith("uncertainty: ")
    assert "nowhere" in content["cells"][0]["error"]


def test_black_boxes_are_made_first_where_others_are_held_against_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.toml").write_text(NET.replace("epochs = 3", "epochs = 1"))
    Path("box.toml").write_text(NET.replace("epochs = 3", "epochs = 1") + BOX)
    Path("small.toml").write_text('measure = ["gap"]\nimages = 30\nmodels = ["net.toml", "box.toml"]\nseeds = [0]\n')
    content = make_table(Path("small.toml"))
    said = capsys.readouterr().err
    assert said.index("cell 2 of 2, box-0: training") < said.index("cell 1 of 2, net-0: measuring gap")
    assert [cell["state"] for cell in content["cells"]] == ["done", "done"]
    assert "box-0: measuring" not in said
