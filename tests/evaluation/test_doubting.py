"""What a model refuses: of its own images, of noise, of other data; and that measuring changes nothing."""

import json
from itertools import count

import pytest
import torch
from PIL import Image

from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import uncertainty
from protolens.evaluation.uncertainty import accuracy_when_answering, refused
from protolens.models import state_digest
from protolens.train import fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def bayesian(tmp_path_factory):
    model = {"name": "bayesian", "width": 64}
    return fit(digits_run(model=model, stages={"train": {"epochs": 24}}), tmp_path_factory.mktemp("runs") / "bayesian")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    stages = {"train": {"epochs": 2}}
    return fit(digits_run(model={"name": "blackbox"}, stages=stages), tmp_path_factory.mktemp("runs") / "plain")


def test_figures_are_those_of_the_draws(bayesian):
    before = state_digest(bayesian.model())
    found = uncertainty(bayesian, ["digits"], draws=7)
    data, model = open_data(bayesian.config.data), bayesian.model()
    posterior = model.posterior(to_float(data.test.take(torch.arange(len(data.test))), "cpu"), model.draws(7, seed=0))
    together = posterior.mean(dim=0).argmax(dim=1)
    assert found["forced"]["accuracy"] == pytest.approx(float((together == data.test.labels).double().mean()))
    for name, least in found["least"].items():
        own = found["refusal"][name]
        assert own["refused"] == pytest.approx(refused(posterior, least))
        assert own["accuracy"] == pytest.approx(accuracy_when_answering(posterior, data.test.labels, least))
    # the same images once more are as strange as its own
    assert found["others"]["digits"]["refusal"]["chosen"]["refused"] == found["refusal"]["chosen"]["refused"]
    assert found["others"]["digits"]["doubt"]["entropy"]["area_under_roc"] == pytest.approx(0.5)
    assert found["others"]["noise"]["doubt"]["entropy"]["theirs"] > found["others"]["noise"]["doubt"]["entropy"]["own"]
    assert state_digest(bayesian.model()) == before
    assert json.loads((bayesian.folder / "uncertainty.json").read_text()) == found


def test_explanations_of_a_bayesian_network_have_a_spread_and_those_of_fixed_weights_none(bayesian, plain):
    explained = uncertainty(bayesian, draws=3)["explanations"]
    assert explained["contributions"] > 0
    assert -1 <= explained["maps"] < 1
    found = uncertainty(plain)
    assert found["explanations"] is None
    assert found["draws"] == 1
    assert found["others"]["noise"]["doubt"]["mutual_information"]["own"] == pytest.approx(0, abs=1e-9)


def test_the_command_says_what_is_refused(bayesian, capsys):
    assert main(["evaluate", str(bayesian.folder), "--uncertainty", "--draws", "3"]) == 0
    said = capsys.readouterr().out
    assert "forced to answer" in said
    assert "noise" in said
    assert main(["evaluate", str(bayesian.folder), "--uncertainty", "digits", "--draws", "3", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["others"]) == {"noise", "digits"}
    assert main(["evaluate", str(bayesian.folder), "--uncertainty", "--draws", "0"]) == 1
    assert "--draws is 0; 1 or more are needed" in capsys.readouterr().err


def test_a_budget_buys_draws_and_the_page_says_so(bayesian, capsys, monkeypatch):
    seconds = count(1)  # each probe takes a millisecond longer than the one before
    rate = lambda work, most: (work(most), next(seconds) / 1000)[1]  # noqa: E731
    monkeypatch.setattr("protolens.evaluation.doubting.rate_of", rate)
    words = ["evaluate", str(bayesian.folder), "--uncertainty", "--budget"]
    assert main([*words, "60s", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 10 <= found["draws"] < 100
    assert found["forecast"]["draws"] == found["draws"]
    assert found["bought"].startswith(
        f"within 1 min: {found['draws']} of 100 draws; accuracy when forced is known to ±"
    )
    text = (bayesian.folder / "uncertainty.html").read_text(encoding="utf-8")
    assert found["bought"] in text
    assert f"the middle one of {found['draws']}" in text
    assert main([*words, "1s"]) == 1
    assert "draws, and fewer than 10 say too little" in capsys.readouterr().err


def test_pictures_curves_and_intervals_are_of_what_was_measured(bayesian, plain):
    for run, draws in ((bayesian, 4), (plain, 1)):
        found = uncertainty(run, ["digits"], draws=4)
        curves, cuts = found["curves"], found["least"]
        assert found["draws"] == draws
        for kind, values in curves["refused"].items():
            own = found["refusal"] if kind == "test" else found["others"][kind]["refusal"]
            assert values == sorted(values)
            assert values[curves["least"].index(cuts["published"])] == pytest.approx(own["published"]["refused"])
        low, high = found["others"]["digits"]["doubt"]["entropy"]["area_interval"]
        assert low <= 0.5 <= high
        for name in ("calibration_interval", "brier_interval", "likelihood_interval"):
            assert found["forced"][name][0] <= found["forced"][name][1]
        for own in found["histograms"].values():
            assert all(sum(shares) == pytest.approx(1) for shares in own["shares"].values())
        for entry in (*found["pictures"]["refused"], *found["pictures"]["others"]["noise"]):
            assert (run.folder / entry["picture"]).exists()
        assert (run.folder / "uncertainty.json").exists()


def test_one_draw_of_a_bayesian_network_has_no_spread(bayesian):
    explained = uncertainty(bayesian, draws=1)["explanations"]
    assert (explained["contributions"], explained["maps"]) == (None, None)


def test_images_of_another_size_and_of_several_classes_are_refused(bayesian, several, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(ProtolensError, match=r"has images of .* and the model takes 8 x 8 x 1; name another set"):
        uncertainty(bayesian, [f"folder:{tmp_path}"])
    box = {"data": {"name": "pairs"}, "model": {"name": "blackbox"}, "stages": {"train": {"epochs": 1}}}
    run = fit(digits_run(**box), tmp_path / "run")
    with pytest.raises(ProtolensError, match="measured for images of one class each, and these show several"):
        uncertainty(run)
