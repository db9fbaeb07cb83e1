"""What leaves this machine says nothing of where files lay on it."""

from collections.abc import Mapping
from pathlib import PurePath, PureWindowsPath
from typing import Any

ON_DISK = ("folder", "landcover")  # kinds of data sets that are named by a path


def public_name(data: str) -> str:
    """The name of a data set without the folders above it: folder:/home/me/birds is folder:birds."""
    kind, colon, place = data.partition(":")
    return f"{kind}{colon}{last_part(place)}" if kind in ON_DISK else data


def last_part(path: str) -> str:
    """The last name of a path, of this system's kind or of Windows'."""
    return PureWindowsPath(PurePath(path).name).name


def public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, or run.json, without paths: files and sets by their own names, and no folder of data."""
    found = {key: _public(key, value) for key, value in settings.items()}
    if "name" in found.get("data", {}):
        data = {key: value for key, value in found["data"].items() if key != "root"}
        found["data"] = data | {"name": public_name(data["name"])}
    return found


def _public(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return public(value)
    return last_part(value) if key == "weights" and isinstance(value, str) else value


def own_code(settings: Mapping[str, Any]) -> str:
    """The first network of one's own among nested settings, as "FILE.py:FUNCTION"; "" where there is none."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and (inner := own_code(value)):
            return inner
        if key == "source" and isinstance(value, str) and ".py:" in value:
            return value
    return ""
