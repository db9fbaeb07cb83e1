"""Any image classifier, read as a self-explainable model: of torchvision, of timm, or one's own.

Like the black box: the rows of its last layer are the prototypes, one a class, and the dot product with the code, which
is what goes into that layer, is the similarity. The layer is found by trying the network.

    image -> network without its last layer -> code -> dot product with each row -> identity -> logits
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from protolens.config import ModelSettings, Stage, Task, option
from protolens.errors import ProtolensError
from protolens.models.lastlayer import LastLayer
from protolens.models.registry import register
from protolens.nn import (
    Normalise,
    fill,
    find_head,
    first_convolution,
    open_network,
    pixels_wanted,
    read_weights,
)


@dataclass(frozen=True)
class Settings(ModelSettings):
    """A network with its own weights is taken as it is, one without them or with a new head is trained."""

    source: str = option("torchvision:resnet18", "torchvision:NAME, timm:NAME or FILE.py:FUNCTION, which returns it")
    weights: str = option("", "its weights: safetensors, or a state dict that torch.load reads with weights_only")
    head: Literal["own", "new"] = option("own", "new: the last layer begins at random, for other classes")
    mean: tuple[float, ...] = option(
        (), "of each band, as the weights want pixels; else ImageNet's for torchvision and timm, 0 for one's own"
    )
    deviation: tuple[float, ...] = option((), "the same: ImageNet's, or 1")


@register("network", Settings)
class Network(LastLayer):
    """A classifier that ends in a linear layer; that layer is taken out and its rows are the prototypes."""

    settings: Settings

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        classes = len(task.classes)
        self.network = open_network(settings.source, task.bands, classes)
        self.normalise = Normalise(task.bands, self._pixels())
        self.found = find_head(self.network, task.bands, task.size)
        if settings.head == "own" and self.found.outputs != classes:
            raise self._other_classes(settings.source, self.found.outputs)
        self.has_intercept = self.network.get_submodule(self.found.name).bias is not None
        self.network.set_submodule(self.found.name, nn.Identity())
        self.end_in(self.found.features, task)

    def _pixels(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        chosen, bands = self.settings, self.task.bands
        given = (chosen.mean, chosen.deviation)
        if not any(given):
            return pixels_wanted(chosen.source, self.network, bands, pretrained=bool(chosen.weights))
        if any(len(values) != bands for values in given) or min(chosen.deviation) <= 0:
            raise ProtolensError(
                f"model.mean and model.deviation need {bands} numbers each, one a band, and a deviation is above 0"
            )
        return given

    def _other_classes(self, place: str, outputs: int) -> ProtolensError:
        return ProtolensError(
            f"{place} tells {outputs:,} classes and the images have {len(self.task.classes)}; give weights for these "
            'classes, or set model.head = "new" and train it by `protolens fit`'
        )

    def load_pretrained(self) -> None:
        if not self.settings.weights:
            return
        tensors = self.network.state_dict()
        if self.settings.head == "own":
            rows = read_weights(Path(self.settings.weights)).get(f"{self.found.name}.weight")
            if rows is not None and len(rows) != len(self.task.classes):
                raise self._other_classes(self.settings.weights, len(rows))
            head = {"weight": self.prototypes.vectors, "bias": self.intercept if self.has_intercept else None}
            tensors |= {f"{self.found.name}.{name}": value for name, value in head.items() if value is not None}
        fill(tensors, Path(self.settings.weights), first_convolution(self.network))

    def findings(self) -> str:
        where = f"what goes into its layer {self.found.name}: {self.found.features:,} numbers"
        unknown = (
            " Its weights may have been learnt from these very validation images." if self.settings.weights else ""
        )
        source = self.settings.source.rpartition("/")[2]
        return f"The code of {source} is {where}.{unknown}"

    def code(self, images: Tensor) -> Tensor:
        code: Tensor = self.network(self.normalise(self.shown(images))).flatten(1)
        return code

    def stages(self) -> list[Stage]:
        if not self.settings.weights:
            return [
                Stage("train", 20, {"all": 0.05}, optimiser="sgd", weight_decay=5e-4, schedule="one-cycle", clip=5.0)
            ]
        if self.settings.head == "own":
            return [Stage("train", epochs=0, rates={"all": 1e-4})]
        rates = {"network": 1e-4, "prototypes": 1e-3, "intercept": 1e-3}
        return [Stage("train", 10, rates, optimiser="adamw", weight_decay=0.01, schedule="cosine")]
