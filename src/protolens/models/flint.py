"""FLINT: a network and its interpreter, which decides by attributes read from the network's hidden maps.

Parekh, Mozharovskyi, d'Alche-Buc: A Framework to Learn with Interpretation, NeurIPS 2021, arXiv:2010.09345.

    image -> predictor ------------------------------------------> logits of the predictor
                 \\-> attributes -> code -> activation of each -> linear head -> logits
                                                     \\-> decoder -> picture

The prototypes are the attributes: the rows of the attribute network's last layer, and the similarity to one is its
activation. The model's own logits are the interpreter's; the predictor's are in `evidence.predictor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from protolens.config import Count, ModelSettings, Stage, Task, option
from protolens.data import Batch
from protolens.models.base import Evidence, PrototypeModel
from protolens.models.registry import register
from protolens.nn import (
    AttributeDecoder,
    AttributePrototypes,
    LargeAttributes,
    LargePredictor,
    LinearHead,
    SmallAttributes,
    SmallPredictor,
    classification,
    imitation,
    indecision,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"small": F.leaky_relu, "large": F.relu}
DECODERS = {"small": (2, 8), "large": (10, 24, 8)}  # widths
ERRORS = {"squared": F.mse_loss, "absolute": F.l1_loss}
DROPOUT = 0.01  # of attributes, before the head


@dataclass(frozen=True)
class Settings(ModelSettings):
    """The paper has 25 attributes for MNIST, 36 with the large network and the absolute error for CIFAR-10."""

    prototypes: Count = option(25, "how many attributes")
    network: Literal["small", "large"] = option("small", "two convolutions, or ResNet-18 without batch normalisation")
    mode: Literal["by-design", "post-hoc"] = option("by-design", "learn both together, or first the predictor alone")
    reconstruction: Literal["squared", "absolute"] = option("squared", "form of the error, a mean over pixels")


@register("flint", Settings)
class Flint(PrototypeModel):
    """Parekh et al. 2021. Attributes have no class of their own: the head's weights give them one."""

    settings: Settings
    prototypes: AttributePrototypes

    def __init__(self, settings: Settings, task: Task):
        super().__init__(settings, task)
        small, classes = settings.network == "small", len(task.classes)
        self.predictor = (
            SmallPredictor(task.bands, classes, task.size) if small else LargePredictor(task.bands, classes)
        )
        self.attributes = SmallAttributes() if small else LargeAttributes()
        self.prototypes = AttributePrototypes(settings.prototypes, self.attributes.features)
        self.decoder = AttributeDecoder(settings.prototypes, task.bands, task.size, DECODERS[settings.network])
        self.head = LinearHead(settings.prototypes, classes)

    def evidence(self, images: Tensor) -> Evidence:
        predictor, taps = self.predictor(self.shown(images))
        code = self.attributes(taps)
        similarity = self.alike(code)
        logits = self.head(F.dropout(similarity, DROPOUT, self.training))
        return Evidence(logits=logits, similarity=similarity, code=code, predictor=predictor)

    def alike(self, code: Tensor) -> Tensor:
        """The attributes of codes, [N, D] -> [N, P]: phi in the paper."""
        return ACTIVATIONS[self.settings.network](self.prototypes(code))

    def prototype_weights(self) -> Tensor:
        return self.head.weight.T

    def bias(self) -> Tensor:
        return self.head.bias

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(self.alike(code)).clamp(0, 1)

    def decode_prototypes(self) -> None:
        """None: the decoder reads all attributes of an image at once, so that no single one has a picture."""

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        assert evidence.predictor is not None
        error = ERRORS[self.settings.reconstruction]
        return {
            "classification": classification(evidence.predictor, batch.labels, batch.weights),
            "reconstruction": error(self.decoder(evidence.similarity), batch.images),
            "fidelity": imitation(evidence.logits, evidence.predictor),
            "sparsity": evidence.similarity.abs().mean(),
            "conciseness": indecision(evidence.similarity),
        }

    def stages(self) -> list[Stage]:
        """Terms are switched on one after the other. Each stage has a new optimiser; the published code keeps its own.

        The last epoch of all stages but one goes on: validation looks at the interpreter, which has not learned yet.
        """
        predict = {"classification": 1.0}
        see = {"reconstruction": 0.8}
        interpret = see | {"fidelity": 0.5, "sparsity": 0.1}
        concise = interpret | {"conciseness": 0.2}
        if self.settings.mode == "post-hoc":
            interpreter = {"all": 1e-3, "predictor": 0.0}
            return [
                Stage("predictor", 12, {"predictor": 1e-3}, predict, keep="last"),
                Stage("interpret", 2, interpreter, interpret, keep="last"),
                Stage("concise", 8, interpreter, concise),
            ]
        return [
            Stage("predict", 2, {"all": 1e-3, "head": 0.0}, predict | see, keep="last"),
            Stage("interpret", 2, {"all": 1e-3}, predict | interpret, keep="last"),
            Stage("concise", 8, {"all": 1e-3}, predict | concise),
        ]
