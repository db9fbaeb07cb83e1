"""KMEx: a trained network decides by its nearest prototype, and the prototypes are centres of its codes.

Gautam, Boubekki, Hoehne, Kampffmeyer: Prototypical Self-Explainable Models Without Re-training, TMLR 2024,
arXiv:2312.07822.

    image -> frozen network -> code -> distance to each prototype -> nearest prototype of each class -> logits
                         \\-> logits of the network

Nothing is trained: k-means over the training images' codes of each class gives its prototypes. The network's own logits
are in `evidence.predictor`, so that an evaluation says how often both agree.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from protolens.config import Count, Stage, Task, option, to_mapping
from protolens.data import Batch
from protolens.errors import ProtolensError
from protolens.models.base import Evidence, PrototypeModel
from protolens.models.registry import build_model, register
from protolens.models.weights import load_model
from protolens.nn import ClassPrototypes, classification, euclidean, log_ratio, slots_of


@dataclass(frozen=True)
class Settings:
    """A model of protolens, and how its codes become prototypes."""

    of: dict[str, Any] = option({"name": "blackbox"}, "the network: a model of protolens with its settings")
    weights: str = option("", "its trained weights: model.safetensors of its run")
    per_class: Count | tuple[Count, ...] = option(5, "prototypes of each class: a number, or one for each")
    similarity: Literal["distance", "cosine", "dot-product"] = option(
        "distance", "log((d + 1) / (d + 1e-4)) of the Euclidean distance d; or cosine; or dot product"
    )


@register("kmex", Settings)
class KMEx(PrototypeModel):
    """Gautam et al. 2024. The logit of a class is the largest similarity to a prototype of it."""

    linear = False
    settings: Settings
    prototypes: ClassPrototypes

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.network = build_model(settings.of, task, 0, "model.of").requires_grad_(False)
        per_class = settings.per_class
        classes = len(task.classes)
        if not isinstance(per_class, int) and len(per_class) != classes:
            raise ProtolensError(
                f"model.per_class has {len(per_class)} numbers for {classes} classes; write one for each, or one alone"
            )
        self.prototypes = ClassPrototypes(per_class, classes, self.network.prototypes.vectors.shape[1])

    def load_pretrained(self) -> None:
        if not self.settings.weights:
            return
        path = Path(self.settings.weights)
        trained = load_model(path)
        chosen = {"name": trained.name, **to_mapping(trained.settings)}
        here = {"name": self.network.name, **to_mapping(self.network.settings)}
        if chosen != here or trained.task != self.task:
            raise ProtolensError(f"{path} holds another model, or one for other images, than model.of; convert it anew")
        self.network.load_state_dict(trained.state_dict())

    def evidence(self, images: Tensor) -> Evidence:
        inner = self.network.evidence(images)
        code = inner.code if inner.code.ndim == 2 else inner.code.mean(dim=(2, 3))
        distance, vectors = None, self.prototypes.vectors
        if self.settings.similarity == "cosine":
            code = F.normalize(code)
        if self.settings.similarity == "distance":
            distance = euclidean(code, vectors)
            similarity = log_ratio(distance)
        else:
            similarity = code @ vectors.T
        nearest = similarity.gather(1, self.winners(similarity))
        return Evidence(nearest, similarity, code, distance, predictor=inner.logits)

    def winners(self, similarity: Tensor) -> Tensor:
        """The prototype that speaks for each class: its most similar one. [B, P] -> [B, K].

        For a class without prototypes it is the least similar of all.
        """
        slots = slots_of(self.prototypes.class_of, len(self.task.classes))
        own = similarity[:, slots].masked_fill(slots < 0, -torch.inf)
        best = slots.expand(len(own), -1, -1).gather(2, own.argmax(dim=2, keepdim=True)).squeeze(2)
        return torch.where(best >= 0, best, similarity.argmin(dim=1, keepdim=True))

    def keep(self, kept: Tensor) -> None:
        self.prototypes.keep(kept)  # those of the network are its own

    def weights_for(self, evidence: Evidence) -> Tensor:
        """One for the prototype that speaks for a class, zero for all others: [B, P, K]."""
        return F.one_hot(self.winners(evidence.similarity), len(self.prototypes)).transpose(1, 2).float()

    def prototype_weights(self) -> Tensor:
        return F.one_hot(self.prototypes.class_of, len(self.task.classes)).float()

    def class_of(self) -> Tensor:
        return self.prototypes.class_of

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        return {"classification": classification(evidence.logits, batch.labels, batch.weights)}

    def stages(self) -> list[Stage]:
        step = {"cluster": {"spherical": float(self.settings.similarity == "cosine")}}
        return [Stage("cluster", epochs=0, rates={"prototypes": 1e-3}, then=step)]
