"""Concepts: the places of a trained network's maps fall into clusters, and an image is what share each takes.

Boubekki, Clemmensen: Post-hoc Self-explanation of CNNs, 2026, arXiv:2603.28466; all but its abstract is our reading.

    image -> frozen network -> maps of some layers, standardised, on one grid, side by side -> nearest centre at each
    place: a map of concepts -> share of places of each concept -> linear head -> logits

Centres are found without labels. Where only the maps before pooling are looked at, the head can be the network's own,
reading centres instead of codes: average pooling makes its logit the mean of what it says at each place. Else a linear
head is fitted to the shares. Either way what each place adds is known without a gradient, and sums to the logit.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protolens.config import Count, NotNegative, Stage, Task, option
from protolens.data import Batch
from protolens.errors import ProtolensError
from protolens.models.base import Evidence
from protolens.models.reading import NetworkSettings, Places, ReadsNetwork
from protolens.models.registry import register
from protolens.nn import Tapped, VectorPrototypes, classification, expanded_distance, find_layer, kept_part


@dataclass(frozen=True)
class Settings(NetworkSettings):
    """Which maps are looked at, how many concepts there are, and what reads them."""

    of: dict[str, Any] = option({"name": "network"}, "the network: a model of protolens with its settings")
    layers: tuple[str, ...] = option((), "layers whose maps are looked at, such as layer3 and layer4; else the last")
    concepts: Count = option(20, "clusters of places")
    head: Literal["auto", "own", "fitted"] = option(
        "auto", "own: the network's last layer reads the centres; fitted: a linear layer; auto: own where it can"
    )
    temperature: NotNegative = option(
        0.0, "0: a place has one concept; else softmax of -d^2 / temperature, d being 1 for places of usual length"
    )


@register("concepts", Settings)
class Concepts(ReadsNetwork):
    """The prototypes are the centres; the similarity of an image is the share of its places."""

    several = True
    settings: Settings
    scale: Tensor

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        last = self.layer_before_pooling()
        self.layers = [find_layer(self.network, layer) for layer in settings.layers] or [last]
        if not self.layers[0]:
            raise self.nothing_to_pool("model.layers")
        readable = self.layers == [last] and self.network.head_of_code() is not None
        if settings.head == "own" and not readable:
            raise ProtolensError(
                'model.head = "own" needs a network with a linear last layer, and its maps before pooling alone as '
                'model.layers; set it to "fitted"'
            )
        self.own_head = readable and settings.head != "fitted"
        with torch.no_grad():
            maps = self.look(torch.rand(1, task.bands, *task.size))[0]
        for layer, values in zip(self.layers, maps, strict=True):
            if values.ndim != 4:
                raise ProtolensError(f"{layer} gives no maps [B, C, h, w]; name another in model.layers")
        # of the usual code at a place, so that no layer outweighs the others
        self.register_buffer("scale", torch.ones(len(maps)))
        self.prototypes = VectorPrototypes(settings.concepts, sum(values.shape[1] for values in maps))
        self.prototypes.requires_grad_(False)
        self.weight = nn.Parameter(torch.zeros(settings.concepts, len(task.classes)))
        self.intercept = nn.Parameter(torch.zeros(len(task.classes)))

    def look(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The maps of each layer, [B, C, h, w], and the network's logits, [B, K]."""
        logits, maps = Tapped(self.network, out_of=self.layers)(self.shown(images))
        return maps, logits

    def side_by_side(self, maps: list[Tensor]) -> Tensor:
        """Maps of some layers, each by the usual length of its codes, on the grid of the finest: [B, D, h, w]."""
        grid = max((values.shape[2:] for values in maps), key=torch.Size.numel)
        parts = [values / scale for values, scale in zip(maps, self.scale, strict=True)]
        return torch.cat([part if part.shape[2:] == grid else F.interpolate(part, grid) for part in parts], dim=1)

    def code(self, images: Tensor) -> Tensor:
        return self.side_by_side(self.look(images)[0])

    def network_of_places(self) -> nn.Module:
        return Places(self)

    def findings(self) -> str:
        layers = " and ".join(layer.removeprefix("network.") for layer in self.layers)
        reads = "the network's own last layer reads their centres" if self.own_head else "a linear layer is fitted"
        return f"Concepts are clusters of what {layers} gives at each place; {reads}."

    def evidence(self, images: Tensor) -> Evidence:
        maps, logits = self.look(images)
        code = self.side_by_side(maps)
        distance = self._of_places(code)
        shown = self._assigned(distance)
        share = shown.mean(dim=1)
        places = shown.mT.reshape(code.shape[0], -1, *code.shape[2:])
        return Evidence(
            share @ self.weight + self.intercept, share, code, distance.amin(dim=1).sqrt(), places, predictor=logits
        )

    def _of_places(self, code: Tensor) -> Tensor:
        """Squared distance of each place to each centre, [B, D, h, w] -> [B, L, P]."""
        return expanded_distance(code.permute(0, 2, 3, 1).flatten(1, 2), self.prototypes.vectors)

    def basis(self, images: Tensor) -> Tensor:
        """Squared distances: without a concept its places show the next one."""
        return self._of_places(self.code(images)).mT

    def decide(self, basis: Tensor) -> Tensor:
        return self._assigned(basis.mT).mean(dim=1) @ self.weight + self.intercept

    def keep(self, kept: Tensor) -> None:
        super().keep(kept)
        self.weight = kept_part(self.weight, kept)

    @torch.no_grad()
    def move(self, prototype: int, to: int) -> None:
        own = int(self.class_of()[prototype])
        self.weight[prototype, [own, to]] = self.weight[prototype, [to, own]]

    def alike(self, code: Tensor) -> Tensor:
        """How much each place shows each concept."""
        return self._assigned(expanded_distance(code, self.prototypes.vectors))

    def _assigned(self, distance: Tensor) -> Tensor:
        """How much a place shows each concept, [..., P] with sum 1, from squared distances to the centres [..., P]."""
        if self.settings.temperature:
            return (-distance / self.settings.temperature).softmax(dim=-1)
        return F.one_hot(distance.argmin(dim=-1), distance.shape[-1]).to(distance.dtype)

    def candidates(self, evidence: Evidence) -> Tensor | None:
        """Minus the squared distance of each place to each centre, where a place has one concept."""
        if self.settings.temperature:
            return None
        return -expanded_distance(evidence.code.permute(0, 2, 3, 1).flatten(1, 2), self.prototypes.vectors)

    def similarity_of_places(self, evidence: Evidence) -> Tensor:
        assert evidence.maps is not None
        return evidence.maps / evidence.maps[0, 0].numel()

    def contributions_of_places(self, evidence: Evidence) -> Tensor:
        assert evidence.maps is not None
        values = torch.einsum("bphw,pk->bkhw", evidence.maps, self.weight) + self.intercept[:, None, None]
        return values / evidence.maps[0, 0].numel()

    def prototype_weights(self) -> Tensor:
        return self.weight

    def bias(self) -> Tensor:
        return self.intercept

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        return {"classification": classification(evidence.logits, batch.labels, batch.weights)}

    def stages(self) -> list[Stage]:
        rates = {"weight": 1e-3, "intercept": 1e-3}
        return [Stage("concepts", epochs=0, rates=rates, then={"concepts": {}})]
