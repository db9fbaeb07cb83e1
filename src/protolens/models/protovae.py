"""ProtoVAE: prototypes of each class in the code of a variational autoencoder, each decodable to a picture.

Gautam, Boubekki, Hansen, Salahuddin, Jenssen, Höhne, Kampffmeyer: ProtoVAE, NeurIPS 2022, arXiv:2210.08151.

    image -> encoder -> mean (sampled in training, if wanted) -> log ratio of distances -> class head -> logits
                                                   \\-> decoder -> picture
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from protolens.config import Count, ModelSettings, Positive, Stage, Task, option
from protolens.data import Batch
from protolens.models.base import Evidence, PrototypeModel
from protolens.models.registry import register
from protolens.nn import (
    EPSILON,
    RECONSTRUCTIONS,
    ClassHead,
    ClassPrototypes,
    VariationalDecoder,
    VariationalEncoder,
    classification,
    euclidean,
    log_ratio,
    mixture_divergence,
    orthonormality,
    squared_euclidean,
)

WIDTHS = {"small": (32, 64), "medium": (32, 64, 128), "large": (32, 64, 128, 256)}


@dataclass(frozen=True)
class Settings(ModelSettings):
    """The published code is no variational autoencoder: a slip in it makes the code always the mean.

    `sampling = false` is that code. `sampling = true` is the paper: training draws the code from the Gaussian, so that
    the log-variance counts in the reconstruction; evaluation takes the mean in both.
    """

    per_class: Count = option(5, "prototypes of each class")
    features: Count = option(256, "length of the code; 512 in the published medium and large networks")
    network: Literal["small", "medium", "large"] = option("small", "widths of the blocks: 32 64, and 128, and 256")
    sampling: bool = option(False, "draw the code from its Gaussian in training, as the paper does; else its mean")
    squared: bool = option(False, "square the distance and the orthonormality, as the paper does; its code does not")
    epsilon: Positive = option(EPSILON, "the similarity of distance d is log((d + 1) / (d + epsilon))")
    detach_shares: bool = option(False, "no gradient into the prototypes' shares in the divergence")


@dataclass
class VariationalEvidence(Evidence):
    """Also the Gaussian of each image that its code is drawn from, or is the mean of."""

    mean: Tensor | None = None  # [B, D]
    log_variance: Tensor | None = None  # [B, D]


@register("protovae", Settings)
class ProtoVAE(PrototypeModel):
    """Gautam et al. 2022. The reconstruction error is that of pixels in [-1, 1]: four times that in [0, 1]."""

    settings: Settings
    prototypes: ClassPrototypes

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.encoder = VariationalEncoder(task.bands, task.size, WIDTHS[settings.network], settings.features)
        self.decoder = VariationalDecoder(self.encoder)
        self.prototypes = ClassPrototypes(settings.per_class, len(task.classes), settings.features)
        nn.init.normal_(self.prototypes.vectors)
        self.head = ClassHead(self.prototypes.class_of, len(task.classes))

    def evidence(self, images: Tensor) -> VariationalEvidence:
        mean, log_variance = self.encoder(2 * self.shown(images) - 1)
        code = mean
        if self.settings.sampling and self.training:
            code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        distance = self._distance(code)
        similarity = self._of_distance(distance)
        return VariationalEvidence(
            logits=self.head(similarity),
            similarity=similarity,
            code=code,
            distance=distance,
            mean=mean,
            log_variance=log_variance,
        )

    def _distance(self, code: Tensor) -> Tensor:
        measure = squared_euclidean if self.settings.squared else euclidean
        return measure(code, self.prototypes.vectors)

    def _of_distance(self, distance: Tensor) -> Tensor:
        return log_ratio(distance, self.settings.epsilon)

    def alike(self, code: Tensor) -> Tensor:
        return self._of_distance(self._distance(code))

    def prototype_weights(self) -> Tensor:
        return self.head.weight.T

    def class_of(self) -> Tensor:
        """The class that each prototype was made for, [P]; the head's weights are free and may come to disagree."""
        return self.prototypes.class_of

    def decode(self, code: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(code)
        return (pictures + 1) / 2

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        assert isinstance(evidence, VariationalEvidence)
        assert evidence.mean is not None
        assert evidence.log_variance is not None
        vectors, class_of = self.prototypes.vectors, self.prototypes.class_of
        return {
            "classification": classification(evidence.logits, batch.labels, batch.weights),
            "reconstruction": RECONSTRUCTIONS["mean-squared"](self.decoder(evidence.code), 2 * batch.images - 1),
            "divergence": mixture_divergence(
                *(evidence.mean, evidence.log_variance, evidence.similarity, batch.labels),
                *(vectors, class_of, self.settings.detach_shares),
            ),
            "orthonormality": orthonormality(vectors, class_of, self.settings.squared),
        }

    def stages(self) -> list[Stage]:
        weights = {"classification": 1.0, "reconstruction": 1.0, "divergence": 1.0, "orthonormality": 1.0}
        return [Stage("train", epochs=10, weights=weights)]
