"""Which pixels a decision rests on: maps for any image classifier, and for the prototypes of ours.

May use: models, nn, config. Everything works on batches, from seeds, and leaves the classifier as it was.
"""

from protolens.attribution.lrp import lrp
from protolens.attribution.methods import CONTROLS, METHODS, attribute, check_methods, methods_that_fail
from protolens.attribution.occlusion import chance, edges
from protolens.attribution.perturbation import Answer, check_precision, in_precision, superpixels
from protolens.attribution.prp import class_relevance, likeness, prp, prp_of_own
from protolens.attribution.rules import COMPOSITES

__all__ = [
    "COMPOSITES",
    "CONTROLS",
    "METHODS",
    "Answer",
    "attribute",
    "chance",
    "check_methods",
    "check_precision",
    "class_relevance",
    "edges",
    "in_precision",
    "likeness",
    "lrp",
    "methods_that_fail",
    "prp",
    "prp_of_own",
    "superpixels",
]
