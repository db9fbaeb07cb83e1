"""PrototypeDL: prototypes in the code of an autoencoder, each decodable to a picture.

Li, Liu, Chen, Rudin: Deep Learning for Case-Based Reasoning through Prototypes, AAAI 2018, arXiv:1710.04806.

    image -> encoder -> code -> distance to each prototype -> linear head -> logits
                          \\-> decoder -> picture
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from protolens.config import Count, ModelSettings, Stage, Task, option
from protolens.data import Batch
from protolens.models.base import Evidence, PrototypeModel
from protolens.models.registry import register
from protolens.nn import (
    RECONSTRUCTIONS,
    ConvEncoder,
    DeconvDecoder,
    LinearHead,
    UpConvDecoder,
    VectorPrototypes,
    classification,
    code_coverage,
    euclidean,
    prototype_coverage,
    squared_euclidean,
)

WIDTHS = {"small": (32, 32, 32, 10), "large": (256, 128, 64, 32)}
DECODERS = {"deconv": DeconvDecoder, "upconv": UpConvDecoder}


@dataclass(frozen=True)
class Settings(ModelSettings):
    """The paper squares the distance and sums squared errors over pixels; both PyTorch ports do neither."""

    prototypes: Count = option(15, "how many")
    network: Literal["small", "large"] = option("small", "widths of the encoder: 32 32 32 10 or 256 128 64 32")
    decoder: Literal["deconv", "upconv"] = option("upconv", "transposed convolutions, or resizing and convolutions")
    encoder_activation: Literal["relu", "sigmoid"] = option("relu", "after each layer of the encoder")
    decoder_activation: Literal["auto", "relu", "sigmoid"] = option("auto", "relu; sigmoid for upconv and grey images")
    squared: bool = option(False, "square the distance, as the paper does")
    reconstruction: Literal["squared", "mean-squared", "norm", "absolute"] = option("norm", "form of the error")
    start: Literal["xavier", "uniform"] = option("xavier", "initial prototypes: Xavier-uniform, or uniform in [0, 1]")
    bias: bool = option(True, "whether the head has a bias; the paper's has none")


def decoder_activation(settings: Settings, bands: int) -> Literal["relu", "sigmoid"]:
    """The layer after each but the last. "auto" is p-kar's choice: ReLUs die under mostly black grey images."""
    if settings.decoder_activation != "auto":
        return settings.decoder_activation
    return "sigmoid" if settings.decoder == "upconv" and bands == 1 else "relu"


@register("prototypedl", Settings)
class PrototypeDL(PrototypeModel):
    """Li et al. 2018. Prototypes have no class of their own: the head's weights give them one."""

    several = True
    settings: Settings

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        self.encoder = ConvEncoder(task.bands, task.size, WIDTHS[settings.network], settings.encoder_activation)
        self.decoder = DECODERS[settings.decoder](self.encoder, decoder_activation(settings, task.bands))
        self.prototypes = VectorPrototypes(settings.prototypes, self.encoder.features)
        if settings.start == "uniform":
            nn.init.uniform_(self.prototypes.vectors)
        self.head = LinearHead(settings.prototypes, len(task.classes), bias=settings.bias)

    def evidence(self, images: Tensor) -> Evidence:
        code = self.encoder(self.shown(images)).flatten(1)
        similarity = self.alike(code)
        return Evidence(logits=self.head(-similarity), similarity=similarity, code=code, distance=-similarity)

    def alike(self, code: Tensor) -> Tensor:
        measure = squared_euclidean if self.settings.squared else euclidean
        return -measure(code, self.prototypes.vectors)

    def prototype_weights(self) -> Tensor:
        return -self.head.weight.T

    def bias(self) -> Tensor:
        return super().bias() if self.head.bias is None else self.head.bias

    def decode(self, code: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(code)
        return pictures

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        assert evidence.distance is not None
        error = RECONSTRUCTIONS[self.settings.reconstruction]
        return {
            "classification": classification(evidence.logits, batch.labels, batch.weights),
            "reconstruction": error(self.decode(evidence.code), batch.images),
            "prototype_coverage": prototype_coverage(evidence.distance),
            "code_coverage": code_coverage(evidence.distance),
        }

    def stages(self) -> list[Stage]:
        weights = {"classification": 20.0, "reconstruction": 1.0, "prototype_coverage": 1.0, "code_coverage": 1.0}
        return [Stage("train", rates={"all": 2e-3}, weights=weights, weight_decay=4e-5, clip=1.0)]
