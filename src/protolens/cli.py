"""The command line: words to calls. Nothing heavy is imported before a verb needs it."""

import sys
from collections.abc import Sequence

from protolens.errors import ProtolensError, did_you_mean
from protolens.verbs import TAKE_SETTINGS, VERBS
from protolens.words import dotted_settings, make_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Errors are one sentence on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return run(words)
    except ProtolensError as error:
        if "--debug" in words:
            raise
        print(f"protolens: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("protolens: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if "--debug" in words:
            raise
        first = (str(error).splitlines() or [""])[0]
        print(f"protolens: unexpected {type(error).__name__} ({first}); --debug shows where", file=sys.stderr)
        return 2


def run(words: list[str]) -> int:
    """Parse the words and call the verb."""
    parser = make_parser()
    plain, settings = dotted_settings(words)
    if plain and not plain[0].startswith("-") and plain[0] not in parser.verbs:
        raise ProtolensError(f"{plain[0]} is not a verb{did_you_mean(plain[0], parser.verbs)}")
    given, rest = parser.parse_known_args(plain)
    if given.verb is None:
        parser.print_help()
        return 0
    if rest:
        options = [word for action in parser.verbs[given.verb]._actions for word in action.option_strings]
        raise ProtolensError(f"{rest[0]} is not an option of {given.verb}{did_you_mean(rest[0], options)}")
    if settings and given.verb not in TAKE_SETTINGS:
        raise ProtolensError(f"--{next(iter(settings))}. is a setting: only {' and '.join(TAKE_SETTINGS)} take those")
    given.settings = settings
    return VERBS[given.verb](given)
