"""The verb `evaluate --uncertainty`: does a model know when it does not know, and how sure are its explanations?

seeds/003 asks it of a Bayesian network: what it says when it has to, what it refuses of its own kind of images, of
noise and of other data. Any other model is taken as one draw of its weights.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from protolens.attribution import attribute
from protolens.config import read_run, seed_of
from protolens.data import DataSet, Images, MemoryImages, open_data, plain_batches, to_float
from protolens.errors import ProtolensError
from protolens.evaluation.budget import Costs, agreed, foreseen, half_width, in_points, rate_of, tried
from protolens.evaluation.doubtful import Answered, doubtful
from protolens.evaluation.interpretation import to_predicted
from protolens.evaluation.maps import rank_correlations
from protolens.evaluation.sampling import mean_of
from protolens.evaluation.scores import area_interval, wilson_interval
from protolens.evaluation.uncertainty import (
    NOBODY,
    PUBLISHED,
    accuracies_when_answering,
    answers,
    calibration_by_chance,
    calibration_error,
    calibration_interval,
    doubt,
    least_for,
    least_refusing,
    median,
    refusals,
    reliability,
    squared_errors,
    surprises,
)
from protolens.files import write_json
from protolens.models import PrototypeModel, state_digest
from protolens.models.bayesian import Bayesian
from protolens.train import Run, Team, area_under_roc, assemble, batch_for, number, predict, refuse_other_images

FILE = "uncertainty.json"
WANTED = 0.99  # accuracy when answering that the least probability is chosen for
CAUTIOUS = 0.1  # share of the validation images that may be refused, for which strangers are
EXPLAINED = 20  # test images whose explanations are compared between draws
TIMED = 4  # draws of a forecast
DOUBTS = ("entropy", "mutual_information")
LEAST_DRAWS = 10  # that a budget has to reach for
NOISE, NOISE_IMAGES = "noise", 1000
SURELY = 1e9  # nats, in place of what is infinite
# least probabilities of the curves: ever nearer to 1, where sure models are
LEASTS = (*(step / 100 for step in range(100)), 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999, 1.0)
PARTS = 20  # of a histogram of doubt


def uncertainty(
    run: Run | Path | str,
    others: Sequence[str] = (),
    *,
    draws: int = 100,
    seed: int = 0,
    budget: float | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure calibration, refusal and doubt of a run's model; writes RUN/uncertainty.json, and pictures beside it.

    others: names of data sets of the same image size, whose test images are none of the model's; images of uniform
    noise are always among them. draws: of the weights of a Bayesian network; budget: seconds, for which as many of
    these are made as fit. The least probability of an answer is that of seeds/003, and two chosen on validation
    images: for right answers, and to refuse as many strangers as CAUTIOUS of one's own images cost. Raises
    ProtolensError for images of several classes, for other sizes, for unknown data, and for a budget that is too
    small.
    """
    run, begun = Run.open(run), time.monotonic()
    if run.facts["data"]["several"]:
        raise ProtolensError(f"{run.folder}: refusing is measured for images of one class each, and these show several")
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    strangers = {NOISE: (noise(data, seed), ())} | {
        name: (other.test, other.task.classes) for name in others for other in [opened(name, data)]
    }
    with assemble(device) as team:
        model = run.model().to(team.device)
        before = state_digest(model)
        splits = [data.validation, data.test, *(images for images, _ in strangers.values())]
        wanted = draws if isinstance(model, Bayesian) else 1
        plan = foreseen(team, "draw", costs_of(model, data, splits, team), wanted, LEAST_DRAWS, budget, begun)
        networks = networks_of(model, plan.count, seed)
        said = [posterior(model, images, networks, team) for images in splits]
        own = Answered(data.test, said[1], data.task.classes)
        abroad = {
            name: Answered(images, each, classes)
            for (name, (images, classes)), each in zip(strangers.items(), said[2:], strict=True)
        }
        chosen = least_for(said[0], data.validation.labels, WANTED)
        cuts = {"published": PUBLISHED, "chosen": chosen, "cautious": least_refusing(said[0], CAUTIOUS)}
        found = figures(own, abroad, cuts, seed)
        pictures = doubtful(own, abroad, cuts["chosen"], data.task.classes, run.folder if team.leads else None)
        explanations = spread_of_explanations(model, data, plan.count, seed)
        assert state_digest(model) == before, "measuring changed the model"
    content = {"model": before, "data": data.test.digest, "draws": len(own.posterior), "seed": seed}
    content |= {"wanted": WANTED, "cautious": CAUTIOUS}
    content |= found | {"pictures": pictures, "explanations": explanations}
    content |= plan.facts(f"accuracy when forced is known to {in_points(half_width([found['forced']['interval']]))}")
    content["seconds"] = round(time.monotonic() - begun, 2)
    if team.leads:
        write_json(run.folder / FILE, content)
    return content


