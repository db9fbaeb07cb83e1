"""The report of runs that `fit` and `evaluate` have made, so that both sides mean the same by their files."""

import pytest

from protolens.config import read_run
from protolens.evaluation import evaluate
from protolens.report import write_report
from protolens.train import fit


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
