"""The web page over finished runs: look, ask, edit.

May use everything below. Runs are named by the server alone, no path and no checkpoint comes from a client, and no
request leaves the machine.
"""

from protolens.serve.app import make_app
from protolens.serve.serving import serve

__all__ = ["make_app", "serve"]
