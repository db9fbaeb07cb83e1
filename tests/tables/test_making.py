"""The verb `table` on real runs: stopped and continued, run again, with cells that fail, and what its files say."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protolens.cli import main
from protolens.errors import ProtolensError
from protolens.evaluation import compare, evaluate
from protolens.evaluation.answers import FILE
from protolens.files import read_json, write_json
from protolens.tables import make_table

NET = '[data]\nname = "digits"\n[stages.train]\nepochs = 3\n[train]\nbatch = 64\ncheckpoint_seconds = 0\n'
ALONE = 'models = ["net.toml"]\nseeds = [0, 1]\n'
TABLE = f"""
title = "Nets"
{ALONE}
convert = ["kmex"]
[settings.kmex]
model.per_class = 1
[goals.net]
accuracy = 0.1
prototypes.unused = 0.5
[goals.net-kmex]
accuracy = 0.999
"""
RUNS = ("net-0", "net-0-kmex", "net-1", "net-1-kmex")


def write_files(folder: Path, table: str) -> Path:
    folder.mkdir()
    (folder / "net.toml").write_text(NET)
    (folder / "small.toml").write_text(table)
    return folder


def in_folder(folder: Path, *words: str) -> int:
    """The command, typed in that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return main(["table", *words])


def kill_when(folder: Path, line: str) -> tuple[int, str]:
    """The command in a process of its own, killed when it has said so; its exit code and what it said."""
    words, paths = [sys.executable, "-m", "protolens", "table", "small.toml"], str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": paths}
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment)
    said = []
    assert process.stderr is not None
    for entry in process.stderr:
        said.append(entry)
        if line in entry:
            process.kill()
    return process.wait(), "".join(said)


def figures_of(folder: Path, recipe: str = "net") -> list[dict[str, object]]:
    """The rows of a recipe, without what may differ between two of the same runs: time, commit, goals."""
    kept = ("recipe", "metric", "seeds", "values", "mean", "spread")
    rows = read_json(folder / "small.json")["rows"]
    shown = [row for row in rows if row["recipe"] == recipe and row["metric"] != "prototypes.unused"]  # a goal's alone
    return [{key: row[key] for key in kept} for row in shown]


def times_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory, undrawn) -> Path:
    """A folder with a finished table."""
    folder = write_files(tmp_path_factory.mktemp("tables") / "made", TABLE)
    assert in_folder(folder, "small.toml") == 0
    return folder