def figures(own: Answered, abroad: Mapping[str, Answered], cuts: Mapping[str, float], seed: int) -> dict[str, Any]:
    """All that posteriors tell. cuts: least probabilities of an answer, by name."""
    labels, kinds = own.images.labels, {"test": own, **abroad}
    # the median of medians is itself: it stands for all draws where answers are asked for
    middles = {name: median(kind.posterior)[None] for name, kind in kinds.items()}
    doubts = {name: doubt(kind.posterior) for name, kind in kinds.items()}
    return {
        "least": dict(cuts),
        "forced": forced(own.posterior, labels, seed),
        "refusal": {name: refusal(middles["test"], labels, cut) for name, cut in cuts.items()},
        "others": {
            name: {
                "images": len(each.images),
                "refusal": {cut: share_refused(middles[name], least) for cut, least in cuts.items()},
                "doubt": told_apart(doubts["test"], doubts[name]),
            }
            for name, each in abroad.items()
        },
        "curves": {
            "least": list(LEASTS),
            "accuracy": accuracies_when_answering(middles["test"], labels, LEASTS),
            "refused": {name: refusals(middle, LEASTS) for name, middle in middles.items()},
        },
        "histograms": {
            kind: histograms({name: pair[place] for name, pair in doubts.items()}) for place, kind in enumerate(DOUBTS)
        },
    }


def costs_of(model: PrototypeModel, data: DataSet, splits: Sequence[Images], team: Team) -> Costs:
    """Seconds of looking at all images, and of comparing explanations, for a number of draws."""
    alone = Team(team.device)

    def seconds(networks: Sequence[Bayesian]) -> float:
        def look_at(images: Images) -> float:
            some = lambda n: posterior(model, images.subset(images.name, torch.arange(n)), networks, alone)  # noqa: E731
            return len(images) * rate_of(some, tried(len(images))) / team.size

        return sum(map(look_at, splits))

    networks = networks_of(model, TIMED)
    rates = {"images": seconds(networks[:1]), "more": 0.0, "explanations": 0.0}
    if isinstance(model, Bayesian):
        # what is not random in a network is computed once for all draws
        rates["more"] = max(0.0, seconds(networks) - rates["images"]) / (TIMED - 1)
        rates["more"] += rate_of(lambda n: model.draws(n, 0), TIMED)
        rates["explanations"] = rate_of(lambda n: spread_of_explanations(model, data, n, 0), TIMED)
    rates = agreed(team, rates)
    return lambda draws: {
        "images": rates["images"] + (draws - 1) * rates["more"],
        "explanations": min(draws, EXPLAINED) * rates["explanations"],
    }


def opened(name: str, data: DataSet) -> DataSet:
    """Another data set. Raises ProtolensError where its images have another size."""
    config, _ = read_run(None, {"data": {"name": name, "root": None}})
    other = open_data(config.data)
    if (other.task.bands, *other.task.size) != (data.task.bands, *data.task.size):
        shapes = [f"{task.width} x {task.height} x {task.bands}" for task in (other.task, data.task)]
        raise ProtolensError(f"{name} has images of {shapes[0]} and the model takes {shapes[1]}; name another set")
    return other


