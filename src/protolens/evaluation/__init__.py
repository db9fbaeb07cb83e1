"""How good a finished run is: the only room that reads the test split.

May use: explain, train, models, nn, data, config. Evaluation changes nothing in the model.
"""

from protolens.evaluation.evaluation import Evaluation, evaluate
from protolens.evaluation.scores import area_under_roc, wilson_interval

__all__ = ["Evaluation", "area_under_roc", "evaluate", "wilson_interval"]
