"""The slots that models are made of: encoders, decoders, prototypes, and loss terms as pure functions.

May use: data, config. Knows tensors and shapes, nothing of training, files or methods.
"""

from protolens.nn.decoders import DeconvDecoder, UpConvDecoder
from protolens.nn.encoders import ConvEncoder, SmallEncoder, StrongEncoder, activation
from protolens.nn.losses import RECONSTRUCTIONS, classification, code_coverage, prototype_coverage
from protolens.nn.normalise import Normalise
from protolens.nn.prototypes import VectorPrototypes, euclidean, squared_euclidean

__all__ = [
    "RECONSTRUCTIONS",
    "ConvEncoder",
    "DeconvDecoder",
    "Normalise",
    "SmallEncoder",
    "StrongEncoder",
    "UpConvDecoder",
    "VectorPrototypes",
    "activation",
    "classification",
    "code_coverage",
    "euclidean",
    "prototype_coverage",
    "squared_euclidean",
]
