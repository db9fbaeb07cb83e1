"""The step `concepts`: scales, centres and head of the model `concepts`, from the training images alone."""

from collections.abc import Iterator

import torch
from torch import Tensor

from protolens.data import plain_batches
from protolens.errors import ProtolensError
from protolens.models import evaluation_mode
from protolens.models.concepts import Concepts
from protolens.nn import classification
from protolens.train.clustering import hashed, kmeans
from protolens.train.embedding import Block
from protolens.train.loop import Training
from protolens.train.validation import batch_for

STEPS = 500  # of L-BFGS, at most


@torch.no_grad()
def find_concepts(training: Training, *, vectors: int = 200_000, penalty: float = 1e-4) -> dict[str, object]:
    """Cluster what the layers give at places of the training images, and set the head.

    vectors: about so many places, drawn at random, are clustered; penalty: on half the squared weights of a fitted
    head, beside the mean loss of an image. Processes share the images. The caller seeds torch's global generator.
    """
    model, team, seed = training.model, training.team, torch.initial_seed()
    if not isinstance(model, Concepts):
        raise ProtolensError(f"the step concepts is for the model concepts, not for {model.name}")
    with evaluation_mode(model):
        model.scale.copy_(usual_lengths(training, model))
        blocks = list(some_places(training, model, vectors, seed))
        found = kmeans(lambda: blocks, [len(model.prototypes)], team, seed)
        model.keep(torch.arange(len(found.centres), device=model.device))
        model.prototypes.vectors.copy_(found.centres)
        head = model.network.head_of_code() if model.own_head else None
        if head is None:
            weight, intercept = fit_head(*shares(training, model), penalty)
        else:
            weight, intercept = (found.centres * model.scale[0]) @ head[0].T, head[1]
        model.weight.copy_(weight)
        model.intercept.copy_(intercept)
    counted = int(found.counts.sum())
    return {"centres": len(found.centres), "vectors": counted, "inertia": found.inertia, "rounds": found.rounds}


def usual_lengths(training: Training, model: Concepts) -> Tensor:
    """The root mean square length of what each layer gives at a place of a training image, [L]."""
    images, team = training.data.training, training.team
    squares, places = torch.zeros(2, len(model.layers), dtype=torch.float64, device=model.device)
    for batch in plain_batches(images, batch_for(images), team.device, team.rank, team.size):
        maps = model.look(batch.images)[0]
        squares += torch.stack([values.square().sum(dtype=torch.float64) for values in maps])
        places += torch.tensor([values[:, 0].numel() for values in maps], device=model.device)
    return (team.sum(squares) / team.sum(places)).sqrt().clamp_min(1e-12).float()


def some_places(training: Training, model: Concepts, vectors: int, seed: int) -> Iterator[Block]:
    """About so many places of the training images, the same ones whatever processes share the images."""
    images, team = training.data.training, training.team
    first = int(torch.arange(len(images)).tensor_split(team.size)[team.rank][:1].sum())
    for batch in plain_batches(images, batch_for(images), team.device, team.rank, team.size):
        code = model.code(batch.images)
        patches = code.permute(0, 2, 3, 1).flatten(0, 2)
        each = code.shape[2:].numel()
        number = torch.arange(len(patches)) + first * each
        first += len(code)
        drawn = hashed(number, seed) < vectors / (len(images) * each)
        patches = patches[drawn.to(patches.device)]
        yield Block(number[drawn], patches, torch.zeros(len(patches), dtype=torch.int64, device=patches.device))


def shares(training: Training, model: Concepts) -> tuple[Tensor, Tensor]:
    """The share of each concept in every training image, [N, P], and the labels, on the model's device."""
    images, team = training.data.training, training.team
    batches = plain_batches(images, batch_for(images), team.device, team.rank, team.size)
    found = team.gather(torch.cat([model.evidence(batch.images).similarity for batch in batches]))
    return found, images.labels.to(found.device)


@torch.enable_grad()
def fit_head(values: Tensor, labels: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Logistic regression: weights [P, K] and intercept [K].

    values: [N, P]; labels: [N], or [N, K] zeros and ones, each class then alone; penalty: on half the squared weights,
    beside the mean loss of an image.
    """
    classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    values = values.double()
    weight = values.new_zeros(values.shape[1], classes).requires_grad_()
    intercept = values.new_zeros(classes).requires_grad_()
    optimiser = torch.optim.LBFGS([weight, intercept], max_iter=STEPS, line_search_fn="strong_wolfe")
    # the mean over classes too would let the penalty weigh more with each class
    times = classes if labels.ndim == 2 else 1

    def loss() -> float:
        optimiser.zero_grad()
        value = times * classification(values @ weight + intercept, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    return weight.detach().float(), intercept.detach().float()
