"""The verb `serve`."""

import argparse
import sys


def do_serve(given: argparse.Namespace) -> int:
    """The verb `serve`."""
    import json

    from protolens.serve import serve

    def ready(address: str) -> None:
        if given.json:
            print(json.dumps({"address": address}), flush=True)
        else:
            print(address, flush=True)
            print("press Ctrl-C to stop", file=sys.stderr, flush=True)

    serve(given.runs, given.host, given.port, given.token, ready)
    return 0
