"""LIME, KernelSHAP and LRP beside the packages lime, shap and zennit: same network, same images, same budget.

Times of ours are for 64 images at once; those of lime and shap for some images one after the other, since they take no
more, with the batch that suits them best. LRP also in forward passes of its batch. KernelSHAP's error is that to exact
Shapley values, for 20 digits and a network trained on the others. `make bench` installs lime.
"""

import sys
import warnings
from collections.abc import Callable
from math import comb
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import shap
import torch
from common import Figure, arguments, in_turn, seconds, show
from torch import Tensor, nn
from torchvision.models import resnet18

from protolens import attribute, fit
from protolens.attribution import superpixels
from protolens.attribution.kernel_shap import coalitions, shapley_values
from protolens.attribution.perturbation import answers, fill_of
from protolens.config import read_run
from protolens.data import open_data, to_float
from protolens.train.device import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from cifar_resnet import resnet20

IMAGES, ALONE = 64, 6  # ours together; how many the packages are timed on
SAMPLES, SEGMENTS, PLAYERS = 300, 50, 10
BATCHES = (10, 50, 100, 300)  # that lime is tried with


def photographs(count: int) -> Tensor:
    """Cuts of 32 x 32 from the photographs that come with scikit-learn, [N, 3, 32, 32] in [0, 1]."""
    from sklearn.datasets import load_sample_images

    picture = torch.from_numpy(np.stack(load_sample_images().images)).movedim(-1, 1).float() / 255
    small = nn.functional.interpolate(picture, scale_factor=0.5, mode="area")
    cuts = small.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return cuts[torch.randperm(len(cuts), generator=torch.Generator().manual_seed(0))[:count]].contiguous()


def time_lime(network: nn.Module, images: Tensor) -> Figure:
    """Seconds an image."""
    from lime.lime_image import LimeImageExplainer

    def answer(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(batch).movedim(-1, 1).float()).softmax(1).numpy()

    def theirs(batch: int, count: int) -> None:
        explainer = LimeImageExplainer(random_state=0)
        for image in images[:count].movedim(1, -1).double().numpy():
            cut = lambda pixels: superpixels(torch.from_numpy(pixels).movedim(-1, 0)[None].float(), SEGMENTS)[0].numpy()  # noqa: E731
            explainer.explain_instance(
                *(image, answer),
                top_labels=1,
                num_samples=SAMPLES,
                batch_size=batch,
                segmentation_fn=cut,
            )

    best = min(BATCHES, key=lambda batch: seconds(lambda: theirs(batch, 2)))
    options = {"samples": SAMPLES, "segments": SEGMENTS}
    ours, other = in_turn(
        lambda: attribute(network, images, None, "lime", **options), lambda: theirs(best, ALONE), rounds=3
    )
    ours, other = ours / len(images), other / ALONE
    return Figure(
        f"LIME, an image of 32 x 32, {SAMPLES} samples (lime's batch {best})", ours, other, "s", other / ours, 3.0
    )


def time_kernel_shap(network: nn.Module, images: Tensor) -> Figure:
    """Seconds an image."""

    def theirs() -> None:
        for image in images[:ALONE, None]:
            segments = superpixels(image, SEGMENTS)
            hidden = fill_of(image, segments, "segment")
            with torch.no_grad():
                target = network(image).argmax(dim=1)
            players = int(segments.max()) + 1

            def value(kept: np.ndarray, *look: Tensor) -> np.ndarray:
                image, hidden, segments, target = look
                shown = torch.from_numpy(kept.astype(bool))
                return answers(lambda seen: network(seen).softmax(1), image, hidden, segments, shown, target)[0].numpy()

            explainer = shap.KernelExplainer(
                lambda kept, look=(image, hidden, segments, target): value(kept, *look), np.zeros((1, players))
            )
            explainer.shap_values(np.ones((1, players)), nsamples=SAMPLES, silent=True, l1_reg=0)

    options = {"samples": SAMPLES, "segments": SEGMENTS}
    ours, other = in_turn(lambda: attribute(network, images, None, "kernelshap", **options), theirs, rounds=3)
    ours, other = ours / len(images), other / ALONE
    return Figure(f"KernelSHAP, an image of 32 x 32, {SAMPLES} samples", ours, other, "s", other / ours, 2.5)


