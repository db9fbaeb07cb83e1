"""Work in parts that all processes go through together: how far it is, and how it stops when asked."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from protolens.train.loop import StoppedError
from protolens.train.progress import Narrator
from protolens.train.team import Team

Part = TypeVar("Part")


@dataclass(frozen=True)
class Watch:
    """Who works, who is told, and whether to stop."""

    team: Team
    narrator: Narrator
    asked_to_stop: threading.Event

    def over(self, parts: Iterator[Part], count: int, about: str, stopped: str) -> Iterator[Part]:
        """The same parts, so many in this process. Exhausted only when those of the other processes are, too.

        about: what is counted; stopped: the sentence of the StoppedError that all processes raise at once when asked.
        """
        turns = int(self.team.gather(torch.tensor([count], device=self.team.device)).max())
        with self.narrator.counting(about, turns) as step:
            for _ in range(turns):
                if self.team.any(self.asked_to_stop.is_set()):
                    raise StoppedError(stopped)
                part = next(parts, None)
                if part is not None:
                    yield part
                step()
