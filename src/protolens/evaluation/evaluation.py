"""The verb `evaluate`: the figures of a finished run on the test split, and examples of right and wrong."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protolens.data import DataSet, Images, open_data, plain_batches
from protolens.evaluation.answers import LARGEST, write_answers
from protolens.evaluation.examples import examples
from protolens.evaluation.interpretation import conciseness, fidelity, to_predicted
from protolens.evaluation.locating import scores_of_parts
from protolens.evaluation.masks import scores_of_masks
from protolens.evaluation.overview import overview
from protolens.evaluation.predicates import combination, diversity, transparency
from protolens.evaluation.promises import promises
from protolens.evaluation.scores import wilson_interval
from protolens.evaluation.several import scores_of_several
from protolens.evaluation.uncertainty import brier_score, calibration_error, negative_log_likelihood
from protolens.files import write_json
from protolens.models import Evidence, PrototypeModel, evaluation_mode, load_model, state_digest
from protolens.nn import classification
from protolens.train import (
    Run,
    Team,
    accuracy,
    assemble,
    balanced_accuracy,
    batch_for,
    classes_said,
    classes_shown,
    confusion,
    figures_of_several,
    made_with,
    main_figure,
    mean_area_under_roc,
    number,
    predict,
    refuse_other_images,
    share_of_equal,
)

THRESHOLDS = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0)  # of conciseness, as FLINT's paper


@dataclass(frozen=True)
class Evaluation:
    """What evaluation.json holds."""

    content: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Share of the test images that were recognised: all their classes, where they can show several."""
        return float(self.content["right"] / self.content["images"])


def evaluate(run: Run | Path | str, *, again: bool = False, device: str = "auto") -> Evaluation:
    """Score a finished run on the test split, and write evaluation.json and examples/.

    A run that was evaluated before is not read again, unless `again` says so. Raises ProtolensError when the images
    differ from those that the run was made with.
    """
    run = Run.open(run)
    if not again and (done := run.evaluation):
        return Evaluation(done)
    data = open_data(run.config.data)
    refuse_other_images(run, data)
    begun = time.monotonic()
    with assemble(device) as team:
        made = made_with(team)
        model = run.model().to(team.device)
        before = state_digest(model)
        sight = look(model, data.test, team)
        figures = scores(sight.logits, data, run.config.seed)
        content = {"model": before, "data": data.test.digest, "made_with": made, **figures}
        content["prototypes"] = promises(model, data.test, sight.similarity, run.config.seed)
        content["interpretation"] = interpretation(sight, data)
        content["predicates"] = predicates(run, model, sight, data)
        content |= overview(run, model, data, sight.contributions, sight.logits.argmax(dim=1))
        content["shares_of_places"] = None if sight.places is None else sight.places.tolist()
        content["masks"] = scores_of_masks(model, data.training, data.test, team)
        content["parts"] = scores_of_parts(run, model, data.test, sight.similarity, team)
        content["before"] = before_steps(run, data, team)
        content |= examples(run, model, sight.logits, data.test)
        answers = answers_of(model, sight, look(model, data.validation, team)) | {"labels": data.test.labels}
        write_answers(run.folder, answers, before, data.test.digest)
        assert state_digest(model) == before, "evaluation changed the model"
    content["seconds"] = round(time.monotonic() - begun, 2)
    write_json(run.folder / "evaluation.json", content)
    return Evaluation(content)


@dataclass(frozen=True)
class Sight:
    """What a model sees in N images of a split, on the CPU."""

    logits: Tensor  # [N, K]
    similarity: Tensor  # [N, P]
    codes: Tensor  # [N, D]; where prototypes stand at places, that of the place which is most like any
    contributions: Tensor  # [N, P], to the likeliest class
    predictor: Tensor | None  # [N, K], logits of the network that the model interprets
    places: Tensor | None  # [P], share of all places at which each prototype is the most similar one


@torch.inference_mode()
def look(model: PrototypeModel, images: Images, team: Team) -> Sight:
    """One pass over a split, shared among the processes, in evaluation mode."""
    seen, places = [], torch.zeros(len(model.prototypes), dtype=torch.int64, device=team.device)
    with evaluation_mode(model):
        for batch in plain_batches(images, batch_for(images), team.device, team.rank, team.size):
            found = model.evidence(batch.images)
            contributions = to_predicted(model.contributions(found), found.logits)
            if found.maps is not None:
                places += found.maps.argmax(dim=1).flatten().bincount(minlength=len(places))
            seen.append((found.logits, found.similarity, code_of_winner(found), contributions, found.predictor))
    *known, predictor = zip(*seen, strict=True)
    logits, similarity, codes, contributions = (join(team, column) for column in known)
    places = team.sum(places).cpu()
    return Sight(
        logits,
        similarity,
        codes,
        contributions,
        None if predictor[0] is None else join(team, predictor),
        places / places.sum() if places.any() else None,
    )


