"""Image classifiers that show their reasons.

Importing this package imports nothing heavy; each name below loads what it needs when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protolens.attribution import attribute
    from protolens.config import RunConfig, read_run
    from protolens.errors import ProtolensError
    from protolens.evaluation import compare, doctor, evaluate, faithfulness
    from protolens.explanation import explain
    from protolens.exporting import export
    from protolens.report import show, write_report
    from protolens.train import Run
    from protolens.train.converting import convert
    from protolens.train.fitting import fit

__version__ = "0.1.0"

_HOMES = {
    "ProtolensError": "protolens.errors",
    "Run": "protolens.train",
    "RunConfig": "protolens.config",
    "attribute": "protolens.attribution",
    "compare": "protolens.evaluation",
    "convert": "protolens.train",
    "doctor": "protolens.evaluation",
    "evaluate": "protolens.evaluation",
    "explain": "protolens.explanation",
    "export": "protolens.exporting",
    "faithfulness": "protolens.evaluation",
    "fit": "protolens.train",
    "read_run": "protolens.config",
    "show": "protolens.report",
    "write_report": "protolens.report",
}

__all__ = [
    "ProtolensError",
    "Run",
    "RunConfig",
    "attribute",
    "compare",
    "convert",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "faithfulness",
    "fit",
    "read_run",
    "show",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'protolens' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
