"""Training: the loop over stages, checkpoints, processes, and the run folder that it leaves.

May use: models, nn, data, config. `fit` is the verb; Run reads what it left.
"""

from protolens.train.converting import convert
from protolens.train.fitting import fit
from protolens.train.loop import StoppedError
from protolens.train.record import Run
from protolens.train.team import Team, assemble
from protolens.train.tracing import Trace, trace
from protolens.train.validation import (
    accuracy,
    area_under_roc,
    balanced_accuracy,
    batch_for,
    confusion,
    mean_area_under_roc,
    predict,
)

__all__ = [
    "Run",
    "StoppedError",
    "Team",
    "Trace",
    "accuracy",
    "area_under_roc",
    "assemble",
    "balanced_accuracy",
    "batch_for",
    "confusion",
    "convert",
    "fit",
    "mean_area_under_roc",
    "predict",
    "trace",
]
