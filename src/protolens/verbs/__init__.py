"""What each verb does with its words. Nothing heavy is imported before a verb needs it."""

import argparse
from collections.abc import Callable

from protolens.verbs.comparing import do_compare
from protolens.verbs.editing import do_edit
from protolens.verbs.evaluating import do_evaluate
from protolens.verbs.examining import do_doctor
from protolens.verbs.explaining import do_explain
from protolens.verbs.exporting import do_export
from protolens.verbs.listing import do_list
from protolens.verbs.making import do_convert, do_demo, do_fit
from protolens.verbs.serving import do_serve
from protolens.verbs.tabling import do_table

VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": do_demo,
    "fit": do_fit,
    "convert": do_convert,
    "explain": do_explain,
    "evaluate": do_evaluate,
    "export": do_export,
    "compare": do_compare,
    "doctor": do_doctor,
    "edit": do_edit,
    "table": do_table,
    "serve": do_serve,
    "list": do_list,
}
TAKE_SETTINGS = ("fit", "convert")  # as `given.settings`, nested tables

__all__ = ["TAKE_SETTINGS", "VERBS"]
