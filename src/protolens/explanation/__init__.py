"""Why a model decided so: the reasons for one image.

May use: train, models, nn, data, config. An Explanation is plain data: the report, the page and --json show the same.
"""

from protolens.explanation.local import Explanation, Reason, Subject, explain, explain_images

__all__ = ["Explanation", "Reason", "Subject", "explain", "explain_images"]
