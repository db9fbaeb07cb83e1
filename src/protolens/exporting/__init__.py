"""A finished run for other programs: an ONNX file that was held against the model, or a folder for a hub.

May use: report, evaluation, train, models, data, config. `export` is the verb.
"""

from protolens.exporting.formats import FORMATS, export

__all__ = ["FORMATS", "export"]
