"""A network's own prototypes beside those of a run, against loops over images and prototypes."""

import sys

import pytest
import torch

from protolens.data import MemoryImages, open_data
from protolens.errors import ProtolensError
from protolens.files import read_json
from protolens.models import build_model
from protolens.train import convert, fit
from protolens.train.built_in import Beside, draw_balanced
from protolens.train.tracing import trace
from tests.conftest import digits_run, make_task


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(digits_run(model={"name": "blackbox"}), tmp_path_factory.mktemp("runs") / "blackbox")


@pytest.fixture(scope="module")
def converted(trained):
    return convert(trained, trained.folder.with_name("kmex"), {"model": {"per_class": 2}})


def test_nearest_images_and_the_unit_equal_those_of_a_plain_loop(monkeypatch):
    monkeypatch.setattr("protolens.train.validation.LARGEST_BATCH", 10)
    pixels = torch.randint(0, 256, (37, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = MemoryImages("training", pixels, torch.arange(37) % 4, [f"train/{i}" for i in range(37)])
    model = build_model({"name": "kmex", "per_class": [2, 1, 1, 3]}, make_task(size=(12, 12)), 0)
    model.keep(torch.tensor([0, 1, 2, 4, 5, 6]))  # a class whose images are all alike may lose some
    built_in, sample = model.built_in_prototypes(), torch.tensor([3, 11, 36])
    beside = Beside(model, built_in, len(images), sample)
    trace(model, images, beside.see)
    found = beside.told()
    with torch.no_grad():
        codes = [model.code(images.take(torch.tensor([i])) / 255)[0] for i in range(37)]
    for k, row in enumerate(built_in.detach()):
        products, apart = [float(row @ code) for code in codes], [float((row - code).norm()) for code in codes]
        assert int(found.dot_product.index[k]) == products.index(max(products))
        assert float(found.dot_product.value[k]) == pytest.approx(max(products), rel=1e-4)
        assert int(found.distance.index[k]) == apart.index(min(apart))
        assert float(found.distance.value[k]) == pytest.approx(min(apart), rel=1e-4)
    own = []
    for i, code in enumerate(codes):
        apart = [float((vector - code).norm()) for vector in model.prototypes.vectors.detach()]
        mine = [apart[j] for j, k in enumerate([0, 0, 1, 3, 3, 3]) if k == i % 4]
        own += [min(mine)] if mine else []
    for j, vector in enumerate(model.prototypes.vectors.detach()):
        apart = [float((vector - code).norm()) for code in codes]
        assert int(found.found.index[j]) == apart.index(min(apart))
    assert found.unit == pytest.approx(sum(own) / len(own), rel=1e-4)
    torch.testing.assert_close(found.codes, torch.stack([codes[i] for i in sample]), atol=1e-5, rtol=1e-4)


def test_a_sample_has_equally_many_images_of_each_class_and_follows_its_seed():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 70)
    drawn = draw_balanced(labels, 30, 5)
    assert labels[drawn].bincount().tolist() == [10, 3, 10]
    assert drawn.tolist() == sorted(set(drawn.tolist())) == draw_balanced(labels, 30, 5).tolist()
    assert drawn.tolist() != draw_balanced(labels, 30, 6).tolist()


def test_a_conversion_tells_what_the_networks_own_prototypes_are_like(trained, converted):
    told, training = converted.built_in, open_data(trained.config.data).training
    assert told["model"] == converted.facts["model"]["digest"]
    assert [entry["class"] for entry in told["built_in"]] == list(trained.facts["data"]["classes"])
    for entry in told["built_in"]:
        for measure in ("dot_product", "distance"):
            near = entry[measure]
            assert near["name"] == training.names[near["index"]]
            assert near["label"] == str(int(training.labels[near["index"]]))
            assert (converted.folder / near["image"]).exists()
    assert len(told["prototypes"]) == 20
    for measure in ("dot_product", "distance"):
        drawn = told["map"][measure]
        counts = [len(drawn[kind]["x"]) for kind in ("codes", "built_in", "prototypes")]
        assert counts == [len(told["map"]["images"]), 10, 20]
        assert all(0 <= share <= 1 for share in drawn["kept"].values())


@pytest.mark.parametrize(
    "changes", [{"layer": "encoder.3"}, {"layer": "encoder.3", "places": "map"}, {"similarity": "cosine"}]
)
def test_a_code_that_does_not_go_into_the_last_layer_is_compared_with_nothing(changes):
    settings = {"name": "kmex", "of": {"name": "blackbox", "network": "strong"}, **changes}
    assert build_model(settings, make_task(), 0).built_in_prototypes() is None


def test_a_network_without_such_a_layer_and_a_model_of_no_network_are_compared_with_nothing(trained):
    assert build_model({"name": "kmex", "of": {"name": "protovae"}}, make_task(), 0).built_in_prototypes() is None
    assert trained.built_in is None
    assert not (trained.folder / "built_in.json").exists()


def test_umap_is_missed_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ProtolensError, match="needs the extra"):
        fit(digits_run(train={"map_of_codes": "umap"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_same_conversion_tells_the_same(converted, trained, tmp_path):
    again = convert(trained, tmp_path / "again", {"model": {"per_class": 2}})
    assert read_json(again.folder / "built_in.json") == converted.built_in
