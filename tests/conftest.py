"""What several test files share."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from protolens.config import RunConfig, Task, build

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture
def data_root() -> Path:
    """The folder of the real data sets."""
    root = os.environ.get("PROTOLENS_DATA")
    if not root:
        pytest.skip("PROTOLENS_DATA is not set: it names the folder with MNIST and its like, which this test reads")
    return Path(root)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def digits_run(**changes: object) -> RunConfig:
    """A short training on the embedded digits, with changes to its tables."""
    return build(RunConfig, {"stages": {"train": {"epochs": 2}}, **changes}, "a test")


def make_task(bands: int = 1, size: tuple[int, int] = (28, 28), classes: int = 4) -> Task:
    return Task(tuple(f"class {k}" for k in range(classes)), bands, *size)


def torchrun(script: Path, text: str, words: Sequence[str], processes: int) -> None:
    """Write a script and run it in so many processes, one thread each; it can import the tests."""
    script.write_text(text)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    places = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    words = [*launch, str(script), *words]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-9000:]
