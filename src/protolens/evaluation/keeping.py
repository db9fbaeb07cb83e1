"""Parts of long measurements, kept in a folder until all are there: a killed one goes on where it was."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from protolens.files import write_bytes
from protolens.models.weights import read_tensors


@dataclass(frozen=True)
class Parts:
    """A folder of parts, a file each. made_from: digest of all that decides on them."""

    folder: Path
    made_from: str

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, Any]) -> "Parts":
        """Parts that plain facts decide on: those of others in the folder are not taken."""
        text = json.dumps(facts, sort_keys=True)
        return cls(folder, hashlib.sha256(text.encode()).hexdigest())

    def take(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of a part, on the CPU: as they were kept, else made and kept."""
        path = self.folder / f"{name}.safetensors"
        try:
            kept, metadata = read_tensors(path)
            if metadata.get("made_from") == self.made_from:
                return kept
        except (SafetensorError, OSError):
            pass  # missing or damaged: made anew
        made = {key: tensor.cpu().contiguous() for key, tensor in make().items()}
        write_bytes(path, save(made, {"made_from": self.made_from}))
        return made

    def forget(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)
