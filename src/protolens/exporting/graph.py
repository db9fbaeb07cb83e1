"""A model as an ONNX graph with named outputs, and what each of them is."""

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from protolens import __version__
from protolens.errors import ProtolensError, first_line
from protolens.exporting.publishing import public_name
from protolens.models import PrototypeModel, state_digest
from protolens.train import Run

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, BATCH = "images", "batch"
MEANINGS = {
    "logits": "[batch, K] before {squash}",
    "similarities": "[batch, P] similarity to each prototype, larger is more alike",
    "contributions": "[batch, P, K] what each prototype adds to each logit; with `bias`, their sum over prototypes is "
    "the logits",
    "maps": "[batch, P, h, w] similarity to each prototype at each place",
}
MISSING = {"maps": "prototypes of this model stand for whole images"}
LARGEST = 2**31 - 2**20  # bytes of a protobuf message, less some for the graph


class Outputs(nn.Module):
    """What the file gives for images: a model's evidence by name. In evaluation mode, as `evaluate` sees the model."""

    def __init__(self, model: PrototypeModel):
        super().__init__()
        self.model = model
        self.eval()

    def named(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs that the model has, in the order of MEANINGS."""
        evidence = self.model.evidence(images)
        found = {
            "logits": evidence.logits,
            "similarities": evidence.similarity,
            "contributions": self.model.contributions(evidence),
        }
        return found if evidence.maps is None else found | {"maps": evidence.maps}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, C, H, W] -> each of them."""
        return tuple(self.named(images).values())


def refuse_without_packages() -> None:
    """Raise ProtolensError where a package is missing that makes ONNX or runs it."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ProtolensError(f"export --format onnx needs {name}: pip install 'protolens[onnx]'") from error


@torch.no_grad()
def make_graph(run: Run, model: PrototypeModel) -> Any:
    """The onnx.ModelProto of a model, with its facts as metadata. Raises ProtolensError where it cannot be made."""
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > LARGEST:
        raise ProtolensError(
            f"{run.folder}: the model has {size / 2**30:.1f} GiB, and an ONNX file holds 2; export it with --format hf"
        )
    outputs, task = Outputs(model), model.task
    # two images: a batch of one would be taken for a fixed size
    images = torch.rand(2, task.bands, *task.size, generator=torch.Generator().manual_seed(0))
    names = list(outputs.named(images))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = {INPUT: {0: torch.export.Dim(BATCH)}}
            program = torch.export.export(outputs, (images,), dynamic_shapes=shapes, strict=False)
            found = torch.onnx.export(program, dynamo=True, input_names=[INPUT], output_names=names, verbose=False)
    except Exception as error:  # torch raises anything at all on networks that it cannot follow
        raise ProtolensError(
            f"{run.folder}: {model.name} cannot be written as ONNX ({first_line(error).rstrip('.')}); "
            "export it with --format hf"
        ) from error
    assert found is not None
    proto = found.model_proto
    _name_batch(proto)
    _forget_sources(proto)
    for key, value in facts(run, model, names).items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def facts(run: Run, model: PrototypeModel, names: list[str]) -> dict[str, str]:
    """What travels in the file: all that a program needs to feed it and to read it, lists and tables as JSON."""
    task, data = model.task, run.facts["data"]
    squash = "sigmoid: an image can show several classes" if task.several else "softmax"
    plain: dict[str, Any] = {
        "classes": task.classes,
        "several": task.several,
        "bands": task.bands,
        "height": task.height,
        "width": task.width,
        "outputs": {name: MEANINGS[name].format(squash=squash) for name in names},
        "left_out": left_out(names),
        "bias": model.bias().tolist(),
        "class_of": model.class_of().tolist(),
        "data_digests": {name: split["digest"] for name, split in data["splits"].items()},
    }
    return {
        "protolens": __version__,
        "model": model.name,
        "model_digest": state_digest(model),
        "data": public_name(data["name"]),
        "input": f"{INPUT}: float32 [batch, bands, height, width], values in [0, 1]; divide pixels of 0 to 255 by 255",
        "randomness": randomness(model),
        **{key: json.dumps(value, ensure_ascii=False) for key, value in plain.items()},
    }


def left_out(names: list[str]) -> dict[str, str]:
    """The outputs that a model does not have, and why."""
    return {name: MISSING[name] for name in MEANINGS if name not in names}


def randomness(model: PrototypeModel) -> str:
    """What became of what is random in training."""
    if any(isinstance(part, PrototypeModel) and part.name == "bayesian" for part in model.modules()):
        return (
            "none: each weight is the mean of its distribution, as evaluate has it; how far networks drawn from the "
            "distributions disagree is not in this file"
        )
    return "none: the model is in evaluation mode, as evaluate has it"


def _name_batch(proto: Any) -> None:
    """Call the number of images "batch"; torch calls it s77 or the like."""
    symbol = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert symbol, "torch fixed the number of images"
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(rf"\b{re.escape(symbol)}\b", BATCH, dim.dim_param)


def _forget_sources(proto: Any) -> None:
    """Drop torch's notes on each node: lines of code, and where they lie on this machine."""
    for part in _parts(proto):
        del part.metadata_props[:]
        part.doc_string = ""


def _parts(proto: Any) -> Iterator[Any]:
    graph = proto.graph
    yield graph
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node)
    for function in proto.functions:
        yield function
        yield from function.node
