"""Pictures of every view of the page, as docs/pictures/page-VIEW.png.

python docs/screenshots.py            two runs on the embedded digits, trained where they are not there yet
python docs/screenshots.py RUN RUN    other finished and evaluated runs on the same images
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from protolens.config import read_run
from protolens.evaluation import doctor, evaluate
from protolens.train import Run, fit_or_keep

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# name: address behind the run, width, height, light or dark
VIEWS = {
    "why": ("why/{run}/test/8", 1280, 1180, "light"),
    "learnt": ("learnt/{run}", 1280, 900, "light"),
    "wrong": ("wrong/{run}", 1280, 900, "light"),
    "compare": ("compare/{run}?runs={run},{other}", 1280, 900, "light"),
    "edit": ("edit/{run}?edits=off:{off}", 1280, 900, "dark"),
    "telephone": ("why/{run}/test/8", 390, 844, "dark"),
}
QUIET = "() => document.querySelector('#answer') && !document.querySelector('progress, .busy, .waiting')"
DRAWN = "() => [...document.images].filter(i => i.getBoundingClientRect().top < innerHeight).every(i => i.complete)"


def digits() -> list[Path]:
    """Two runs that differ by their seed, evaluated and examined."""
    runs = []
    for seed in (0, 1):
        config, where = read_run("digits-prototypedl", {"seed": seed})
        run = fit_or_keep(config, ROOT / "runs" / f"digits-prototypedl-{seed}", where=where)
        evaluate(run)
        doctor(run)
        runs.append(run.folder)
    return runs


def main() -> None:
    """Start the page, and take a picture of each view when it has come to rest."""
    runs = [Path(word) for word in sys.argv[1:]] or digits()
    words = [sys.executable, "-m", "protolens", "serve", *map(str, runs), "--json"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        address = json.loads(server.stdout.readline())["address"]
        # the prototype that most images use: switching it off shows something
        most = max(Run.open(runs[0]).prototypes, key=lambda entry: entry["images"])["prototype"]
        names = {"run": runs[0].name, "other": runs[-1].name, "off": most}
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, (place, width, height, scheme) in VIEWS.items():
                size = {"width": width, "height": height}
                page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1)
                page.set_default_timeout(180_000)
                page.goto(f"{address}#/{place.format(**names)}")
                page.wait_for_function(QUIET)
                page.wait_for_function(DRAWN)
                page.screenshot(path=PICTURES / f"page-{name}.png")
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
