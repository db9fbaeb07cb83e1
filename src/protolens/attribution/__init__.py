"""Which pixels a decision rests on: maps of relevance for any image classifier, and for prototypes.

May use: models, nn. Everything works on batches, from seeds, and leaves the classifier as it was.
"""

from protolens.attribution.lrp import lrp
from protolens.attribution.prp import class_relevance, prp
from protolens.attribution.rules import COMPOSITES

__all__ = ["COMPOSITES", "class_relevance", "lrp", "prp"]
