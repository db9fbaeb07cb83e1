"""What a stage and the training settings do."""

import math
import shutil
import sys

import pytest
import torch
from torch import nn

from protolens.config import Stage, TrainConfig
from protolens.errors import ProtolensError
from protolens.models import build_model
from protolens.nn import Normalise
from protolens.train import fit
from protolens.train.device import choose_device, keep_freed_memory, mixed_precision
from protolens.train.optimise import learning_groups, make_optimiser, rate_factor, set_rates, training_mode
from tests.conftest import digits_run, make_task

KINDS = (nn.Conv2d, nn.BatchNorm2d)


def model(**choice):
    return build_model({"name": "prototypedl", **choice}, make_task(), 0)


def test_parts_without_a_rate_are_frozen_and_all_means_the_others():
    network = model()
    groups = learning_groups(network, Stage(rates={"prototypes": 0.1, "head": 0, "all": 0.5}))
    learning = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"prototypes", "encoder", "decoder"}
    assert sorted(group["lr"] for group in groups) == [0.1, 0.5]


def test_a_part_of_a_part_has_its_own_rate_and_the_rest_keeps_its_batch_statistics():
    network = build_model({"name": "protopnet", "features": 8}, make_task(), 0)
    layers = network.backbone.network
    last_convolution, last_normalisation = (
        max(i for i, x in enumerate(layers) if isinstance(x, kind)) for kind in KINDS
    )
    exact = f"backbone.network.{last_convolution}"
    stage = Stage(rates={"backbone": 0, exact: 1e-3, "add_on": 0.1}, weight_decay=0.5, undecayed=(exact,))
    groups = learning_groups(network, stage)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {f"{exact}.weight", *(f"add_on.{name}" for name, _ in network.add_on.named_parameters())}
    assert sorted((group["lr"], group["weight_decay"]) for group in groups) == [(1e-3, 0.0), (0.1, 0.5)]
    training_mode(network, stage)
    assert not layers[last_normalisation].training
    stage = Stage(rates={f"backbone.network.{last_normalisation}": 0.1})
    learning_groups(network, stage)
    training_mode(network, stage)
    assert [layer.training for layer in layers if isinstance(layer, nn.BatchNorm2d)] == [False, False, False, True]


def test_a_part_may_learn_and_keep_its_batch_statistics():
    network = build_model({"name": "protopnet", "features": 8}, make_task(), 0)
    stage = Stage(fixed_statistics=("backbone",))
    learning_groups(network, stage)
    training_mode(network, stage)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert layers
    assert not any(layer.training for layer in layers)
    assert network.backbone.training
    with pytest.raises(ProtolensError, match=r"fixed_statistics\.bakbone is not a part .*statistics\.backbone"):
        learning_groups(network, Stage(fixed_statistics=("bakbone",)))


def test_a_rate_for_no_part_of_the_model_names_the_nearest():
    with pytest.raises(
        ProtolensError, match=r"rates\.prototype is not a part of prototypedl; did you mean .*rates\.prototypes"
    ):
        learning_groups(model(), Stage(rates={"prototype": 0.1}))
    with pytest.raises(ProtolensError, match=r"undecayed\.all is not a part of prototypedl"):
        learning_groups(model(), Stage(undecayed=("all",)))
    with pytest.raises(ProtolensError, match="gives no part of prototypedl a learning rate above 0"):
        learning_groups(model(), Stage(rates={"head": 0.0}))


def test_a_frozen_part_keeps_its_batch_statistics():
    network = build_model({"name": "blackbox", "network": "strong"}, make_task(), 0)
    stage = Stage(rates={"prototypes": 0.1})
    learning_groups(network, stage)
    training_mode(network, stage)
    assert not network.encoder.training
    assert network.training


def test_a_weight_for_an_unknown_term_names_the_nearest(tmp_path):
    run = digits_run(stages={"train": {"weights": {"reconstrution": 1}}})
    with pytest.raises(
        ProtolensError, match=r"stages\.train\.weights\.reconstrution is not a loss term of prototypedl"
    ):
        fit(run, tmp_path / "run")