def networks_of(model: PrototypeModel, draws: int, seed: int = 0) -> list[Bayesian]:
    """Networks of so many draws; none where weights are fixed."""
    return model.draws(draws, seed) if isinstance(model, Bayesian) else []


def posterior(model: PrototypeModel, images: Images, networks: Sequence[Bayesian], team: Team) -> Tensor:
    """Probabilities by each network that was drawn, [S, N, K] on the CPU; by the model itself where none was."""
    if not isinstance(model, Bayesian):
        return predict(model, images, team).softmax(dim=1)[None]
    batches = plain_batches(images, batch_for(images), team.device, team.rank, team.size)
    none = torch.zeros(len(networks), 0, len(model.task.classes), device=team.device)
    parts = [none, *(model.posterior(batch.images, networks) for batch in batches)]
    return team.gather(torch.cat(parts, dim=1).transpose(0, 1)).transpose(0, 1).float().cpu()


def noise(data: DataSet, seed: int) -> Images:
    """Images whose pixels are drawn uniformly, as many as NOISE_IMAGES or as there are test images."""
    generator, count = Generator().manual_seed(seed_of(seed, NOISE)), min(NOISE_IMAGES, len(data.test))
    shape = (count, data.task.bands, *data.task.size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return MemoryImages(NOISE, pixels, torch.zeros(count, dtype=torch.int64), [f"{NOISE}/{i}" for i in range(count)])


def forced(posterior: Tensor, labels: Tensor, seed: int) -> dict[str, Any]:
    """What the mean over draws is worth where every image has to be answered. [S, N, K], [N]."""
    together = posterior.mean(dim=0)
    right = int((together.argmax(dim=1) == labels).sum())
    brier = mean_of(squared_errors(together, labels))
    likelihood = mean_of(surprises(together, labels).clamp_max(SURELY))
    bins = reliability(together, labels)
    return {
        "accuracy": right / len(labels),
        "interval": list(wilson_interval(right, len(labels))),
        "calibration_error": calibration_error(together, labels),
        "calibration_interval": list(calibration_interval(together, labels, seed)),
        "calibration_by_chance": calibration_by_chance(together, seed),
        "brier_score": brier["mean"],
        "brier_interval": brier["interval"],
        "negative_log_likelihood": likelihood["mean"],
        "likelihood_interval": likelihood["interval"],
        "bins": [
            {
                "images": images,
                "confidence": confidence,
                "accuracy": accuracy,
                "interval": list(wilson_interval(round(accuracy * images), images)),
            }
            for images, confidence, accuracy in bins
        ],
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


def told_apart(own: Sequence[Tensor], theirs: Sequence[Tensor]) -> dict[str, Any]:
    """How well each kind of doubt tells images that are none of the model's from its own. [N] and [M] of each kind."""
    found = {}
    for name, at_home, abroad in zip(DOUBTS, own, theirs, strict=True):
        both = torch.cat([at_home, abroad])
        strange = torch.arange(len(both)) >= len(at_home)
        found[name] = {
            "own": float(at_home.mean()),
            "theirs": float(abroad.mean()),
            "area_under_roc": area_under_roc(both, strange),
            "area_interval": list(area_interval(both, strange)),
        }
    return found


def histograms(doubts: Mapping[str, Tensor]) -> dict[str, Any]:
    """Shares of images [PARTS] of each kind in parts of equal width from 0 to the highest doubt of all, in nats."""
    highest = max(float(each.max()) for each in doubts.values()) or 1.0
    return {
        "highest": highest,
        "shares": {
            name: (each.double().histc(PARTS, 0, highest) / len(each)).tolist() for name, each in doubts.items()
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
        "contributions": number(float((adds.sum(dim=2).std(dim=0) / whole).mean())) if len(adds) > 1 else None,
        "maps": number(float(alike[:, pairs[0], pairs[1]].nanmean())),
    }
