"""The contract that every model of the family fulfils.

image -> encoder -> code -> similarity to prototypes -> transparent head -> logits
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from protolens.config import ModelSettings, Stage, Task
from protolens.data import Batch
from protolens.nn import Hidden, HoldsPrototypes, SpeaksForClasses, VectorPrototypes


@dataclass
class Evidence:
    """All that a decision rests on, for a batch of B images, P prototypes and K classes."""

    logits: Tensor  # [B, K]
    similarity: Tensor  # [B, P], larger is more alike
    code: Tensor  # [B, D], or [B, D, h, w] where prototypes stand at places
    distance: Tensor | None = None  # [B, P], for models that measure one
    maps: Tensor | None = None  # [B, P, h, w], similarity at each place, for prototypes that stand at places
    predictor: Tensor | None = None  # [B, K], logits of the network that this model interprets, where there is one
    shares: Tensor | None = None  # [B, P], for heads that choose: of places (or 0 and 1) where a prototype speaks

    def cpu(self) -> Self:
        """The same on the CPU, without a graph."""
        values = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        return replace(self, **{name: value.detach().cpu() for name, value in values if value is not None})


@dataclass(frozen=True)
class Provenance:
    """The training image that stands for a prototype, and the box of the prototype in it, if it has one."""

    split: str
    index: int  # position in the split
    name: str  # what people call the image
    label: str
    similarity: float
    place: tuple[int, int] | None = None  # row and column in the map of places
    box: tuple[int, int, int, int] | None = None  # left, top, right, bottom in pixels: where it is most similar
    field: tuple[int, int, int, int] | None = None  # the same: all pixels that can influence the place


class PrototypeModel(nn.Module, ABC):
    """An image classifier that decides by its similarity to prototypes.

    Images are floats [B, C, H, W] in [0, 1]. A subclass fills the slots, and says what it has seen (`evidence`), what
    a unit of similarity adds to each logit (`prototype_weights`), what it learns from (`losses`), and when (`stages`).
    """

    name: ClassVar[str]  # set by @register
    linear: ClassVar[bool] = True  # whether the same weights make the logits of every image
    several: ClassVar[bool] = False  # whether it can learn from images that show several classes
    prototypes: VectorPrototypes

    def __init__(self, settings: ModelSettings, task: Task):
        super().__init__()
        self.settings: Any = settings
        self.task = task
        self.hidden = Hidden(settings.hide, task.bands, task.size) if settings.hide else None
        self.provenance: list[Provenance | None] = []

    @abstractmethod
    def evidence(self, images: Tensor) -> Evidence:
        """[B, C, H, W] -> Evidence."""

    @abstractmethod
    def alike(self, code: Tensor) -> Tensor:
        """Similarity of whole codes, or of those of places, to each prototype. [N, D] -> [N, P]."""

    @abstractmethod
    def prototype_weights(self) -> Tensor:
        """What one unit of similarity to each prototype adds to each logit, [P, K]."""

    @abstractmethod
    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        """Unweighted scalar loss terms by name; the stage holds their weights. epoch counts from 0 in the stage."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The calendar of training."""

    def shown(self, images: Tensor) -> Tensor:
        """What the model sees of images: all but the regions that its settings hide. Each looks through this first."""
        return images if self.hidden is None else self.hidden(images)

    def code(self, images: Tensor) -> Tensor:
        """The code alone, [B, D] or [B, D, h, w], as in `evidence`."""
        return self.evidence(images).code

    def head_of_code(self) -> tuple[Tensor, Tensor] | None:
        """For a model whose logits are linear in the pooled code: weights [K, D] and bias [K]; None for the others."""
        return None

    def built_in_prototypes(self) -> Tensor | None:
        """For a model with the code of a network that it reads: the rows of that network's last layer, one a class.

        [K, D], in the space of the code; None for the others.
        """
        return None

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, K]."""
        return self.evidence(images).logits

    def basis(self, images: Tensor) -> Tensor:
        """All that the head knows of images: [B, P], or [B, P, L] where it hears each of L places."""
        return self.evidence(images).similarity

    def decide(self, basis: Tensor) -> Tensor:
        """Logits [B, K] of what `basis` gives; once prototypes are dropped, of the columns of the others."""
        return basis @ self.prototype_weights() + self.bias()

    def bias(self) -> Tensor:
        """What the logits are without any prototype, [K]."""
        return self.prototype_weights().new_zeros(len(self.task.classes))

    def class_of(self) -> Tensor:
        """The class that each prototype speaks for most, [P]."""
        return self.prototype_weights().argmax(dim=1)

    def weights_for(self, evidence: Evidence) -> Tensor:
        """`prototype_weights` as they hold for each image, [B, P, K]: all the same, but in heads that choose."""
        # a shape, not len: that is a plain number, and would fix the batch of an exported graph
        return self.prototype_weights().expand(evidence.similarity.shape[0], -1, -1)

    def contributions(self, evidence: Evidence) -> Tensor:
        """What each prototype adds to each logit, [B, P, K]: with the bias, their sum over prototypes is the logits."""
        return evidence.similarity[:, :, None] * self.weights_for(evidence)

    def contributions_of_places(self, evidence: Evidence) -> Tensor | None:
        """What each place adds to each logit, [B, K, h, w]: the sum over places is the logit; None without such."""
        return None

    def similarity_of_places(self, evidence: Evidence) -> Tensor | None:
        """What each place adds to the similarity, [B, P, h, w]: the sum over places is it; None without places.

        Here all of it comes from the place that is most alike.
        """
        if evidence.maps is None:
            return None
        flat = evidence.maps.flatten(2)
        best = torch.zeros_like(flat).scatter_(2, flat.argmax(dim=2, keepdim=True), 1.0)
        return (best * evidence.similarity[:, :, None]).view_as(evidence.maps)

    def candidates(self, evidence: Evidence) -> Tensor | None:
        """What a head that chooses compares, [B, N, M]: at each of N choices the largest of M decides.

        An empty place is -inf. None for heads that choose nothing: what they give hangs on no rounding.
        """
        return None

    def decode(self, code: Tensor) -> Tensor | None:
        """Pictures of codes, [B, D] -> [B, C, H, W] in [0, 1]; None for a model without a decoder."""
        return None

    def load_pretrained(self) -> None:
        """Read what training begins with from files that the settings name; a saved model needs none of them."""

    def findings(self) -> str:
        """What the model has found out about the network that it reads, in a sentence; empty for the others."""
        return ""

    def decode_prototypes(self) -> Tensor | None:
        """The picture of each prototype, [P, C, H, W] in [0, 1]; None where a prototype alone cannot be decoded."""
        return self.decode(self.prototypes.vectors)

    def network_of_places(self) -> nn.Module | None:
        """What maps images [B, C, H, W] to codes at places [B, D, h, w]; None where prototypes have no place."""
        return None

    def keep(self, kept: Tensor) -> None:
        """Drop all prototypes but these. kept: positions in their order, [Q]."""
        for module in self.own_parts():
            if isinstance(module, HoldsPrototypes):
                module.keep(kept)

    def move(self, prototype: int, to: int) -> None:
        """Let a prototype speak for another class: what it adds to its class and to that one change places."""
        own = int(self.class_of()[prototype])
        for module in self.own_parts():
            if isinstance(module, SpeaksForClasses):
                module.move(prototype, own, to)

    def own_parts(self) -> Iterator[nn.Module]:
        """Its modules, but for a model inside, whose prototypes are others."""
        return (module for module in self.children() if not isinstance(module, PrototypeModel))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; where the state has fewer prototypes than the model, or one inside it, the others go first."""
        for place, module in self.named_modules():
            vectors = state_dict.get(f"{place}.prototypes.vectors".lstrip("."))
            if isinstance(module, PrototypeModel) and vectors is not None and len(vectors) < len(module.prototypes):
                module.keep(torch.arange(len(vectors), device=self.device))
        return super().load_state_dict(state_dict, strict, assign)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.parameters()).device


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """While inside, every module of the model is in evaluation mode; afterwards each is in its own again."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
