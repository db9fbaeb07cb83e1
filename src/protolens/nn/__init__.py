"""The slots that models are made of: encoders, decoders, prototypes, and loss terms as pure functions.

May use: data, config. Knows tensors and shapes, nothing of training, files or methods.
"""

from protolens.nn.attributes import (
    AttributeDecoder,
    AttributePrototypes,
    LargeAttributes,
    LargePredictor,
    SmallAttributes,
    SmallPredictor,
    imitation,
    indecision,
)
from protolens.nn.backbones import Backbone, load_backbone, make_backbone, map_size, receptive_boxes
from protolens.nn.bayesian import BayesianLinear, Counted, FirstBayesianLinear, Gaussian, drawn_outputs
from protolens.nn.decoders import DeconvDecoder, UpConvDecoder
from protolens.nn.diversity import distance_beyond, inverse_volume, negative_log_volume, orthonormality
from protolens.nn.encoders import ConvEncoder, SmallEncoder, StrongEncoder, activation
from protolens.nn.heads import ClassHead, LinearHead
from protolens.nn.hiding import Hidden, medians, refuse_outside
from protolens.nn.losses import (
    RECONSTRUCTIONS,
    classification,
    cluster_cost,
    code_coverage,
    off_class_weight,
    prototype_coverage,
    separation_cost,
)
from protolens.nn.networks import Head, Tapped, find_head, find_layer, find_maps, open_network, pixels_wanted, try_out
from protolens.nn.normalise import Normalise, OfPixels, ToLength, Whiten
from protolens.nn.places import (
    Where,
    expanded_distance,
    locate,
    nearest_places,
    own_distances,
    percentile_boxes,
    upsampled,
)
from protolens.nn.pretrained import IMAGENET, fill, first_convolution, read_weights
from protolens.nn.prototypes import (
    EPSILON,
    ClassPrototypes,
    HoldsPrototypes,
    SpeaksForClasses,
    VectorPrototypes,
    euclidean,
    kept_part,
    log_ratio,
    slots_of,
    squared_euclidean,
)
from protolens.nn.variational import VariationalDecoder, VariationalEncoder, mixture_divergence

__all__ = [
    "EPSILON",
    "IMAGENET",
    "RECONSTRUCTIONS",
    "AttributeDecoder",
    "AttributePrototypes",
    "Backbone",
    "BayesianLinear",
    "ClassHead",
    "ClassPrototypes",
    "ConvEncoder",
    "Counted",
    "DeconvDecoder",
    "FirstBayesianLinear",
    "Gaussian",
    "Head",
    "Hidden",
    "HoldsPrototypes",
    "LargeAttributes",
    "LargePredictor",
    "LinearHead",
    "Normalise",
    "OfPixels",
    "SmallAttributes",
    "SmallEncoder",
    "SmallPredictor",
    "SpeaksForClasses",
    "StrongEncoder",
    "Tapped",
    "ToLength",
    "UpConvDecoder",
    "VariationalDecoder",
    "VariationalEncoder",
    "VectorPrototypes",
    "Where",
    "Whiten",
    "activation",
    "classification",
    "cluster_cost",
    "code_coverage",
    "distance_beyond",
    "drawn_outputs",
    "euclidean",
    "expanded_distance",
    "fill",
    "find_head",
    "find_layer",
    "find_maps",
    "first_convolution",
    "imitation",
    "indecision",
    "inverse_volume",
    "kept_part",
    "load_backbone",
    "locate",
    "log_ratio",
    "make_backbone",
    "map_size",
    "medians",
    "mixture_divergence",
    "nearest_places",
    "negative_log_volume",
    "off_class_weight",
    "open_network",
    "orthonormality",
    "own_distances",
    "percentile_boxes",
    "pixels_wanted",
    "prototype_coverage",
    "read_weights",
    "receptive_boxes",
    "refuse_outside",
    "separation_cost",
    "slots_of",
    "squared_euclidean",
    "try_out",
    "upsampled",
]
