"""The verb `evaluate --uncertainty`: does a model know when it does not know, and how sure are its explanations?

seeds/003 asks it of a Bayesian network: what it says when it has to, what it refuses of its own kind of images, of
noise and of other data. Any other model is taken as one draw of its weights.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from protolens.attribution import attribute
from protolens.config import read_run, seed_of
from protolens.data import DataSet, Images, MemoryImages, open_data, plain_batches, to_float
from protolens.errors import ProtolensError
from protolens.evaluation.interpretation import to_predicted
from protolens.evaluation.maps import rank_correlations
from protolens.evaluation.predicates import number
from protolens.evaluation.scores import wilson_interval
from protolens.evaluation.uncertainty import (
    NOBODY,
    PUBLISHED,
    answers,
    brier_score,
    calibration_error,
    doubt,
    least_for,
    negative_log_likelihood,
)
from protolens.files import write_json
from protolens.models import PrototypeModel, state_digest
from protolens.models.bayesian import Bayesian
from protolens.train import Run, Team, area_under_roc, assemble, batch_for, predict, refuse_other_images

FILE = "uncertainty.json"
WANTED = 0.99  # accuracy when answering that the least probability is chosen for
EXPLAINED = 20  # test images whose explanations are compared between draws
NOISE, NOISE_IMAGES = "noise", 1000


def uncertainty(
    run: Run | Path | str, others: Sequence[str] = (), *, draws: int = 100, seed: int = 0, device: str = "auto"
) -> dict[str, Any]:
    """Measure calibration, refusal and doubt of a run's model, and write RUN/uncertainty.json.

    others: names of data sets of the same image size, whose test images are none of the model's; images of uniform
    noise are always among them. draws: of the weights of a Bayesian network. The least probability of an
    answer is that of seeds/003, and one chosen on validation images. Raises ProtolensError for images of several
    classes, for other sizes, and for unknown data.
    """
    run, begun = Run.open(run), time.monotonic()
    if run.facts["data"]["several"]:
        raise ProtolensError(f"{run.folder}: refusing is measured for images of one class each, and these show several")
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    strangers = {NOISE: noise(data, seed)} | {name: opened(name, data).test for name in others}
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        least = least_for(posterior(model, data.validation, draws, seed, team), data.validation.labels, WANTED)
        own = posterior(model, data.test, draws, seed, team)
        cuts = {"published": PUBLISHED, "chosen": least}
        content: dict[str, Any] = {
            "model": before,
            "data": data.test.digest,
            "draws": len(own),
            "seed": seed,
            "wanted": WANTED,
            "least": cuts,
            "forced": forced(own, data.test.labels),
            "refusal": {name: refusal(own, data.test.labels, cut) for name, cut in cuts.items()},
            "others": {
                name: beside(own, posterior(model, images, draws, seed, team), cuts)
                for name, images in strangers.items()
            },
        }
        content["explanations"] = spread_of_explanations(model, data, draws, seed)
        assert state_digest(model) == before, "measuring changed the model"
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(run.folder / FILE, content)
    return content


def opened(name: str, data: DataSet) -> DataSet:
    """Another data set. Raises ProtolensError where its images have another size."""
    config, _ = read_run(None, {"data": {"name": name, "root": None}})
    other = open_data(config.data)
    if (other.task.bands, *other.task.size) != (data.task.bands, *data.task.size):
        shapes = [f"{task.width} x {task.height} x {task.bands}" for task in (other.task, data.task)]
        raise ProtolensError(f"{name} has images of {shapes[0]} and the model takes {shapes[1]}; name another set")
    return other


def posterior(model: PrototypeModel, images: Images, draws: int, seed: int, team: Team) -> Tensor:
    """Probabilities by each draw, [S, N, K] on the CPU; one draw where weights are fixed."""
    if not isinstance(model, Bayesian):
        return predict(model, images, team).softmax(dim=1)[None]
    networks = model.draws(draws, seed)
    batches = plain_batches(images, batch_for(images), team.device, team.rank, team.size)
    none = torch.zeros(draws, 0, len(model.task.classes), device=team.device)
    parts = [none, *(model.posterior(batch.images, networks) for batch in batches)]
    return team.gather(torch.cat(parts, dim=1).transpose(0, 1)).transpose(0, 1).float().cpu()


def noise(data: DataSet, seed: int) -> Images:
    """Images whose pixels are drawn uniformly, as many as NOISE_IMAGES or as there are test images."""
    generator, count = Generator().manual_seed(seed_of(seed, NOISE)), min(NOISE_IMAGES, len(data.test))
    shape = (count, data.task.bands, *data.task.size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return MemoryImages(NOISE, pixels, torch.zeros(count, dtype=torch.int64), [f"{NOISE}/{i}" for i in range(count)])


def forced(posterior: Tensor, labels: Tensor) -> dict[str, Any]:
    """What the mean over draws is worth where every image has to be answered. [S, N, K], [N]."""
    together = posterior.mean(dim=0)
    right = int((together.argmax(dim=1) == labels).sum())
    return {
        "accuracy": right / len(labels),
        "interval": list(wilson_interval(right, len(labels))),
        "calibration_error": calibration_error(together, labels),
        "brier_score": brier_score(together, labels),
        "negative_log_likelihood": min(negative_log_likelihood(together, labels), 1e9),
    }


def refusal(posterior: Tensor, labels: Tensor, least: float) -> dict[str, Any]:
    """What is refused, and how often the rest is right. [S, N, K], [N]."""
    said = answers(posterior, least)
    answered = said != NOBODY
    right, count = int((said == labels)[answered].sum()), int(answered.sum())
    return {
        **share_refused(posterior, least),
        "accuracy": right / count if count else None,
        "accuracy_interval": list(wilson_interval(right, count)) if count else None,
    }


def share_refused(posterior: Tensor, least: float) -> dict[str, Any]:
    """Share of the images that get no answer, with Wilson's interval."""
    none = int((answers(posterior, least) == NOBODY).sum())
    images = posterior.shape[1]
    return {"refused": none / images, "refused_interval": list(wilson_interval(none, images))}


