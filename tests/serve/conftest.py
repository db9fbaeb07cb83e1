"""Two finished runs on digits, and the application over them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from protolens.data.decode import quiet_decoders
from protolens.evaluation import evaluate
from protolens.serve import make_app
from protolens.serve.shelf import Shelf
from protolens.serve.uploads import limit_pixels
from protolens.train import Run, fit
from tests.conftest import digits_run

ORIGIN = "http://127.0.0.1:8808"
ASKS = {"x-protolens": "1"}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PrototypeDL and ProtoPNet; both evaluated."""
    place = tmp_path_factory.mktemp("served")
    prototypedl = digits_run(model={"name": "prototypedl"}, stages={"train": {"epochs": 25}})
    short = {"joint-1": {"epochs": 2}, "head-1": {"epochs": 2}}
    protopnet = digits_run(model={"name": "protopnet", "per_class": 2, "rounds": 1}, stages=short, data={"size": 16})
    for name, config in {"prototypedl": prototypedl, "protopnet": protopnet}.items():
        evaluate(fit(config, place / name))
    return [place / "prototypedl", place / "protopnet"]


@pytest.fixture(scope="session")
def shelf(folders: list[Path]) -> Shelf:
    return Shelf(folders)


@pytest.fixture(scope="session")
def runs(folders: list[Path]) -> dict[str, Run]:
    return {folder.name: Run.open(folder) for folder in folders}


class Client:
    """Asks an application without a port."""

    def __init__(self, app: Any):
        self.app = app

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(once())

    def get(self, path: str) -> Any:
        """The JSON of an answer that has to be a good one."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **more: Any) -> Any:
        answer = self.ask("POST", path, ASKS, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def done(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job when it has come to its end."""
        while job["state"] in ("waiting", "running"):
            job = self.get(f"/api/jobs/{job['id']}")
        return job


@pytest.fixture(scope="session")
def client(shelf: Shelf) -> Iterator[Client]:
    with quiet_decoders(), limit_pixels():
        yield Client(make_app(shelf))
