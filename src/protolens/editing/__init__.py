"""Prototype editing: switch one off, let it speak for another class, forbid a region, and see what that changes.

May use: evaluation, train, models, nn, data, config. It looks at training and validation images, never at the test's.
"""

from protolens.editing.applying import edited_model, plan_of, reasons_not_to
from protolens.editing.consequences import Accuracy, ClassChange, Consequences, Flip
from protolens.editing.edits import Edit, Forbid, Move, SwitchOff, as_options, edit_from, edit_to_dict, in_words
from protolens.editing.saving import save_edited
from protolens.editing.workbench import Workbench

__all__ = [
    "Accuracy",
    "ClassChange",
    "Consequences",
    "Edit",
    "Flip",
    "Forbid",
    "Move",
    "SwitchOff",
    "Workbench",
    "as_options",
    "edit_from",
    "edit_to_dict",
    "edited_model",
    "in_words",
    "plan_of",
    "reasons_not_to",
    "save_edited",
]