@pytest.fixture
def copied(made, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the working directory."""
    shutil.copytree(made, tmp_path / "copied")
    monkeypatch.chdir(tmp_path / "copied")
    return tmp_path / "copied"


def test_a_table_that_was_killed_goes_on_to_the_same_figures(made, tmp_path):
    folder = write_files(tmp_path / "killed", ALONE)
    code, said = kill_when(folder, "cell 2 of 2, net-1: training")
    assert code == -signal.SIGKILL, said
    assert [cell["state"] for cell in read_json(folder / "small.json")["cells"]] == ["done", "waiting"]
    assert "1 cell still to be made" in (folder / "small.md").read_text().replace("\xa0", " ")
    assert in_folder(folder, "small.toml") == 0
    assert figures_of(folder)
    # without KMEx beside them
    assert figures_of(folder) == figures_of(made)


def test_ctrl_c_stops_after_the_step_and_says_how_to_go_on(copied, monkeypatch, capsys):
    answers = [copied / "runs" / name / FILE for name in ("net-0", "net-1")]
    for path in answers:
        path.unlink()

    def evaluate_and_interrupt(*asked, **named):
        signal.raise_signal(signal.SIGINT)
        return evaluate(*asked, **named)

    with monkeypatch.context() as patch:
        patch.setattr("protolens.tables.making.evaluate", evaluate_and_interrupt)
        assert main(["table", "small.toml"]) == 1
    said = capsys.readouterr().err
    assert "stopping after this step" in said
    sentence = "cell 1 of 4, net-0: stopped after the evaluation; nothing is lost, `protolens table small.toml` goes on"
    assert sentence in said
    assert [path.exists() for path in answers] == [True, False]
    assert main(["table", "small.toml"]) == 0
    assert answers[1].exists()


def test_a_finished_table_makes_no_run_again_and_writes_the_same(copied, capsys):
    runs, pages = times_of(copied / "runs"), {path: path.read_bytes() for path in copied.glob("small.*")}
    (copied / "small.html").write_text("of another version")
    assert main(["table", "small.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_json(copied / "small.json")
    assert times_of(copied / "runs") == runs
    assert {path: path.read_bytes() for path in copied.glob("small.*")} == pages


def test_what_a_changed_file_asks_for_is_written_anew_without_making_a_run_again(copied, capsys):
    before = times_of(copied / "runs")
    Path("small.toml").write_text(TABLE.replace('title = "Nets"', 'title = "Others"\nfigures = ["loss"]'))
    assert main(["table", "small.toml", "--out", "elsewhere"]) == 0
    assert main(["table", "small.toml"]) == 0
    page = Path("small.md").read_text()
    assert page == Path("elsewhere/small.md").read_text()
    assert page.startswith("# Others\n")
    assert "purity" not in page
    assert times_of(copied / "runs") == before


def test_page_json_and_csv_say_what_compare_finds(made, monkeypatch):
    monkeypatch.chdir(made)
    found = compare([Path("runs") / name for name in RUNS])
    content, page = read_json(made / "small.json"), (made / "small.md").read_text()
    (told,) = content["comparisons"]
    assert told["pairs"] == found["pairs"]
    assert [kind["runs"] for kind in told["kinds"]] == [
        ["runs/net-0", "runs/net-1"],
        ["runs/net-0-kmex", "runs/net-1-kmex"],
    ]
    rows = {(row["recipe"], row["metric"]): row for row in content["rows"]}
    for kind in found["kinds"]:
        for figure in ("accuracy", "transparency.by_similarity.purity"):
            own = kind["figures"][figure]
            row = rows[kind["name"], figure]
            assert (row["values"], row["mean"], row["spread"]) == (own["values"], own["mean"], own["spread"])
        mean, spread = (100 * kind["figures"]["accuracy"][key] for key in ("mean", "spread"))
        line = next(line for line in page.splitlines() if line.startswith(f"| {kind['name']} |"))
        assert f"{mean:.2f}\xa0%" in line.replace("*", "")
        assert f"± {spread:.2f}\xa0%" in line
        assert kind["figures"]["accuracy"]["mean"] == rows[kind["name"], "accuracy"]["mean"]
    for pair in found["pairs"]:
        assert f"- {pair['sentence']}" in page
    lines = list(csv.DictReader((made / "small.csv").read_text().splitlines()))
    own = [line for line in lines if (line["kind"], line["figure"]) == ("net", "accuracy")]
    assert [float(line["value"]) for line in own] == rows["net", "accuracy"]["values"]
    assert found["pairs"][0]["sentence"] in (made / "small.html").read_text()


def test_goals_are_met_or_not_and_rows_have_the_form_of_the_published_ones(made):
    rows = {(row["recipe"], row["metric"]): row for row in read_json(made / "small.json")["rows"]}
    accuracy, unused = rows["net", "accuracy"], rows["net", "prototypes.unused"]
    assert (accuracy["goal"], accuracy["met"]) == (0.1, True)
    values = [read_json(made / f"runs/net-{seed}/evaluation.json")["prototypes"]["unused"] for seed in (0, 1)]
    assert (unused["values"], unused["met"]) == (values, sum(values) / 2 <= 0.5)  # low is good
    assert rows["net-kmex", "accuracy"]["met"] is False
    published = json.loads((Path(__file__).parents[2] / "docs/results/family.json").read_text())["rows"][0]
    assert accuracy.keys() == published.keys()


def test_each_cell_tells_what_made_it(made):
    cells = read_json(made / "small.json")["cells"]
    assert [cell["run"] for cell in cells] == [f"runs/{name}" for name in RUNS]
    page = (made / "small.md").read_text()
    for cell in cells:
        facts = read_json(made / cell["run"] / "run.json")
        assert cell["commit"] == facts["made_with"]["commit"]
        assert cell["versions"]["torch"] == facts["made_with"]["torch"]
        assert cell["hardware"]["processor"] == facts["made_with"]["processor"]
        assert cell["seconds"]["training"] == facts["seconds"]
        line = next(line for line in page.splitlines() if f"`{cell['run']}`" in line)
        assert cell["commit"] in line
        assert cell["versions"]["torch"] in line


def test_a_run_of_an_older_version_is_evaluated_again_and_what_it_did_not_record_is_unknown(copied, capsys):
    run = copied / "runs" / "net-0"
    facts = read_json(run / "run.json")
    for name in ("commit", "processor", "cores"):
        del facts["made_with"][name]
    write_json(run / "run.json", facts)
    (run / "commit").write_text("abcdef0\n")
    (run / FILE).unlink()
    before = figures_of(copied)
    assert main(["table", "small.toml"]) == 0
    assert "cell 1 of 4, net-0: evaluating" in capsys.readouterr().err
    assert figures_of(copied) == before
    (cell,) = (cell for cell in read_json(copied / "small.json")["cells"] if cell["run"] == "runs/net-0")
    assert cell["commit"] == "abcdef0"
    assert cell["hardware"]["processor"] is None
    line = next(line for line in (copied / "small.md").read_text().splitlines() if "`runs/net-0`" in line)
    assert "unknown processor" in line
    assert "unknown" not in next(
        line for line in (copied / "small.md").read_text().splitlines() if "`runs/net-1`" in line
    )


def test_a_cell_that_fails_holds_its_sentence_and_the_others_are_there(copied, capsys):
    before = figures_of(copied)
    bad = NET.replace('"digits"', '"folder:nowhere"')
    Path("bad.toml").write_text(bad)
    Path("small.toml").write_text(TABLE.replace('["net.toml"]', '["bad.toml", "net.toml"]'))
    shutil.rmtree(copied / "runs" / "net-1-kmex")
    assert main(["table", "small.toml"]) == 1
    said = capsys.readouterr()
    last = said.err.strip().splitlines()[-1]
    assert re.fullmatch(r"protolens: 4 of 8 cells failed, the first in runs/bad-0 \(.*nowhere.*\); the same .*", last)
    assert "small.md" in said.out
    cells = {cell["run"]: cell for cell in read_json(copied / "small.json")["cells"]}
    assert [cell["state"] for cell in cells.values()] == ["failed"] * 4 + ["done"] * 4
    assert cells["runs/bad-0-kmex"]["error"] == "runs/bad-0 is not there to be converted"
    assert f"- `runs/bad-0`: {cells['runs/bad-0']['error']}" in (copied / "small.md").read_text()
    assert figures_of(copied) == before


def test_a_run_with_other_settings_is_in_the_way(copied, capsys):
    Path("small.toml").write_text(TABLE.replace("[goals.net]", "[settings.net]\nstages.train.epochs = 2\n[goals.net]"))
    assert main(["table", "small.toml"]) == 1
    assert "runs/net-0 was made with stages.train.epochs = 3, not 2; choose another folder" in capsys.readouterr().err


def test_an_unknown_figure_and_an_unknown_setting_of_a_model_are_told_at_once(copied, monkeypatch):
    Path("small.toml").write_text('figures = ["acuracy"]\n' + TABLE)
    with pytest.raises(
        ProtolensError, match=r"small\.toml: acuracy is no figure of these runs; did you mean accuracy\?"
    ):
        make_table(Path("small.toml"))
    Path("net.toml").write_text(NET + "[model]\nname = 'prototypedl'\nprototype = 3\n")
    Path("small.toml").write_text(TABLE)
    with pytest.raises(ProtolensError, match=r"net\.toml: model\.prototype is not a setting of prototypedl; did"):
        make_table(Path("small.toml"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ProtolensError, match="table works in one process"):
        make_table(Path("small.toml"))


def test_a_fault_of_ours_in_one_cell_stops_no_other(copied, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a fault\nin two lines")

    shutil.rmtree(copied / "runs" / "net-0-kmex")
    monkeypatch.setattr("protolens.tables.making.convert_or_keep", fail)
    content = make_table(Path("small.toml"))
    assert [cell["state"] for cell in content["cells"]] == ["done", "failed", "done", "done"]
    assert content["cells"][1]["error"] == "unexpected RuntimeError (a fault)"


def test_a_table_of_one_run_has_figures_and_no_verdict(copied):
    Path("one.toml").write_text('models = ["net.toml"]\nseeds = [1]\nfigures = ["accuracy", "before.nothing"]\n')
    with pytest.raises(ProtolensError, match=r"one\.toml: before\.nothing is no figure of these runs"):
        make_table(Path("one.toml"))
    Path("one.toml").write_text('models = ["net.toml"]\nseeds = [1]\nfigures = ["accuracy", "images"]\n')
    content = make_table(Path("one.toml"))
    accuracy = read_json(copied / "runs/net-1/evaluation.json")["accuracy"]
    assert [(row["metric"], row["values"]) for row in content["rows"]] == [("accuracy", [accuracy]), ("images", [359])]
    assert "net-1 stands alone" in Path("one.md").read_text()


def test_runs_may_lie_behind_a_link(copied, tmp_path):
    (copied / "runs").rename(tmp_path / "disk")
    (copied / "runs").symlink_to(tmp_path / "disk")
    Path("small.json").unlink()
    assert main(["table", "small.toml"]) == 0
    assert [cell["run"] for cell in read_json(copied / "small.json")["cells"]] == [f"runs/{name}" for name in RUNS]
