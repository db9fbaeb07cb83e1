"""How long an evaluation will take, and how many images, or draws, a span of time buys: arithmetic, and a clock.

An evaluation times what it does to a few images, and asks how many of all to measure; at the end it says what it knows:

    each = agreed(team, {"noise": rate_of(work, tried(wanted))})
    plan = foreseen(team, "image", lambda images: {"noise": images * each["noise"]}, wanted, LEAST, budget, begun)
    ...
    content |= plan.facts(f"accuracy is known to {in_points(half_width(intervals))}")
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from protolens.errors import ProtolensError
from protolens.train import Team
from protolens.train.progress import Narrator

ENOUGH = 0.5  # seconds that tell how fast something is
LONG = 10.0  # seconds from which on a forecast is told
KEPT_BACK = 0.1  # of a budget: many images take longer than a few of them tell
SHARE = 20  # a measurement of so many images may try one of them first
NAMED = 4  # parts of a forecast that a sentence names
UNITS = {"h": 3600, "m": 60, "s": 1}
Costs = Callable[[int], Mapping[str, float]]
"""Seconds of each part of an evaluation for a number of images (or draws); more of them never take less."""
Clock = Callable[[], float]


def parse_duration(text: str) -> float:
    """Seconds of a span of time such as 90s, 10m, 1h30m or 2h. Raises ProtolensError for anything else."""
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip(), re.ASCII)
    parts = found.groups() if found else ()
    seconds = sum(float(part or 0) * unit for part, unit in zip(parts, UNITS.values(), strict=False))
    if not seconds:
        raise ProtolensError(f"{text!r} is no span of time; write 90s, 10m, 1h30m or 2h")
    return seconds


def typed(seconds: float) -> str:
    """A span as a person would type it, rounded up to seconds: 3m10s."""
    left, parts = max(1, ceil(seconds)), []
    for unit, length in UNITS.items():
        whole, left = divmod(left, length)
        parts += [f"{whole}{unit}"] if whole else []
    return "".join(parts)


def spoken(seconds: float) -> str:
    """A span in words, rounded to whole seconds: 3 min 10 s."""
    if seconds < 1:
        return "under 1 s"
    names = {"h": " h", "m": " min", "s": " s"}
    return " ".join(f"{number}{names[unit]}" for number, unit in re.findall(r"(\d+)([hms])", typed(round(seconds))))


def about(seconds: float) -> str:
    """A forecast in words, no finer than it deserves: 42 s, 3 min 10 s, 14 min, 2 h 5 min."""
    step = next((step for end, step in ((90, 1), (600, 10), (5400, 60)) if seconds < end), 300)
    return spoken(step * round(seconds / step))


def rate_of(work: Callable[[int], object], most: int, clock: Clock = time.monotonic) -> float:
    """Seconds an image: of one, then of ever more of them until that takes long enough to tell, `most` at most.

    Before that one image warms up, for what is made once. What a GPU was asked for has to be there when `work` returns.
    """

    def taken(images: int) -> float:
        begun = clock()
        work(images)
        return clock() - begun

    work(1)
    images, seconds = 1, taken(1)
    while seconds < ENOUGH and images < most:
        images = min(2 * images, most)
        seconds = taken(images)
    return seconds / images


def line_of(work: Callable[[int], object], most: int, clock: Clock = time.monotonic) -> tuple[float, float]:
    """Seconds of a call, and of each image in it, where a batch of small images takes hardly longer than one.

    By one image, after another that warms up, and by ever more of them until these take long enough longer to tell.
    """

    def taken(images: int) -> float:
        begun = clock()
        work(images)
        return clock() - begun

    work(1)
    one = taken(1)
    images, each = 1, one
    while (images - 1) * each < ENOUGH and images < most:
        images = min(4 * images, most)
        each = max(0.0, taken(images) - one) / (images - 1)
    return max(0.0, one - each), each


def tried(wanted: int) -> int:
    """How many images may be tried before so many are measured, so that trying stays a small part."""
    return max(1, wanted // SHARE)


def images_within(costs: Costs, seconds: float, most: int) -> int:
    """The largest number of images, from 0 to `most`, that is forecast to take no more than so many seconds."""
    low, high = 0, most  # the answer is never below low nor above high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(costs(middle).values()) <= seconds else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Plan:
    """How many of the images (or draws) that were wanted are measured, and how long that is forecast to take."""

    unit: str  # image or draw
    count: int
    wanted: int
    budget: float | None  # seconds
    parts: Mapping[str, float]  # seconds of each part for `count`
    whole: float  # seconds for all that were wanted

    @property
    def seconds(self) -> float:
        """Forecast for `count`."""
        return sum(self.parts.values())

    @property
    def worth_telling(self) -> bool:
        """Whether somebody waits, or has asked."""
        return self.budget is not None or self.seconds > LONG

    @property
    def amount(self) -> str:
        """412 of 1,000 images, or 1,000 images."""
        of = "" if self.count == self.wanted else f" of {self.wanted:,}"
        return f"{self.count:,}{of} {self.unit}{'s' * (self.wanted != 1)}"

    @property
    def forecast(self) -> str:
        """About 14 min for 1,000 images: lime 9 min, kernelshap 4 min, others 40 s."""
        order = sorted(((name, part) for name, part in self.parts.items() if part), key=lambda part: -part[1])
        named, rest = order[:NAMED], sum(seconds for _, seconds in order[NAMED:])
        said = [f"{name} {about(seconds)}" for name, seconds in named] + ([f"others {about(rest)}"] if rest else [])
        whole = f" (all would take about {about(self.whole)})" if self.count < self.wanted else ""
        parts = f": {', '.join(said)}" if len(order) > 1 else ""
        return f"about {about(self.seconds)} for {self.amount}{whole}{parts}"

    def bought(self, says: str) -> str:
        """What a budget bought. says: what is known now, and how well."""
        return f"within {spoken(self.budget or 0)}: {self.amount}; {says}"

    def facts(self, says: str) -> dict[str, Any]:
        """Entries of a JSON file."""
        return {
            "budget": self.budget,
            "forecast": {
                f"{self.unit}s": self.count,
                "wanted": self.wanted,
                "seconds": round(self.seconds, 2),
                "seconds_of_all": round(self.whole, 2),
                "parts": {name: round(seconds, 2) for name, seconds in self.parts.items()},
            },
            "bought": None if self.budget is None else self.bought(says),
        }


def planned(unit: str, costs: Costs, wanted: int, least: int, budget: float | None, used: float = 0.0) -> Plan:
    """All that is wanted, or as much of it as a budget buys.

    budget, used: seconds in all, and those that are gone. Raises ProtolensError where the budget does not reach for
    `least`, and says what that would cost.
    """
    count, least = wanted, min(least, wanted)
    if budget is not None:
        count = images_within(costs, (1 - KEPT_BACK) * (budget - used), wanted)
        if count < least:
            need = used + sum(costs(least).values()) / (1 - KEPT_BACK)
            raise ProtolensError(
                f"--budget {typed(budget)} reaches for {count:,} {unit}s, and fewer than {least:,} say too little; "
                f"{least:,} take about {about(need)}: write --budget {typed(1.1 * need)}, or ask for less"
            )
    return Plan(unit, count, wanted, budget, dict(costs(count)), sum(costs(wanted).values()))


def agreed(team: Team, rates: Mapping[str, float]) -> dict[str, float]:
    """What the leading process has measured: all have to plan the same."""
    told = team.lead(torch.tensor(list(rates.values()), dtype=torch.float32, device=team.device))
    return dict(zip(rates, told.tolist(), strict=True))


def foreseen(
    team: Team,
    unit: str,
    costs: Costs,
    wanted: int,
    least: int,
    budget: float | None,
    begun: float,
    clock: Clock = time.monotonic,
) -> Plan:
    """`planned`, and told where somebody waits. begun: what the clock said when the evaluation began."""
    used = agreed(team, {"used": clock() - begun})["used"]
    plan = planned(unit, costs, wanted, least, budget, used)
    if plan.worth_telling:
        Narrator(team.leads).say(plan.forecast)
    return plan


def half_width(intervals: Any) -> float | None:
    """Half of the widest of some intervals, each (low, high) or None."""
    known = [(high - low) / 2 for low, high in filter(None, intervals)]
    return max(known, default=None)


def in_points(half: float | None) -> str:
    """A half-width of a share in percentage points: ±4.1 points."""
    return "no figure" if half is None else f"±{100 * half:.1f} points"


def in_numbers(half: float | None) -> str:
    """A half-width of a figure that is no share: ±0.034."""
    return "no figure" if half is None else f"±{half:.3f}"
