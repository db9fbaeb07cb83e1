"""The temperature of a converted network: the best one by SciPy, known ones found again, and no decision changed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from protolens.data import open_data
from protolens.errors import ProtolensError
from protolens.models import build_model
from protolens.train import Team, convert, fit, predict
from protolens.train.calibration import best_temperature, calibrate
from tests.conftest import digits_run, make_task


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "blackbox"
    return fit(digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 4}}), folder)


@given(st.integers(0, 2**31), st.floats(-1, 3))
def test_a_known_temperature_is_found_again(seed, power):
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = best_temperature(logits, (logits / 10**power).softmax(dim=1))
    assert found == pytest.approx(10**power, rel=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(2, 6))
def test_the_temperature_is_scipy_s(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    target = (3 * torch.randn(200, classes, generator=generator, dtype=torch.float64)).softmax(dim=1)
    logits = 0.1 * target.log() + 0.3 * torch.randn(200, classes, generator=generator, dtype=torch.float64)

    def entropy(power: float) -> float:
        return -float((target * (logits / 10**power).log_softmax(dim=1)).sum(dim=1).mean())

    best = minimize_scalar(entropy, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert entropy(torch.tensor(best_temperature(logits, target)).log10().item()) <= best.fun + 1e-9


def test_logits_that_say_nothing_or_all_give_the_ends():
    certain = torch.eye(3, dtype=torch.float64)
    assert best_temperature(torch.zeros(3, 3), certain) == pytest.approx(1e4)
    assert best_temperature(certain, certain) < 0.05  # where no bit of a probability is left to gain


@pytest.mark.parametrize("similarity", ["cosine", "distance", "dot-product"])
def test_a_converted_network_is_as_sure_as_before_and_decides_as_without(trained, tmp_path, similarity):
    folders = {name: tmp_path / name for name in ("fitted", "one")}
    runs = {
        name: convert(trained, folder, {"model": {"similarity": similarity, "temperature": name}})
        for name, folder in folders.items()
    }
    images, team = open_data(trained.config.data).validation, Team(torch.device("cpu"))
    said = {name: predict(run.model(), images, team) for name, run in runs.items()}
    assert torch.equal(said["fitted"].argmax(dim=1), said["one"].argmax(dim=1))
    network = predict(trained.model(), images, team).softmax(dim=1)
    missing = {name: float(-(network * logits.log_softmax(dim=1)).sum(dim=1).mean()) for name, logits in said.items()}
    assert missing["fitted"] < missing["one"]
    step = runs["fitted"].facts["followed"][1]
    assert step["temperature"] == pytest.approx(float(runs["fitted"].model().temperature))
    torch.testing.assert_close(said["fitted"] * step["temperature"], said["one"])
    assert [entry["step"] for entry in runs["one"].facts["followed"]] == ["cluster"]


def test_a_model_without_a_temperature_is_refused():
    model = build_model({"name": "prototypedl"}, make_task(1, (28, 28)), 0)
    with pytest.raises(ProtolensError, match="calibrate chooses a temperature, and prototypedl has none"):
        calibrate(model, None)
