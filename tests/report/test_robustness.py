"""The page of whether explanations hold, of drawn figures: no training."""

import re
from itertools import product

import pytest
import torch

from protolens.data.pictures import to_png
from protolens.errors import ProtolensError
from protolens.evaluation import shaking
from protolens.evaluation.drops import SHARE, names_of
from protolens.evaluation.resampling import WAYS, summary
from protolens.evaluation.steadiness import again, summary_of_drops, what_is_known
from protolens.models import build_model
from protolens.report import write_robustness
from tests.conftest import make_task
from tests.report.test_report import Page

CONTROLS = ("random", "edges")
GOOD = {
    "average_drop remove_top": 0.6,
    "average_drop keep_top": 0.1,
    "average_increase remove_top": 0.1,
    "average_increase keep_top": 0.6,
}


def drawn_drops(kinds, images=80, nothing=False):
    """Figures by map: of those that are no controls better, but edges as good where pixels are inpainted."""
    generator = torch.Generator().manual_seed(0)
    found = {"pairs": torch.full((images,), 3), "positive": torch.full((images,), 3)}
    for name in names_of(kinds):
        kind, filling, measure, convention = name
        knows = kind not in CONTROLS or (kind == "edges" and filling == "inpaint")
        middle = GOOD[f"{measure} {convention}"] if knows else 0.35
        values = middle + 0.05 * torch.randn(images, generator=generator, dtype=torch.float64)
        found[" ".join(name)] = torch.full_like(values, torch.nan) if nothing else values.clamp(0, 1)
    return found


def drawn_noise(maps, margin, images=80):
    generator = torch.Generator().manual_seed(1)
    found = {}
    figures = ["decision_stays", "nearest_stays", "contributions", "similarities", "margin", "early_failure"]
    names = [*product(shaking.NOISES, figures), ("none", "margin"), ("none", "early_failure")]
    names += [
        (noise, f"{name} {key}") for noise in shaking.NOISES for name in maps for key in ("correlation", "overlap")
    ]
    for noise, key in names:
        values = torch.rand(images, 1 if noise == "none" else shaking.DRAWS, generator=generator, dtype=torch.float64)
        values = (values < 0.9).double() if key in shaking.SHARES else values
        unknown = key in ("margin", "early_failure") and not margin
        found[f"{noise} {key}"] = torch.full_like(values, torch.nan) if unknown else values
    return found


def content(folder, kinds=("prp", "self"), maps=("self",), kmex=True, nothing=False, margin=True, **changes):
    """What `robustness` finds, of drawn figures."""
    kinds, maps = (*kinds, *CONTROLS), (*maps, *CONTROLS)
    why = "prototypes of it stand for whole images and have no map of places"
    drops = {"share": SHARE, **summary_of_drops(drawn_drops(kinds, nothing=nothing), kinds)}
    drops["left_out"] = {name: why for name in ("prp", "self") if name not in kinds}
    noise = shaking.summary(drawn_noise(maps, margin), maps)
    noise["left_out"] = {} if margin else {"margin": "it measures no distance to its prototypes"}
    names = ["plain", *shaking.NOISES, *(f"{k} {f} {c}" for k, f, _, c in names_of(kinds))]
    generator = torch.Generator().manual_seed(2)
    for name in names:
        path = folder / f"robustness/{name.replace(' ', '-')}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_png(torch.rand(1, 9, 7, generator=generator)))
    pictures = {name: f"robustness/{name.replace(' ', '-')}.png" for name in names}
    values = torch.rand(10, 2, generator=generator, dtype=torch.float64)
    found_again = {"codes": 900, "of": 1500, "checked": 300, "resamples": 10, "left_out": {}} | {
        way: summary(values / 10 + number) for number, way in enumerate(("run", *WAYS))
    }
    other = again(build_model({"name": "blackbox"}, make_task(1, (8, 8)), 0), None, 0)
    return {
        "images": 80,
        "seed": 3,
        "prototypes": drops,
        "noise": noise,
        "prototypes_again": found_again if kmex else other,
        "shown": {"image": "test/7", "prototype": None if nothing else 4, "pictures": pictures},
        "budget": None,
        "bought": None,
        "forecast": {"wanted": 100},
        **changes,
    }


@pytest.fixture
def run(maker):
    return maker(classes=("cat", "<b>dog</b>", "owl")).write()


def page_of(run, found) -> Page:
    return Page(write_robustness(run, found).read_text(encoding="utf-8"))


def answers(page) -> list[str]:
    return [re.sub("<[^>]+>", "", text) for text in re.findall(r'<p class="answer">(.+?)</p>', page.text)]


