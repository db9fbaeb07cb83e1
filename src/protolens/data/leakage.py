"""The guard against images that stand in two splits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from protolens.data.images import Images
from protolens.errors import ProtolensError

PAIRS = (("training", "validation"), ("training", "test"), ("validation", "test"))
SHOWN = 3  # pairs of names in a sentence

Policy = Literal["stop", "drop", "allow"]
Reason = Literal["pixels", "group"]
Action = Literal["dropped", "kept"]


@dataclass(frozen=True)
class Leak:
    """Two images that should not stand in two splits.

    first, second: their names, in first_split and second_split; why: "pixels" are equal, or the "group" is;
    key: the digest in hex, or the group; action: "dropped" from the first split, never from the test, or "kept".
    """

    first: str
    first_split: str
    second: str
    second_split: str
    why: Reason
    key: str
    action: Action

    def __str__(self) -> str:
        relation = "=" if self.why == "pixels" else "and"
        return f"{self.first} ({self.first_split}) {relation} {self.second} ({self.second_split})"


def guard(
    parts: Mapping[str, Images], keys: Mapping[str, Sequence[str]], why: Reason, policy: Policy, about: str
) -> tuple[dict[str, Images], tuple[Leak, ...]]:
    """The splits after the policy was applied, and every image whose key stands in two of them.

    keys: of each split's images, [N], equal for images that must not be parted; about: the set's name. Raises
    ProtolensError on "stop" if there is any.
    """
    leaks = find_leaks(parts, keys, why, policy)
    if leaks and policy == "stop":
        raise _refusal(leaks, about)
    return _without_dropped(parts, leaks), leaks


def find_leaks(
    parts: Mapping[str, Images], keys: Mapping[str, Sequence[str]], why: Reason, policy: Policy
) -> tuple[Leak, ...]:
    """Every image whose key another split has too, beside an image of that key there.

    keys: as for `guard`. Of n images in one split and m in another, max(n, m) pairs are named, so that each image is.
    """
    where = {split: _rows_by_key(keys[split]) for split in parts}
    action: Action = "dropped" if policy == "drop" else "kept"
    leaks = []
    for first, second in PAIRS:
        for key in where[first]:  # in the order of the images
            if key not in where[second]:
                continue
            here, there = where[first][key], where[second][key]
            for place in range(max(len(here), len(there))):
                left = parts[first].names[here[min(place, len(here) - 1)]]
                right = parts[second].names[there[min(place, len(there) - 1)]]
                leaks.append(Leak(left, first, right, second, why, key, action))
    return tuple(leaks)


def _refusal(leaks: Sequence[Leak], about: str) -> ProtolensError:
    """The sentence: how many, the first few, and the two ways out."""
    count = len({leak.key for leak in leaks})
    noun = "picture" if leaks[0].why == "pixels" else "group"
    stands = f"{count:,} {noun}{'s stand' if count > 1 else ' stands'} in two splits"
    shown = ", ".join(map(str, leaks[:SHOWN])) + (f" and {len(leaks) - SHOWN:,} more" if len(leaks) > SHOWN else "")
    return ProtolensError(
        f"{about}: {stands}: {shown}; --data.leakage drop leaves them out of training, or of validation where the test "
        "has them, --data.leakage allow keeps them"
    )


def _without_dropped(parts: Mapping[str, Images], leaks: Sequence[Leak]) -> dict[str, Images]:
    """The splits without the first image of each leak that was dropped; the test stays as it is."""
    dropped: dict[str, set[str]] = defaultdict(set)
    for leak in leaks:
        if leak.action == "dropped":
            dropped[leak.first_split].add(leak.first)
    left = dict(parts)
    for split, names in dropped.items():
        rows = [row for row, name in enumerate(parts[split].names) if name not in names]
        left[split] = parts[split].subset(split, torch.tensor(rows, dtype=torch.int64))
    return left


def _rows_by_key(keys: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return rows
