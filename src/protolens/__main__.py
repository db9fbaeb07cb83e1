"""`python -m protolens` is the command `protolens`."""

import sys

from protolens.cli import main

if __name__ == "__main__":
    sys.exit(main())
