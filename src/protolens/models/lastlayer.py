"""What classifiers that end in a linear layer share, read as self-explainable models: its rows are the prototypes."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from protolens.config import Task
from protolens.data import Batch
from protolens.models.base import Evidence, PrototypeModel
from protolens.nn import VectorPrototypes, classification


class LastLayer(PrototypeModel):
    """code -> dot product with each row -> identity -> logits. A subclass calls `end_in` and says what the code is."""

    several = True
    intercept: nn.Parameter

    def end_in(self, features: int, task: Task) -> None:
        """Add the last layer. features: numbers in the code."""
        self.prototypes = VectorPrototypes(len(task.classes), features)
        self.intercept = nn.Parameter(torch.zeros(len(task.classes)))

    @abstractmethod
    def code(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D]."""

    def evidence(self, images: Tensor) -> Evidence:
        code = self.code(images)
        similarity = self.alike(code)
        return Evidence(logits=similarity + self.intercept, similarity=similarity, code=code)

    def alike(self, code: Tensor) -> Tensor:
        return code @ self.prototypes.vectors.T

    def head_of_code(self) -> tuple[Tensor, Tensor]:
        return self.prototypes.vectors, self.intercept

    def prototype_weights(self) -> Tensor:
        return torch.eye(len(self.task.classes), device=self.device)

    def bias(self) -> Tensor:
        return self.intercept

    def losses(self, batch: Batch, evidence: Evidence, epoch: int) -> dict[str, Tensor]:
        return {"classification": classification(evidence.logits, batch.labels, batch.weights)}
