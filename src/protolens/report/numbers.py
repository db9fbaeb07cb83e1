"""Numbers as people read them: three significant digits, a true minus sign, units behind a space."""

from collections.abc import Callable, Iterable, Sequence
from math import floor, log10

MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"
LITTLE = 1e-4  # a share below it is not worth its digits


def three(value: float | None) -> str:
    """A number with three significant digits; whole digits are all kept: 0.0123, 1.23, 12.3, 123, 1,234."""
    if value is None:
        return NONE
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    places = max(0, 2 - floor(log10(abs(rounded))))
    if places > 6:
        return f"{value:.2e}".replace("e-0", "e-").replace("-", MINUS)
    return fixed(value, places)


def percent(share: float | None) -> str:
    """A share as a percentage with three significant digits; only a true 1 is 100 %."""
    if share is None:
        return NONE
    text = three(100 * share)
    if text == "100" and share < 1:
        text = "over 99.99" if share >= 0.99995 else fixed(100 * share, 2)
    if 0 < share < LITTLE:
        text = f"under {100 * LITTLE:g}"
    return f"{text}{SPACE}%"


def fixed(value: float, places: int) -> str:
    """A number with so many decimals; what rounds to zero has no sign."""
    text = f"{value:,.{places}f}"
    return (text.strip("-0.,") and text.replace("-", MINUS)) or text.lstrip("-")


def two(value: float) -> str:
    """With two decimals."""
    return fixed(value, 2)


def signed(value: float, places: int) -> str:
    """The same with its sign, also where it is positive."""
    text = fixed(value, places)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def count(number: int) -> str:
    """A count with its thousands set apart."""
    return f"{number:,}"


def counted(number: int, word: str) -> str:
    """A count and what is counted: 1 image, 2 images, 3 classes."""
    if number != 1:
        word = f"{word}es" if word.endswith(("s", "tch")) else f"{word}s"
    return f"{count(number)}{SPACE}{word}"


def with_interval(
    value: float | None, interval: Sequence[float] | None, write: Callable[[float], str]
) -> dict[str, str]:
    """A figure and its 95 % interval; a dash where there is none."""
    if value is None:
        return {"text": NONE, "interval": ""}
    return {
        "text": write(value),
        "interval": "" if interval is None else f"{write(interval[0])} to {write(interval[1])}",
    }


def places(values: Iterable[float]) -> int:
    """Decimals for a column: three significant digits of its largest number, but at least two, at most six."""
    largest = max((abs(value) for value in values), default=0.0)
    return min(6, max(2, 2 - floor(log10(largest)))) if largest else 2


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) that enclose low to high, at most about `most` steps."""
    step = max(high - low, 1e-9) / most
    power = 10.0 ** floor(log10(step))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