def beside(own: Tensor, theirs: Tensor, cuts: dict[str, float]) -> dict[str, Any]:
    """What is refused of images that are none of the model's, and how well doubt tells them from its own."""
    kinds = zip(("entropy", "mutual_information"), doubt(own), doubt(theirs), strict=True)
    strange = torch.cat([torch.zeros(own.shape[1]), torch.ones(theirs.shape[1])]).bool()
    return {
        "images": theirs.shape[1],
        "refusal": {name: share_refused(theirs, least) for name, least in cuts.items()},
        "doubt": {
            name: {
                "own": float(at_home.mean()),
                "theirs": float(abroad.mean()),
                "area_under_roc": area_under_roc(torch.cat([at_home, abroad]), strange),
            }
            for name, at_home, abroad in kinds
        },
    }


def spread_of_explanations(model: PrototypeModel, data: DataSet, draws: int, seed: int) -> dict[str, Any] | None:
    """How far explanations of the same decision differ between draws; None where weights are fixed.

    contributions: standard deviation over draws of what the likeliest class's logit gets from its prototypes, by the
    mean over draws of their absolute sum; maps: rank correlation between LRP's maps of two draws, mean over pairs, None
    where maps have one value everywhere.
    """
    if not isinstance(model, Bayesian):
        return None
    generator = Generator().manual_seed(seed_of(seed, "explanations"))
    rows = torch.randperm(len(data.test), generator=generator)[:EXPLAINED].sort().values
    images = to_float(data.test.take(rows), model.device)
    networks = model.draws(min(draws, EXPLAINED), seed)
    with torch.no_grad():
        targets = torch.stack([network(images).softmax(dim=1) for network in networks]).mean(dim=0).argmax(dim=1)
        found = [network.evidence(images) for network in networks]
        said = torch.nn.functional.one_hot(targets, len(data.task.classes)).float()
        adds = torch.stack([
            to_predicted(network.contributions(evidence), said)
            for network, evidence in zip(networks, found, strict=True)
        ])  # fmt: skip
    whole = adds.abs().sum(dim=2).mean(dim=0).clamp_min(1e-12)
    maps = torch.stack([attribute(network, images, targets, "lrp", seed) for network in networks]).cpu()
    alike = rank_correlations(maps)
    pairs = torch.triu_indices(len(networks), len(networks), 1)
    return {
        "images": len(rows),
        "draws": len(networks),
        "contributions": float((adds.sum(dim=2).std(dim=0) / whole).mean()),
        "maps": number(float(alike[:, pairs[0], pairs[1]].nanmean())),
    }
