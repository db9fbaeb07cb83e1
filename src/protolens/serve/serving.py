"""The verb `serve`: open the runs, and answer until asked to stop."""

import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from protolens.errors import ProtolensError

HOST, PORT = "127.0.0.1", 8808
TRIED = 20  # ports, where none was asked for


def serve(
    runs: Sequence[Path | str],
    host: str = HOST,
    port: int | None = None,
    token: str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Show finished runs on a page until the process is asked to stop.

    host: the address to listen at, this machine alone unless told; port: else the first free one from 8808 on; token:
    what a client has to know, drawn where others than this machine may ask and none is given; ready: is told the
    address. Raises ProtolensError where a run cannot be opened, the extra is missing, or the port is taken.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError:
        raise ProtolensError("serve needs the extra: pip install 'protolens[serve]'") from None
    import torch

    from protolens.data.decode import quiet_decoders
    from protolens.serve.app import make_app
    from protolens.serve.guard import LOOPBACK
    from protolens.serve.shelf import Shelf
    from protolens.serve.uploads import limit_pixels

    alone = host in ("127.0.0.1", "localhost", "::1")
    token = token or (None if alone else secrets.token_urlsafe(24))
    listening = listen(host, port)
    # several questions are answered at once, each on its part of the cores
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    shelf = Shelf(runs)
    app = make_app(shelf, token, LOOPBACK if alone else ())
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
        limit_concurrency=512,
    )
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    with quiet_decoders(), limit_pixels():
        ready(f"{address}?token={token}" if token else address)
        uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens. Raises ProtolensError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in range(PORT, PORT + TRIED) if port is None else (port,):
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, number))
            found.listen(128)
        except OSError as error:
            found.close()
            reason = error.strerror or str(error)
            continue
        return found
    where = f"{host}:{port}" if port is not None else f"{host}, ports {PORT} to {PORT + TRIED - 1}"
    raise ProtolensError(f"cannot listen at {where} ({reason.lower()}); choose another --port or --host")
