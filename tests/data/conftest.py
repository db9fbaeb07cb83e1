"""Pictures on the disk for the tests of the data room."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Save = Callable[..., Path]


def photograph(seed: int, size: tuple[int, int] = (40, 50)) -> NDArray[np.uint8]:
    """Smooth colours with some noise, [h, w, 3]: they survive JPEG and resizing, and no two seeds are alike."""
    generator = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width] / max(size)
    waves = [np.sin(a * rows + b * columns + c) for a, b, c in generator.uniform(2, 9, (3, 3))]
    noise = generator.normal(0, 0.05, (height, width, 3))
    return np.clip((np.stack(waves, axis=-1) + noise) * 100 + 128, 0, 255).astype(np.uint8)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes an array as an image file below the test's folder; without an array, a new photograph."""
    written = iter(range(10_000))

    def write(name: str, pixels: NDArray[np.uint8] | None = None, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(next(written)) if pixels is None else pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download fails at once, as on a machine without a network."""
    from urllib.error import URLError

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
