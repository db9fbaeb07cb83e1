"""One call for every method: `attribute`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from protolens.attribution import gradients, occlusion
from protolens.attribution.kernel_shap import kernel_shap
from protolens.attribution.lime import lime
from protolens.attribution.lrp import DEFAULT, lrp
from protolens.attribution.perturbation import Answer, Fill, Precision, folded, in_precision, superpixels
from protolens.attribution.prp import DEFAULT as OF_PROTOTYPES
from protolens.attribution.prp import class_relevance, prp_of_own
from protolens.errors import ProtolensError, did_you_mean
from protolens.models import PrototypeModel, evaluation_mode
from protolens.models.kmex import NEVER
from protolens.nn import try_out, upsampled


@dataclass(frozen=True)
class Question:
    """What every method is asked: why do these images go with these classes?"""

    model: nn.Module
    images: Tensor
    targets: Tensor
    seed: int

    def logits(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, K]."""
        result: Tensor = self.model(images)
        return result

    def probabilities(self, precision: Precision) -> Answer:
        """[N, C, H, W] -> [N, K]; each class has its own where an image can show several.

        precision: of the network's arithmetic. Raises ProtolensError for an unknown one.
        """
        network = folded(self.model, self.images) if precision == "bfloat16" else self.model
        logits = in_precision(network, precision)
        several = getattr(getattr(self.model, "task", None), "several", False)

        def answer(images: Tensor) -> Tensor:
            said = logits(images)
            return said.sigmoid() if several else said.softmax(dim=1)

        return answer

    def parts(self, segments: int | Tensor) -> Tensor:
        """The segments that were given, [B, H, W], or so many superpixels."""
        return superpixels(self.images, segments) if isinstance(segments, int) else segments.to(self.images.device)

    def prototypes(self, method: str) -> PrototypeModel:
        """The model, for methods that need prototypes. Raises ProtolensError for another."""
        if not isinstance(self.model, PrototypeModel):
            raise ProtolensError(
                f"{method} explains models of protolens; a {type(self.model).__name__} has no prototypes"
            )
        return self.model


Method = Callable[..., Tensor]
METHODS: dict[str, Method] = {}
CONTROLS = ("random", "edges")  # which know nothing of the model
ANY_MODEL = ("lime", "kernelshap", "occlusion", *CONTROLS)  # methods that only ask for its answers


def method(name: str) -> Callable[[Method], Method]:
    """Make a function the method of that name; its keywords are the method's options."""

    def add(function: Method) -> Method:
        METHODS[name] = function
        return function

    return add


@method("self")
def _self(question: Question) -> Tensor:
    """What the model itself decides by: what places add to the logit, beyond other classes; else its relevance."""
    model, images = question.prototypes("self"), question.images
    with torch.no_grad():
        evidence = model.evidence(images)
        places = model.contributions_of_places(evidence)
        if places is not None:
            places = beyond_others(model, places, question.targets)
        elif evidence.maps is not None:
            weights = beyond_others(model, model.weights_for(evidence).mT, question.targets)
            places = torch.einsum("bphw,bp->bhw", evidence.maps, weights)
    if places is None:
        return class_relevance(model, images, question.targets).sum(dim=1)
    return upsampled(places[:, None], (images.shape[2], images.shape[3]))[:, 0]


def beyond_others(model: PrototypeModel, values: Tensor, targets: Tensor) -> Tensor:
    """What stands for one class of each image, less the mean over classes: [B, K, ...], [B] -> [B, ...].

    A softmax takes no notice of what all logits share: a place of the background that is equally near to prototypes of
    all classes adds much to each logit, and nothing to the decision. Where classes are said one by one, all of it.
    """
    own = values[torch.arange(len(values), device=values.device), targets]
    possible = model.bias() > NEVER / 2  # a class without prototypes is far below all others
    return own if model.task.several else own - values[:, possible].mean(dim=1)


@method("lime")
def _lime(
    question: Question,
    samples: int = 1000,
    segments: int | Tensor = 50,
    fill: Fill = "image",
    precision: Precision = "float32",
) -> Tensor:
    """LIME: weights of superpixels in a linear model of the probability."""
    asked = (question.probabilities(precision), question.images, question.targets, question.parts(segments))
    return lime(*asked, samples, question.seed, fill)


@method("kernelshap")
def _kernel_shap(
    question: Question,
    samples: int = 1000,
    segments: int | Tensor = 50,
    fill: Fill = "image",
    precision: Precision = "float32",
) -> Tensor:
    """KernelSHAP: Shapley values of superpixels for the probability."""
    asked = (question.probabilities(precision), question.images, question.targets, question.parts(segments))
    return kernel_shap(*asked, samples, question.seed, fill)


@method("lrp")
def _lrp(question: Question, composite: str = DEFAULT) -> Tensor:
    """Layer-wise relevance propagation from the logit, through the prototypes where there are any."""
    if isinstance(question.model, PrototypeModel):
        return class_relevance(question.model, question.images, question.targets, composite).sum(dim=1)
    return lrp(question.logits, question.images, question.targets, composite).sum(dim=1)


@method("prp")
def _prp(question: Question, composite: str = OF_PROTOTYPES) -> Tensor:
    """Relevance for the similarity to the prototype that adds most to the logit."""
    model, rows = question.prototypes("prp"), torch.arange(len(question.images))
    with torch.no_grad():
        strongest = model.contributions(model.evidence(question.images))[rows, :, question.targets].argmax(dim=1)
    return prp_of_own(model, question.images, strongest[:, None], composite).sum(dim=(1, 2))


