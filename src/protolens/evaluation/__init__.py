"""How good a finished run is: the only room that reads the test split.

May use: explain, train, models, nn, data, config. Evaluation changes nothing in the model.
"""

from protolens.evaluation.budget import parse_duration, typed
from protolens.evaluation.comparing import REFUSED_OF, compare, compare_some, is_comparable, to_csv
from protolens.evaluation.doubting import uncertainty
from protolens.evaluation.ensemble import evaluate_ensemble
from protolens.evaluation.evaluation import Evaluation, evaluate
from protolens.evaluation.examining import doctor
from protolens.evaluation.gap import explanation_gap, pictures_of_gap
from protolens.evaluation.methods import faithfulness
from protolens.evaluation.metric import METRICS
from protolens.evaluation.scores import wilson_interval
from protolens.evaluation.steadiness import robustness

__all__ = [
    "METRICS",
    "REFUSED_OF",
    "Evaluation",
    "compare",
    "compare_some",
    "doctor",
    "evaluate",
    "evaluate_ensemble",
    "explanation_gap",
    "faithfulness",
    "is_comparable",
    "parse_duration",
    "pictures_of_gap",
    "robustness",
    "to_csv",
    "typed",
    "uncertainty",
    "wilson_interval",
]
