"""What can be done to a trained model: the three edits, and how files and programs write them down."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protolens.config import Box
from protolens.errors import ProtolensError, did_you_mean


@dataclass(frozen=True)
class SwitchOff:
    """The prototype is gone. prototype: its number in the run that is edited."""

    prototype: int


@dataclass(frozen=True)
class Move:
    """The prototype speaks for another class: what it adds to its present class and to that one change places.

    prototype: its number in the run that is edited; to: the name of a class.
    """

    prototype: int
    to: str


@dataclass(frozen=True)
class Forbid:
    """The model is not shown this part of any image: left, top, right, bottom in pixels, the last two outside."""

    box: Box


Edit = SwitchOff | Move | Forbid
KINDS: dict[str, tuple[type, tuple[str, ...]]] = {
    "off": (SwitchOff, ("prototype",)),
    "move": (Move, ("prototype", "to")),
    "forbid": (Forbid, ("box",)),
}
"""The word for each kind, its class, and what it says."""


def edit_from(entry: Mapping[str, Any]) -> Edit:
    """An edit as JSON holds it: {"kind": "off", "prototype": 3}, and so on. Raises ProtolensError for anything else."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("kind"), str):
        raise ProtolensError(f"{entry!r} is no edit; one has a kind: off, move or forbid")
    kind = entry["kind"]
    if kind not in KINDS:
        raise ProtolensError(f"{kind} is no kind of edit{did_you_mean(kind, KINDS)}")
    cls, names = KINDS[kind]
    for name in names:
        if name not in entry:
            raise ProtolensError(f"the edit {kind} lacks {name}; it says {' and '.join(names)}")
    for name in entry.keys() - {"kind", *names}:
        raise ProtolensError(f"the edit {kind} has no {name}{did_you_mean(name, names)}")
    found: Edit = cls(*(READERS[name](entry[name]) for name in names))
    return found


def edit_to_dict(edit: Edit) -> dict[str, Any]:
    """The same as `edit_from` reads it."""
    kind, names = next((kind, names) for kind, (cls, names) in KINDS.items() if isinstance(edit, cls))
    values = {name: getattr(edit, name) for name in names}
    return {"kind": kind} | {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProtolensError(f"{value!r} is no number of a prototype; write one such as 3")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ProtolensError(f"{value!r} is no name of a class; write it as text")
    return value


def _box(value: Any) -> Box:
    whole = isinstance(value, Sequence) and not isinstance(value, str)
    if not whole or len(value) != 4 or any(not isinstance(part, int) or isinstance(part, bool) for part in value):
        raise ProtolensError(f"{value!r} is no box; write left, top, right and bottom in whole pixels")
    left, top, right, bottom = value
    return left, top, right, bottom


READERS = {"prototype": _number, "to": _name, "box": _box}


def in_words(edits: Iterable[Edit]) -> str:
    """Edits as parts of a sentence: "prototypes 3 and 7 are switched off; prototype 4 speaks for nine"."""
    edits = list(edits)
    off = list(dict.fromkeys(edit.prototype for edit in edits if isinstance(edit, SwitchOff)))
    said = [f"{_listed(off)} {'are' if len(off) > 1 else 'is'} switched off"] if off else []
    said += [f"prototype {edit.prototype} speaks for {edit.to}" for edit in edits if isinstance(edit, Move)]
    for edit in edits:
        if isinstance(edit, Forbid):
            left, top, right, bottom = edit.box
            said.append(f"{_span('column', left, right)}, {_span('row', top, bottom)}, are not shown")
    return "; ".join(said) or "nothing is changed"


def as_options(edits: Iterable[Edit]) -> list[str]:
    """What to type for edits behind `protolens edit RUN`; a prototype that goes need not move before."""
    edits = list(edits)
    off = list(dict.fromkeys(edit.prototype for edit in edits if isinstance(edit, SwitchOff)))
    words = ["--off", ",".join(map(str, off))] if off else []
    for edit in edits:
        if isinstance(edit, Move) and edit.prototype not in off:
            words += ["--move", f"{edit.prototype}:{edit.to}"]
        elif isinstance(edit, Forbid):
            words += ["--forbid", ",".join(map(str, edit.box))]
    return words


def _span(what: str, begin: int, end: int) -> str:
    return f"{what} {begin}" if end == begin + 1 else f"{what}s {begin} to {end - 1}"


def _listed(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"prototypes {', '.join(most)} and {last}" if most else f"prototype {last}"
