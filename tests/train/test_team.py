"""Several processes under torchrun train one model together."""

import json
from pathlib import Path

import pytest

from tests.conftest import torchrun

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from protolens.config import Stage, build, RunConfig
from protolens.models import build_model, state_digest
from protolens.models.prototypedl import PrototypeDL
from protolens.train import fit, loop

# two stages, the first with a frozen part: a process group wrapped only once would let the ranks drift apart
PrototypeDL.stages = lambda self: [
    Stage("warm", 1, {"prototypes": 2e-3, "head": 2e-3}, {"classification": 20.0, "prototype_coverage": 1.0}),
    Stage("joint", 2, {"all": 2e-3}, {"classification": 20.0, "reconstruction": 1.0, "code_coverage": 1.0}),
]
digests = []
train_stage = loop.Training.train_stage
def remember(self, *arguments):
    train_stage(self, *arguments)
    digests.append(state_digest(self.model))
loop.Training.train_stage = remember
tables = json.loads(sys.argv[2])
run = build(RunConfig, {**tables, "train": {"batch": 100, "device": "cpu"}}, "test")
fit(run, sys.argv[1])
Path(sys.argv[1] + f"-rank{os.environ.get('RANK', 0)}.json").write_text(json.dumps(digests))
"""


def train(folder: Path, tables: dict[str, object], processes: int) -> list[list[str]]:
    """Train in so many processes; what each saw: the model's digest after every stage."""
    torchrun(folder.parent / "script.py", SCRIPT, [str(folder), json.dumps(tables)], processes)
    return [json.loads(Path(f"{folder}-rank{rank}.json").read_text()) for rank in range(processes)]


@pytest.mark.parametrize("model", [{"name": "prototypedl"}])
def test_two_processes_hold_the_same_weights_after_each_stage(tmp_path, model):
    first, second = train(tmp_path / "run", {"model": model}, processes=2)
    assert len(first) == 2
    assert first == second
    assert first[0] != first[1]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["made_with"]["processes"] == 2
    assert [chosen["stage"] for chosen in facts["chosen"]] == ["warm", "joint"]


def test_two_processes_hold_the_same_prototypes_after_projection_and_pruning(tmp_path):
    tables = {
        "model": {"name": "protopnet", "per_class": 3, "features": 8, "rounds": 1, "prune": True},
        "stages": {"joint-1": {"epochs": 3}, "head-1": {"epochs": 1}, "refit": {"epochs": 1}},
    }
    first, second = train(tmp_path / "run", tables, processes=2)
    # the digests are taken before each step, so the last two see what projection and pruning left
    assert len(first) == 3
    assert first == second
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [entry["step"] for entry in facts["followed"]] == ["project", "prune"]


AGAIN = """
import sys, weakref
from pathlib import Path
import torch
from protolens.train import assemble

found, groups = [], []
for turn in range(8):
    with assemble("cpu") as team:
        groups.append(weakref.ref(torch.distributed.group.WORLD))
        team.wrap(torch.nn.Linear(1, 1))
        found += team.gather(torch.tensor([10 * turn + team.rank])).tolist()
assert not any(group() for group in groups), "a group outlives its job, and would abort the process when Python ends"
Path(f"{sys.argv[1]}-{team.rank}").write_text(str(found))
"""


def test_a_job_can_assemble_again_and_again(tmp_path):
    torchrun(tmp_path / "script.py", AGAIN, [str(tmp_path / "found")], processes=2)
    expected = str([10 * turn + rank for turn in range(8) for rank in range(2)])
    assert [path.read_text() for path in sorted(tmp_path.glob("found-*"))] == [expected, expected]


COMMAND = """
import sys
from protolens.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_one_process_speaks_for_all(tmp_path):
    out = tmp_path / "run"
    words = ["fit", "--model", "blackbox", "--data", "digits", "--epochs", "1", "--device", "cpu", "--out", str(out)]
    said = torchrun(tmp_path / "script.py", COMMAND, words, processes=2)
    assert said.count("epoch 1 was chosen") == 1
    again = torchrun(tmp_path / "script.py", COMMAND, ["evaluate", str(out), "--device", "cpu", "--json"], processes=2)
    assert json.loads(again)["images"] == 359
    assert (out / "report.html").exists()
