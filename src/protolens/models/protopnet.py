"""ProtoPNet: prototypes are patches of training images, looked for at every place of an image.

Chen, Li, Tao, Barnett, Rudin, Su: This Looks Like That: Deep Learning for Interpretable Image Recognition, NeurIPS
2019, arXiv:1806.10574.

    image -> backbone -> two 1x1 convolutions -> code at each place -> nearest place to each prototype -> head -> logits
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from protolens.config import Count, ModelSettings, Positive, Stage, Task, option
from protolens.data import Batch
from protolens.models.base import Evidence, PrototypeModel
from protolens.models.registry import register
from protolens.nn import (
    EPSILON,
    IMAGENET,
    ClassHead,
    ClassPrototypes,
    Normalise,
    ToLength,
    classification,
    cluster_cost,
    load_backbone,
    log_ratio,
    make_backbone,
    map_size,
    nearest_places,
    off_class_weight,
    separation_cost,
    squared_euclidean,
)


@dataclass(frozen=True)
class Settings(ModelSettings):
    """The paper's, but for the backbone: a small one that is trained from scratch, on images of some 32 pixels."""

    backbone: str = option("small", "small, torchvision:NAME or timm:NAME")
    cut: str = option("", "layer of the backbone to end with; else where the paper ends")
    weights: str = option("", "safetensors file with the backbone's pretrained weights; else it starts at random")
    per_class: Count = option(10, "prototypes of each class")
    features: Count = option(128, "numbers in a code, unless add_on is unit")
    add_on: Literal["regular", "bottleneck", "unit"] = option(
        "regular", "two 1x1 convolutions; pairs that halve the width; or none, but codes of one length"
    )
    gain: Positive = option(
        1.0, "factor on the initial weights of the add-on layers, or that length: how far codes lie"
    )
    similarity: Literal["log-ratio", "linear"] = option("log-ratio", "log((d + 1) / (d + epsilon)), or -d")
    epsilon: Positive = option(EPSILON, "epsilon of the log ratio: the largest similarity is log(1 / epsilon)")
    start: Literal["uniform", "patches"] = option(
        "uniform", "initial prototypes: in [0, 1], or random training patches"
    )
    rounds: Count = option(2, "rounds of joint training, projection and training of the head")
    distinct: bool = option(False, "project no two prototypes onto one patch")
    prune: bool = option(False, "after the last round drop prototypes with a mixed neighbourhood, and train the head")


