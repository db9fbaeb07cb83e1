"""The page of what a model does not know, of drawn probabilities: no training."""

import re

import pytest
import torch

from protolens.data import MemoryImages
from protolens.evaluation.doubtful import Answered, choose_answered, choose_refused, doubtful
from protolens.evaluation.doubting import figures
from protolens.evaluation.uncertainty import NOBODY, answers
from protolens.report import write_uncertainty
from tests.report.test_report import Page

CLASSES = ("cat", "<b>dog</b>", "owl")


def answered(images: int, draws: int, sure: float, seed: int, classes=CLASSES) -> Answered:
    """Images whose first logit or that of their label is raised by `sure`."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (images,), generator=generator)
    logits = torch.randn(draws, images, 3, generator=generator)
    logits[:, torch.arange(images), labels] += sure
    pixels = torch.randint(0, 256, (images, 1, 8, 8), generator=generator, dtype=torch.uint8)
    kept = MemoryImages("test", pixels, labels, [f"test/{number}" for number in range(images)])
    return Answered(kept, logits.softmax(dim=2), classes)


def content(folder, draws=5, least=0.7, sure=2.0, **changes):
    """What `uncertainty` finds, of drawn probabilities."""
    own = answered(200, draws, sure, 0)
    others = {"noise": answered(50, draws, 0.0, 1, ()), "pets": answered(60, draws, 0.5, 2)}
    cuts = {"published": 0.2, "chosen": least, "cautious": 0.8}
    spread = {"images": 20, "draws": draws, "contributions": 0.123, "maps": 0.456}
    found = {"draws": draws, "seed": 0, "wanted": 0.99, "cautious": 0.1, "budget": None, "bought": None}
    found["forecast"] = {"wanted": draws}
    found |= figures(own, others, cuts, 0) | {"pictures": doubtful(own, others, least, CLASSES, folder)}
    return found | {"explanations": spread if draws > 1 else None} | changes


@pytest.fixture
def run(maker):
    return maker(classes=CLASSES).write()


def page_of(run, found) -> Page:
    return Page(write_uncertainty(run, found).read_text(encoding="utf-8"))


def test_the_answer_comes_first_and_holds_the_figures_of_the_chosen_cut(run):
    found = content(run.folder)
    page = page_of(run, found)
    first = re.search(r'<p class="answer">([^<]+)</p>', page.text).group(1)
    own = found["refusal"]["chosen"]
    assert first.startswith(f"Forced to answer, it is right for {100 * found['forced']['accuracy']:.3g}")
    assert f"it answers {100 * (1 - own['refused']):.3g}" in first
    assert f"{100 * found['others']['pets']['refusal']['chosen']['refused']:.3g}\xa0% of pets" in first
    assert "the middle one of 5" in page.said
    assert "differs by 12.3" in page.said
    assert "correlate by 0.46" in page.said
    assert "disagreement between draws (mutual information)" in page.said


def test_questions_charts_and_tables_are_all_there(run):
    page = page_of(run, content(run.folder, bought="within 10 min: 5 of 100 draws; x", budget=600.0))
    assert re.findall(r"<h2[^>]*>([^<]+)</h2>", page.text) == [
        "Does it know when it does not know?",
        "Is it right as often as it says?",
        "Does it doubt what it has never seen?",
        "How sure are its explanations?",
        "What does it refuse, and what should it have refused?",
        "How to get it again",
    ]
    assert page.text.count("<figcaption>") == 5
    for name in ("calibration error", "Brier score", "negative log-likelihood"):
        assert name in page.said
    assert "What the budget bought: within 10 min: 5 of 100 draws; x." in page.said
    assert "--uncertainty pets --draws 5 --seed 0 --budget 10m" in page.said
    assert all(image["alt"].strip() for image in page.all("img"))
    assert all("scope" in head for head in page.all("th"))
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_names_of_classes_are_text(run):
    page = page_of(run, content(run.folder))
    assert "<b>dog" not in page.text
    assert "<b>dog</b>" in page.said


def test_one_draw_has_sentences_that_fit(run):
    page = page_of(run, content(run.folder, draws=1))
    assert "its weights are fixed" in page.said
    assert "nothing tells how sure that is" in page.said
    assert "mutual information" not in page.said.lower()
    assert page.text.count("<figcaption>") == 4


def test_a_cut_of_nothing_or_of_everything_is_told(run):
    assert "it need refuse nothing" in page_of(run, content(run.folder, least=0.0)).said
    page = page_of(run, content(run.folder, least=1.0))
    assert "it would have to refuse everything" in page.said
    assert "None of its answers is wrong." in page.said
    assert "It answers no image of pets." in page.said


def test_pictures_are_those_of_the_refused_and_of_the_sure_mistakes(run):
    own = answered(200, 5, 2.0, 0)
    said = answers(own.posterior, 0.7)
    highest = own.posterior.median(dim=0).values.amax(dim=1)  # of 5 draws the middle one
    refused = choose_refused(own.posterior, 0.7).tolist()
    assert refused == sorted((said == NOBODY).nonzero().flatten().tolist(), key=lambda i: float(highest[i]))[:8]
    wrong = (said != NOBODY) & (said != own.images.labels)
    mistakes = choose_answered(own.posterior, 0.7, said != own.images.labels).tolist()
    assert mistakes == sorted(wrong.nonzero().flatten().tolist(), key=lambda i: -float(highest[i]))[:8]
    pictures = content(run.folder)["pictures"]
    assert [entry["index"] for entry in pictures["refused"]] == refused
    for entry in (*pictures["refused"], *pictures["wrong"], *pictures["others"]["noise"]):
        assert (run.folder / entry["picture"]).read_bytes().startswith(b"\x89PNG")
    assert {entry["label"] for entry in pictures["others"]["noise"]} <= {None}
    assert all(entry["label"] == CLASSES[own.images.labels[entry["index"]]] for entry in pictures["wrong"])


def test_a_missing_picture_is_an_error_of_one_sentence(run):
    from protolens.errors import ProtolensError

    found = content(run.folder)
    (run.folder / found["pictures"]["refused"][0]["picture"]).unlink()
    with pytest.raises(ProtolensError, match=r"is missing; `protolens evaluate .* --uncertainty` makes it anew"):
        write_uncertainty(run, found)
