"""KMEx: a trained network decides by its nearest prototype, and the prototypes are centres of its codes.

Gautam, Boubekki, Hoehne, Kampffmeyer: Prototypical Self-Explainable Models Without Re-training, TMLR 2024,
arXiv:2312.07822.

    image -> frozen network -> code -> distance to each prototype -> nearest prototype of each class -> logits
                         \\-> logits of the network

Nothing is trained: k-means over the training images' codes of each class gives its prototypes. Similarities are then
divided by one temperature, at which the probabilities come nearest to the network's; that changes no decision. The
network's own logits are in `evidence.predictor`, so that an evaluation says how often both agree.

Prototypes may also stand at the places of a map, before it is pooled: then each place decides by its nearest
prototypes, and the mean over places is the logit, as average pooling makes of a linear head (Boubekki, Clemmensen:
Post-hoc Self-explanation of CNNs, 2026, arXiv:2603.28466; how places are put together is our reading of its abstract).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protolens.config import Count, Stage, Task, option
from protolens.data import Batch
from protolens.errors import ProtolensError
from protolens.models.base import Evidence
from protolens.models.reading import NetworkSettings, Places, ReadsNetwork
from protolens.models.registry import register
from protolens.nn import (
    ClassPrototypes,
    Tapped,
    classification,
    euclidean,
    expanded_distance,
    find_layer,
    log_ratio,
)

NEVER = -1e4  # logit of a class that nothing speaks for


@dataclass(frozen=True)
class Settings(NetworkSettings):
    """How the codes of a network become prototypes."""

    layer: str = option("", "layer whose output is the code, by its mean over places; else the network's own code")
    places: Literal["pooled", "map"] = option(
        "pooled", "prototypes stand for whole images, or at each place of the map, before it is pooled"
    )
    per_class: Count | tuple[Count, ...] = option(5, "prototypes of each class: a number, or one for each")
    similarity: Literal["distance", "cosine", "dot-product"] = option(
        "distance", "log((d + 1) / (d + 1e-4)) of the Euclidean distance d; or cosine; or dot product"
    )
    temperature: Literal["fitted", "one"] = option(
        "fitted", "what divides similarities: fitted so that probabilities are near the network's, or 1, as published"
    )


@register("kmex", Settings)
class KMEx(ReadsNetwork):
    """Gautam et al. 2024. The logit of a class is the largest similarity to a prototype of it, by the temperature."""

    linear = False
    settings: Settings
    prototypes: ClassPrototypes
    temperature: Tensor

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.layer = self._find_layer()
        per_class = settings.per_class
        classes = len(task.classes)
        if not isinstance(per_class, int) and len(per_class) != classes:
            raise ProtolensError(
                f"model.per_class has {len(per_class)} numbers for {classes} classes; write one for each, or one alone"
            )
        with torch.no_grad():
            code = self._see(torch.rand(1, task.bands, *task.size))[0]
        self.prototypes = ClassPrototypes(per_class, classes, code.shape[1])
        self.register_buffer("temperature", torch.ones(()))

    def _find_layer(self) -> str:
        """The layer that is looked at; "" where the network tells its code itself."""
        if self.settings.layer:
            return find_layer(self.network, self.settings.layer)
        if self.settings.places == "pooled":
            return ""
        layer = self.layer_before_pooling()
        if not layer:
            raise self.nothing_to_pool("model.layer")
        return layer

    def _see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same before codes get one length."""
        images = self.shown(images)
        if self.layer:
            logits, (code,) = Tapped(self.network, out_of=[self.layer])(images)
        else:
            inner = self.network.evidence(images)
            code, logits = inner.code, inner.logits
        if self.settings.places == "pooled" and code.ndim == 4:
            code = code.mean(dim=(2, 3))
        if code.ndim != (2 if self.settings.places == "pooled" else 4):
            shape = " x ".join(map(str, code.shape[1:]))
            raise ProtolensError(f"{self.layer} gives {shape} values for an image, no maps; name another model.layer")
        return code, logits

    def findings(self) -> str:
        if not self.layer:
            return self.network.findings() or f"The code of {self.network.name} has {self._features():,} numbers."
        size = f"{self._features():,} numbers"
        what = "at each place" if self.settings.places == "map" else "averaged over places"
        return f"The code is what the layer {self.layer.removeprefix('network.')} gives, {what}: {size}."

    def _features(self) -> int:
        return self.prototypes.vectors.shape[1]

    def built_in_prototypes(self) -> Tensor | None:
        head = self.network.head_of_code()
        # another layer, or a code of length 1, is not what goes into the last layer
        own = not self.layer and self.settings.similarity != "cosine"
        return head[0] if head is not None and own else None

    def network_of_places(self) -> nn.Module | None:
        return Places(self) if self.settings.places == "map" else None

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The code of images, [B, D] or [B, D, h, w] as `places` says, and the network's logits, [B, K]."""
        code, logits = self._see(images)
        return F.normalize(code) if self.settings.similarity == "cosine" else code, logits

    def code(self, images: Tensor) -> Tensor:
        return self.look(images)[0]

    def evidence(self, images: Tensor) -> Evidence:
        code, logits = self.look(images)
        maps = None
        if code.ndim == 2:
            similarity, distance = self._compare(code)
            shares = self.speakers(similarity)
        else:
            similarity, distance, maps, shares = self._at_places(code)
        own = similarity * shares @ self.prototype_weights() + self.bias()
        return Evidence(own, similarity, code, distance, maps, logits, shares)

    def _compare(self, code: Tensor) -> tuple[Tensor, Tensor | None]:
        """Similarity, and distance where it is made of one, of codes to prototypes. [N, D] -> [N, P] each."""
        vectors = self.prototypes.vectors
        if self.settings.similarity != "distance":
            return code @ vectors.T, None
        # the differences of all places would take gigabytes
        map_of_places = self.settings.places == "map"
        distance = expanded_distance(code, vectors).sqrt() if map_of_places else euclidean(code, vectors)
        return log_ratio(distance), distance

    def alike(self, code: Tensor) -> Tensor:
        # by differences: the code may be a prototype, and a distance of 0 counts for much
        vectors = self.prototypes.vectors
        return log_ratio(euclidean(code, vectors)) if self.settings.similarity == "distance" else code @ vectors.T

    def basis(self, images: Tensor) -> Tensor:
        evidence = self.evidence(images)
        return evidence.similarity if evidence.maps is None else evidence.maps.flatten(2)

    def decide(self, basis: Tensor) -> Tensor:
        logits = self._of_classes(basis)
        return logits if logits.ndim == 2 else logits.mean(dim=2)

    def _of_classes(self, similarity: Tensor) -> Tensor:
        """What the nearest prototype of each class says, of images or of places: [B, P, ...] -> [B, K, ...]."""
        slots = self.prototypes.slots
        shape = (-1, *[1] * (similarity.ndim - 2))
        own = similarity[:, slots].masked_fill((slots < 0).view(*slots.shape, *shape[1:]), -torch.inf).amax(dim=2)
        there = (slots >= 0).any(dim=1).view(shape)
        return torch.where(there, own / self.temperature, self.bias().view(shape))

    def speakers(self, similarity: Tensor) -> Tensor:
        """One where a prototype is the most similar one of its class, so speaks for it; else zero. [N, P] -> same."""
        slots = self.prototypes.slots
        own = similarity[:, slots].masked_fill(slots < 0, -torch.inf)
        best = slots.expand(own.shape[0], -1, -1).gather(2, own.argmax(dim=2, keepdim=True)).squeeze(2)
        there = (slots >= 0).any(dim=1)
        return torch.zeros_like(similarity).scatter_(1, best[:, there], 1.0)

    def candidates(self, evidence: Evidence) -> Tensor:
        """The similarities to the prototypes of each class, at each place where there are places."""
        values = evidence.similarity if evidence.maps is None else evidence.maps.flatten(2).mT
        slots = self.prototypes.slots
        return values[..., slots].masked_fill(slots < 0, -torch.inf).flatten(1, -2)

    def _at_places(self, code: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Each place of a map decides by its nearest prototypes; the means over places are the logits.

        code: [B, D, h, w]. Returns similarity [B, P], distance [B, P] to the nearest place, maps of similarity
        [B, P, h, w], and the share of places [B, P] where a prototype speaks for its class. The similarity of an image
        is the mean over the places where the prototype speaks, or over all where it does nowhere.
        """
        images, _, height, width = code.shape
        flat, apart = self._compare(code.permute(0, 2, 3, 1).flatten(0, 2))
        maps, speaks = (values.view(images, height * width, -1) for values in (flat, self.speakers(flat)))
        similarity = (maps * heard(speaks)).sum(dim=1)
        distance = None if apart is None else apart.view(images, height * width, -1).amin(dim=1)
        return similarity, distance, maps.mT.reshape(images, -1, height, width), speaks.mean(dim=1)

    def similarity_of_places(self, evidence: Evidence) -> Tensor | None:
        if evidence.maps is None:
            return None
        maps = evidence.maps.flatten(2).mT
        speaks = self.speakers(maps.flatten(0, 1)).view_as(maps)
        return (maps * heard(speaks)).mT.reshape(evidence.maps.shape)

    def weights_for(self, evidence: Evidence) -> Tensor:
        """The shares, for a prototype's own class: [B, P, K]."""
        assert evidence.shares is not None
        return evidence.shares[:, :, None] * self.prototype_weights()

    def contributions_of_places(self, evidence: Evidence) -> Tensor | None:
        """At each place what each class's nearest prototype adds, and the bias, by the number of places."""
        if evidence.maps is None:
            return None
        return self._of_classes(evidence.maps) / evidence.maps[0, 0].numel()

    def prototype_weights(self) -> Tensor:
        return F.one_hot(self.prototypes.class_of, len(self.task.classes)) / self.temperature

    def bias(self) -> Tensor:
        """Nothing, and a class without prototypes is never chosen."""
        there = self.prototype_weights().any(dim=0)
        return torch.where(there, 0.0, NEVER)

    def class_of(self) -> Tensor:
        return self.prototypes.class_of

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        return {"classification": classification(evidence.logits, batch.labels, batch.weights)}

    def stages(self) -> list[Stage]:
        steps: dict[str, dict[str, float]] = {"cluster": {"spherical": float(self.settings.similarity == "cosine")}}
        if self.settings.temperature == "fitted":
            steps["calibrate"] = {}
        return [Stage("cluster", epochs=0, rates={"prototypes": 1e-3}, then=steps)]


def heard(speaks: Tensor) -> Tensor:
    """Shares of places with sum 1 over those where a prototype speaks, or over all where it does nowhere: [B, N, P]."""
    counted = torch.where(speaks.any(dim=1, keepdim=True), speaks, 1.0)
    return counted / counted.sum(dim=1, keepdim=True)
