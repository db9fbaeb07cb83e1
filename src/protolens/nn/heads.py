"""Transparent heads: from similarities to logits by one weight for each prototype and class."""

import torch
from torch import Tensor, nn

from protolens.nn.prototypes import kept_part


class LinearHead(nn.Linear):
    """A linear layer from P similarities to K logits that can lose prototypes. [B, P] -> [B, K]."""

    def keep(self, kept: Tensor) -> None:
        """Drop the weights of all prototypes but these. kept: [Q]."""
        self.weight = kept_part(self.weight, kept, dim=1)
        self.in_features = len(kept)

    @torch.no_grad()
    def move(self, prototype: int, own: int, to: int, /) -> None:
        """Let a prototype's weights for two classes change places."""
        self.weight[[own, to], prototype] = self.weight[[to, own], prototype]


class ClassHead(LinearHead):
    """No bias; a prototype starts with weight 1 for its class and -0.5 for every other (ProtoPNet, sec. 2.2)."""

    def __init__(self, class_of: Tensor, classes: int):
        super().__init__(len(class_of), classes, bias=False)
        own = nn.functional.one_hot(class_of, classes).T
        self.weight.data.copy_(1.5 * own - 0.5)
