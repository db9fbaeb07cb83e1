"""The verb `doctor`."""

import argparse
import json

from protolens.verbs.shared import leads


def do_doctor(given: argparse.Namespace) -> int:
    """The verb `doctor`."""
    from protolens.evaluation import doctor
    from protolens.report import write_doctor
    from protolens.terminal import show_examination
    from protolens.train import Run

    run = Run.open(given.run)
    found = doctor(run, device=given.device)
    if not leads():
        return 0
    page = write_doctor(run, found, given.out or run.folder)
    if given.json:
        print(json.dumps(found | {"page": str(page)}))
        return 0
    show_examination(run, found)
    print(page)
    return 0
