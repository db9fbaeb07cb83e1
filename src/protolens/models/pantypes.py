"""Pantypes: ProtoVAE whose prototypes span a volume in each class, instead of being orthonormal.

Kjaersgaard, Boubekki, Clemmensen: Pantypes, AAAI 2024, arXiv:2403.09383.

    image -> encoder -> mean (sampled in training, if wanted) -> log ratio of distances -> class head -> logits
                                                   \\-> decoder -> picture
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from protolens.config import NotNegative, Positive, Stage, option
from protolens.data import Batch
from protolens.models.base import Evidence
from protolens.models.protovae import ProtoVAE
from protolens.models.protovae import Settings as SettingsOfProtoVAE
from protolens.models.registry import register
from protolens.nn import distance_beyond, inverse_volume, negative_log_volume

VOLUMES = {"inverse": inverse_volume, "log": negative_log_volume}


@dataclass(frozen=True)
class Settings(SettingsOfProtoVAE):
    """ProtoVAE's, and those of the volume.

    The volume pushes all prototypes out and the divergence pulls those back that are near to codes: some leave for good
    and are no image's nearest. The paper eliminates them; `detach_shares`, or a weight on the term "hinge", holds them.
    """

    volume: Literal["inverse", "log"] = option(
        "inverse", "the term: mean of 1 / volume over classes, or of -log volume"
    )
    scale: Positive = option(1.0, "factor on the products of prototypes in the volume; 0.1 for 20 a class in the paper")
    margin: NotNegative = option(2.0, "distance to the nearest code of the batch that the term hinge allows")
    eliminate: bool = option(True, "drop unused prototypes after the stage train, and train on in a stage refine")


@register("pantypes", Settings)
class Pantypes(ProtoVAE):
    """Kjaersgaard et al. 2024."""

    settings: Settings

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        assert evidence.distance is not None
        volume = VOLUMES[self.settings.volume]
        return super().losses(batch, evidence, epoch) | {
            "volume": volume(self.prototypes.vectors, self.prototypes.class_of, self.settings.scale),
            "hinge": distance_beyond(evidence.distance, self.settings.margin),
        }

    def stages(self) -> list[Stage]:
        weights = {"classification": 1.0, "reconstruction": 1.0, "divergence": 1.0, "volume": 1.0}
        train = Stage("train", epochs=30, weights=weights)
        if not self.settings.eliminate:
            return [train]
        return [replace(train, keep="last", then={"eliminate": {}}), Stage("refine", epochs=10, weights=weights)]