def test_the_answer_comes_first_and_counts_tests_beside_both_controls(run):
    found = content(run.folder)
    page = page_of(run, found)
    first = answers(page)[0]
    assert first.startswith(
        "PRP tells where its prototypes are better than random pixels in 8 of 8\xa0tests (worse in none) and better "
        "than edges of the image in "
    )
    verdicts = [
        one["better"]
        for measures in found["prototypes"]["beyond"]["prp"]["edges"].values()
        for both in measures.values()
        for one in both.values()
    ]
    assert f"edges of the image in {verdicts.count(True)} of 8" in first
    assert "; its own map in 8 (worse in none) and " in first
    own = found["noise"]["gaussian"]
    assert f"{100 * own['decision_stays']['mean']:.3g}\xa0% of its decisions stay" in first
    both, chance = (found["prototypes_again"][way]["distance"]["mean"] for way in ("both", "random"))
    assert f"nearer to themselves than codes by chance: {both:.2f} spreads of a class, and {chance:.2f}." in first
    assert first.index("tests") < page.text.index("<table")


def test_questions_charts_and_tables_are_all_there(run):
    known = what_is_known(content(run.folder))
    page = page_of(run, content(run.folder, bought=f"within 10 min: 80 of 100 images; {known}", budget=600.0))
    assert re.findall(r"<h2[^>]*>([^<]+)</h2>", page.text) == [
        "Do its explanations hold?",
        "Do its maps show where a prototype is?",
        "Do its reasons stay under noise?",
        "Would the same prototypes be found again?",
        "How to get it again",
    ]
    assert page.text.count("<figcaption>") == 4
    assert page.text.count("<table") == 6
    assert f"What the budget bought: within 10 min: 80 of 100 images; {known}." in page.said
    assert "average drops are known to ±" in known
    assert "--robustness --images 100 --seed 3 --budget 10m" in page.said
    for figure in ("decision stays", "order of similarities", "margin", "reason fails early", "map: edges (control)"):
        assert figure in page.said
    assert all(image["alt"].strip() for image in page.all("img"))
    assert len(page.all("img")) == 1 + 4 * 4 + 3
    assert all("scope" in head for head in page.all("th"))
    assert not [attributes for _, attributes in page.elements if "style" in attributes]
    assert "default-src &#39;none&#39;" in page.text


def test_every_drop_stands_with_its_interval_and_its_difference_to_each_control(run):
    found = content(run.folder)
    page = page_of(run, found)
    one = found["prototypes"]["maps"]["prp"]["noise"]["average_drop"]["remove_top"]
    mean, low, high = (100 * value for value in (one["mean"], *one["interval"]))
    assert f"{mean:.1f} % {low:.1f} % to {high:.1f} %" in page.said
    beyond = found["prototypes"]["beyond"]
    verdicts = [
        one["better"]
        for controls in beyond.values()
        for fillings in controls.values()
        for measures in fillings.values()
        for both in measures.values()
        for one in both.values()
    ]
    assert len(verdicts) == 2 * 2 * 8
    assert page.text.count('class="number strong"') == verdicts.count(True)
    assert page.said.count("not told apart") - 1 == verdicts.count(None)  # once in the caption
    assert page.said.count("worse than the control") - 1 == verdicts.count(False)


def test_a_model_without_maps_and_distances_is_told_so(run):
    found = content(run.folder, kinds=(), maps=(), kmex=False, margin=False)
    page = page_of(run, found)
    assert answers(page)[0].startswith("It has no map of its prototypes that could be held against chance.")
    assert "takes another training to tell" in answers(page)[0]
    assert "Without PRP: prototypes of it stand for whole images and have no map of places." in page.said
    assert "Without margins: it measures no distance to its prototypes." in page.said
    assert answers(page)[-1] == (
        "Not asked: prototypes of blackbox come from training; protolens compare matches those of runs of other seeds."
    )
    assert "<code>protolens compare</code>" in page.text
    assert "reason fails early" not in page.said
    assert "differences to the controls" not in page.text
    assert page.text.count("<figcaption>") == 4  # the controls are drawn all the same


def test_images_whose_classes_have_no_prototypes_leave_words_and_no_charts(run):
    page = page_of(run, content(run.folder, nothing=True))
    assert answers(page)[0].startswith("No test image shows a class that has a prototype")
    assert page.text.count("<figcaption>") == 0
    assert "What does half an image look like?" not in page.said
    assert "–" in page.said


def test_similarities_below_zero_and_equal_codes_are_told(run):
    found = content(run.folder)
    found["prototypes"] |= {"pairs": 240, "positive": 0.75}
    unknown = {"distance": {"mean": None, "interval": None}, "correlation": {"mean": None, "interval": None}}
    found["prototypes_again"] |= dict.fromkeys(WAYS, unknown)
    page = page_of(run, found)
    assert "Of 240\xa0pairs of an image and a prototype of its class, 25\xa0% have" in page.text.replace("25.0", "25")
    assert "Its codes are all alike" in answers(page)[0]


def test_a_missing_picture_is_an_error_of_one_sentence(run):
    found = content(run.folder)
    (run.folder / found["shown"]["pictures"]["plain"]).unlink()
    with pytest.raises(ProtolensError, match=r"is missing; `protolens evaluate .* --robustness` makes it anew"):
        write_robustness(run, found)
