"""Writing files so that a crash, a full disk or a second reader never meets half of one."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from protolens.errors import ProtolensError


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to a temporary file beside `path`, flush it to the disk, then rename it into place.

    Raises ProtolensError when the disk is full or the folder cannot be written; what stood at `path` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, beside `path`, that gets this name when all is in it, and is removed where something fails.

    Raises ProtolensError when something has the name already, or it cannot be written.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        refuse_existing(path)
        temporary.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Raise ProtolensError when something has that name."""
    if path.exists() or path.is_symlink():
        raise ProtolensError(f"{path} exists already; name another folder by --out")


def cannot_write(path: Path, error: OSError) -> ProtolensError:
    """The sentence for a write that failed."""
    reason = error.strerror or str(error)
    return ProtolensError(f"{path} cannot be written ({reason}); free some space or choose another --out")


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON as a whole, readable by people; NaN has no place in it."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that protolens wrote. Raises ProtolensError when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProtolensError(f"{path} does not exist") from None
    except (ValueError, OSError) as error:
        raise ProtolensError(f"{path} cannot be read ({error})") from error


def as_part_of_a_name(name: str) -> str:
    """Words that may name a file, a network or a data set, such as folder:PATH, as a part of a folder's or file's."""
    return name.replace(":", "-").replace("/", "-").strip("-.")
