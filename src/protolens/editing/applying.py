"""Edits put into effect: first checked against the model, then done to a copy of it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from protolens.editing.edits import Edit, Forbid, Move, SwitchOff
from protolens.errors import ProtolensError, did_you_mean
from protolens.models import PrototypeModel
from protolens.models.lastlayer import LastLayer
from protolens.nn import HoldsPrototypes


@dataclass(frozen=True)
class Plan:
    """What edits come to, by the numbers of the model that is edited.

    kept: prototypes that stay, in order; moves: prototype and number of its new class, one after the other.
    """

    kept: tuple[int, ...]
    moves: tuple[tuple[int, int], ...]


def reasons_not_to(model: PrototypeModel) -> dict[str, str]:
    """Of each kind of edit why this model cannot have it; empty where it can."""
    bound = ""
    if isinstance(model, LastLayer):
        bound = (
            f"The prototypes of {model.name} are the rows of its last layer, one a class: none can go, or speak for "
            "another; `protolens convert` finds prototypes that can."
        )
    return {"off": bound, "move": bound, "forbid": "Regions cannot be forbidden yet."}


def plan_of(model: PrototypeModel, edits: Sequence[Edit]) -> Plan:
    """The edits one after the other. Raises ProtolensError at the first that cannot be done."""
    class_of, classes = model.class_of().tolist(), model.task.classes
    refused = reasons_not_to(model)
    off: set[int] = set()
    moves: list[tuple[int, int]] = []
    for edit in edits:
        kind = "off" if isinstance(edit, SwitchOff) else "move" if isinstance(edit, Move) else "forbid"
        if refused[kind]:
            raise ProtolensError(refused[kind][0].lower() + refused[kind][1:].rstrip("."))
        if isinstance(edit, Forbid):
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
    return Plan(tuple(number for number in range(len(class_of)) if number not in off), tuple(moves))


def _new_class(edit: Move, off: set[int], classes: Sequence[str], own: int) -> int:
    """The number of the class that a prototype is to speak for. Raises ProtolensError where it cannot."""
    if edit.to not in classes:
        raise ProtolensError(f"{edit.to} is not a class of this model{did_you_mean(edit.to, classes)}")
    if edit.prototype in off:
        raise ProtolensError(f"prototype {edit.prototype} is switched off, so it cannot speak for {edit.to}")
    if edit.to == classes[own]:
        raise ProtolensError(f"prototype {edit.prototype} speaks for {edit.to} already; name another class")
    return classes.index(edit.to)


def edited_model(model: PrototypeModel, edits: Sequence[Edit]) -> PrototypeModel:
    """A copy of the model with these edits, in evaluation mode; the model itself stays as it was.

    Raises ProtolensError at an edit that cannot be done.
    """
    plan = plan_of(model, edits)
    return put_in(copy.deepcopy(model), plan).eval()  # a copy of a traced network forgets its mode


def lightly_edited(model: PrototypeModel, plan: Plan) -> PrototypeModel:
    """The same with all that knows nothing of prototypes, such as the encoder, shared with the model: to be read."""
    shared = {
        id(module): module
        for module in model.children()
        if isinstance(module, PrototypeModel) or not isinstance(module, HoldsPrototypes)
    }
    return put_in(copy.deepcopy(model, shared), plan)


def put_in(model: PrototypeModel, plan: Plan) -> PrototypeModel:
    """The same model with the plan carried out."""
    for prototype, to in plan.moves:
        model.move(prototype, to)
    if len(plan.kept) < len(model.prototypes):
        model.keep(torch.tensor(plan.kept, device=model.device))
        model.provenance = [model.provenance[number] for number in plan.kept] if model.provenance else []
    return model
