"""What a run answered about each image, kept beside it, so that runs can be compared without looking again."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from protolens.errors import ProtolensError
from protolens.files import write_bytes
from protolens.models.weights import read_tensors
from protolens.train import Run

FILE = "answers.safetensors"
LARGEST = 1 << 24  # similarities that are worth keeping


def write_answers(folder: Path, answers: Mapping[str, Tensor], model: str, data: str) -> None:
    """Write tensors by name to FILE. model, data: digests of what answered and of the images."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in answers.items()}
    write_bytes(folder / FILE, save(tensors, {"model": model, "data": data}))


def read_answers(run: Run) -> dict[str, Tensor]:
    """What `evaluate` kept. Raises ProtolensError where it has not kept any of this model, or the file is damaged."""
    path = run.folder / FILE
    try:
        answers, metadata = read_tensors(path)
        if metadata.get("model") == run.digest:
            return answers
    except FileNotFoundError:
        pass
    except (SafetensorError, OSError) as error:
        raise ProtolensError(f"{path} is damaged ({error}); call `protolens evaluate {run.folder} --again`") from error
    raise not_evaluated(run)


def not_evaluated(run: Run) -> ProtolensError:
    """What is said of a run of whose model nothing was kept."""
    return ProtolensError(f"{run.folder} was not evaluated; call `protolens evaluate {run.folder} --again`")
