"""The gap between a model's explanations and those of its black box."""

import json

import pytest
import torch

from protolens.attribution import attribute
from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import explanation_gap
from protolens.evaluation.maps import overlap, spearman
from protolens.evaluation.sampling import drawn
from protolens.train import Run, convert, fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def black(tmp_path_factory) -> Run:
    config = digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 4}})
    return fit(config, tmp_path_factory.mktemp("gap") / "black")


@pytest.fixture(scope="module")
def other(black) -> Run:
    config = digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 4}}, seed=1)
    return fit(config, black.folder.parent / "other")


@pytest.fixture(scope="module")
def converted(black) -> Run:
    return convert(black, black.folder.parent / "kmex", {"model": {"per_class": 2}})


def test_the_figures_are_those_of_maps_made_one_model_at_a_time(black, other):
    found = explanation_gap(other, black, ["gradient"], images=30, seed=2)
    test = open_data(black.config.data).test
    images = to_float(test.take(drawn(len(test), 30, 2)), "cpu")
    model, box = other.model(), black.model()
    with torch.no_grad():
        targets, said = box(images).argmax(dim=1), model(images).argmax(dim=1)
    assert found["agreement"]["mean"] == pytest.approx(float((said == targets).double().mean()))
    theirs = attribute(box, images, targets, "gradient", 2)
    for key, maps in (
        ("own", attribute(model, images, targets, "self", 2)),
        ("same", attribute(model, images, targets, "gradient", 2)),
        ("edges", attribute(model, images, targets, "edges", 2)),
    ):
        figures = found["methods"]["gradient"]
        assert figures[key]["mean"] == pytest.approx(float(spearman(theirs, maps).mean()), abs=1e-4)
        expected = float(overlap(theirs, maps).mean())
        assert figures[f"{key}_overlap"]["mean"] == pytest.approx(expected, abs=0.02)  # ties fall otherwise
        low, high = figures[key]["interval"]
        assert low <= figures[key]["mean"] <= high


def test_a_model_has_no_gap_to_itself(black):
    found = explanation_gap(black, black, ["gradient", "lrp"], images=20)
    assert found["agreement"]["mean"] == 1
    for own in found["methods"].values():
        assert own["same"]["mean"] == pytest.approx(1.0)
    assert found["methods"]["lrp"]["edges"]["mean"] < 1


def test_a_converted_run_holds_its_black_box(converted, black):
    inside, beside = (explanation_gap(converted, run, ["gradient"], images=20) for run in (None, black))
    assert inside["methods"] == beside["methods"]
    assert (inside["beside"], beside["beside"]) == (None, str(black.folder))


def test_runs_that_cannot_be_compared_are_refused_in_a_sentence(black, other, tmp_path):
    with pytest.raises(ProtolensError, match="holds no black box of its own"):
        explanation_gap(other)
    changed = fit(digits_run(data={"validation": 0.3}), tmp_path / "changed")
    with pytest.raises(ProtolensError, match="made with other images"):
        explanation_gap(changed, black)
    with pytest.raises(ProtolensError, match="lpr is not a method; did you mean"):
        explanation_gap(other, black, ["lpr"])


def test_the_verb_leaves_a_page_a_figure_and_the_figures(converted, black, capsys):
    words = ["evaluate", str(converted.folder), "--beside", "--method", "gradient,lrp", "--images", "20", "--json"]
    assert main(words) == 0
    content = json.loads(capsys.readouterr().out)
    text = (converted.folder / "gap.html").read_text(encoding="utf-8")
    assert text.count("<td><img") == 10 * 4
    assert "the black box by gradient" in text
    assert "--beside --method gradient,lrp --images 20 --seed 0" in text
    assert (converted.folder / "gap.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((converted.folder / "gap.json").read_text())
    assert saved["methods"] == content["methods"]
    assert main(["evaluate", str(black.folder), "--beside"]) == 1
    assert "name the run of one as --beside RUN" in capsys.readouterr().err


def test_a_budget_buys_images_of_the_gap(converted, capsys, monkeypatch):
    monkeypatch.setattr("protolens.evaluation.gap.rate_of", lambda work, most: (work(most), 1.0)[1])
    words = ["evaluate", str(converted.folder), "--beside", "--method", "gradient", "--images", "200", "--budget", "2m"]
    assert main(words) == 0
    found = json.loads((converted.folder / "gap.json").read_text())
    assert 30 <= found["images"] < 60
    assert found["forecast"]["parts"] == {"maps without a method": found["images"], "gradient": found["images"]}
    told = capsys.readouterr()
    assert found["bought"] in told.out
    assert "about" in told.err
    text = (converted.folder / "gap.html").read_text(encoding="utf-8")
    assert found["bought"] in text
    assert "--images 200 --seed 0 --budget 2m" in text
