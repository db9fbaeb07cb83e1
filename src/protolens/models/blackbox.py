"""The black box: a plain CNN, read as a self-explainable model.

The rows of its last layer are the prototypes, one a class, and the dot product with the code is the similarity; the
head is the identity. Such prototypes seldom lie near any image: that is what the family improves on.

    image -> encoder -> code -> dot product with each row -> identity -> logits
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from protolens.config import Stage, Task, option
from protolens.models.lastlayer import LastLayer
from protolens.models.registry import register
from protolens.nn import Normalise, SmallEncoder, StrongEncoder

ENCODERS = {"small": SmallEncoder, "strong": StrongEncoder}


@dataclass(frozen=True)
class Settings:
    """A small CNN for grey images of some 28 pixels, a strong one for photographs of some 32."""

    network: Literal["small", "strong"] = option("small", "two convolutions, or three blocks with batch normalisation")


@register("blackbox", Settings)
class BlackBox(LastLayer):
    """A CNN and its last linear layer; the counterpart of every other model."""

    settings: Settings
    normalise: Normalise

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.normalise = Normalise(task.bands)
        self.encoder = ENCODERS[settings.network](task.bands)
        self.end_in(self.encoder.features, task)

    def code(self, images: Tensor) -> Tensor:
        code: Tensor = self.encoder(self.normalise(images))
        return code

    def stages(self) -> list[Stage]:
        if self.settings.network == "small":
            return [Stage("train", epochs=12)]
        return [
            Stage("train", epochs=20, rates={"all": 0.05}, optimiser="sgd", weight_decay=5e-4, schedule="one-cycle")
        ]
