"""Edits put into effect: first checked against the model, then done to a copy of it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protolens.config import Box
from protolens.editing.edits import Edit, Forbid, Move, SwitchOff, edit_to_dict
from protolens.errors import ProtolensError, did_you_mean
from protolens.models import PrototypeModel
from protolens.models.lastlayer import LastLayer
from protolens.nn import Hidden, HoldsPrototypes, refuse_outside


@dataclass(frozen=True)
class Plan:
    """What edits come to, by the numbers of the model that is edited.

    kept: prototypes that stay, in order; moves: prototype and number of its new class, one after the other; boxes:
    regions that are hidden, beside those that were before.
    """

    kept: tuple[int, ...]
    moves: tuple[tuple[int, int], ...] = ()
    boxes: tuple[Box, ...] = ()


def reasons_not_to(model: PrototypeModel) -> dict[str, str]:
    """Of each kind of edit why this model cannot have it; empty where it can."""
    bound = ""
    if isinstance(model, LastLayer):
        bound = (
            f"The prototypes of {model.name} are the rows of its last layer, one a class: none can go, or speak for "
            "another; `protolens convert` finds prototypes that can."
        )
    return {"off": bound, "move": bound, "forbid": ""}


def plan_of(model: PrototypeModel, edits: Sequence[Edit]) -> Plan:
    """The edits one after the other. Raises ProtolensError at the first that cannot be done."""
    class_of, classes, refused = model.class_of().tolist(), model.task.classes, reasons_not_to(model)
    off: set[int] = set()
    moves: list[tuple[int, int]] = []
    boxes: list[Box] = []
    for edit in edits:
        refuse_kind(edit, refused)
        if isinstance(edit, Forbid):
            refuse_outside(edit.box, model.task.size)
            boxes.append(edit.box)
            continue
        number = edit.prototype
        if not 0 <= number < len(class_of):
            raise ProtolensError(f"{number} is not a prototype; this model has those from 0 to {len(class_of) - 1}")
        if isinstance(edit, SwitchOff):
            off.add(number)
            continue
        to = _new_class(edit, off, classes, class_of[number])
        moves.append((number, to))
        class_of[number] = to
    if len(off) == len(class_of):
        raise ProtolensError("all prototypes are switched off; a model needs one at least")
    kept = tuple(number for number in range(len(class_of)) if number not in off)
    return Plan(kept, tuple(moves), tuple(dict.fromkeys(boxes)))


def refuse_kind(edit: Edit, refused: Mapping[str, str]) -> None:
    """Raise ProtolensError where a model cannot have such an edit. refused: of `reasons_not_to`."""
    why = refused[edit_to_dict(edit)["kind"]]
    if why:
        raise ProtolensError(why[0].lower() + why[1:].rstrip("."))


def _new_class(edit: Move, off: set[int], classes: Sequence[str], own: int) -> int:
    """The number of the class that a prototype is to speak for. Raises ProtolensError where it cannot."""
    if edit.to not in classes:
        raise ProtolensError(f"{edit.to} is not a class of this model{did_you_mean(edit.to, classes)}")
    if edit.prototype in off:
        raise ProtolensError(f"prototype {edit.prototype} is switched off, so it cannot speak for {edit.to}")
    if edit.to == classes[own]:
        raise ProtolensError(f"prototype {edit.prototype} speaks for {edit.to} already; name another class")
    return classes.index(edit.to)


def edited_model(model: PrototypeModel, edits: Sequence[Edit], fill: Tensor | None = None) -> PrototypeModel:
    """A copy of the model with these edits, in evaluation mode; the model itself stays as it was.

    fill: what takes the place of forbidden pixels, [C], one value a band; a model that hides a region already has it.
    Raises ProtolensError at an edit that cannot be done.
    """
    plan = plan_of(model, edits)
    return put_in(copy.deepcopy(model), plan, fill).eval()  # a copy of a traced network forgets its mode


def lightly_edited(model: PrototypeModel, plan: Plan, fill: Tensor | None = None) -> PrototypeModel:
    """The same with all that knows nothing of prototypes, such as the encoder, shared with the model: to be read."""
    shared = {
        id(module): module
        for module in model.children()
        if isinstance(module, PrototypeModel) or not isinstance(module, HoldsPrototypes)
    }
    return put_in(copy.deepcopy(model, shared), plan, fill)


def put_in(model: PrototypeModel, plan: Plan, fill: Tensor | None) -> PrototypeModel:
    """The same model with the plan carried out."""
    for prototype, to in plan.moves:
        model.move(prototype, to)
    if len(plan.kept) < len(model.prototypes):
        model.keep(torch.tensor(plan.kept, device=model.device))
        model.provenance = [model.provenance[number] for number in plan.kept] if model.provenance else []
    if plan.boxes:
        hide(model, plan.boxes, fill)
    return model


def hide(model: PrototypeModel, boxes: Sequence[Box], fill: Tensor | None) -> None:
    """Hide more regions from a model. fill: [C], unless it hides some already."""
    known = fill if model.hidden is None else model.hidden.fill
    if known is None:
        raise ProtolensError(
            "what takes the place of a forbidden region is not known; give fill, a value for each band"
        )
    every = tuple(dict.fromkeys((*map(tuple, model.settings.hide or ()), *boxes)))
    hidden = Hidden(every, model.task.bands, model.task.size).to(model.device)
    hidden.fill.copy_(known)
    model.settings, model.hidden = replace(model.settings, hide=every), hidden.eval()
