"""The verb `table`."""

import argparse
import json

from protolens.errors import ProtolensError


def do_table(given: argparse.Namespace) -> int:
    """The verb `table`. A cell that failed is an error, after all others are made."""
    from protolens.tables import make_table
    from protolens.terminal import show_comparison

    content = make_table(given.file, given.out)
    out = given.out or given.file.parent
    if given.json:
        print(json.dumps(content))
    else:
        for found in content["comparisons"]:
            show_comparison(found)
        print(out / f"{given.file.stem}.md")
    failed = [cell for cell in content["cells"] if cell["state"] == "failed"]
    if failed:
        first = failed[0]
        raise ProtolensError(
            f"{len(failed)} of {len(content['cells'])} cells failed, the first in {first['run']} ({first['error']}); "
            "the same command tries them again"
        )
    return 0
