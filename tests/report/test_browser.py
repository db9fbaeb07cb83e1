"""The report as a person sees it: opened from the disk in a real browser."""

import base64
import csv
import json
import random
from importlib.resources import files
from xml.etree import ElementTree

import pytest
from PIL import Image

from protolens.report import write_explanations, write_report, write_robustness
from protolens.report.numbers import percent, three
from tests.report.test_robustness import content

SVG = "{http://www.w3.org/2000/svg}"
EVIL = ["<img src=x onerror=alert(1)>", "Donaudampfschiff" * 4, "x"]
TEXT_SIZES = """() => [...document.querySelectorAll('body *')]
    .filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()))
    .map(e => [parseFloat(getComputedStyle(e).fontSize) * (e.ownerSVGElement?.viewBox.baseVal.width
        ? e.ownerSVGElement.getBoundingClientRect().width / e.ownerSVGElement.viewBox.baseVal.width : 1),
        e.outerHTML.slice(0, 80)])
    .filter(([size]) => size < 13.9)"""
WRITTEN = """async ([code, values]) => {
    const { three, percent } = await import(code);
    return values.map(value => [three(value), percent(value)]);
}"""
CUT = """() => [...document.querySelectorAll('.reasons th, .reasons td, h1, h2, h3, p, li, dd')]
    .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline')
    .map(e => e.outerHTML.slice(0, 120))"""


def test_numbers_are_written_alike_in_python_and_in_the_browser(browser):
    generator = random.Random(0)
    sizes = [generator.choice((-1, 1)) * 10 ** generator.uniform(-12, 7) for _ in range(500)]
    values = [0.0, 1.0, 9.996, -9.996, 99.96, 0.099996, 999.6, 0.99971, 0.999999, 0.00003, 1e-4, 1e-9, *sizes]
    context = browser.new_context()
    page = context.new_page()
    source = base64.b64encode(files("protolens.report").joinpath("numbers.js").read_bytes()).decode()
    shown = page.evaluate(WRITTEN, [f"data:text/javascript;base64,{source}", values])
    context.close()
    assert [one for one, _ in shown] == [three(value) for value in values]
    assert [one for value, (_, one) in zip(values, shown, strict=True) if 0 <= value <= 1] == [
        percent(value) for value in values if 0 <= value <= 1
    ]


