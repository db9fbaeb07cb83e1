"""An ONNX file gives what the model gives, for every model of the family, and is not written where it does not."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import protolens
from protolens.data import open_data, to_float
from protolens.data.images import MemoryImages
from protolens.errors import ProtolensError
from protolens.exporting import export
from protolens.exporting.graph import make_graph
from protolens.models import MODELS, save_model, state_digest
from protolens.train import convert
from tests.exporting.conftest import folder_around

NETWORK = {"name": "network", "source": "torchvision:resnet18"}
CHOICES = [
    ({"name": "bayesian", "width": 32}, 3, (17, 23)),
    ({"name": "bayesian", "network": "cnn"}, 1, (28, 28)),
    ({"name": "blackbox"}, 5, (17, 23)),
    ({"name": "blackbox", "network": "strong"}, 3, (32, 32)),
    ({"name": "concepts", "of": NETWORK}, 3, (64, 96)),
    ({"name": "concepts", "of": NETWORK, "layers": ["layer2", "layer3"], "temperature": 0.5}, 3, (64, 64)),
    ({"name": "flint"}, 1, (17, 23)),
    ({"name": "kmex", "per_class": [1, 2, 3, 4]}, 1, (8, 8)),
    ({"name": "kmex", "of": {"name": "protopnet", "per_class": 2}, "similarity": "cosine"}, 3, (28, 28)),
    ({"name": "kmex", "of": NETWORK, "places": "map", "per_class": 2}, 3, (64, 96)),
    ({"name": "network", "source": "torchvision:mobilenet_v3_small"}, 3, (32, 32)),
    ({"name": "pantypes", "features": 32}, 1, (17, 23)),
    ({"name": "prototypedl"}, 5, (17, 23)),
    ({"name": "prototypedl", "decoder": "deconv", "squared": True, "bias": False}, 1, (28, 28)),
    ({"name": "protopnet", "per_class": 2, "features": 16}, 3, (28, 28)),
    ({"name": "protopnet", "backbone": "torchvision:resnet18", "cut": "layer2", "per_class": 2}, 3, (40, 56)),
    ({"name": "protovae", "sampling": True, "squared": True, "features": 32}, 3, (28, 28)),
]
AT_PLACES = ("maps",)


def name_of(choice: object) -> str:
    return "-".join(str(value) for value in choice.values()) if isinstance(choice, dict) else ""


def run_file(path: Path, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What onnxruntime gives, by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"images": images.numpy()})
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


def facts_of(path: Path) -> dict[str, object]:
    """The metadata, with what is JSON opened."""
    found = {}
    for entry in onnx.load(path).metadata_props:
        try:
            found[entry.key] = json.loads(entry.value)
        except ValueError:
            found[entry.key] = entry.value
    return found


def test_every_registered_model_is_exported_here():
    assert {choice["name"] for choice, _, _ in CHOICES} == set(MODELS)


@pytest.mark.parametrize(("choice", "bands", "size"), CHOICES, ids=name_of)
def test_the_file_gives_the_evidence_of_the_model_for_any_number_of_images(choice, bands, size, tmp_path):
    run = folder_around(tmp_path / "run", choice, bands, size)
    report = export(run, tmp_path / "model.onnx")
    model, facts = run.model(), facts_of(tmp_path / "model.onnx")
    for count in (1, 2, 5):
        images = torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(count))
        found = run_file(tmp_path / "model.onnx", images)
        with torch.inference_mode():
            evidence = model.evidence(images)
            expected = {
                "logits": evidence.logits,
                "similarities": evidence.similarity,
                "contributions": model.contributions(evidence),
                "maps": evidence.maps,
            }
        assert list(found) == [name for name, value in expected.items() if value is not None]
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=2e-4, atol=2e-5)
        total = found["contributions"].sum(dim=1) + torch.tensor(facts["bias"])
        torch.testing.assert_close(total, found["logits"], rtol=1e-4, atol=1e-4)
    assert list(facts["left_out"]) == [name for name in AT_PLACES if name not in found]
    assert all(own["difference"] <= own["allowed"] for own in report["outputs"].values())
    assert report["compared"]["of"] == "random images"
    assert "NOWHERE" in report["compared"]["why"].upper()


def test_the_file_says_what_it_takes_and_gives_and_where_it_comes_from(trained, tmp_path):
    report = export(trained, tmp_path / "model.onnx")
    facts, data = facts_of(tmp_path / "model.onnx"), trained.facts["data"]
    assert facts["classes"] == list("0123456789")
    assert (facts["bands"], facts["height"], facts["width"], facts["several"]) == (1, 8, 8, False)
    assert facts["model_digest"] == report["model"] == trained.facts["model"]["digest"]
    assert facts["data_digests"] == {name: split["digest"] for name, split in data["splits"].items()}
    assert (facts["protolens"], facts["data"]) == (protolens.__version__, "digits")
    assert "values in [0, 1]; divide pixels of 0 to 255 by 255" in facts["input"]
    assert facts["outputs"]["logits"].endswith("before softmax")
    assert facts["class_of"] == trained.model().class_of().tolist()
    assert report["input"] == {"images": ["batch", 1, 8, 8]}
    assert report["outputs"]["contributions"]["shape"] == ["batch", 15, 10]
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)


def test_it_is_held_against_the_model_on_validation_images_and_the_test_split_is_not_read(
    trained, tmp_path, monkeypatch
):
    taken, take = [], MemoryImages.take

    def noting(self, indices):
        taken.append((self.name, indices))
        return take(self, indices)

    monkeypatch.setattr(MemoryImages, "take", noting)
    report = export(trained, tmp_path / "model.onnx")
    split, rows = taken[-1]  # before, the guard looks for images that stand in two splits
    assert split == "validation"
    assert "test" not in {name for name, _ in taken}
    assert report["compared"] == {
        "images": 33, "of": "validation images", "why": "", "batches": [1, 32], "passed_over": 0, "hang_on_rounding": 0
    }  # fmt: skip
    assert json.loads((tmp_path / "model.onnx.json").read_text()) == report
    model = trained.model()
    images = to_float(take(open_data(trained.config.data).validation, rows), "cpu")
    found = run_file(tmp_path / "model.onnx", images)
    with torch.inference_mode():
        apart = float((found["logits"] - model(images)).abs().max())
    assert apart == pytest.approx(report["outputs"]["logits"]["difference"], abs=2e-6)


def test_the_run_is_left_as_it_was_and_nothing_tells_of_this_machine(trained, tmp_path):
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    state = torch.get_rng_state()
    report = export(trained, tmp_path / "model.onnx")
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before
    assert torch.equal(torch.get_rng_state(), state)
    assert state_digest(trained.model()) == report["model"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.json"]
    content = (tmp_path / "model.onnx").read_bytes()
    for words in (str(Path(protolens.__file__).parent), str(Path(torch.__file__).parent), str(trained.folder)):
        assert words.encode() not in content


def test_a_bayesian_network_has_its_weights_at_their_means_and_says_so(tmp_path):
    run = folder_around(tmp_path / "run", {"name": "bayesian", "width": 16}, 1, (8, 8))
    export(run, tmp_path / "model.onnx")
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (run_file(tmp_path / "model.onnx", images)["logits"] for _ in range(2))
    assert torch.equal(first, second)
    model = run.model()
    layers = [layer for layer in model.encoder if isinstance(layer, torch.nn.Linear)]
    code = images.flatten(1)
    for layer in layers:  # the means alone, by hand
        code = (code @ layer.weight.T + layer.bias).relu()
    expected = code @ model.prototypes.vectors.T + model.intercept
    torch.testing.assert_close(first, expected.detach(), rtol=1e-4, atol=1e-5)
    assert "mean of its distribution, as evaluate has it" in facts_of(tmp_path / "model.onnx")["randomness"]


def test_a_converted_run_is_exported_with_the_prototypes_that_decide(trained, tmp_path):
    run = convert(trained, tmp_path / "kmex")
    export(run, tmp_path / "model.onnx")
    validation = open_data(run.config.data).validation
    images = to_float(validation.take(torch.arange(50)), "cpu")
    found, class_of = run_file(tmp_path / "model.onnx", images), facts_of(tmp_path / "model.onnx")["class_of"]
    for row in range(50):
        speaks = int(found["similarities"][row].argmax())
        assert int(found["logits"][row].argmax()) == class_of[speaks]
        assert int(found["contributions"][row].abs().sum(dim=1).count_nonzero()) == 10  # one of each class


def test_twins_among_prototypes_are_said_to_hang_on_rounding(tmp_path):
    run = folder_around(tmp_path / "run", {"name": "kmex", "per_class": [2, 1, 1, 1]}, 1, (8, 8))
    model = run.model()
    with torch.no_grad():
        model.prototypes.vectors[1] = model.prototypes.vectors[0]
    save_model(model, run.folder / "model.safetensors", {})
    compared = export(run, tmp_path / "model.onnx")["compared"]
    assert (compared["images"], compared["passed_over"], compared["hang_on_rounding"]) == (33, 0, 33)


def test_several_classes_and_their_sigmoid(several, tmp_path, monkeypatch):
    from protolens.train import fit
    from tests.conftest import digits_run

    monkeypatch.setattr("protolens.exporting.checking.open_data", lambda _: several)
    changes = {"data": {"name": "pairs"}, "model": {"name": "blackbox"}, "train": {"batch": 64}}
    run = fit(digits_run(**changes, stages={"train": {"epochs": 1}}), tmp_path / "run")
    report = export(run)
    assert report["file"] == str(tmp_path / "run" / "model.onnx")
    assert report["compared"]["of"] == "validation images"
    facts = facts_of(tmp_path / "run" / "model.onnx")
    assert facts["several"] is True
    assert "sigmoid" in facts["outputs"]["logits"]


def test_another_graph_than_the_model_s_is_refused_and_what_was_there_stays(trained, tmp_path, monkeypatch):
    def wrong(run, model):
        with torch.no_grad():
            model.head.weight[3, 2] += 0.01
            proto = make_graph(run, model)
            model.head.weight[3, 2] -= 0.01
            return proto

    (tmp_path / "model.onnx").write_bytes(b"older")
    monkeypatch.setattr("protolens.exporting.onnx_file.make_graph", wrong)
    monkeypatch.setattr("protolens.exporting.onnx_file.state_digest", lambda _: "")  # the last bit may be another
    sentence = r"(logits|contributions) of the ONNX file differ from the model's by up to .* on 33 validation images"
    with pytest.raises(ProtolensError, match=sentence):
        export(trained, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"older"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_sentence(trained, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ProtolensError, match=rf"needs {package}: pip install 'protolens\[onnx\]'"):
        export(trained, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


OWN = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 4)

    def forward(self, images):
        code = images.flatten(1)
        if float(code.sum()) > 1e6:
            code = -code
        return self.last(code)
"""


def test_a_network_that_torch_cannot_follow_is_one_sentence(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    run = folder_around(tmp_path / "run", {"name": "network", "source": f"{tmp_path}/own.py:Own"}, 1, (8, 8))
    with pytest.raises(ProtolensError, match=r"network cannot be written as ONNX \(.*\); export it with --format hf"):
        export(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_model_too_large_for_the_format_is_one_sentence(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("protolens.exporting.graph.LARGEST", 1000)
    with pytest.raises(ProtolensError, match=r"an ONNX file holds 2; export it with --format hf"):
        export(trained, tmp_path / "model.onnx")


def test_pixels_of_0_to_255_are_not_what_it_takes(trained, tmp_path):
    export(trained, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="Unexpected input data type"):
        session.run(None, {"images": np.zeros((1, 1, 8, 8), dtype=np.uint8)})
