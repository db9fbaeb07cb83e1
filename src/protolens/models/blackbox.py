"""The black box: a plain CNN, read as a self-explainable model.

The rows of its last layer are the prototypes, one a class, and the dot product with the code is the similarity; the
head is the identity. Such prototypes seldom lie near any image: that is what the family improves on.

    image -> encoder -> code -> dot product with each row -> identity -> logits
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from protolens.config import Stage, Task, option
from protolens.data import Batch
from protolens.models.base import Evidence, PrototypeModel
from protolens.models.registry import register
from protolens.nn import Normalise, SmallEncoder, StrongEncoder, VectorPrototypes, classification

ENCODERS = {"small": SmallEncoder, "strong": StrongEncoder}


@dataclass(frozen=True)
class Settings:
    """A small CNN for grey images of some 28 pixels, a strong one for photographs of some 32."""

    network: Literal["small", "strong"] = option("small", "two convolutions, or three blocks with batch normalisation")


@register("blackbox", Settings)
class BlackBox(PrototypeModel):
    """A CNN and its last linear layer; the counterpart of every other model."""

    several = True
    settings: Settings
    normalise: Normalise

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.normalise = Normalise(task.bands)
        self.encoder = ENCODERS[settings.network](task.bands)
        self.prototypes = VectorPrototypes(len(task.classes), self.encoder.features)
        self.intercept = nn.Parameter(torch.zeros(len(task.classes)))

    def evidence(self, images: Tensor) -> Evidence:
        code = self.encoder(self.normalise(images))
        similarity = code @ self.prototypes.vectors.T
        return Evidence(logits=similarity + self.intercept, similarity=similarity, code=code)

    def head_of_code(self) -> tuple[Tensor, Tensor]:
        return self.prototypes.vectors, self.intercept

    def prototype_weights(self) -> Tensor:
        return torch.eye(len(self.task.classes), device=self.device)

    def bias(self) -> Tensor:
        return self.intercept

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        return {"classification": classification(evidence.logits, batch.labels, batch.weights)}

    def stages(self) -> list[Stage]:
        if self.settings.network == "small":
            return [Stage("train", epochs=12)]
        return [
            Stage("train", epochs=20, rates={"all": 0.05}, optimiser="sgd", weight_decay=5e-4, schedule="one-cycle")
        ]