def add_on_layers(channels: int, features: int, kind: str, gain: float = 1.0) -> nn.Sequential:
    """1x1 convolutions from the backbone's maps to codes in [0, 1] (ProtoPNet, sec. 2.1).

    Initial weights are scaled by what goes into a layer. The published code scales by what comes out, which saturates
    the sigmoids behind a backbone of many channels. With many features codes start so far apart that the log ratio is
    flat and hardly learns, unless the gain is below 1. The kind "unit" has no convolutions: with few images nothing
    that starts at random learns to keep what a pretrained backbone knows.
    """
    if kind == "unit":
        return nn.Sequential(ToLength(gain))
    widths = [channels, features]
    if kind == "bottleneck":
        while widths[-2] // 2 > features:
            widths.insert(-1, widths[-2] // 2)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 1), nn.ReLU(), nn.Conv2d(after, after, 1), nn.ReLU()]
    layers[-1] = nn.Sigmoid()
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data *= gain
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


@register("protopnet", Settings)
class ProtoPNet(PrototypeModel):
    """Chen et al. 2019. Each prototype belongs to a class; after projection it is a patch of a training image."""

    settings: Settings
    prototypes: ClassPrototypes

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        pretrained = bool(settings.weights) and task.bands == len(IMAGENET[0])
        self.normalise = Normalise(task.bands, IMAGENET if pretrained else None)
        self.backbone = make_backbone(settings.backbone, task.bands, settings.cut)
        map_size(self.backbone, task.bands, task.size)  # says so if the images are too small
        self.add_on = add_on_layers(self.backbone.channels, settings.features, settings.add_on, settings.gain)
        classes = len(task.classes)
        features = self.backbone.channels if settings.add_on == "unit" else settings.features
        self.prototypes = ClassPrototypes(settings.per_class, classes, features)
        nn.init.uniform_(self.prototypes.vectors)
        if settings.add_on == "unit":
            self.prototypes.vectors.data = settings.gain * nn.functional.normalize(self.prototypes.vectors.data)
        self.head = ClassHead(self.prototypes.class_of, classes)

    def load_pretrained(self) -> None:
        if self.settings.weights:
            load_backbone(self.backbone, Path(self.settings.weights))

    def network_of_places(self) -> nn.Module:
        first = [] if self.hidden is None else [self.hidden]
        return nn.Sequential(*first, self.normalise, self.backbone, self.add_on)

    def evidence(self, images: Tensor) -> Evidence:
        code = self.add_on(self.backbone(self.normalise(self.shown(images))))
        nearest = nearest_places(code, self.prototypes.vectors)
        similarity = self._of_distance(nearest.distance)
        return Evidence(self.head(similarity), similarity, code, nearest.distance, self._of_distance(nearest.maps))

    def alike(self, code: Tensor) -> Tensor:
        return self._of_distance(squared_euclidean(code, self.prototypes.vectors))

    def _of_distance(self, distance: Tensor) -> Tensor:
        """The similarity of a squared distance, of any shape."""
        return -distance if self.settings.similarity == "linear" else log_ratio(distance, self.settings.epsilon)

    def prototype_weights(self) -> Tensor:
        return self.head.weight.T

    def class_of(self) -> Tensor:
        return self.prototypes.class_of

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        assert evidence.distance is not None
        class_of = self.prototypes.class_of
        return {
            "classification": classification(evidence.logits, batch.labels, batch.weights),
            "cluster": cluster_cost(evidence.distance, batch.labels, class_of),
            "separation": separation_cost(evidence.distance, batch.labels, class_of),
            "off_class": off_class_weight(self.head.weight, class_of),
        }

    def stages(self) -> list[Stage]:
        # a backbone without pretrained weights has nothing to keep: it learns from the start, as fast as the rest
        pretrained = bool(self.settings.weights)
        learning = {"prototypes": 3e-3} if self.settings.add_on == "unit" else {"add_on": 3e-3, "prototypes": 3e-3}
        rates = {**learning, "backbone": 1e-4 if pretrained else 3e-3}
        calendar = []
        if self.settings.start == "patches":
            calendar.append(replace(patch_stage("start", 0, rates), then={"scatter": {}}))
        if pretrained:
            calendar.append(patch_stage("warm", 5, rates | {"backbone": 0.0}))
        for number in range(1, self.settings.rounds + 1):
            slower = {part: rate * 0.1 ** (number - 1) for part, rate in rates.items()}
            joint = patch_stage(f"joint-{number}", 10, slower)
            project = {"project": {"distinct": float(self.settings.distinct)}}
            calendar += [replace(joint, keep="best", then=project), head_stage(f"head-{number}", 20)]
        if self.settings.prune:
            calendar[-1] = replace(calendar[-1], then={"prune": {}})
            calendar.append(head_stage("refit", 100))
        return calendar


def patch_stage(name: str, epochs: int, rates: dict[str, float]) -> Stage:
    """A stage that shapes the patches, with the weights of the paper's code; the head rests."""
    weights = {"classification": 1.0, "cluster": 0.8, "separation": -0.08, "off_class": 1e-4}
    return Stage(name, epochs, rates, weights, weight_decay=1e-3, undecayed=("prototypes",), keep="last")


def head_stage(name: str, epochs: int) -> Stage:
    """A stage in which the head learns alone: a convex problem."""
    return Stage(name, epochs, {"head": 1e-4}, {"classification": 1.0, "off_class": 1e-4})
