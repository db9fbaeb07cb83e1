"""The report of runs that `fit` and `evaluate` have made, so that both sides mean the same by their files."""

import pytest

from protolens.config import read_run
from protolens.evaluation import evaluate
from protolens.report import write_report
from protolens.train import fit

ONE = {"epochs": 1}


@pytest.mark.parametrize("model", ["prototypedl", "blackbox"])
def test_a_trained_run_has_a_report_before_and_after_its_evaluation(tmp_path, model):
    config, where = read_run(None, {"model": {"name": model}, "stages": {"train": {"epochs": 1}}})
    run = fit(config, tmp_path / "run", where=where)
    assert "Not evaluated yet" in write_report(run).read_text(encoding="utf-8")
    evaluate(run)
    text = write_report(run).read_text(encoding="utf-8")
    assert "are recognised" in text
    assert (run.folder / "figures/sample.png").exists()
    assert (run.folder / "figures/decoder-samples.png").exists() == (model == "prototypedl")


def test_a_trained_protopnet_shows_its_patches_and_what_followed(tmp_path):
    tables = {
        "model": {"name": "protopnet", "per_class": 2, "rounds": 1},
        "stages": {"joint-1": ONE, "head-1": ONE},
        "train": {"follow": True},
    }
    config, where = read_run(None, tables)
    run = fit(config, tmp_path / "run", where=where)
    evaluate(run)
    text = write_report(run).read_text(encoding="utf-8")
    assert text.count("the patch can see") == 20
    assert "heat map: how like prototype" in text
    for question in ("What followed?", "Where did the prototypes go?", "Do the prototypes keep their promise?"):
        assert question in text
    assert "Test accuracy before projection" in text
