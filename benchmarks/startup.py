"""How long a person waits for `protolens --help`, beside a Python process that only imports torch."""

import subprocess
import sys
from pathlib import Path

from common import Figure, arguments, in_turn, show

LIMIT = 0.3  # seconds

given = arguments(__doc__)
command = Path(sys.executable).parent / "protolens"
calls = ([str(command), "--help"], [sys.executable, "-c", "import torch"])
ours, torch = in_turn(*(lambda call=call: subprocess.run(call, check=True, capture_output=True) for call in calls))
seen = subprocess.run(
    [sys.executable, "-c", "import protolens, sys; print('torch' in sys.modules)"],
    check=True,
    capture_output=True,
    text=True,
)
assert seen.stdout.strip() == "False", "import protolens imports torch"
show(
    [
        Figure("--help against its limit", ours, LIMIT, "s", LIMIT / ours, 1.0),
        Figure("--help against import torch", ours, torch, "s", torch / ours, None),
    ],
    given.json,
)
