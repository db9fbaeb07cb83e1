"""Colours that stand for a prototype or a class, and the scale of what a place adds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# chosen one by one, each as far as can be from those before and from OTHERS: in CIELAB as most eyes see it, and as
# eyes without red or green cones do
PROTOTYPES = (
    "#0077bb", "#eeee33", "#cc3300", "#33ffaa", "#2233bb", "#33eeff", "#770066", "#772222",
    "#eeaa55", "#77aa77", "#ff88bb", "#7788ff", "#553344", "#998844", "#44bbee", "#cceedd",
    "#ff8800", "#224499", "#996699", "#116644", "#ddee88", "#991111", "#bbee55", "#bb3355",
)  # fmt: skip
CLASSES = (  # the next ones, so that none stands for a prototype as well
    "#eeaaaa", "#66aaff", "#cc44cc", "#ff4444", "#55cc77", "#445588", "#ddbbdd", "#883366",
    "#0066ee", "#cc7711", "#33aa88", "#55aaaa",
)  # fmt: skip
OTHERS = "#777777"  # whatever has no colour of its own
AGAINST, NOTHING, FOR = "#c75b00", "#ffffff", "#0b6fb3"
STEPS = 4  # of the legend on each side of nothing


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour as #rrggbb, from 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def numbers_to_colours(numbers: "NDArray[Any]", colours: Sequence[str]) -> "NDArray[Any]":
    """A picture [h, w, 3] of numbers [h, w], OTHERS for those beyond the colours."""
    import numpy as np

    table = np.array([rgb(colour) for colour in (*colours, OTHERS)], dtype=np.uint8)
    return table[np.minimum(numbers, len(colours))]


def adds_to_colours(adds: "NDArray[Any]", largest: float) -> "NDArray[Any]":
    """A picture [h, w, 3] of what places add [h, w]: white for nothing, blue for, orange against, full at `largest`."""
    import numpy as np

    share = np.clip(adds / (largest or 1.0), -1, 1)[..., None]
    ends = np.where(share > 0, rgb(FOR), rgb(AGAINST))
    return np.rint(np.abs(share) * ends + (1 - np.abs(share)) * np.array(rgb(NOTHING))).astype(np.uint8)


def scale_colours() -> list[str]:
    """The colours of the legend, from the most against to the most for."""
    import numpy as np

    steps = adds_to_colours(np.arange(-STEPS, STEPS + 1)[None] / STEPS, 1.0)[0]
    return [f"#{bytes(step.tolist()).hex()}" for step in steps]
