"""A folder of one's own photographs goes from `fit` to a report by the commands of the README."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protolens.cli import main
from protolens.files import read_json


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two kinds of pictures in many sizes: one grey, one with alpha, one cut off."""
    rng = np.random.default_rng(0)
    for kind, hue in (("sky", 2), ("grass", 1)):
        folder = tmp_path / "photographs" / kind
        folder.mkdir(parents=True)
        for number in range(14):
            height, width = rng.integers(40, 120, size=2)
            pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
            pixels[:, :, hue] += 150
            picture = Image.fromarray(pixels)
            if number == 3:
                picture = picture.convert("L")
            if number == 4:
                picture.putalpha(200)
            picture.save(folder / f"{number}.{'png' if number % 2 == 0 or number == 3 else 'jpg'}")
    broken = tmp_path / "photographs" / "sky" / "0.png"
    broken.write_bytes(broken.read_bytes()[:900])
    return tmp_path / "photographs"


def test_a_folder_of_photographs_goes_from_fit_to_a_report(photographs, tmp_path, capsys):
    run = tmp_path / "run"
    fit = ["fit", "photographs", "--data", f"folder:{photographs}", "--epochs", "3", "--out", str(run)]
    assert main(fit) == 1
    sentence = capsys.readouterr().err
    assert "0.png cannot be read" in sentence
    assert "skip-unreadable" in sentence
    assert main([*fit, "--skip-unreadable"]) == 0
    assert main(["evaluate", str(run)]) == 0
    facts = read_json(run / "run.json")["data"]
    assert facts["bands"] == 3
    assert any("0.png" in note for note in facts["notes"])
    assert "0.png" in (run / "report.html").read_text()
    assert main(["explain", str(run), str(photographs / "grass" / "4.png")]) == 0