@pytest.fixture
def visit(browser):
    """Opens a file in a window of some width and returns the page with all it asked for and complained about."""
    contexts = []

    def open_file(path, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.requested, page.complaints = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(path.resolve().as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()


@pytest.fixture(scope="module", params=["drawn", "names", "photographs", "places", "patches", "seen", "built-in"])
def written(request, run_maker, tmp_path_factory):
    """Small grey digits, long evil names without a decoder, photographs; the last three have places."""
    changes = {
        "drawn": {},
        "names": {"classes": EVIL, "decoder": False},
        "photographs": {"height": 120, "width": 180, "bands": 3, "classes": [f"class {k}" for k in range(30)]},
        "places": {"height": 28, "width": 28, "places": True, "followed": True},
        "seen": {"height": 28, "width": 28, "places": True, "seen": True, "prototypes": 30, "classes": EVIL},
        "built-in": {"built_in": True, "decoder": False, "classes": ["cat", "Donaudampfschiff" * 4, "x"]},
        "patches": {"height": 120, "width": 180, "bands": 3, "places": True, "classes": ["Donaudampfschiff" * 4, "x"]},
    }[request.param]
    return write_report(run_maker(tmp_path_factory.mktemp("run"), **changes).write())


def test_nothing_is_asked_for_and_nothing_goes_wrong(visit, written):
    page = visit(written)
    assert [url for url in page.requested if not url.startswith(("file://", "data:"))] == []
    assert [url for url in page.requested if url.startswith("file://")] == [written.resolve().as_uri()]
    assert page.complaints == []


@pytest.mark.parametrize("width", [360, 800, 1280, 2560])
def test_no_page_is_wider_than_its_window(visit, written, width):
    page = visit(written, width)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_words_that_only_readers_hear_make_no_page_wider(visit, maker, width):
    run = maker().write()
    page = visit(write_robustness(run, content(run.folder)), width)
    assert page.locator(".unseen").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    assert page.evaluate(TEXT_SIZES) == []
    assert page.complaints == []


@pytest.mark.parametrize("width", [360, 1280])
def test_no_text_is_smaller_than_14_pixels(visit, written, width):
    assert visit(written, width).evaluate(TEXT_SIZES) == []


def test_every_picture_is_there_and_says_what_it_shows(visit, written):
    page = visit(written)
    missing = "[...document.images].filter(image => !image.alt.trim() || !image.naturalWidth || !image.naturalHeight)"
    assert page.evaluate(f"{missing}.length") == 0
    shape = "[...document.images].filter(i => Math.abs(i.width / i.height - i.naturalWidth / i.naturalHeight) > 0.02)"
    assert page.evaluate(f"{shape}.length") == 0


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_small_pictures_are_shown_in_whole_multiples_of_their_pixels(visit, written, width):
    page = visit(written, width)
    uneven = "[...document.querySelectorAll('img.hard')].filter(i => i.checkVisibility() && i.width % i.naturalWidth)"
    assert page.evaluate(f"{uneven}.map(image => image.alt)") == []


def test_it_works_without_javascript(visit, written):
    page = visit(written, java_script_enabled=False)
    summary = page.locator("details.why > summary").last
    table = page.locator("details.why").last.locator("table").first
    assert not table.is_visible()
    summary.click()
    assert table.is_visible()
    assert page.locator("button").count() == 0


def test_the_colours_follow_light_and_dark(visit, written):
    ground = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('.chart .stroke-ink')).stroke"
    light, dark = (visit(written, color_scheme=scheme) for scheme in ("light", "dark"))
    assert light.evaluate(ground) != dark.evaluate(ground)
    assert light.evaluate(line) != dark.evaluate(line)


def test_a_table_is_copied_as_csv(visit, maker):
    page = visit(write_report(maker().write()), permissions=["clipboard-read", "clipboard-write"])
    page.locator("table", has_text="Splits:").get_by_role("button", name="copy as CSV").click()
    page.get_by_role("button", name="copied", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()").splitlines() == [
        "split,images,digest",
        "training,309,tttttttttttt…",
        "validation,30,vvvvvvvvvvvv…",
        "test,61,tttttttttttt…",
    ]


def test_the_waterfall_is_copied_with_its_numbers(visit, maker):
    page = visit(write_report(maker().write()), permissions=["clipboard-read", "clipboard-write"])
    page.locator("table.reasons").first.get_by_role("button").click()
    page.get_by_role("button", name="copied", exact=True).wait_for()
    rows = list(csv.reader(page.evaluate("navigator.clipboard.readText()").splitlines()))
    assert rows[0][-1] == "lift"
    lifts = [float(row[-1]) for row in rows[1:]]
    assert sum(lifts[:-1]) == pytest.approx(lifts[-1], abs=0.05)


def test_an_explanation_is_saved_as_data_and_as_a_figure_that_needs_no_page(visit, written):
    page = visit(written)
    why = page.locator("details.why").first
    content = json.loads(saved(page, why, "save as JSON").read_text(encoding="utf-8"))
    evaluation = json.loads((written.parent / "evaluation.json").read_text(encoding="utf-8"))
    example = evaluation["examples"]["right"][0]
    assert content == {"run": written.parent.name, "command": content["command"]} | {
        name: value for name, value in example.items() if name not in ("picture", "reconstruction", "heat_maps", "mask")
    }
    assert content["command"].startswith("protolens evaluate ")
    figure = ElementTree.parse(saved(page, why, "save as SVG")).getroot()
    pictures = [image.get("href") for image in figure.iter(f"{SVG}image")]
    several = len(content["reasons"])
    assert len(pictures) == 1 + (several if several <= 9 else 8)
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    framed = [rect for rect in figure.iter(f"{SVG}rect") if rect.get("stroke") == "#ffd400"]
    assert bool(framed) == (page.locator("symbol[data-box]").count() > 0)
    with Image.open(saved(page, why, "save as PNG")) as drawn:
        assert drawn.width == 2 * int(figure.get("width"))
        assert len(drawn.convert("RGB").resize((64, 64)).getcolors(4096)) > 50
    assert page.complaints == []


def test_a_chart_is_saved_with_its_title_its_legend_and_its_looks(visit, maker):
    page = visit(write_report(maker().write()))
    chart = page.locator("#learning .charts figure", has_text="Validation accuracy")
    figure = ElementTree.parse(saved(page, chart, "save as SVG")).getroot()
    said = [text.text for text in figure.iter(f"{SVG}text")]
    assert "Validation accuracy" in said
    assert "always the most common class" in said
    assert not [element.tag for element in figure.iter() if element.get("class")]
    assert {element.get("stroke") for element in figure.iter()} >= {"rgb(27, 27, 27)", "rgb(107, 63, 160)"}
    with Image.open(saved(page, chart, "save as PNG")) as drawn:
        assert (drawn.width, drawn.height) == (2 * int(figure.get("width")), 2 * int(figure.get("height")))
        assert (107, 63, 160) in [colour for _, colour in drawn.convert("RGB").getcolors(1 << 16)]


def saved(page, place, words: str):
    """The file that a button gives."""
    with page.expect_download() as download:
        place.get_by_role("button", name=words).first.click()
    return download.value.path()


def test_a_question_mark_leads_to_its_definition(visit, written):
    page = visit(written)
    page.locator("a.what", has_text="?").first.click()
    assert page.evaluate("document.querySelector(':target').closest('#means') !== null")


def test_explanations_of_own_images_are_a_page_as_well(visit, maker, tmp_path):
    made = maker()
    run = made.write()
    explanations = [made.explanation(None, None) for _ in range(2)]
    path = write_explanations(run, explanations, [made.png() for _ in explanations], tmp_path / "out")
    page = visit(path, 360)
    assert page.complaints == []
    assert page.requested == [path.resolve().as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


OVERLAYS = """() => [...document.querySelectorAll('.framed')].filter(e => e.checkVisibility()).map(e => {
    const [image, line] = [e.querySelector('img'), e.querySelector('.box')].map(x => x.getBoundingClientRect());
    const scale = image.width / e.querySelector('img').naturalWidth;
    return [line.left - image.left, line.top - image.top, line.right - image.left, line.bottom - image.top]
        .map(side => side / scale);
})"""


@pytest.mark.parametrize("width", [360, 1280])
def test_a_box_stands_where_its_patch_is_however_the_picture_is_shown(visit, maker, width):
    run = maker(places=True, height=28, width=28, evaluated=False).write()
    found = visit(write_report(run), width).evaluate(OVERLAYS)
    expected = [entry["provenance"]["box"] for owner in run.facts["data"]["classes"]
                for entry in run.prototypes if entry["class"] == owner]  # fmt: skip
    assert len(found) == len(expected)
    for sides, box in zip(found, expected, strict=True):
        # the line is two pixels wide and lies outside, and a pixel of the picture is four of the screen
        assert sides == pytest.approx(box, abs=0.6)


def test_explanations_with_places_are_a_page_as_well(visit, maker, tmp_path):
    made = maker(places=True)
    run = made.write()
    path = write_explanations(run, [made.explanation(None, None)], [made.png()], tmp_path / "out")
    page = visit(path, 360)
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0


def test_the_box_of_a_reason_is_copied_with_its_numbers(visit, maker):
    made = maker(places=True)
    page = visit(write_report(made.write()), permissions=["clipboard-read", "clipboard-write"])
    page.locator("table.reasons").first.get_by_role("button").click()
    page.get_by_role("button", name="copied", exact=True).wait_for()
    rows = list(csv.reader(page.evaluate("navigator.clipboard.readText()").splitlines()))
    right = json.loads((made.folder / "evaluation.json").read_text())["examples"]["right"][0]
    assert rows[0][:2] == ["part of the image", "part of a training image"]
    assert rows[2][0] == f"box {', '.join(map(str, right['reasons'][0]['box']))}"
