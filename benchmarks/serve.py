"""How fast the page answers on MNIST, and what 50 clients at once do to it.

    PROTOLENS_DATA=DIR python benchmarks/serve.py [--json] [--seconds 60]

A PrototypeDL is trained for one epoch, with 10,000 validation images: how well it does decides no time. `theirs` is the
limit that the page has to keep. The first page and an explanation are timed in chromium, from the key to the last row
of the sum; switching a prototype off from the request to the answer; all of them the median of some.
"""

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx
from common import Figure, show
from playwright.sync_api import Page, sync_playwright

from protolens.config import read_run
from protolens.evaluation import evaluate
from protolens.train import fit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VALIDATION, CLIENTS, TIMES = 10_000 / 60_000, 50, 9
ASKS = {"x-protolens": "1"}


def trained(folder: Path) -> Path:
    """A run to look at."""
    changes = {"data": {"validation": VALIDATION}, "stages": {"train": {"epochs": 1}}}
    config, where = read_run("mnist-prototypedl", changes)
    evaluate(fit(config, folder / "mnist", where=where))
    return folder / "mnist"


def started(run: Path) -> tuple[subprocess.Popen[str], str]:
    """The server, and its address."""
    words = [sys.executable, "-m", "protolens", "serve", str(run), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"]


def timed(work: Callable[[], object]) -> float:
    """The median seconds of some calls."""
    times = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return median(times)


def in_browser(address: str) -> list[Figure]:
    """The first page and a click, as a person waits for them."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def first() -> None:
            page = browser.new_context().new_page()
            page.goto(address)
            page.wait_for_selector("tr[data-prototype]")
            page.context.close()

        page = browser.new_page()
        page.goto(f"{address}#/why/mnist/test/0")
        page.wait_for_selector("tr[data-prototype]")
        figures = [
            limit("first page", timed(first), 1.0),
            limit("a key to a full explanation", timed(lambda: following(page)), 0.3),
        ]
        browser.close()
    return figures


def following(page: Page) -> None:
    """The next image, until its sum stands there."""
    before = page.locator("#answer").inner_text(), page.locator(".sums tbody tr:last-child").inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('.sums tbody tr:last-child')?.innerText != before", arg=before[1], polling=5
    )


def edits(address: str) -> Figure:
    """Switching one more prototype off, each time another set."""
    with httpx.Client(base_url=address, headers=ASKS, timeout=600) as client:
        job = client.post("/api/runs/mnist/bench").json()
        while job["state"] in ("waiting", "running"):
            time.sleep(0.1)
            job = client.get(f"/api/jobs/{job['id']}").json()
        assert job["result"]["images"] >= 10_000, job
        numbers = iter(range(TIMES))

        def off() -> None:
            content = {"edits": [{"kind": "off", "prototype": next(numbers)}]}
            assert client.post("/api/runs/mnist/edit", json=content).json()["before"]["images"] >= 10_000

        return limit("a prototype off, on 10,000 images", timed(off), 0.5)


async def crowd(address: str, seconds: float) -> tuple[int, int]:
    """Clients that look at one image after another; returns how many answers there were, and how many bad ones."""
    until, answers, errors = time.monotonic() + seconds, 0, 0

    async def client(number: int) -> None:
        nonlocal answers, errors
        async with httpx.AsyncClient(base_url=address, timeout=60) as asks:
            image = number
            while time.monotonic() < until:
                for path in (f"why/test/{image}", f"image/test/{image}.png", f"images?order=doubt&start={image}"):
                    try:
                        errors += (await asks.get(f"/api/runs/mnist/{path}")).status_code != 200
                    except httpx.HTTPError:
                        errors += 1
                    answers += 1
                image = (image + CLIENTS) % 10_000

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return answers, errors


def memory(process: subprocess.Popen[str]) -> float:
    """MiB that the server holds."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def limit(name: str, ours: float, most: float, unit: str = "s") -> Figure:
    """A figure that has to stay below a limit."""
    return Figure(f"serve: {name}", ours, most, unit, most / max(ours, most / 1000), 1.0)  # 1000 stands for more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="a line of JSON a figure")
    parser.add_argument("--seconds", type=float, default=60, help="that the crowd asks for")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, address = started(trained(Path(folder)))
        try:
            figures = [*in_browser(address), edits(address)]
            asyncio.run(crowd(address, min(10.0, given.seconds)))  # what is kept is kept now
            before = memory(process)
            answers, errors = asyncio.run(crowd(address, given.seconds))
            growth = memory(process) - before
            told = f"{CLIENTS} clients for {given.seconds:g} s"
            figures.append(limit(f"{told}, bad answers of {answers}", errors, 0.5, "answers"))
            figures.append(limit(f"{told}, growth of memory", max(growth, 0.0), 32, "MiB"))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    show(figures, given.json)


if __name__ == "__main__":
    main()
