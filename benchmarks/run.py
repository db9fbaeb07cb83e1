"""Run every benchmark in this folder, each in a process of its own: `make bench`."""

import argparse
import subprocess
import sys
from pathlib import Path

HELPERS = ("run.py", "common.py")
TRAINING = ("results.py", "explanations.py", "cub.py", "landcover.py", "pointing.py")  # for hours

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--json", action="store_true", help="a line of JSON a figure")
words = ["--json"] if parser.parse_args().json else []
here = Path(__file__).parent
failed = [
    script.name
    for script in sorted(here.glob("*.py"))
    if script.name not in HELPERS + TRAINING
    and subprocess.run([sys.executable, str(script), *words], check=False).returncode
]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
