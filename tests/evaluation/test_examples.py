"""Examples on the disk: an image, what a decoder makes of it, where prototypes that stand at places find something."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from protolens.data import MemoryImages
from protolens.evaluation.examples import explain_some
from protolens.explanation.local import MAPPED
from protolens.models import build_model
from tests.conftest import make_task


@pytest.fixture
def images():
    pixels = torch.randint(0, 256, (9, 1, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemoryImages("test", pixels, torch.arange(9) % 4, [f"test/{i}" for i in range(9)])


def written(folder, images, choice):
    model = build_model(choice, make_task(size=(12, 16)), 0)
    usual = torch.zeros(len(model.prototypes))
    entries = explain_some(folder, model, images, torch.tensor([2, 7]), usual)
    files = {f"examples/{path.name}" for path in (folder / "examples").iterdir()}
    return json.loads(json.dumps(entries)), files


def test_an_example_names_every_picture_that_was_written(tmp_path, images):
    entries, files = written(tmp_path, images, {"name": "prototypedl"})
    named = {name for entry in entries for name in (entry["picture"], entry["reconstruction"])}
    assert named == files
    assert [entry["heat_maps"] for entry in entries] == [{}, {}]


def test_prototypes_at_places_have_heat_maps_of_the_strongest_reasons(tmp_path, images):
    entries, files = written(tmp_path, images, {"name": "protopnet", "per_class": 3})
    assert files == {name for entry in entries for name in (entry["picture"], *entry["heat_maps"].values())}
    for entry in entries:
        strongest = [str(reason["prototype"]) for reason in entry["reasons"][:MAPPED]]
        assert list(entry["heat_maps"]) == strongest
        assert entry["reconstruction"] is None
        for number, name in entry["heat_maps"].items():
            assert name == f"examples/{entry['index']:06d}-heat-{int(number):04d}.png"
            with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as picture:
                assert (picture.size, picture.mode) == ((16, 12), "RGB")
                assert np.ptp(np.asarray(picture)) > 0
