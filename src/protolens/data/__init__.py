"""Images and where they come from: catalog, splits, leakage guard, batches, augmentation. Uses config and errors only.

Nothing here looks at test pixels but the guard, which compares digests.
"""

from protolens.data.augment import augment, gaussian_kernel
from protolens.data.batches import Batch, balanced_weights, plain_batches, to_float, training_batches
from protolens.data.catalog import catalog, open_whole
from protolens.data.dataset import DataSet, open_data
from protolens.data.decode import read_image
from protolens.data.images import Images, MemoryImages, StreamedImages
from protolens.data.leakage import Leak
from protolens.data.noise import drawn_for_each
from protolens.data.torchvision_sets import without_downloads

__all__ = [
    "Batch",
    "DataSet",
    "Images",
    "Leak",
    "MemoryImages",
    "StreamedImages",
    "augment",
    "balanced_weights",
    "catalog",
    "drawn_for_each",
    "gaussian_kernel",
    "open_data",
    "open_whole",
    "plain_batches",
    "read_image",
    "to_float",
    "training_batches",
    "without_downloads",
]
