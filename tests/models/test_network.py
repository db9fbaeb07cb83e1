"""Any network as a model of the family, and its conversion to one that decides by prototypes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from protolens.cli import main
from protolens.errors import ProtolensError
from protolens.models import build_model
from tests.conftest import make_task

OWN = """
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.last = nn.Linear(8, 10)

    def forward(self, images):
        return self.last(self.maps(images).mean(dim=(2, 3)))
"""


@pytest.fixture
def own(tmp_path):
    """A network of one's own for digits, and its weights."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    model = build_model({"name": "network", "source": f"{path}:Own"}, make_task(size=(8, 8), classes=10), 0)
    state = {f"maps.{name}": value for name, value in model.network.maps.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    head = {"last.weight": torch.randn(10, 8, generator=generator), "last.bias": torch.randn(10, generator=generator)}
    save_file(state | head, tmp_path / "own.safetensors")
    return path, tmp_path / "own.safetensors"


def test_it_gives_the_logits_of_the_network_that_it_reads(tmp_path):
    torch.manual_seed(0)
    network = models.resnet18(num_classes=4).eval()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    chosen = {"name": "network", "source": "torchvision:resnet18", "weights": str(tmp_path / "net.safetensors")}
    model = build_model(chosen, make_task(3, (64, 64)), 0).eval()
    model.load_pretrained()
    images = torch.rand(3, 3, 64, 64)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    evidence = model.evidence(images)
    torch.testing.assert_close(evidence.logits, network((images - mean) / deviation))
    torch.testing.assert_close(model.prototypes.vectors, network.fc.weight)
    torch.testing.assert_close(model.contributions(evidence).sum(dim=1) + model.bias(), evidence.logits)


def test_other_classes_need_a_new_head(tmp_path):
    network = models.resnet18(num_classes=9)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    chosen = {"name": "network", "source": "torchvision:resnet18", "weights": str(tmp_path / "net.safetensors")}
    with pytest.raises(ProtolensError, match=r"tells 9 classes and the images have 4; .* model.head = \"new\""):
        build_model(chosen, make_task(3, (64, 64)), 0).load_pretrained()
    model = build_model(chosen | {"head": "new"}, make_task(3, (64, 64)), 0)
    model.load_pretrained()
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 4)
    assert torch.equal(model.network.layer4[0].conv1.weight, network.layer4[0].conv1.weight)


def test_a_function_whose_network_tells_other_classes_is_refused(own):
    with pytest.raises(ProtolensError, match=r"own.py:Own tells 10 classes and the images have 4"):
        build_model({"name": "network", "source": f"{own[0]}:Own"}, make_task(), 0)


def test_pixels_are_as_told():
    wrong = {"name": "network", "source": "torchvision:resnet18", "head": "new", "mean": (0.5,), "deviation": (0.5,)}
    with pytest.raises(ProtolensError, match="model.mean and model.deviation need 3 numbers each"):
        build_model(wrong, make_task(3, (64, 64)), 0)
    right = wrong | {"mean": (0.5, 0.4, 0.3), "deviation": (0.1, 0.2, 0.3)}
    model = build_model(right, make_task(3, (64, 64)), 0)
    torch.testing.assert_close(model.normalise.mean, torch.tensor([0.5, 0.4, 0.3]))


@pytest.mark.parametrize(
    "words", [[], ["--layer", "maps.1"], ["--places", "map"], ["--places", "map", "--layer", "maps"]]
)
def test_a_network_of_ones_own_is_converted(own, tmp_path, capsys, words):
    path, weights = own
    out = tmp_path / "run"
    command = ["convert", f"{path}:Own", "--weights", str(weights), "--data", "digits", "--per-class", "2", *words]
    assert main([*command, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["centres"] == 20
    if not words:
        assert told["found"].startswith("The code of own.py:Own is what goes into its layer last: 8 numbers.")
    elif words[-1] == "maps.1":
        assert told["found"] == "The code is what the layer maps.1 gives, averaged over places: 8 numbers."
    else:
        assert told["found"] == "The code is what the layer maps gives, at each place: 8 numbers."
    facts = json.loads((out / "run.json").read_text())
    assert facts["settings"]["of"]["source"] == f"{path}:Own"
    assert main(["evaluate", str(out), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert 0 <= content["interpretation"]["fidelity"] <= 1


def test_the_weights_are_asked_for(own, capsys):
    path, _ = own
    assert main(["convert", f"{path}:Own", "--data", "digits"]) == 1
    assert "give the file with its weights as --weights FILE" in capsys.readouterr().err


def test_the_example_has_the_names_of_the_published_weights():
    source = Path(__file__).parents[2] / "examples" / "cifar_resnet.py"
    model = build_model({"name": "network", "source": f"{source}:resnet20"}, make_task(3, (32, 32), 10), 0).eval()
    assert model.found.name == "linear"
    assert sum(parameter.numel() for parameter in model.parameters()) == 269_722  # 0.27 million in the paper's table 6
    assert "layer3.2.conv2.weight" in model.network.state_dict()
    torch.testing.assert_close(model.normalise.mean, torch.tensor([0.485, 0.456, 0.406]))
