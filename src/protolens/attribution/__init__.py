"""Which pixels a decision rests on: maps for any image classifier, and for the prototypes of ours.

May use: models, nn, config. Everything works on batches, from seeds, and leaves the classifier as it was.
"""

from protolens.attribution.lrp import lrp
from protolens.attribution.methods import METHODS, attribute, method_of
from protolens.attribution.perturbation import superpixels
from protolens.attribution.prp import class_relevance, prp
from protolens.attribution.rules import COMPOSITES

__all__ = ["COMPOSITES", "METHODS", "attribute", "class_relevance", "lrp", "method_of", "prp", "superpixels"]
