"""What a table measures of a run beside its evaluation, as `evaluate` with --robustness, --beside and --uncertainty."""

from protolens.errors import ProtolensError
from protolens.evaluation import explanation_gap, pictures_of_gap, robustness, uncertainty
from protolens.report import write_gap, write_robustness, write_uncertainty
from protolens.tables.plan import Kind, Measures
from protolens.train import Run

METHOD = "lrp"  # explains the black box


def lacking(run: Run, asked: Measures) -> list[Kind]:
    """What was not measured of this very model as it is asked for: of what has a meaning for it."""
    without = {"gap"} if asked.black_box is None else set()
    without |= {"uncertainty"} if run.facts["data"]["several"] else set()
    return [kind for kind in asked.kinds if kind not in without and not is_measured(run, kind, asked)]


def is_measured(run: Run, kind: Kind, asked: Measures) -> bool:
    """Whether a file of the run tells so already."""
    content = run.told(f"{kind}.json")
    if content is None:
        return False
    if kind == "uncertainty":
        return set(asked.others) <= content["others"].keys()
    same = content["images"] == min(asked.images, run.facts["data"]["splits"]["test"]["images"])
    if kind == "gap" and asked.black_box is not None:
        return same and METHOD in content["methods"] and content["black_box"] == Run.open(asked.black_box).digest
    return same


def measure(run: Run, kind: Kind, asked: Measures) -> None:
    """Measure it, and write its page. Raises ProtolensError, with the kind, where that is impossible."""
    try:
        if kind == "robustness":
            write_robustness(run, robustness(run, images=asked.images))
        elif kind == "gap":
            found = explanation_gap(run, asked.black_box, [METHOD], images=asked.images)
            write_gap(run, found, *pictures_of_gap(run, asked.black_box, METHOD))
        else:
            write_uncertainty(run, uncertainty(run, asked.others))
    except ProtolensError as error:
        raise ProtolensError(f"{kind}: {error}") from None