@method("gradient")
def _gradient(question: Question) -> Tensor:
    """The slope of the logit, steepest band."""
    return gradients.gradient(question.logits, question.images, question.targets)


@method("integrated-gradients")
def _integrated_gradients(question: Question, steps: int = 32, baseline: float = 0.0) -> Tensor:
    """Slopes along the way from an image of one value."""
    return gradients.integrated_gradients(question.logits, question.images, question.targets, steps, baseline)


@method("smoothgrad")
def _smoothgrad(question: Question, samples: int = 25, noise: float = 0.1) -> Tensor:
    """The gradient's mean over noisy copies."""
    return gradients.smoothgrad(question.logits, question.images, question.targets, samples, noise, question.seed)


@method("gradcam")
def _gradcam(question: Question, layer: str = "") -> Tensor:
    """Maps of a layer, the last one with several places, weighted by their mean slope."""
    _, bands, *size = question.images.shape
    if not layer:
        _, calls = try_out(question.model, bands, (size[0], size[1]))
        maps = [call.name for call in calls if call.result.ndim == 4 and call.result[0, 0].numel() > 1]
        if not maps:
            raise ProtolensError("gradcam needs a layer that gives maps of several places, and this network has none")
        layer = maps[-1]
    elif layer not in dict(question.model.named_modules()):
        known = [name for name, _ in question.model.named_modules() if name]
        raise ProtolensError(f"{layer} is no layer of this network{did_you_mean(layer, known)}")
    return gradients.gradcam(question.model, layer, question.images, question.targets)


@method("occlusion")
def _occlusion(question: Question, window: int = 0, stride: int = 0, precision: Precision = "float32") -> Tensor:
    """How much the probability falls when a window is hidden."""
    asked = (question.probabilities(precision), question.images, question.targets)
    return occlusion.occlusion(*asked, window, stride)


@method("random")
def _random(question: Question) -> Tensor:
    """A control: random numbers."""
    return occlusion.chance(question.images, question.seed)


@method("edges")
def _edges(question: Question) -> Tensor:
    """A control: edges of the image, without the model."""
    return occlusion.edges(question.images)


def attribute(
    model: nn.Module,
    images: Tensor,
    target: int | Sequence[int] | Tensor | None = None,
    method: str = "lrp",
    seed: int = 0,
    **options: Any,
) -> Tensor:
    """How much each pixel speaks for a class, by the method of that name: [B, H, W] on the images' device.

    model: any image classifier that maps [B, C, H, W] to logits [B, K]; one of protolens for self and prp; images: as
    it takes them, for models of protolens floats in [0, 1]; target: class number of all or of each image, else what
    the model says; seed: of everything that is drawn; options: keywords of the method, such as samples=300. Works in
    evaluation mode and leaves the model, its gradients and the global random state as they were. Raises ProtolensError
    for unknown names and bad input.
    """
    check_methods([method])
    function = METHODS[method]
    known = list(inspect.signature(function).parameters)[1:]
    wrong = next((name for name in options if name not in known), None)
    if wrong:
        raise ProtolensError(f"{wrong} is not an option of {method}{did_you_mean(wrong, known)}")
    if images.ndim != 4 or not images.is_floating_point() or not images.isfinite().all():
        raise ProtolensError("images have to be finite floats, [B, C, H, W]")
    home, place = images.device, next((p.device for p in model.parameters()), images.device)
    with evaluation_mode(model), torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        images = images.detach().to(place, copy=True, memory_format=torch.channels_last)  # faster convolutions
        targets = _targets(model, images, target)
        return function(Question(model, images, targets, seed), **options).detach().float().to(home)


def check_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, each once. Raises ProtolensError for one that is not a method."""
    for name in names:
        if name not in METHODS:
            raise ProtolensError(f"{name} is not a method{did_you_mean(name, METHODS)}")
    return tuple(dict.fromkeys(names))


def methods_that_fail(model: nn.Module, image: Tensor) -> dict[str, str]:
    """Why a method cannot explain a model, by its name, for those that cannot. image: [1, C, H, W]."""
    found = {}
    for name in METHODS:
        if name in ANY_MODEL:
            continue
        try:
            attribute(model, image, None, name)
        except ProtolensError as error:
            found[name] = str(error)
    return found


def _targets(model: nn.Module, images: Tensor, target: int | Sequence[int] | Tensor | None) -> Tensor:
    """The class of each image, [B]. Where it is given, one image tells how many there are."""
    asked = images if target is None else images[:1]
    with torch.no_grad():
        logits = model(asked)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(asked):
        raise ProtolensError("the network has to map images [B, C, H, W] to logits [B, K]")
    if target is None:
        return logits.argmax(dim=1)
    targets = torch.as_tensor(target, device=images.device)
    targets = targets.expand(len(images)) if targets.ndim == 0 else targets
    if targets.shape != (len(images),) or targets.is_floating_point():
        raise ProtolensError(f"target has to be one class number, or {len(images)} of them")
    if ((targets < 0) | (targets >= logits.shape[1])).any():
        raise ProtolensError(f"target has to be a class number from 0 to {logits.shape[1] - 1}")
    return targets.long()
