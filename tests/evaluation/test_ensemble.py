"""Runs that decide together."""

import json

import pytest
import torch

from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import evaluate_ensemble
from protolens.train import fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    settings = {"stages": {"train": {"epochs": 3}}, "train": {"batch": 64}}
    return [fit(digits_run(seed=seed, **settings), folder / str(seed)) for seed in (0, 1)]


def test_an_ensemble_decides_by_the_sum_of_its_members_logits(runs, capsys):
    data = open_data(runs[0].config.data)
    images = to_float(data.test.take(torch.arange(len(data.test))), torch.device("cpu"))
    with torch.no_grad():
        logits = [run.model()(images) for run in runs]
    right = ((logits[0] + logits[1]).argmax(dim=1) == data.test.labels).double().mean()
    found = evaluate_ensemble(runs)
    assert found["accuracy"] == pytest.approx(float(right))
    for member, each in zip(found["members"], logits, strict=True):
        alone = (each.argmax(dim=1) == data.test.labels).double().mean()
        assert member["accuracy"] == pytest.approx(float(alone))
    assert main(["evaluate", *(str(run.folder) for run in runs), "--ensemble", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == found["accuracy"]
    assert not any((run.folder / "evaluation.json").exists() for run in runs)


def test_an_ensemble_of_one_or_of_runs_on_other_images_is_refused(runs, tmp_path, capsys):
    with pytest.raises(ProtolensError, match="an ensemble needs two runs or more"):
        evaluate_ensemble(runs[:1])
    other = fit(digits_run(data={"split_seed": 1}, stages={"train": {"epochs": 1}}), tmp_path / "other")
    with pytest.raises(ProtolensError, match="was made with other images than"):
        evaluate_ensemble([runs[0], other])
    assert main(["evaluate", *(str(run.folder) for run in runs)]) == 1
    assert "evaluate takes one run; --ensemble lets several decide together" in capsys.readouterr().err
