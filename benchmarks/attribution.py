"""LIME, KernelSHAP and LRP beside the packages lime, shap and zennit: same network, same images, same budget.

Times of ours are for 64 images at once, in float32 and in bfloat16; those of lime and shap for some images one after
the other, since they take no more, with the batch that suits them best. The network alone on as many ready images
is the most that any method of so many samples could gain. What bfloat16 changes stands beside what another seed
changes. LRP also in forward passes of its batch. KernelSHAP's error is that to exact Shapley values, for
20 digits and a network trained on the others. `make bench` installs lime.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial
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
from protolens.attribution.perturbation import answers, at_once, fill_of, folded, in_precision
from protolens.config import Task, read_run
from protolens.data import open_data, to_float
from protolens.evaluation.maps import spearman
from protolens.models import build_model
from protolens.train.device import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from cifar_resnet import resnet20

IMAGES, ALONE = 64, 6  # ours together; how many the packages are timed on
SAMPLES, SEGMENTS, PLAYERS = 300, 50, 10
BATCHES = (10, 50, 100, 300)  # that lime is tried with
STEPS, BATCH = 60, 64  # of training


def trained(network: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
    """The network after some steps of Adam: maps of a network that has learnt nothing are maps of rounding errors."""
    optimiser = torch.optim.Adam(network.train().parameters(), 1e-3)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    for chosen in order.repeat(STEPS * BATCH // len(images) + 1).split(BATCH)[:STEPS]:
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimiser.step()
    return network.eval()


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits as photographs would be: [N, 3, 32, 32] in [0, 1], and their labels [N]."""
    data = open_data(read_run(None, {"data": {"name": "digits"}})[0].data).training
    (pixels,) = data.batches([torch.arange(len(data))])
    large = nn.functional.interpolate(to_float(pixels, "cpu"), size=(32, 32), mode="bilinear")
    return large.expand(-1, 3, -1, -1).contiguous(), data.labels


def beside(
    name: str, method: str, network: nn.Module, images: Tensor, theirs: Callable[[], None], goal: float
) -> list[Figure]:
    """Seconds an image of ours, in both precisions, and of a package; and what bfloat16 changes in our maps."""

    def ours(seed: int = 0, **options: str) -> Tensor:
        return attribute(network, images, None, method, seed, samples=SAMPLES, segments=SEGMENTS, **options)

    block = images.repeat(at_once(images) // len(images), 1, 1, 1).contiguous(memory_format=torch.channels_last)
    answer = in_precision(folded(network, images), "bfloat16")

    @torch.no_grad()
    def bare() -> None:
        for _ in range(len(images) * SAMPLES // len(block)):
            answer(block)

    full, half, floor, other = in_turn(ours, lambda: ours(precision="bfloat16"), bare, theirs, rounds=3)
    full, half, floor, other = full / len(images), half / len(images), floor / len(images), other / ALONE
    exact = ours()
    rounded, drawn = (1 - float(spearman(exact, maps).mean()) for maps in (ours(precision="bfloat16"), ours(seed=1)))
    what = f"an image of 32 x 32, {SAMPLES} samples"
    return [
        Figure(f"{name}, {what}, float32", full, other, "s", other / full, None),
        Figure(f"{name}, {what}, bfloat16", half, other, "s", other / half, goal),
        Figure(f"{name}, the network alone on ready images, bfloat16", floor, other, "s", other / floor, None),
        Figure(f"{name}, rank correlation missing: bfloat16, another seed", rounded, drawn, "", drawn / rounded, 1.0),
    ]


def time_lime(name: str, network: nn.Module, images: Tensor) -> list[Figure]:
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
    return beside(f"LIME, {name} (lime's batch {best})", "lime", network, images, lambda: theirs(best, ALONE), 3.0)


def time_kernel_shap(name: str, network: nn.Module, images: Tensor) -> list[Figure]:
    """Seconds an image."""

    def theirs() -> None:
        for image in images[:ALONE]:
            segments = superpixels(image[None], SEGMENTS)[0]
            players = int(segments.max()) + 1
            mean = image.mean(dim=(1, 2), keepdim=True)

            @torch.no_grad()
            def said(kept: np.ndarray, image: Tensor, mean: Tensor, segments: Tensor) -> np.ndarray:
                shown = torch.from_numpy(kept.astype(bool))[:, segments]
                return network(torch.where(shown[:, None], image, mean)).softmax(1).numpy()

            look = partial(said, image=image, mean=mean, segments=segments)
            target = look(np.ones((1, players)))[0].argmax()
            explainer = shap.KernelExplainer(
                lambda kept, look=look, target=target: look(kept)[:, target], np.zeros((1, players))
            )
            explainer.shap_values(np.ones((1, players)), nsamples=SAMPLES, silent=True, l1_reg=0)

    return beside(f"KernelSHAP, {name}", "kernelshap", network, images, theirs, 2.5)


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
    images, labels = digits()
    task = Task(tuple(map(str, range(10))), 3, 32, 32)
    networks = {
        "ResNet-20": trained(resnet20(), images, labels),
        "our own network": trained(build_model({"name": "blackbox"}, task, 0), images, labels),
    }
    show([compare_errors(), *time_lrp(torch.rand(16, 3, 64, 64))], given.json)
    for name, network in networks.items():
        show(time_kernel_shap(name, network, images[:IMAGES]), given.json)
        try:
            show(time_lime(name, network, images[:IMAGES]), given.json)
        except ModuleNotFoundError as error:
            sys.exit(f"{error}; pip install lime")


if __name__ == "__main__":
    main()
