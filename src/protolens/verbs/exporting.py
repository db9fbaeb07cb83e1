"""The verb `export`."""

import argparse
import json


def do_export(given: argparse.Namespace) -> int:
    """The verb `export`."""
    from protolens.exporting import export
    from protolens.terminal import show_export

    report = export(given.run, given.out, format=given.format, license=given.license)
    if given.json:
        print(json.dumps(report))
        return 0
    show_export(report)
    return 0
