"""Where in an image a prototype finds what it looks for, as a picture."""

from torch import Tensor

from protolens.data.pictures import with_heat
from protolens.nn import upsampled


def heat_map(image: Tensor, similarity: Tensor) -> Tensor:
    """The picture of a map over its image: image [C, H, W], similarity [h, w] -> [3, H, W], uint8."""
    height, width = image.shape[1:]
    return with_heat(image, upsampled(similarity[None, None], (height, width))[0, 0])
