"""Examples on the disk: an image, what a decoder makes of it, where prototypes that stand at places find something."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from protolens.data import MemoryImages
from protolens.data.images import Annotations
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
    images.annotations = Annotations(mask=lambda row: np.full((12, 16), row % 4, dtype=np.uint8))
    usual = torch.zeros(len(model.prototypes))
    entries = explain_some(folder, model, images, torch.tensor([2, 7]), usual)
    files = {f"examples/{path.name}" for path in (folder / "examples").iterdir()}
    return json.loads(json.dumps(entries)), files


def test_an_example_names_every_picture_that_was_written(tmp_path, images):
    entries, files = written(tmp_path, images, {"name": "prototypedl"})
    named = {name for entry in entries for name in (entry["picture"], entry["reconstruction"], entry["mask"])}
    assert named == files
    assert [entry["places"] for entry in entries] == [None, None]
    assert [entry["heat_maps"] for entry in entries] == [{}, {}]


def test_prototypes_at_places_have_heat_maps_of_the_strongest_reasons(tmp_path, images):
    entries, files = written(tmp_path, images, {"name": "protopnet", "per_class": 3})
    each = [(entry["picture"], entry["mask"], *entry["heat_maps"].values()) for entry in entries]
    assert files == {name for names in each for name in names}
    for entry in entries:
        strongest = [str(reason["prototype"]) for reason in entry["reasons"][:MAPPED]]
        assert list(entry["heat_maps"]) == strongest
        assert entry["reconstruction"] is None
        for number, name in entry["heat_maps"].items():
            assert name == f"examples/{entry['index']:06d}-heat-{int(number):04d}.png"
            with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as picture:
                assert (picture.size, picture.mode) == ((16, 12), "RGB")
                assert np.ptp(np.asarray(picture)) > 0


def test_what_each_place_adds_is_kept_and_the_truth_beside_it(tmp_path, images):
    of = {"name": "network", "source": "torchvision:resnet18"}
    entries, files = written(tmp_path, images, {"name": "concepts", "of": of, "layers": ["layer2"], "concepts": 5})
    for entry in entries:
        assert {entry["places"], entry["mask"]} < files
        with np.load(tmp_path / entry["places"]) as file:
            assert file["adds"].sum() == pytest.approx(entry["logit"], abs=1e-5)
            assert file["prototypes"].shape == file["adds"].shape
            assert set(file["prototypes"].ravel()) <= set(range(5))
        with Image.open(tmp_path / entry["mask"]) as picture:
            assert np.asarray(picture).tolist() == [[entry["index"] % 4] * 16] * 12


def test_a_set_without_masks_has_none(tmp_path, images):
    model = build_model({"name": "blackbox"}, make_task(size=(12, 16)), 0)
    assert (
        explain_some(tmp_path, model, images, torch.tensor([2]), torch.zeros(len(model.prototypes)))[0]["mask"] is None
    )
