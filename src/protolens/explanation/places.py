"""Where in an image a prototype finds what it looks for, as a picture."""

from dataclasses import dataclass

from torch import Tensor

from protolens.data.pictures import with_heat
from protolens.nn import upsampled


@dataclass(frozen=True)
class Seen:
    """What a model sees at each place of an image, where its decision is a sum over places; to be drawn."""

    prototypes: Tensor  # [h, w], number of the most similar prototype
    adds: Tensor  # [h, w], what the place adds to the logit of the explained class; they sum to it


def heat_map(image: Tensor, similarity: Tensor) -> Tensor:
    """The picture of a map over its image: image [C, H, W], similarity [h, w] -> [3, H, W], uint8."""
    height, width = image.shape[1:]
    return with_heat(image, upsampled(similarity[None, None], (height, width))[0, 0])
