"""What a finished run looks like to people: a one-file HTML report, pages of explanations, figures for a paper.

May use: evaluate, explain, train, models, config. Everything is drawn from the files of the run folder; no data set is
opened and nothing is computed by a model.
"""

from protolens.report.compared import write_compared
from protolens.report.comparison import write_comparison
from protolens.report.doctor import write_doctor
from protolens.report.explanations import write_explanations
from protolens.report.faithfulness import write_faithfulness
from protolens.report.gap import write_gap
from protolens.report.notebook import show
from protolens.report.report import write_report
from protolens.report.robustness import write_robustness
from protolens.report.uncertainty import write_uncertainty

__all__ = [
    "show",
    "write_compared",
    "write_comparison",
    "write_doctor",
    "write_explanations",
    "write_faithfulness",
    "write_gap",
    "write_report",
    "write_robustness",
    "write_uncertainty",
]
