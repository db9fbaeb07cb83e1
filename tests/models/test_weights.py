"""What a saved model keeps when it is loaded."""

import torch

from protolens.models import build_model, load_model, save_model, state_digest
from tests.conftest import make_task


def test_a_model_around_a_network_that_lost_prototypes_is_loaded_as_it_was_saved(tmp_path):
    task = make_task(size=(8, 8))
    settings = {"name": "pantypes", "features": 8, "per_class": 5}
    network = build_model(settings, task, seed=0)
    network.keep(torch.tensor([0, 5, 6, 7, 10, 11, 15, 16, 17, 18, 19]))
    save_model(network, tmp_path / "network.safetensors", {})
    around = {"name": "kmex", "of": settings, "weights": str(tmp_path / "network.safetensors"), "per_class": 3}
    model = build_model(around, task, seed=0)
    model.load_pretrained()
    model.keep(torch.tensor([0, 1, 3, 6, 7, 8, 9]))
    digest = save_model(model, tmp_path / "model.safetensors", {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert state_digest(loaded) == digest
    assert loaded.class_of().tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert loaded.network.class_of().tolist() == [0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3]
