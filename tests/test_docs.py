"""What the documentation tells people to type works, from the first page on, and its site asks no other host."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protolens.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = (
    "index.md",
    "page.md",
    *(
        f"methods/{name}.md"
        for name in ("prototypedl", "protopnet", "protovae", "pantypes", "flint", "kmex", "concepts")
    ),
    *(f"methods/{name}.md" for name in ("blackbox", "bayesian", "lime", "kernelshap", "relevance", "gradients")),
    "own-data.md",
    "own-network.md",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working directory that all pages share, in their order, with a folder of photographs."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("reader")
    digits = load_digits()
    for name, label in (("owl", 0), ("wren", 1)):
        (folder / "photographs" / name).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:40], start=1):
            pixels = Image.fromarray((image * 255 / 16).astype("uint8")).resize((32, 32))
            pixels.save(folder / "photographs" / name / f"{number:03d}.png")
    return folder


def test_every_page_is_read_here():
    """A new page with commands cannot be forgotten."""
    with_commands = {path for path in DOCS.rglob("*.md") if BLOCK.search(path.read_text(encoding="utf-8"))}
    assert {DOCS / page for page in PAGES} >= {path for path in with_commands if path.parent.name != "results"}
    assert all(page in (ROOT / "mkdocs.yml").read_text(encoding="utf-8") for page in PAGES)


def test_its_commands_work_in_the_order_of_its_pages(place, monkeypatch, capsys):
    """One test: later pages use runs that earlier ones have left."""
    monkeypatch.chdir(place)
    for page in PAGES:
        for kind, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
            if kind == "python":
                exec(compile(text, page, "exec"), {"__name__": "docs"})
                continue
            for line in text.splitlines():
                assert line.startswith("$ protolens "), (page, line)
                words = shlex.split(line.removeprefix("$ protolens "))
                if words[0] == "serve":
                    serve(words, place)
                else:
                    assert main(words) == 0, (page, line, capsys.readouterr().err[-2000:])


def serve(words: list[str], place: Path) -> None:
    """Start it, see that it answers, stop it."""
    import urllib.request

    command = [sys.executable, "-m", "protolens", *words, "--json"]
    server = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert server.stdout is not None
    address = json.loads(server.stdout.readline())["address"]
    with urllib.request.urlopen(f"{address}api/runs", timeout=60) as answer:
        assert len(json.load(answer)["runs"]) == len(words) - 1
    server.send_signal(signal.SIGINT)
    server.wait(60)


def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed; `make setup` installs it")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked = re.compile(r"""(?:src|href)=["'](?:https?:)?//([^"'/]+)[^"']*\.(?:js|css|woff2?|png)""")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    assert {host for page in pages for host in asked.findall(page.read_text(encoding="utf-8"))} == set()
    formula = (tmp_path / "site" / "methods" / "protopnet" / "index.html").read_text(encoding="utf-8")
    assert formula.count("<math") == 2
    for name, title in (("mnist", "The family on MNIST"), ("pneumonia", "The family on PneumoniaMNIST")):
        assert f"<h1>{title}</h1>" in (tmp_path / "site" / "results" / f"{name}.html").read_text(encoding="utf-8")
    assert "\\frac" not in formula
