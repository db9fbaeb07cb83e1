"""A run that is stopped goes on to the same bits: by Ctrl-C, by SIGKILL at any moment, in the middle of an epoch."""

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from protolens.errors import ProtolensError
from protolens.models import state_digest
from protolens.train import Run, fit
from protolens.train.checkpoint import load_checkpoint
from tests.conftest import digits_run

KILLS = 20
# small steps and a checkpoint after each, so that a kill falls anywhere: in a step, in a write, at an epoch's end
SHORT = {"stages": {"train": {"epochs": 2}}, "train": {"batch": 100, "checkpoint_seconds": 0}}


def train_here(folder: Path) -> None:
    torch.set_num_threads(1)
    fit(digits_run(**SHORT), folder, resume=True)


def start(folder: Path) -> BaseProcess:
    """A process of its own that trains; forked from one that has imported torch, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["protolens.train", "sklearn.datasets", "torch._dynamo"])
    process = context.Process(target=train_here, args=(folder,))
    process.start()
    return process


def finish(folder: Path) -> bytes:
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return (folder / "model.safetensors").read_bytes()


def test_twenty_kills_at_random_moments_each_resume_to_the_same_bits(tmp_path):
    finish(tmp_path / "warm-up")
    started = time.monotonic()
    expected = finish(tmp_path / "undisturbed")
    whole = time.monotonic() - started
    moments = random.Random(0)
    killed = 0
    while killed < KILLS:
        folder, started = tmp_path / str(len([*tmp_path.iterdir()])), time.monotonic()
        process = start(folder)
        process.join(moments.uniform(0.1, 0.9) * whole)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            killed += 1
        else:  # it was done before: others left the machine alone
            whole = min(whole, time.monotonic() - started)
        assert finish(folder) == expected


def command(folder: Path) -> list[str]:
    changes = ["--stages.train.epochs", "400", "--out", str(folder)]
    return [sys.executable, "-m", "protolens", "fit", *changes]


def test_ctrl_c_leaves_a_checkpoint_and_a_sentence(tmp_path):
    process = subprocess.Popen(command(tmp_path / "run"), stderr=subprocess.PIPE, text=True)
    history = tmp_path / "run" / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.read_text()):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert re.search(
        "stopped in epoch .* of 400 of stage train; nothing is lost, the same command with --resume", errors
    )
    assert "Traceback" not in errors
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert (checkpoint.position.epoch, checkpoint.position.step) > (0, 0)


def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_bits(tmp_path):
    expected = finish(tmp_path / "undisturbed")
    process = start(tmp_path / "stopped")
    while process.is_alive() and not (tmp_path / "stopped" / "last.pt").exists():
        pass
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert finish(tmp_path / "stopped") == expected


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    digests = [
        fit(digits_run(seed=seed), tmp_path / str(number)).facts["model"]["digest"]
        for number, seed in enumerate((1, 1, 2))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_training_leaves_the_global_generators_as_they_were(tmp_path):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    fit(digits_run(), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    fit(digits_run(), tmp_path / "run")
    with pytest.raises(ProtolensError, match="holds a run already; --resume goes on with it"):
        fit(digits_run(), tmp_path / "run")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = fit(digits_run(), tmp_path / "run")
    again = fit(digits_run(), tmp_path / "run", resume=True)
    assert state_digest(first.model()) == state_digest(again.model())
    assert again.history == first.history


def test_resuming_with_another_setting_names_the_setting(tmp_path):
    fit(digits_run(), tmp_path / "run")
    other = digits_run(train={"batch": 64})
    with pytest.raises(ProtolensError, match=r"was begun with train\.batch = 250, not 64; choose another --out"):
        fit(other, tmp_path / "run", resume=True)


def test_settings_that_have_come_since_count_as_they_are_by_default(tmp_path):
    fit(digits_run(), tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    new = ("label_share", "squared", "undecayed")
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith(new)))
    fit(digits_run(), tmp_path / "run", resume=True)
    with pytest.raises(ProtolensError, match=r"was begun with data\.label_share = 0\.05, not 0\.1"):
        fit(digits_run(data={"label_share": 0.1}), tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    fit(digits_run(), tmp_path / "run")
    checkpoint = tmp_path / "run" / "last.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    with pytest.raises(ProtolensError, match=r"last\.pt is damaged .*; delete it to begin the run again"):
        fit(digits_run(), tmp_path / "run", resume=True)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    fit(digits_run(), tmp_path / "run")
    torch.save({"position": Trap()}, tmp_path / "run" / "last.pt")
    with pytest.raises(ProtolensError, match="is damaged"):
        fit(digits_run(), tmp_path / "run", resume=True)
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_survives(tmp_path):
    """The kernel refuses files over a limit as it refuses them on a full disk."""
    fit(digits_run(), tmp_path / "whole")
    size = (tmp_path / "whole" / "last.pt").stat().st_size
    script = (
        "import resource, sys; from protolens.cli import main; import protolens.train;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, -1)); sys.exit(main({command(tmp_path / 'run')[3:]}))"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "last.pt cannot be written (File too large); free some space" in process.stderr
    assert "Traceback" not in process.stderr
    assert not list((tmp_path / "run").glob(".*.part"))


def test_weights_of_the_best_epoch_on_validation_are_kept(tmp_path):
    run = fit(digits_run(stages={"train": {"epochs": 12}}, train={"batch": 64}), tmp_path / "run")
    scores = [line["validation"]["accuracy"] for line in run.history]
    assert run.facts["chosen"] == [{"stage": "train", "epoch": scores.index(max(scores)) + 1, "score": max(scores)}]
    assert [line["epoch"] for line in run.history if line["chosen"]][-1] == run.facts["chosen"][0]["epoch"]


def test_history_after_the_checkpoint_is_cut_off_when_a_run_goes_on(tmp_path):
    run = fit(digits_run(), tmp_path / "run")
    lines = (tmp_path / "run" / "history.jsonl").read_text()
    (tmp_path / "run" / "history.jsonl").write_text(lines + '{"epoch": 3, "half a li')
    (tmp_path / "run" / "run.json").unlink()
    assert fit(digits_run(), tmp_path / "run", resume=True).history == run.history
    assert Run.open(tmp_path / "run").history == run.history
