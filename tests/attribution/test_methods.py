"""Every method by one call: against captum and SciPy, and what holds for all of them."""

import captum.attr
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from protolens import attribute
from protolens.attribution import METHODS, gradients, occlusion
from protolens.errors import ProtolensError
from protolens.models import PrototypeModel, build_model
from protolens.nn import upsampled
from tests.conftest import make_task

SMALL = {"lime": {"samples": 60, "segments": 12}, "kernelshap": {"samples": 80, "segments": 12}}


def network(bands: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(bands, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)),
    )


def test_gradients_are_captum_s():
    model, images, targets = network().eval(), torch.rand(3, 3, 16, 16), torch.tensor([0, 3, 1])
    theirs = captum.attr.Saliency(model).attribute(images.clone(), target=targets).amax(dim=1)
    torch.testing.assert_close(gradients.gradient(model, images, targets), theirs)


def test_integrated_gradients_are_captum_s_and_sum_to_the_difference():
    model, images, targets = network().eval(), torch.rand(3, 3, 16, 16), torch.tensor([0, 3, 1])
    for baseline in (0.0, 0.5):
        ours = gradients.integrated_gradients(model, images, targets, 64, baseline)
        captum_s = captum.attr.IntegratedGradients(model)
        start = torch.full_like(images, baseline)
        theirs = captum_s.attribute(images, start, target=targets, n_steps=64, method="riemann_middle").sum(dim=1)
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-5)
        difference = (model(images) - model(start)).gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(ours.sum(dim=(1, 2)), difference.detach(), rtol=0.05, atol=1e-2)


def test_gradcam_is_captum_s_before_it_is_enlarged():
    model, images, targets = network().eval(), torch.rand(3, 3, 16, 16), torch.tensor([0, 3, 1])
    theirs = captum.attr.LayerGradCam(model, model[4]).attribute(images, targets, relu_attributions=True)
    expected = F.interpolate(theirs, (16, 16), mode="bicubic", align_corners=False)[:, 0]
    torch.testing.assert_close(gradients.gradcam(model, "4", images, targets), expected.detach(), rtol=1e-4, atol=1e-6)


def test_smoothgrad_is_the_mean_of_noisy_gradients():
    model, images, targets = network().eval(), torch.rand(2, 3, 16, 16), torch.tensor([2, 1])
    found = gradients.smoothgrad(model, images, targets, samples=5, noise=0.2, seed=4)
    drawn = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    for row in range(2):
        width = 0.2 * (images[row].max() - images[row].min())
        maps = [gradients.gradient(model, images[[row]] + width * noise, targets[[row]]) for noise in drawn]
        torch.testing.assert_close(found[row], torch.cat(maps).mean(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (5, 2), (16, 1)])
def test_occlusion_is_the_mean_fall_over_the_windows_of_a_pixel(window, stride):
    model, images, targets = network().eval(), torch.rand(2, 3, 16, 16), torch.tensor([2, 1])
    found = occlusion.occlusion(model, images, targets, window, stride)
    places = sorted({*range(0, 16 - window, stride), 16 - window})
    falls, counts = torch.zeros(2, 16, 16), torch.zeros(16, 16)
    whole = model(images)[torch.arange(2), targets].detach()
    for y in places:
        for x in places:
            seen = images.clone()
            seen[:, :, y : y + window, x : x + window] = images.mean(dim=(2, 3), keepdim=True)
            fall = whole - model(seen)[torch.arange(2), targets].detach()
            falls[:, y : y + window, x : x + window] += fall[:, None, None]
            counts[y : y + window, x : x + window] += 1
    torch.testing.assert_close(found, falls / counts, rtol=1e-3, atol=1e-5)


def test_edges_are_scipy_s_sobel_and_chance_is_each_image_s_own():
    images = torch.rand(2, 3, 9, 11)
    found = occlusion.edges(images)
    for row in range(2):
        bands = [
            np.hypot(*(ndimage.sobel(band, axis=axis, mode="nearest") for axis in (0, 1))) / 4
            for band in images[row].double().numpy()
        ]
        np.testing.assert_allclose(found[row], np.max(bands, axis=0), rtol=1e-4, atol=1e-5)
    drawn = occlusion.chance(images, 3)
    assert torch.equal(drawn[1:], occlusion.chance(images[1:], 3))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, occlusion.chance(images, 4))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_any_bands_and_leaves_the_model_and_chance_alone(method, bands):
    model: nn.Module = network(bands).train()
    if method in ("self", "prp"):
        model = build_model({"name": "protovae", "per_class": 2}, make_task(bands, (16, 16)), 0).train()
    images = torch.rand(3, bands, 16, 16)
    before, drawn = state(model), torch.get_rng_state()
    found = attribute(model, images, None, method, seed=5, **SMALL.get(method, {}))
    assert found.shape == (3, 16, 16)
    assert found.isfinite().all()
    assert not found.requires_grad
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    again = attribute(model, images[1:2], None, method, seed=5, **SMALL.get(method, {}))
    torch.testing.assert_close(again, found[1:2], rtol=1e-3, atol=1e-5 + 1e-4 * float(found.abs().max()))


