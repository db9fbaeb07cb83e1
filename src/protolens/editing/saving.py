"""An edited model as a run of its own, with the history of its edits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from protolens.config import RunConfig, to_mapping, to_toml
from protolens.editing.applying import plan_of
from protolens.editing.consequences import Consequences
from protolens.editing.edits import Edit, edit_to_dict
from protolens.editing.workbench import Step, Workbench, part_of
from protolens.errors import ProtolensError
from protolens.files import refuse_existing, whole_folder, write_json, write_text
from protolens.models import PrototypeModel
from protolens.train import Run, Team, made_with
from protolens.train.fitting import write_model

KEPT_OF_HISTORY = ("of", "model", "edits", "kept")


def save_edited(
    run: Run, edits: Sequence[Edit], folder: Path, *, bench: Workbench | None = None, step: Step | None = None
) -> Run:
    """Leave the edited model in a folder of its own, as a finished run that every verb works on.

    bench: that of the run, if there is one already; else it is opened on the CPU; step: is told how far that is. The
    training images are looked at again, to say where prototypes stand. Nothing is left where it fails. Raises
    ProtolensError for no edits, for one that cannot be done, and where something has the folder's name.
    """
    if not edits:
        raise ProtolensError("nothing is edited; a run that stays as it is needs no other folder")
    refuse_existing(folder)
    plan = plan_of(bench.model if bench else run.model(), edits)
    opened = bench or Workbench.open(run, step=part_of(step, 0.0, 0.2))
    consequences = opened.consequences(edits, part_of(step, 0.2, 0.4))
    model = opened.edited(edits)
    with whole_folder(folder) as temporary:
        write_text(temporary / "config.toml", config_of(run, model))
        history = run.folder / "history.jsonl"
        if history.exists():
            write_text(temporary / "history.jsonl", history.read_text(encoding="utf-8"))
        facts = write_model(temporary, model, opened.data, run.config, part_of(step, 0.4, 1.0))
        edited: dict[str, Any] = {
            "of": run.folder.resolve().name,
            "model": run.digest,
            "edits": [edit_to_dict(edit) for edit in edits],
            "kept": list(plan.kept),
            "consequences": figures_of(consequences),
            "history": history_of(run),
            "made_with": made_with(Team(model.device)),
        }
        write_json(temporary / "run.json", {**run.facts, **facts, "edited": edited})
    return Run.open(folder)


def config_of(run: Run, model: PrototypeModel) -> str:
    """The settings of the run, with the regions that the edited model hides."""
    text = (run.folder / "config.toml").read_text(encoding="utf-8")
    if not model.settings.hide:
        return text
    config: RunConfig = replace(run.config, model={**run.config.model, "hide": model.settings.hide})
    return to_toml(to_mapping(config))


def figures_of(consequences: Consequences) -> dict[str, Any]:
    """What run.json tells: all but the single images, of which it counts those that changed."""
    found = consequences.to_dict()
    del found["flips"]
    return found | {way: consequences.count(way) for way in ("mended", "broken", "other")}


def history_of(run: Run) -> list[dict[str, Any]]:
    """The edits that led to the run, the first ones first; each by the numbers of the run that it was done to."""
    if run.edited is None:
        return []
    return [*run.edited["history"], {name: run.edited[name] for name in KEPT_OF_HISTORY}]
