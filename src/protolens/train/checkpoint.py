"""The file that a killed run goes on from: written whole or not at all, and loaded without running code."""

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.errors import ProtolensError, first_line
from protolens.files import write_bytes


@dataclass
class Position:
    """Where training stands: the next step to take, and the best weights of the stage so far."""

    stage: int = 0
    epoch: int = 0  # in the stage
    step: int = 0  # in the epoch
    seconds: float = 0.0  # spent so far
    lines: int = 0  # of history.jsonl that are true
    best_score: float | None = None
    best_epoch: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    chosen: list[dict[str, Any]] = field(default_factory=list)  # finished stages: the epoch taken and its figures
    followed: list[dict[str, Any]] = field(default_factory=list)  # what the steps after finished stages did
    sums: Tensor | None = None  # of the loss terms over this epoch's steps

    def next_stage(self, name: str, followed: list[dict[str, Any]]) -> "Position":
        """The beginning of the stage after this one, which is called `name` and was followed by these steps."""
        taken = {"stage": name, "epoch": self.best_epoch + 1, "score": self.best_score}
        return Position(
            self.stage + 1,
            seconds=self.seconds,
            lines=self.lines,
            chosen=[*self.chosen, taken],
            followed=self.followed + followed,
        )


@dataclass
class Checkpoint:
    """Position, weights and the optimiser's memory, and the digest of the data that they were made from."""

    position: Position
    model: dict[str, Tensor]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    data: str


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write last.pt as a whole. Every random number is drawn from a seed of its place, so no generator is in it."""
    content = {**vars(checkpoint), "position": vars(checkpoint.position)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read last.pt. Raises ProtolensError when it is damaged."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**{**content, "position": Position(**content["position"])})
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise ProtolensError(f"{path} is damaged ({first_line(error)}); delete it to begin the run again") from error
