"""What several test files share."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from protolens.config import DataConfig, RunConfig, Task, build
from protolens.data import DataSet, MemoryImages, open_data

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture
def data_root() -> Path:
    """The folder of the real data sets."""
    root = os.environ.get("PROTOLENS_DATA")
    if not root:
        pytest.skip("PROTOLENS_DATA is not set: it names the folder with MNIST and its like, which this test reads")
    return Path(root)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real one, without windows."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if chromium is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def digits_run(**changes: object) -> RunConfig:
    """A short training on the embedded digits, with changes to its tables."""
    return build(RunConfig, {"stages": {"train": {"epochs": 2}}, **changes}, "a test")


def make_task(bands: int = 1, size: tuple[int, int] = (28, 28), classes: int = 4) -> Task:
    return Task(tuple(f"class {k}" for k in range(classes)), bands, *size)


def pairs_of_digits(counts: Sequence[int] = (600, 200, 200), blank: int = 20) -> DataSet:
    """Images of two digits side by side, 8 x 16: each shows the classes of both.

    counts: images of training, validation and test; blank: so many of each split, the first, show no class.
    """
    from sklearn.datasets import load_digits

    digits, numbers = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(0)
    # no digit is in two splits
    order, parts = torch.randperm(len(digits), generator=generator), []
    for name, count, own in zip(("training", "validation", "test"), counts, order.chunk(3), strict=True):
        chosen = own[torch.randint(len(own), (2, count), generator=generator)]
        pixels = torch.cat([torch.tensor(digits)[side].view(-1, 1, 8, 8) for side in chosen], dim=3)
        pixels = (pixels * 255 / 16).to(torch.uint8)
        labels = torch.zeros(count, 10, dtype=torch.long)
        for side in chosen:
            labels[torch.arange(count), torch.tensor(numbers)[side]] = 1
        pixels[:blank], labels[:blank] = torch.arange(blank, dtype=torch.uint8).view(-1, 1, 1, 1), 0
        parts.append(MemoryImages(name, pixels, labels, [f"{name}/{i}" for i in range(count)]))
    return DataSet("pairs", Task(tuple("0123456789"), 1, 8, 16, several=True), *parts, leaks=(), notes=())


@pytest.fixture(scope="session")
def several() -> Iterator[DataSet]:
    """Pairs of digits, which every run reads whose data are called "pairs"."""
    data = pairs_of_digits()

    def read(config: DataConfig) -> DataSet:
        return data if config.name == "pairs" else open_data(config)

    with pytest.MonkeyPatch.context() as patch:
        for reader in ("train.fitting", "evaluation.evaluation", "evaluation.ensemble", "editing.workbench"):
            patch.setattr(f"protolens.{reader}.open_data", read)
        yield data


def torchrun(script: Path, text: str, words: Sequence[str], processes: int) -> str:
    """Write a script, run it in so many processes, one thread each, and return what they print; it can import tests."""
    script.write_text(text)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    places = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    words = [*launch, str(script), *words]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-9000:]
    return done.stdout
