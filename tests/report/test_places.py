"""The section on what a model sees where, and the figures of masks."""

import json

import numpy as np
import pytest
from PIL import Image

from protolens.errors import ProtolensError
from protolens.evaluation import Evaluation
from protolens.report import write_explanations, write_report
from protolens.report.masks import class_rows, mask_rows, masks_of
from protolens.terminal import show_evaluation
from protolens.train import Run
from tests.report.test_report import report


@pytest.fixture
def seen(maker):
    return maker(places=True, seen=True)


def test_a_model_that_decides_place_by_place_says_what_it_sees_where(seen):
    run = seen.write()
    page = report(run)
    assert (
        "All 8 prototypes take a hundredth or more of the places of the test images; prototype 0 takes most"
        in page.said
    )
    assert "is right for 61.3 % of the pixels; always saying the most common class, for 35.1 %." in page.said
    assert "prototype 2 16.7 % of places owl 52.0 %" in page.said
    assert "prototype 7 2.78 % of places cat –" in page.said
    for entry in json.loads((run.folder / "evaluation.json").read_text())["examples"]["sample"]:
        assert f"the true class of each pixel of {entry['image']}, as colours" in [i["alt"] for i in page.all("img")]
        said = f"adds to {entry['explained']}; sum = logit {entry['logit']:+.2f}".replace("-", "\N{MINUS SIGN}")
        assert said in page.said
    with Image.open(run.folder / "figures/places.png") as figure:
        assert figure.width > figure.height > 0


def test_the_figures_of_masks_stand_beside_chance(seen):
    said = report(seen.write()).said
    assert "Do its maps tell classes apart?" in said
    assert "61.3 % always the most common class: 35.1 %" in said
    assert "41.2 % always the most common class: 7.00 %" in said
    assert "0.271 chance: 0" in said
    assert "cat – 0, 3, 6, 7" in said
    assert "dog 41.2 % 1, 4" in said


def test_a_set_without_masks_has_no_word_of_them(seen):
    run = seen.write()
    content = seen.evaluation() | {"masks": None}
    for entry in (entry for kind in content["examples"].values() for entry in kind):
        entry["mask"] = None
    seen.json("evaluation.json", content)
    page = report(Run.open(run.folder))
    assert "What does it see where?" in page.said
    assert "% of places" in page.said
    for word in ("true class of", "Do its maps tell classes apart?", "pixel accuracy"):
        assert word not in page.said


@pytest.mark.parametrize("changes", [{}, {"places": True}])
def test_other_models_have_no_such_section(maker, changes):
    run = maker(**changes).write()
    assert "What does it see where?" not in report(run).said
    assert not (run.folder / "figures/places.png").exists()


def test_links_pictures_and_names_of_the_section_are_in_order(maker):
    page = report(maker(places=True, seen=True, prototypes=30, classes=("<b>x</b>", "y", "z")).write())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")} <= set(ids)
    assert all(image["alt"].strip() for image in page.all("img"))
    assert not [attributes for _, attributes in page.elements if "style" in attributes]
    assert "The 6 other prototypes are grey." in page.said
    assert "<b>x</b>" in page.said
    assert not page.all("b")


@pytest.mark.parametrize("damage", [None, b"", b"PK no archive"])
def test_a_lost_file_of_places_is_an_error_of_one_sentence(seen, damage):
    run = seen.write()
    lost = run.folder / "examples/000031-places.npz"
    lost.unlink() if damage is None else lost.write_bytes(damage)
    said = "is missing" if damage is None else "cannot be read"
    with pytest.raises(ProtolensError, match=rf"^the file {lost} {said}.*; `protolens evaluate .* makes it anew$"):
        write_report(run)


def test_places_that_do_not_sum_to_the_logit_are_refused(seen):
    run = seen.write()
    path = run.folder / "examples/000031-places.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, prototypes=arrays["prototypes"], adds=arrays["adds"] + 1)
    with pytest.raises(ProtolensError, match="what places add sums to .* and not to the logit"):
        write_report(run)


def test_an_explanation_of_ones_own_image_shows_its_maps(seen, tmp_path):
    run = seen.write()
    explanations = [seen.explanation(None, None) for _ in range(2)]
    path = write_explanations(run, explanations, [seen.png() for _ in explanations], tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    assert text.count('alt="what each place of photos/mine.png adds to the logit of') == 2
    assert text.count('class="scale-of-places') == 1
    assert 'id="means-place"' in text
    assert "seen" not in json.loads(path.with_suffix(".json").read_text())["explanations"][0]


def test_evaluate_prints_the_figures_of_masks(seen, capsys):
    run = seen.write()
    content = json.loads((run.folder / "evaluation.json").read_text())
    show_evaluation(run, Evaluation(content))
    assert "IoU of dog" in capsys.readouterr().out
    show_evaluation(run, Evaluation(content | {"masks": None}))
    assert "IoU" not in capsys.readouterr().out


def test_figures_of_masks_of_an_earlier_version_are_left_out(seen):
    seen.write()
    found = seen.masks()["masks"]
    assert masks_of({"masks": found}) == found
    assert [row["name"] for row in mask_rows(found)][:2] == ["pixel accuracy", "mean IoU"]
    assert [row["prototypes"] for row in class_rows(found, ["cat", "dog", "owl"])] == ["0, 3, 6, 7", "1, 4", "2, 5"]
    del found["prototypes"]
    assert masks_of({"masks": found}) is masks_of({}) is None
