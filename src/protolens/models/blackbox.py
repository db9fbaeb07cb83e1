"""The black box: a plain CNN, read as a self-explainable model.

The rows of its last layer are the prototypes, one a class, and the dot product with the code is the similarity; the
head is the identity. Such prototypes seldom lie near any image: that is what the family improves on.

    image -> encoder -> code -> dot product with each row -> identity -> logits
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from protolens.config import ModelSettings, Share, Stage, Task, option
from protolens.data import Batch
from protolens.errors import ProtolensError
from protolens.models.base import Evidence
from protolens.models.lastlayer import LastLayer
from protolens.models.registry import register
from protolens.nn import Normalise, SmallEncoder, StrongEncoder, classification

ENCODERS = {"small": SmallEncoder, "strong": StrongEncoder}
SMALLEST = 5  # pixels a side that the strong one can halve three times
SMALL = 0.05


@dataclass(frozen=True)
class Settings(ModelSettings):
    """A small CNN for grey images of some 28 pixels, a strong one for photographs of some 32."""

    network: Literal["small", "strong"] = option("small", "two convolutions, or three blocks with batch normalisation")
    smoothing: Share = option(0.0, "label smoothing: share of the target that all classes have alike")


@register("blackbox", Settings)
class BlackBox(LastLayer):
    """A CNN and its last linear layer; the counterpart of every other model."""

    settings: Settings

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        strong = settings.network == "strong"
        if strong and min(task.size) < SMALLEST:
            size = f"{task.height} x {task.width}"
            raise ProtolensError(f"model.network = strong needs images of {SMALLEST} pixels a side, not {size}")
        # the strong one whitens patches itself
        self.normalise = nn.Identity() if strong else Normalise(task.bands)
        self.encoder = ENCODERS[settings.network](task.bands)
        self.end_in(self.encoder.features, task)
        if strong:  # its codes are large: logits begin near 0, or the first steps throw the encoder off
            self.prototypes.vectors.data.mul_(SMALL)

    def code(self, images: Tensor) -> Tensor:
        code: Tensor = self.encoder(self.normalise(self.shown(images)))
        return code

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        smoothing = self.settings.smoothing
        return {"classification": classification(evidence.logits, batch.labels, batch.weights, smoothing)}

    def stages(self) -> list[Stage]:
        if self.settings.network == "small":
            return [Stage("train", epochs=12)]
        norms = [f"encoder.{place}" for place, layer in enumerate(self.encoder) if isinstance(layer, nn.BatchNorm2d)]
        shifts = dict.fromkeys((f"{norm}.bias" for norm in norms), 32.0)
        # the whitening stays, and so do the scales, which the next convolution has too; the last layer learns slowly
        still = dict.fromkeys((f"{part}.weight" for part in ("encoder.0", *norms)), 0.0)
        rates = {"all": 0.5, "prototypes": 0.006, **shifts, **still}
        return [
            Stage(
                "train",
                epochs=24,
                rates=rates,
                optimiser="sgd",
                weight_decay=1.3e-3,
                undecayed=tuple(shifts),
                schedule="one-cycle",
            )
        ]