def test_the_model_s_own_map_is_what_places_add_for_the_class_beyond_the_mean_of_all():
    """ProtoPNet: similarity of each place to each prototype, by weights; KMEx: of each place to the nearest centre."""
    task, images, targets = make_task(3, (32, 32)), torch.rand(2, 3, 32, 32), torch.tensor([3, 0])
    protopnet = build_model({"name": "protopnet", "per_class": 2, "features": 16}, task, 0).eval()
    kmex = build_model({"name": "kmex", "of": {"name": "network"}, "places": "map", "per_class": [2, 1, 1, 2]}, task, 0)
    with torch.no_grad():
        kmex.prototypes.vectors.copy_(torch.rand_like(kmex.prototypes.vectors))
        kmex.keep(torch.tensor([0, 1, 2, 4, 5]))  # class 2 has none
    for model in (protopnet, kmex.eval()):
        with torch.no_grad():
            evidence = model.evidence(images)
        found = attribute(model, images, targets, "self")
        _, prototypes, height, width = evidence.maps.shape
        slow = torch.zeros(2, height, width)
        for row in range(2):
            for y in range(height):
                for x in range(width):
                    at = evidence.maps[row, :, y, x]
                    if model is protopnet:
                        says = [
                            sum(at[p] * model.prototype_weights()[p, k] for p in range(prototypes)) for k in range(4)
                        ]
                    else:
                        weight, own = model.prototype_weights().max() / (height * width), model.class_of()
                        says = [weight * at[own == k].max() for k in (0, 1, 3)]
                    slow[row, y, x] = says[-1 if row == 0 else 0] - sum(says) / len(says)
        torch.testing.assert_close(found, upsampled(slow[:, None], (32, 32))[:, 0], rtol=1e-3, atol=1e-5)
    before = attribute(protopnet, images, targets, "self")
    with torch.no_grad():
        protopnet.head.weight += torch.rand(1, 8)  # for all classes alike, so that no decision changes
    torch.testing.assert_close(attribute(protopnet, images, targets, "self"), before, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_fails_is_left_as_it_was(method):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.calls = network(), 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 1:
                raise ValueError("out of order")
            return self.network(images)

    model = Fails().train()
    if method in ("edges", "random"):
        assert attribute(model, torch.rand(1, 3, 16, 16), 0, method).shape == (1, 16, 16)
        return
    before = state(model)
    with pytest.raises((ValueError, ProtolensError), match="out of order|has no prototypes|cannot take"):
        attribute(model, torch.rand(1, 3, 16, 16), 0, method, **SMALL.get(method, {}))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    (torch.rand(2) + 1).sum()  # no mode is left on


@pytest.mark.parametrize("method", ["lime", "kernelshap", "occlusion"])
def test_half_precision_changes_what_is_said_of_hidden_images_a_little(method):
    torch.manual_seed(0)
    model, images = network(), torch.rand(4, 3, 16, 16)
    exact, rounded = (
        attribute(model, images, 1, method, precision=precision, **SMALL.get(method, {}))
        for precision in ("float32", "bfloat16")
    )
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))


CHOICES = [
    {"name": "protopnet", "per_class": 2, "features": 16},
    {"name": "kmex", "of": {"name": "network"}, "places": "map"},
    {"name": "kmex"},
    {"name": "concepts"},
    {"name": "prototypedl"},
    {"name": "flint"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_every_family(choice, method):
    model: PrototypeModel = build_model(choice, make_task(3, (32, 32)), 0)
    images = torch.rand(2, 3, 32, 32)
    if choice["name"] == "concepts" and "grad" in method:  # each place decides by its nearest centre
        with pytest.raises(ProtolensError, match="the logit has no slope"):
            attribute(model, images, [1, 3], method)
        return
    found = attribute(model, images, [1, 3], method, **SMALL.get(method, {}))
    assert found.shape == (2, 32, 32)
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"method": "limes"}, "limes is not a method; did you mean lime"),
        ({"method": "lime", "sample": 5}, "sample is not an option of lime; did you mean samples"),
        ({"method": "self"}, "self explains models of protolens; a Sequential has no prototypes"),
        ({"method": "prp"}, "prp explains models of protolens"),
        ({"method": "lime", "precision": "bfloat"}, "bfloat is not a precision; did you mean bfloat16"),
        ({"method": "gradcam", "layer": "9"}, "9 is no layer of this network"),
        ({"target": 4}, "target has to be a class number from 0 to 3"),
        ({"target": [0, 1, 2]}, "target has to be one class number, or 2 of them"),
        ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "images have to be finite floats"),
        ({"images": torch.full((2, 3, 8, 8), float("nan"))}, "images have to be finite floats"),
    ],
)
def test_bad_questions_are_answered_in_a_sentence(asked, sentence):
    with pytest.raises(ProtolensError, match=sentence):
        attribute(**{"model": network(), "images": torch.rand(2, 3, 8, 8), **asked})


def test_a_network_that_gives_no_logits_is_refused():
    with pytest.raises(ProtolensError, match="has to map images"):
        attribute(nn.Conv2d(3, 2, 1), torch.rand(2, 3, 8, 8))
