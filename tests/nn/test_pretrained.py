"""Weights from files of several kinds."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from protolens.errors import ProtolensError
from protolens.nn import fill, read_weights


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


@pytest.mark.parametrize("kind", ["safetensors", "plain", "checkpoint", "parallel"])
def test_files_of_several_kinds_hold_the_same_weights(tmp_path, kind):
    state = network().state_dict()
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pt")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        torch.save({f"module.{name}" if kind == "parallel" else name: value for name, value in state.items()}, path)
    read = read_weights(path)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_not_executed(tmp_path):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ProtolensError, match="damaged, or neither safetensors nor a plain state dict"):
        read_weights(path)
    torch.save({"weight": torch.zeros(2), "other": Evil()}, path)
    with pytest.raises(ProtolensError, match="damaged, or neither safetensors nor a plain state dict"):
        read_weights(path)


def test_other_things_than_tensors_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(2), "epoch": 3}, tmp_path / "net.pt")
    with pytest.raises(ProtolensError, match=r"holds other things than tensors; save model.state_dict\(\) alone"):
        read_weights(tmp_path / "net.pt")


def test_half_precision_is_filled_in_and_what_lacks_or_does_not_fit_is_named(tmp_path):
    target, path = network(), tmp_path / "net.safetensors"
    state = {name: value.half() for name, value in network().state_dict().items() if "batches" not in name}
    save_file(state, path)
    fill(target.state_dict(), path)
    assert torch.equal(target[0].weight, state["0.weight"].float())
    with pytest.raises(ProtolensError, match="lacks 9.weight; choose a file with the weights of this very network"):
        fill({"9.weight": torch.zeros(2)}, path)
    with pytest.raises(ProtolensError, match=r"another shape of 3.bias than the network: 2 for 5"):
        fill({"3.bias": torch.zeros(5)}, path)