def test_schedules_are_functions_of_the_place_in_the_stage():
    assert [rate_factor("constant", share) for share in (0, 0.5, 1)] == [1, 1, 1]
    assert rate_factor("cosine", 0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert [rate_factor("one-cycle", share) for share in (0, 0.125, 0.25, 1)] == [0, 0.5, 1, 0]
    stage = Stage(schedule="cosine", rates={"all": 0.2, "head": 0.4})
    optimiser = make_optimiser(learning_groups(model(), stage), stage, torch.device("cpu"))
    set_rates(optimiser, stage, 0.5)
    assert {round(group["lr"], 12) for group in optimiser.param_groups} == {0.1, 0.2}


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_each_optimiser_takes_the_step_that_torch_defines(optimiser):
    first, second = model(), model()
    stage = Stage(optimiser=optimiser, rates={"all": 0.01}, weight_decay=0.1)
    ours = make_optimiser(learning_groups(first, stage), stage, torch.device("cpu"))
    plain = {
        "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    }[optimiser](second.parameters())
    images = torch.rand(4, 1, 28, 28)
    for network, rule in ((first, ours), (second, plain)):
        for _ in range(3):
            rule.zero_grad()
            network(images).square().sum().backward()
            rule.step()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_what_to_do(tmp_path):
    run = digits_run(
        stages={"train": {"rates": {"all": 1e6}, "clip": 0, "optimiser": "sgd"}}, model={"name": "blackbox"}
    )
    with pytest.raises(
        ProtolensError, match=r"infinite or undefined in epoch \d+ of stage train; lower stages\.train\.rates"
    ):
        fit(run, tmp_path / "run")


def test_a_device_that_is_not_there_is_one_sentence():
    with pytest.raises(ProtolensError, match="train.device cannot be 'gpu'; it is one of auto, cpu"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(
            ProtolensError, match="train.device is cuda, which this machine does not have; write auto or cpu"
        ):
            choose_device("cuda")
        assert choose_device("auto").type in ("cpu", "mps")


def test_half_precision_on_a_cpu_is_refused_and_bfloat16_trains(tmp_path):
    with pytest.raises(ProtolensError, match="float16 needs a GPU"):
        mixed_precision(TrainConfig(precision="float16"), torch.device("cpu"))
    # at 8 pixels the last maps are 1x1, for which PyTorch 2.15 leaves bfloat16 gradients undefined on a CPU
    run = fit(digits_run(train={"precision": "bfloat16", "device": "cpu"}, data={"size": 16}), tmp_path / "run")
    assert all(tensor.dtype == torch.float32 for tensor in run.model().state_dict().values())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs a C++ compiler")
def test_a_compiled_step_learns_the_same(tmp_path):
    changes = {"model": {"name": "blackbox"}, "stages": {"train": {"epochs": 1}}}
    plain = fit(digits_run(**changes), tmp_path / "plain").model()
    compiled = fit(digits_run(**changes, train={"compile": True}), tmp_path / "compiled").model()
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_the_black_box_learns_the_normalisation_of_its_training_images(tmp_path):
    run = fit(digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 1}}), tmp_path / "run")
    from protolens.data import open_data

    training = open_data(run.config.data).training
    pixels = training.take(torch.arange(len(training))).double() / 255
    (layer,) = [module for module in run.model().modules() if isinstance(module, Normalise)]
    torch.testing.assert_close(layer.mean, pixels.mean(dim=(0, 2, 3)).float())
    torch.testing.assert_close(layer.deviation, pixels.std(dim=(0, 2, 3), correction=0).float())


def test_balanced_class_weights_change_what_is_learnt(tmp_path):
    plain = fit(digits_run(), tmp_path / "plain").facts["model"]["digest"]
    balanced = fit(digits_run(train={"class_weights": "balanced"}), tmp_path / "balanced").facts["model"]["digest"]
    assert plain != balanced


def test_tensorboard_files_hold_the_history(tmp_path):
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="extra tensorboard")
    run = fit(digits_run(train={"tensorboard": True}), tmp_path / "run")
    events = board.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    seen = [event.value for event in events.Scalars("validation/accuracy")]
    assert seen == pytest.approx([line["validation"]["accuracy"] for line in run.history])


def test_tensorboard_without_its_extra_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        ProtolensError, match=r"train\.tensorboard needs the extra: pip install 'protolens\[tensorboard\]'"
    ):
        fit(digits_run(train={"tensorboard": True}), tmp_path / "run")


def test_keeping_freed_memory_can_be_asked_for_anywhere():
    keep_freed_memory()
    assert torch.ones(3).sum() == 3