def time_lrp(images: Tensor) -> list[Figure]:
    """Seconds a batch, and forward passes."""
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlusFlat
    from zennit.torchvision import ResNetCanonizer

    network = resnet18().eval()
    targets = network(images).argmax(dim=1)

    def forward() -> None:
        with torch.no_grad():
            network(images)

    def theirs() -> None:
        rules = EpsilonPlusFlat(canonizers=[ResNetCanonizer()])
        with Gradient(network, rules) as attributor:
            attributor(images, nn.functional.one_hot(targets, 1000).float())

    once, ours, other = in_turn(forward, lambda: attribute(network, images, targets, "lrp"), theirs, rounds=5)
    shape = " x ".join(map(str, images.shape))
    return [
        Figure(f"LRP, resnet18, {shape}, against zennit", ours, other, "s", other / ours, 1.5),
        Figure(f"LRP, resnet18, {shape}, in forward passes", ours / once, 6.0, "passes", 6 * once / ours, 1.0),
    ]


def exact(values: np.ndarray, players: int) -> np.ndarray:
    """Shapley values from the values of all coalitions, [2^d], numbered by their members' bits."""
    numbers = np.arange(2**players)
    sizes = ((numbers[:, None] >> np.arange(players)) & 1).sum(axis=1)
    result = np.zeros(players)
    weight = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    for player in range(players):
        without = numbers[(numbers >> player) & 1 == 0]
        result[player] = weight[sizes[without]] @ (values[without | (1 << player)] - values[without])
    return result


def compare_errors() -> Figure:
    """Relative error of the values of 20 digits, mean; ours over the same images as shap's."""
    config, where = read_run(None, {"data": {"name": "digits"}, "model": {"name": "blackbox"}})
    with TemporaryDirectory() as folder:
        run = fit(config, Path(folder) / "run", where=where)
        network = run.model().eval()
    (pixels,) = open_data(config.data).validation.batches([torch.arange(20)])
    images = to_float(pixels, "cpu")
    segments = (torch.arange(8)[:, None] // 2 * 3 + torch.arange(8) * 3 // 8).clamp(max=PLAYERS - 1)[None]
    bits = 1 << np.arange(PLAYERS)
    everyone = torch.from_numpy((np.arange(2**PLAYERS)[:, None] & bits) > 0)
    errors = []
    for image in images[:, None]:
        with torch.no_grad():
            target = network(image).argmax(dim=1)
        answer: Callable[[Tensor], Tensor] = lambda seen: network(seen).softmax(1)  # noqa: E731
        values = answers(answer, image, fill_of(image, segments, "black"), segments, everyone, target)[0].numpy()
        truth = exact(values, PLAYERS)
        kept, weights = coalitions(PLAYERS, SAMPLES, 0)
        ours = shapley_values(kept, weights, torch.from_numpy(values[kept.numpy() @ bits])[None])[0].numpy()
        np.random.seed(0)  # noqa: NPY002 - shap draws from it
        explainer = shap.KernelExplainer(lambda kept, v=values: v[kept.astype(int) @ bits], np.zeros((1, PLAYERS)))
        theirs = explainer.shap_values(np.ones((1, PLAYERS)), nsamples=SAMPLES, silent=True, l1_reg=0).ravel()
        errors.append([np.linalg.norm(found - truth) / np.linalg.norm(truth) for found in (ours, theirs)])
    ours, other = np.mean(errors, axis=0)
    name = f"KernelSHAP, error to exact values, {PLAYERS} segments, {SAMPLES} samples"
    return Figure(name, float(ours), float(other), "relative error", float(other / ours), 1 / 1.1)


def main() -> None:
    given = arguments(__doc__)
    warnings.filterwarnings("ignore")  # of the packages
    keep_freed_memory()
    torch.manual_seed(0)
    network, images = resnet20().eval(), photographs(IMAGES)
    show([compare_errors(), time_kernel_shap(network, images), *time_lrp(torch.rand(16, 3, 64, 64))], given.json)
    try:
        show([time_lime(network, images)], given.json)
    except ModuleNotFoundError as error:
        sys.exit(f"{error}; pip install lime")


if __name__ == "__main__":
    main()
