"""What evaluation says of the whole model."""

import pytest
import torch

from protolens.data import open_data, read_image, to_float
from protolens.evaluation import evaluate
from protolens.evaluation.interpretation import class_relevance
from protolens.train import fit
from tests.conftest import digits_run

BRIEF = {"predict": {"epochs": 2}, "interpret": {"epochs": 1}, "concise": {"epochs": 2}}


@pytest.fixture(scope="module")
def flint(tmp_path_factory):
    changes = {"model": {"name": "flint", "prototypes": 6}, "stages": BRIEF, "train": {"batch": 64}}
    return fit(digits_run(**changes), tmp_path_factory.mktemp("runs") / "flint")


def test_an_interpreter_is_scored_beside_its_predictor_and_drawn(flint):
    content = evaluate(flint).content
    data, model = open_data(flint.config.data), flint.model()
    images, labels = to_float(data.test.take(torch.arange(len(data.test))), torch.device("cpu")), data.test.labels
    with torch.no_grad():
        evidence = model.evidence(images)
    mine, theirs = evidence.logits.argmax(dim=1), evidence.predictor.argmax(dim=1)
    found = content["interpretation"]
    assert found["predictor_accuracy"] == pytest.approx(float((theirs == labels).double().mean()))
    assert found["fidelity"] == pytest.approx(float((mine == theirs).double().mean()))
    contributions = model.contributions(evidence)[torch.arange(len(images)), :, mine]
    shares = contributions.abs() / contributions.abs().amax(dim=1, keepdim=True)
    assert found["conciseness"]["2.0"] == pytest.approx(float((shares > 0.5).sum(dim=1).double().mean()))
    expected = class_relevance(contributions, mine, 10)
    torch.testing.assert_close(torch.tensor(content["relevance"]).double(), expected, atol=1e-4, rtol=1e-4)


def test_the_picture_of_an_attribute_raises_it_above_its_nearest_training_image_s_weak_copy(flint):
    names = evaluate(flint).content["maximised"]
    pictures = torch.stack([read_image(flint.folder / name, 1, (8, 8)) for name in names])
    data, model = open_data(flint.config.data), flint.model()
    nearest = data.training.take(torch.tensor([entry["provenance"]["index"] for entry in flint.prototypes]))
    with torch.no_grad():
        raised = model.evidence(to_float(pictures, torch.device("cpu"))).similarity.diagonal()
        weak = model.evidence(0.3 * to_float(nearest, torch.device("cpu"))).similarity.diagonal()
    assert (raised > weak).all()


def test_a_model_that_decodes_its_prototypes_needs_no_such_picture_and_projection_is_stated_before_and_after(tmp_path):
    brief = {"joint-1": {"epochs": 2}, "head-1": {"epochs": 1}}
    changes = {"model": {"name": "protopnet", "rounds": 1, "per_class": 2, "features": 8}, "stages": brief}
    run = fit(digits_run(**changes), tmp_path / "run")
    content = evaluate(run).content
    assert content["maximised"] is None
    low, high = content["before"]["project"]["accuracy_interval"]
    assert 0 <= low <= content["before"]["project"]["accuracy"] <= high <= 1
    assert content["prototypes"]["duplicates"] >= 0
    assert "fidelity" not in content["interpretation"]
