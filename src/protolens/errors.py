"""The one exception that people meet: a sentence that says what is wrong, where, and what to write instead."""

from collections.abc import Iterable
from difflib import get_close_matches


class ProtolensError(Exception):
    """Something a person can mend. Its text is one sentence; the command line prints it after "protolens: "."""


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence about an unknown word: "; did you mean X?", or the list of what is known."""
    choices = sorted(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {prefix}{close[0]}?"
    return f"; known are {', '.join(prefix + choice for choice in choices)}" if choices else ""


def did_you_mean_part(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The same for dotted names of parts; those with more parts than the name would only bury the others."""
    return did_you_mean(name, [part for part in known if part.count(".") <= name.count(".")], prefix)


def first_line(error: BaseException) -> str:
    """What an error of a library says, in a line; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
