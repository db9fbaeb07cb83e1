"""The verb `compare`."""

import argparse
import json

from protolens.verbs.shared import leads


def do_compare(given: argparse.Namespace) -> int:
    """The verb `compare`."""
    from protolens.evaluation import compare, to_csv
    from protolens.files import write_json, write_text
    from protolens.report import write_compared
    from protolens.terminal import show_comparison

    found = compare(given.runs)
    if not leads():
        return 0
    write_json(given.out / "comparison.json", found)
    write_text(given.out / "comparison.csv", to_csv(found))
    page = write_compared(found, given.out)
    if given.json:
        print(json.dumps(found | {"page": str(page)}))
        return 0
    show_comparison(found)
    print(page)
    return 0
