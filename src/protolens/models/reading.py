"""What models share that read a trained network and leave it as it is: KMEx and concepts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from protolens.config import ModelSettings, Task, option, to_mapping
from protolens.errors import ProtolensError
from protolens.models.base import PrototypeModel
from protolens.models.registry import build_model
from protolens.models.weights import load_model
from protolens.nn import OfPixels, find_maps


@dataclass(frozen=True)
class NetworkSettings(ModelSettings):
    """A model of protolens, or any network as the model `network`."""

    of: dict[str, Any] = option({"name": "blackbox"}, "the network: a model of protolens with its settings")
    weights: str = option("", "its trained weights: model.safetensors of its run; else those that `of` names")


class ReadsNetwork(PrototypeModel):
    """Holds the network, frozen, as `network`. Its own prototypes are another thing than those of this model."""

    settings: NetworkSettings

    def __init__(self, settings: NetworkSettings, task: Task):
        super().__init__(settings, task)
        self.network = build_model(settings.of, task, 0, "model.of").requires_grad_(False).eval()
        for module in self.network.modules():
            if isinstance(module, OfPixels):
                module.learns = False

    def load_pretrained(self) -> None:
        if not self.settings.weights:
            self.network.load_pretrained()
            return
        path = Path(self.settings.weights)
        trained = load_model(path)
        chosen = {"name": trained.name, **to_mapping(trained.settings)}
        here = {"name": self.network.name, **to_mapping(self.network.settings)}
        if chosen != here or trained.task != self.task:
            raise ProtolensError(f"{path} holds another model, or one for other images, than model.of; convert it anew")
        self.network.load_state_dict(trained.state_dict())

    def layer_before_pooling(self) -> str:
        """The last layer of the network whose mean over places is its code; "" where there is none."""
        return find_maps(self.network, self.network.code, self.task.bands, self.task.size)

    def nothing_to_pool(self, setting: str) -> ProtolensError:
        """What is raised where no layer was named and none was found."""
        return ProtolensError(
            f"no layer of {self.network.name} gives maps whose mean over places is its code; name one by {setting}"
        )


class Places(nn.Module):
    """The code at each place, [B, C, H, W] -> [B, D, h, w], of a model that tells it."""

    def __init__(self, model: PrototypeModel):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D, h, w]."""
        return self.model.code(images)
