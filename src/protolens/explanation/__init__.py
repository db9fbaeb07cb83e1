"""Why a model decided so: the reasons for one image.

May use: train, attribution, models, nn, data, config. An Explanation is plain data: the report, the page and --json
show the same.
"""

from protolens.explanation.comparing import Comparison, compare_methods, compared, drawn_of_each
from protolens.explanation.local import Explanation, Reason, Subject, explain, explain_images
from protolens.explanation.maximisation import PHOTOGRAPHS, Maximisation, maximise
from protolens.explanation.places import Seen, heat_map
from protolens.explanation.streaming import Explained, explain_set

__all__ = [
    "PHOTOGRAPHS",
    "Comparison",
    "Explained",
    "Explanation",
    "Maximisation",
    "Reason",
    "Seen",
    "Subject",
    "compare_methods",
    "compared",
    "drawn_of_each",
    "explain",
    "explain_images",
    "explain_set",
    "heat_map",
    "maximise",
]
