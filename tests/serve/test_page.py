"""The page as people use it: a real server, a real browser, the whole journey at two widths."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from protolens.evaluation import evaluate
from protolens.train import convert, fit
from tests.conftest import digits_run
from tests.serve.test_uploads import bomb, png

WIDE, NARROW = 1280, 390
VIEWS = ("why", "learnt", "wrong", "compare", "edit")
SVG = "{http://www.w3.org/2000/svg}"
PATIENCE = 15_000  # milliseconds: a busy machine is no failure
TEXT_SIZES = """() => [...document.querySelectorAll('body *')]
    .filter(e => e.checkVisibility() && !e.closest('svg'))
    .filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()))
    .map(e => [parseFloat(getComputedStyle(e).fontSize), e.outerHTML.slice(0, 80)])
    .filter(([size]) => size < 13.9)"""


def start(folders) -> tuple[subprocess.Popen[str], str]:
    """The command in a process of its own; returns it with the address that it prints."""
    words = [sys.executable, "-m", "protolens", "serve", *map(str, folders), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"]


@pytest.fixture(scope="module")
def place(folders, tmp_path_factory) -> Path:
    """Copies of the runs, and two more on the same images as the first: saved edits come beside them."""
    place = tmp_path_factory.mktemp("page")
    for folder in folders:
        shutil.copytree(folder, place / folder.name)
    other = digits_run(model={"name": "prototypedl"}, stages={"train": {"epochs": 15}}, seed=1)
    evaluate(fit(other, place / "other"))
    convert(place / "prototypedl", place / "kmex")
    return place


@pytest.fixture(scope="module")
def address(place):
    process, address = start([place / name for name in ("prototypedl", "protopnet", "other", "kmex")])
    yield address
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)


@pytest.fixture
def visit(browser, address):
    """Opens an address of the page; in the end there was no complaint, and no request to another host."""
    contexts, pages = [], []

    def open_page(place="", width=WIDE, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        pages.append(page)
        page.requested, page.complaints, page.expected = [], [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on(
            "console", lambda message: message.type in ("error", "warning") and page.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(address + place)
        page.wait_for_selector("h1")
        return page

    yield open_page
    for page in pages:
        assert {url for url in page.requested if not url.startswith((address, "data:", "blob:"))} == set()
        complaints = [text for text in page.complaints if not any(word in text for word in page.expected)]
        assert complaints == []
    for context in contexts:
        context.close()


def settled(page):
    """Waits until nothing is being computed any more."""
    page.wait_for_function("() => !document.querySelector('progress, .busy, .waiting')")
    return page


def answer(page) -> str:
    return page.locator("#answer").inner_text()


def test_the_decision_is_told_as_a_sum(visit):
    page = settled(visit("#/why/prototypedl/test/0"))
    numbers = [
        [float(cell.replace("−", "-").replace(",", "").replace("–", "nan")) for cell in row]
        for row in page.eval_on_selector_all(
            "tr[data-prototype]", "rows => rows.map(r => [...r.querySelectorAll('td.number')].map(c => c.innerText))"
        )
    ]
    assert numbers
    for similarity, weight, contribution, _ in numbers:
        assert similarity * weight == pytest.approx(contribution, rel=0.02, abs=0.005)
    page.get_by_role("button", name="show").click()
    assert page.locator("tr[data-prototype]").count() == 15
    assert re.match(r"\d, with ", answer(page))


def taken(page, words: str) -> Path:
    """The file that a button gives."""
    with page.expect_download() as download:
        page.get_by_role("button", name=words).first.click()
    return download.value.path()


@pytest.mark.parametrize("run", ["prototypedl", "kmex"])
def test_an_explanation_is_taken_along_as_a_table_and_as_a_figure_that_needs_no_server(visit, run):
    page = settled(visit(f"#/why/{run}/validation/0"))
    rows = list(csv.DictReader(taken(page, "save as CSV").read_text(encoding="utf-8").splitlines()))
    told = json.loads(taken(page, "save as JSON").read_text(encoding="utf-8"))
    assert len(rows) == len(told["reasons"])
    assert told["bias"] + sum(float(row["contribution"]) for row in rows) == pytest.approx(told["logit"], rel=1e-4)
    drawing = ElementTree.parse(taken(page, "save as SVG")).getroot()
    pictures = [element.get("href") for element in drawing.iter(f"{SVG}image")]
    assert len(pictures) == 1 + min(len(rows), 8)
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    said = [element.text for element in drawing.iter(f"{SVG}text")]
    assert " ".join(said).startswith(answer(page))
    with Image.open(taken(page, "save as PNG")) as picture:
        assert picture.size == (2 * int(drawing.get("width")), 2 * int(drawing.get("height")))
        assert len(picture.convert("L").getcolors()) > 20


@pytest.mark.parametrize("kind", ["PCA", "UMAP"])
def test_a_map_of_codes_opens_its_images_and_is_taken_along(visit, kind):
    page = visit("#/learnt/prototypedl")
    page.get_by_role("button", name=kind).click()
    page.wait_for_selector("svg.plane", timeout=120_000)
    drawing = ElementTree.parse(taken(page, "save as SVG")).getroot()
    dots, squares = drawing.findall(f"{SVG}circle"), drawing.findall(f"{SVG}rect")
    assert len(dots) == page.locator("svg.plane circle").count() == 143
    assert len(squares) == 1 + 15 + 10  # the paper, the prototypes, the classes
    assert len({dot.get("fill") for dot in dots}) == 10
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in dots]
    assert len(set(places)) > 100
    page.locator("svg.plane circle").nth(7).dispatch_event("click")
    page.wait_for_url("**/why/prototypedl/validation/*")


def test_tables_are_taken_along(visit):
    page = settled(visit("#/wrong/prototypedl"))
    rows = list(csv.reader(taken(page, "save as CSV").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["shows", *map(str, range(10))]
    assert sum(int(number) for row in rows[1:] for number in row[1:]) == 359
    page = settled(visit("#/learnt/prototypedl"))
    rows = list(csv.DictReader(taken(page, "save as CSV").read_text(encoding="utf-8").splitlines()))
    assert [int(row["prototype"]) for row in rows] == list(range(15))
    page = visit("#/edit/prototypedl?edits=off%3A3")
    page.get_by_role("button", name="the changed predictions as CSV").wait_for()
    rows = list(csv.DictReader(taken(page, "the changed predictions as CSV").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == page.locator("#flips .thumb").count()
    assert all(row["before"] != row["after"] for row in rows)


def test_keys_lead_through_the_images(visit):
    page = visit("#/why/prototypedl/test/0")
    for key, index in (("ArrowRight", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        page.wait_for_url(f"**/test/{index}")
        page.wait_for_function(f"() => document.querySelector('#search')?.value == '{index}'")
    page.wait_for_selector("#reason-2")
    page.keyboard.press("2")
    assert page.evaluate("document.activeElement.id") == "reason-2"
    assert page.locator("tr.lit").count() == 1
    page.keyboard.press("/")
    page.keyboard.press("Control+A")
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    page.wait_for_url("**/test/12")
    page.locator("h1").click()
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.wait_for_url("**/edit/prototypedl")
    page.go_back()
    page.wait_for_url("**/test/12")


def test_other_methods_stream_in_and_lie_over_the_image(visit):
    page = settled(visit("#/why/prototypedl/test/3"))
    page.wait_for_selector("button.map")
    page.wait_for_function("() => document.querySelectorAll('button.map').length == 7")
    page.get_by_role("button", name="lay LIME over the image").click()
    over = page.locator("img.over")
    assert over.is_visible()
    assert "LIME" in over.get_attribute("alt")
    page.locator("#fade").fill("0.2")
    assert over.evaluate("e => e.style.opacity") == "0.2"
    page.get_by_role("button", name="lay LIME over the image").click()
    assert not over.is_visible()
    page.get_by_role("button", name="more methods").click()
    settled(page)
    assert page.locator("figure.method").count() == 12


def test_a_patch_is_marked_in_the_image(visit):
    page = visit("#/why/protopnet/test/3")
    page.wait_for_selector("tr[data-prototype]")
    page.locator("tr[data-prototype]").first.hover()
    assert page.locator(".held svg .box").count() == 1
    assert page.locator("img.over").is_visible()  # its heat map
    page.locator("h1").hover()
    assert page.locator(".held svg .box").count() == 0


def test_prototypes_are_found_and_lead_to_images(visit):
    page = visit("#/learnt/prototypedl")
    page.wait_for_selector(".card")
    assert page.locator(".card").count() == 15
    page.keyboard.press("/")
    page.keyboard.type("7")
    page.wait_for_function("() => document.querySelectorAll('.card').length < 15")
    page.locator("#search").fill("nothing is called so")
    assert "No prototype is like that" in page.locator(".groups").inner_text()
    page.locator("#search").fill("")
    page.locator(".card h4 a").first.click()
    page.wait_for_selector(".opened .thumb")
    assert page.locator(".opened .thumb").count() == 24
    page.get_by_role("button", name="PCA").click()
    page.wait_for_selector("svg.plane")
    assert page.locator("svg.plane rect.mark").count() == 15
    page.locator("svg.plane circle").first.dispatch_event("click")
    page.wait_for_url("**/why/prototypedl/validation/*")


def test_the_doctor_can_be_called(visit):
    page = visit("#/learnt/other")
    page.get_by_role("button", name="call the doctor").click()
    page.wait_for_selector("text=The doctor found")


def test_mistakes_come_first_and_cells_open_their_images(visit):
    page = visit("#/wrong/other")
    page.wait_for_selector(".thumb")
    assert re.search(r"of 359 test images are recognised", answer(page)), answer(page)
    wrong = page.locator(".thumb.wrong").count()
    assert wrong > 0
    cell = page.locator("td:not(.own) .cell").first
    images = int(cell.inner_text())
    cell.click()
    page.wait_for_url("**label=*")
    page.wait_for_function(f"() => document.querySelectorAll('.thumb').length == {images}")
    page.locator(".thumb").first.click()
    page.wait_for_url("**/why/other/test/*at=0*")
    page.wait_for_selector("h1:has-text('Why this?')")
    page.go_back()
    page.get_by_label("order").select_option("disagreement")
    page.wait_for_url("**order=disagreement*")


def test_runs_are_compared(visit):
    page = visit("#/compare/prototypedl?runs=prototypedl,other")
    page.wait_for_selector(".compared table")
    assert page.locator(".compared li").count() == 1
    assert "How often is it right?" in page.locator(".compared").inner_text()
    page.wait_for_selector(".one-image article table")
    assert page.locator(".one-image article").count() == 2
    page.get_by_label("other accuracy").uncheck()
    page.wait_for_selector("text=Choose two runs or more.")


def test_an_edit_is_seen_at_once_undone_and_saved(visit, place, address):
    page = settled(visit("#/edit/prototypedl"))
    page.wait_for_selector(".switch")
    assert "prototypedl adds up distances" in page.locator("main").inner_text()
    untouched = sorted((path, path.stat().st_mtime_ns) for path in (place / "prototypedl").rglob("*"))
    after = page.locator("#consequences tbody tr").nth(1)
    before = page.locator("#consequences tbody tr").nth(0).inner_text().replace("before", "after")
    assert after.inner_text() == before
    for number in (0, 1, 2):
        page.get_by_label(f"prototype {number}", exact=True).uncheck()
        page.wait_for_url(f"**off*{number}")
        settled(page)
    assert page.locator(".edits li").count() == 3
    page.wait_for_function(
        "text => document.querySelectorAll('#consequences tbody tr')[1].innerText != text", arg=before
    )
    changed = after.inner_text()
    assert page.locator("#flips .thumb").count() > 0
    # a second tab sees the same by the address
    other = settled(visit(page.url.removeprefix(address)))
    assert other.locator("#consequences tbody tr").nth(1).inner_text() == changed
    page.locator("h1").click()
    page.keyboard.press("u")
    page.wait_for_function("() => document.querySelectorAll('.edits li').length == 2")
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.edits li').length == 3")
    page.get_by_label("class that prototype 5 speaks for").select_option("9")
    page.wait_for_function("() => document.querySelectorAll('.edits li').length == 4")
    page.get_by_label("right, in pixels").fill("2")
    page.get_by_role("button", name="hide this region").click()
    page.wait_for_function("() => document.querySelectorAll('.edits li').length == 5")
    settled(page)
    page.get_by_role("button", name="take back: the region 0, 0 to 2, 8 is hidden").click()
    page.wait_for_function("() => document.querySelectorAll('.edits li').length == 4")
    settled(page)
    page.get_by_label("name of the new run").fill("better")
    page.get_by_role("button", name="save as a new run").click()
    page.wait_for_selector("#saving [role=status] a, #saving [role=alert]")
    assert "better" in page.locator("#saving [role=status]").inner_text()
    assert sorted((path, path.stat().st_mtime_ns) for path in (place / "prototypedl").rglob("*")) == untouched
    facts = json.loads((place / "better" / "run.json").read_text())
    assert [edit["kind"] for edit in facts["edited"]["edits"]] == ["off", "off", "off", "move"]
    assert len(json.loads((place / "better" / "prototypes.json").read_text())["prototypes"]) == 12
    page.locator("a", has_text="better").click()
    page.wait_for_function("() => document.querySelectorAll('.card').length == 12")
    # the name is taken now
    page.expected.append("400")
    page.go_back()
    settled(page)
    page.get_by_label("name of the new run").fill("better")
    page.get_by_role("button", name="save as a new run").click()
    page.wait_for_selector("text=choose another name")


def test_all_prototypes_cannot_be_switched_off(visit):
    edits = ",".join(f"off:{number}" for number in range(15))
    page = visit(f"#/edit/prototypedl?edits={edits}")
    page.expected.append("400")
    page.wait_for_selector("#consequences [role=alert]")


def test_files_are_dropped(visit, tmp_path):
    page = settled(visit("#/why/prototypedl/test/0"))
    page.expected += ["400", "413"]
    for name, content, said in (
        ("text.png", b"this is no image", "cannot be read"),
        ("bomb.png", bomb(30_000), "more than 50,000,000 pixels"),
        ("large.png", b"\x89PNG\r\n\x1a\n" + bytes(50 << 20), "more than 10 MB"),
    ):
        (tmp_path / name).write_bytes(content)
        page.locator("#file").set_input_files(tmp_path / name)
        page.wait_for_selector(f".drop p:has-text('{said}')")
    (tmp_path / "digit.png").write_bytes(png((8, 8), "L"))
    page.locator("#file").set_input_files(tmp_path / "digit.png")
    page.wait_for_url("**/why/prototypedl/upload/*")
    page.wait_for_selector("tr[data-prototype]")
    page.wait_for_selector(".left p:has-text('Your image')")


def test_the_address_is_copied_where_there_is_no_clipboard_too(visit):
    page = settled(visit("#/why/prototypedl/test/0"))
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="copy the address").click()
    page.wait_for_selector("button:has-text('copied')")
    page.locator("#file").evaluate("e => e.insertAdjacentHTML('afterend', '<textarea id=pasted></textarea>')")
    page.locator("#pasted").focus()
    page.keyboard.press("Control+V")
    assert page.locator("#pasted").input_value() == page.url


def test_a_client_that_sends_all_before_it_listens_is_told_why(address):
    for _ in range(5):
        line = HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=PATIENCE / 1000)
        line.request("POST", "/api/uploads", bytes(50 << 20), {"x-protolens": "1"})
        answer = line.getresponse()
        assert (answer.status, json.loads(answer.read())["error"][:24]) == (413, "that is more than 10 MB,")
        line.close()


def test_what_is_not_there_is_said(visit):
    page = visit("#/why/prototypedl/test/99999")
    page.expected.append("400")
    page.wait_for_selector("[role=alert]")
    assert "there is no image 99999" in page.locator("[role=alert]").inner_text().lower()

    page.goto(page.url.split("#")[0] + "#/why/nothing/test/0")
    page.wait_for_selector("text=There is no run nothing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("view", VIEWS)
def test_everyone_can_use_it(visit, view, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(f"#/{view}/prototypedl", width, color_scheme=scheme)
    page.wait_for_selector("#answer")
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(TEXT_SIZES) == []
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_server_that_has_gone_is_told(place, browser):
    process, address = start([place / "other"])
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}#/why/other/test/0")
    page.wait_for_selector("tr[data-prototype]")
    process.kill()
    process.wait()
    page.goto(f"{address}#/wrong/other")
    page.wait_for_selector("[role=alert]")
    assert "protolens serve" in page.locator("[role=alert]").inner_text()
    page.close()
