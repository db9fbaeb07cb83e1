"""Training: the loop over stages, checkpoints, processes, and the run folder that it leaves.

May use: models, nn, data, config. `fit` is the verb; Run reads what it left.
"""

from protolens.train.calibration import best_temperature
from protolens.train.classes import (
    class_number,
    class_probabilities,
    classes_said,
    classes_shown,
    in_words,
    is_uneven,
    share_of_equal,
)
from protolens.train.converting import conversion, convert, convert_or_keep
from protolens.train.fitting import fit, fit_or_keep
from protolens.train.loop import StoppedError, stop_politely
from protolens.train.origin import commit, made_with
from protolens.train.progress import validation_in_words
from protolens.train.record import Run, named_settings, refuse_other_images, refuse_other_settings, refuse_run
from protolens.train.several import average_precisions, f1, figures_of_several, matches, number
from protolens.train.team import Team, assemble
from protolens.train.tracing import Trace, trace
from protolens.train.validation import (
    accuracy,
    area_under_roc,
    balanced_accuracy,
    batch_for,
    confusion,
    main_figure,
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
    "average_precisions",
    "balanced_accuracy",
    "batch_for",
    "best_temperature",
    "class_number",
    "class_probabilities",
    "classes_said",
    "classes_shown",
    "commit",
    "confusion",
    "conversion",
    "convert",
    "convert_or_keep",
    "f1",
    "figures_of_several",
    "fit",
    "fit_or_keep",
    "in_words",
    "is_uneven",
    "made_with",
    "main_figure",
    "matches",
    "mean_area_under_roc",
    "named_settings",
    "number",
    "predict",
    "refuse_other_images",
    "refuse_other_settings",
    "refuse_run",
    "share_of_equal",
    "stop_politely",
    "trace",
    "validation_in_words",
]