def code_of_winner(evidence: Evidence) -> Tensor:
    """The code of each image, or of its place that is most like any prototype: [B, D]."""
    if evidence.maps is None:
        return evidence.code
    place = evidence.maps.amax(dim=1).flatten(1).argmax(dim=1)
    return evidence.code.flatten(2)[torch.arange(len(place)), :, place]


def answers_of(model: PrototypeModel, test: Sight, validation: Sight) -> dict[str, Tensor]:
    """What is kept of each image: logits of both splits, of the network that is interpreted too, and similarities."""
    found = {"class_of": model.class_of(), "logits": test.logits, "validation_logits": validation.logits}
    if test.predictor is not None and validation.predictor is not None:
        found |= {"predictor": test.predictor, "validation_predictor": validation.predictor}
    return found | ({"similarity": test.similarity} if test.similarity.numel() <= LARGEST else {})


def join(team: Team, parts: Sequence[Tensor]) -> Tensor:
    """What all batches of all processes gave, in order, on the CPU."""
    return team.gather(torch.cat(list(parts))).float().cpu()


def interpretation(sight: Sight, data: DataSet) -> dict[str, Any]:
    """With how few prototypes decisions are made; for a model that interprets a network also how truly it does."""
    few = conciseness(sight.contributions, THRESHOLDS)
    found: dict[str, Any] = {"conciseness": dict(zip(map(str, THRESHOLDS), few, strict=True))}
    if sight.predictor is not None:
        task = data.task
        said, shown = classes_said(sight.predictor, task.several), classes_shown(data.test.labels, len(task.classes))
        found["predictor_accuracy"] = share_of_equal(said, shown)
        found["fidelity"] = fidelity(sight.logits, sight.predictor, task.several)
        if task.several:
            figures = figures_of_several(sight.predictor, data.test.labels)
            found["predictor_mean_average_precision"] = figures["mean_average_precision"]
    return found


def predicates(run: Run, model: PrototypeModel, sight: Sight, data: DataSet) -> dict[str, Any]:
    """How transparent and how diverse the prototypes are; trust needs a black box, and so another run."""
    labels, predicted, class_of = data.test.labels, sight.logits.argmax(dim=1), model.class_of().cpu()
    classes = len(data.task.classes)
    return {
        "transparency": transparency(sight.similarity, sight.contributions, predicted, labels, class_of, classes),
        "diversity": diversity(model, sight.codes, sight.similarity, labels) | combination(run, data),
    }


def before_steps(run: Run, data: DataSet, team: Team) -> dict[str, Any]:
    """The main figure of the model as it was before each step that changed its prototypes, such as projection."""
    found, main = {}, main_figure(data.task.several)
    for path in sorted(run.folder.glob("before-*.safetensors")):
        whole = scores(predict(load_model(path).to(team.device), data.test, team), data, run.config.seed)
        step = path.stem.removeprefix("before-")
        found[step] = {name: whole[name] for name in (main, f"{main}_interval")}
    return found


def scores(logits: Tensor, data: DataSet, seed: int) -> dict[str, Any]:
    """The figures of the test split. logits: [N, K]; seed: draws what an interval needs."""
    labels, classes = data.test.labels, data.task.classes
    if data.task.several:
        return scores_of_several(logits, labels, classes, seed)
    table = confusion(logits.argmax(dim=1), labels, len(classes))
    right, images = int(table.diagonal().sum()), len(labels)
    low, high = wilson_interval(right, images)
    probabilities = logits.double().softmax(dim=1)
    of_class, given = table.sum(dim=1), table.sum(dim=0)
    most_common = int(torch.bincount(data.training.labels, minlength=len(classes)).argmax())
    return {
        "images": images,
        "accuracy": accuracy(table),
        "accuracy_interval": [low, high],
        "right": right,
        "balanced_accuracy": balanced_accuracy(table),
        "area_under_roc": mean_area_under_roc(probabilities, labels),
        "loss": float(classification(logits, labels)),
        "calibration_error": calibration_error(probabilities, labels),
        "brier_score": brier_score(probabilities, labels),
        "negative_log_likelihood": number(negative_log_likelihood(probabilities, labels)),
        "always_most_common_class": float((labels == most_common).float().mean()),
        "confusion": table.tolist(),
        "classes": [
            {
                "name": name,
                "images": int(of_class[k]),
                "recall": float(table[k, k] / of_class[k]) if of_class[k] else None,
                "precision": float(table[k, k] / given[k]) if given[k] else None,
            }
            for k, name in enumerate(classes)
        ],
    }
