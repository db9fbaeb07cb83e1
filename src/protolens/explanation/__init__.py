"""Why a model decided so: the reasons for one image.

May use: train, models, nn, data, config. An Explanation is plain data: the report, the page and --json show the same.
"""

from protolens.explanation.local import Explanation, Reason, Subject, explain, explain_images
from protolens.explanation.maximisation import PHOTOGRAPHS, Maximisation, maximise
from protolens.explanation.places import Seen, heat_map

__all__ = [
    "PHOTOGRAPHS",
    "Explanation",
    "Maximisation",
    "Reason",
    "Seen",
    "Subject",
    "explain",
    "explain_images",
    "heat_map",
    "maximise",
]
