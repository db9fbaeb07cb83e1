"""Where prototypes stand among the training images, against a loop over images and prototypes."""

import pytest
import torch

from protolens.data import MemoryImages
from protolens.files import read_json
from protolens.models import build_model
from protolens.train import trace, validation
from protolens.train.team import Team
from protolens.train.tracing import provenance, write_prototypes
from tests.conftest import make_task


@pytest.fixture
def images():
    pixels = torch.randint(0, 256, (37, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemoryImages("training", pixels, torch.arange(37) % 4, [f"train/{i}" for i in range(37)])


def test_nearest_use_and_usual_similarity_equal_those_of_a_plain_loop(images, monkeypatch):
    monkeypatch.setattr("protolens.train.validation.LARGEST_BATCH", 10)
    model = build_model({"name": "prototypedl", "prototypes": 6}, make_task(size=(12, 12)), 0)
    found = trace(model, images)
    rows = [model.evidence(images.take(torch.tensor([i])) / 255).similarity[0].tolist() for i in range(37)]
    for j in range(6):
        column = [row[j] for row in rows]
        assert int(found.nearest[j]) == column.index(max(column))
        assert float(found.similarity[j]) == pytest.approx(max(column), rel=1e-4)
        assert float(found.usual[j]) == pytest.approx(sum(column) / 37, rel=1e-4)
    uses = [[0] * 4 for _ in range(6)]
    for i, row in enumerate(rows):
        uses[row.index(max(row))][i % 4] += 1
    assert found.uses.tolist() == uses


def test_predictions_come_in_the_order_of_the_images_and_leave_the_mode(images, monkeypatch):
    monkeypatch.setattr(validation, "LARGEST_BATCH", 10)
    model = build_model({"name": "blackbox"}, make_task(size=(12, 12)), 0).train()
    logits = validation.predict(model, images, Team(torch.device("cpu")))
    assert model.training
    singles = torch.cat([model.eval()(images.take(torch.tensor([i])) / 255) for i in range(37)])
    torch.testing.assert_close(logits, singles.detach(), atol=1e-5, rtol=1e-4)


def test_validation_in_training_is_fit_to_select_by_any_figure():
    assert validation.better("accuracy", 0.9, None)
    assert not validation.better("accuracy", 0.9, 0.9)
    assert validation.better("loss", 0.3, 0.4)
    assert not validation.better("loss", 0.3, 0.3)


@pytest.mark.parametrize("name", ["prototypedl", "blackbox"])
def test_the_file_of_prototypes_tells_how_far_the_nearest_code_is_where_the_model_measures_that(images, tmp_path, name):
    model = build_model({"name": name}, make_task(size=(12, 12)), 0).eval()
    found = trace(model, images)
    model.provenance = provenance(model, found, images)
    write_prototypes(tmp_path, model, found, images, "a digest")
    told = [entry["nearest_distance"] for entry in read_json(tmp_path / "prototypes.json")["prototypes"]]
    rows = [model.evidence(images.take(torch.tensor([i])) / 255).distance for i in range(37)]
    if name == "blackbox":
        assert rows[0] is None
        assert set(told) == {None}
    else:
        assert told == pytest.approx(torch.cat(rows).amin(dim=0).tolist(), rel=1e-4)
