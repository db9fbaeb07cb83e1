"""`fit --seeds`: one run a seed, one after another; what is finished is kept, and what is in the way is a sentence."""

import json
import re
import signal
import subprocess
import sys
from statistics import mean, stdev

import pytest

from protolens.cli import main
from protolens.errors import ProtolensError
from protolens.train import Run, fit, fit_or_keep
from tests.conftest import digits_run

WORDS = ["fit", "--model", "blackbox", "--epochs", "1"]


def test_each_seed_has_its_run_which_is_that_of_the_seed_alone_and_finished_ones_are_kept(tmp_path, capsys):
    words = [*WORDS, "--seed", "3", "--out", str(tmp_path / "run")]
    assert main([*words, "--seeds", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[:2]] == [str(tmp_path / f"run-{seed}") for seed in (3, 4)]
    assert re.fullmatch(r"validation accuracy [\d.]+ % ± [\d.]+ % over seeds 3, 4", said[2])
    assert said[-1] == f"then: protolens compare {tmp_path / 'run-3'} {tmp_path / 'run-4'}"
    alone = fit(digits_run(seed=4, model={"name": "blackbox"}, stages={"train": {"epochs": 1}}), tmp_path / "alone")
    assert Run.open(tmp_path / "run-4").facts["model"]["digest"] == alone.facts["model"]["digest"]
    before = (tmp_path / "run-3" / "model.safetensors").stat().st_mtime_ns

    assert main([*words, "--seeds", "3"]) == 1
    assert f"{tmp_path / 'run-3'} holds a run already; --resume" in capsys.readouterr().err
    assert not (tmp_path / "run-5").exists()
    assert main([*words, "--seeds", "3", "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    scores = [run["validation"] for run in told["runs"]]
    assert [run["seed"] for run in told["runs"]] == [3, 4, 5]
    assert (told["mean"], told["spread"]) == (pytest.approx(mean(scores)), pytest.approx(stdev(scores)))
    assert (tmp_path / "run-3" / "model.safetensors").stat().st_mtime_ns == before

    assert main([*words, "--seeds", "2", "--resume", "--model.smoothing", "0.1"]) == 1
    assert "run-3 was made with model.smoothing = 0.0, not 0.1; choose another folder" in capsys.readouterr().err
    # words are text, and mean the numbers that they stand for
    assert main([*words, "--seeds", "1", "--resume", "--model.smoothing", "0"]) == 0


@pytest.mark.parametrize("number", ["0", "-2"])
def test_no_seeds_are_a_sentence(number, capsys, tmp_path):
    assert main([*WORDS, "--out", str(tmp_path / "run"), f"--seeds={number}"]) == 1
    assert capsys.readouterr().err == f"protolens: --seeds is {number}; train 1 seed or more\n"


def test_a_run_tells_what_made_it(tmp_path):
    run = fit_or_keep(digits_run(stages={"train": {"epochs": 1}}), tmp_path / "run")
    made = run.facts["made_with"]
    assert {"commit", "protolens", "torch", "python", "device", "processor", "cores", "threads"} <= made.keys()
    assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?|release .+|unknown", made["commit"])
    with pytest.raises(ProtolensError, match=r"was made with stages\.train\.epochs = 1, not 2"):
        fit_or_keep(digits_run(), run.folder)


def test_a_package_that_is_no_checkout_has_no_commit(tmp_path, monkeypatch):
    from protolens.train import origin

    def commit_of(folder):
        monkeypatch.setattr(origin, "SOURCE", folder)
        return origin.commit.__wrapped__()

    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    assert commit_of(tmp_path).startswith("release ")
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    assert commit_of(tmp_path) == "unknown"  # nothing is committed
    (tmp_path / "a").write_text("a")
    subprocess.run([*git, "add", "a"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "a"], cwd=tmp_path, check=True)
    words = ["git", "rev-parse", "--short=7", "HEAD"]
    head = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    assert commit_of(tmp_path) == head
    (tmp_path / "a").write_text("b")
    assert commit_of(tmp_path) == f"{head}-dirty"


def test_ctrl_c_stops_all_seeds(tmp_path):
    words = ["fit", "--stages.train.epochs", "400", "--seeds", "2", "--out", str(tmp_path / "run")]
    process = subprocess.Popen([sys.executable, "-m", "protolens", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("epoch 1 of 400" in line for line in process.stderr)  # up to that line
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "nothing is lost, the same command with --resume goes on there" in errors
    assert not (tmp_path / "run-1").exists()
