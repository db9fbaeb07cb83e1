"""Do explanations stay when an image changes by less than a person sees? Decisions, reasons and maps under noise.

"Robust ... local explanations" of seeds/001; prototypes that are nearer to the wrong class before the answer is wrong.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from protolens.attribution import attribute
from protolens.data import drawn_for_each
from protolens.evaluation.looking import KEPT
from protolens.evaluation.maps import overlaps, rank_correlations, spearman
from protolens.evaluation.promises import shows_class_of
from protolens.evaluation.sampling import mean_of
from protolens.evaluation.scores import wilson_interval
from protolens.evaluation.trust import early_failures, prototype_margin
from protolens.models import PrototypeModel, evaluation_mode
from protolens.train import classes_said, classes_shown

NOISES = {"uniform": 0.02, "gaussian": 0.05}  # largest change of a pixel; standard deviation; of a range of 1
DRAWS = 3  # of each noise
SHARES = ("decision_stays", "nearest_stays", "early_failure")  # figures that are yes or no for an image and a draw


def shaken(images: Tensor, rows: Tensor, noise: str, draw: int, seed: int) -> Tensor:
    """The images with noise of their own, cut off at 0 and 1. images: [B, C, H, W]; rows: [B], their numbers."""
    asked = (images.shape[1:], rows.tolist(), seed, "shaken", noise, draw)
    moved = 2 * drawn_for_each(torch.rand, *asked) - 1 if noise == "uniform" else drawn_for_each(torch.randn, *asked)
    return (images + NOISES[noise] * moved.to(images)).clamp(0, 1)


@dataclass(frozen=True)
class Reasons:
    """How a model decides about B images, and why.

    said: [B, K] of bool; nearest: [B], the most similar prototype; similarity: [B, P]; adds: [B, P], what prototypes
    add to the class of each image that is asked about; margin: [B], see `prototype_margin`; right: [B] of bool.
    """

    said: Tensor
    nearest: Tensor
    similarity: Tensor
    adds: Tensor
    margin: Tensor
    right: Tensor
    targets: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: PrototypeModel, images: Tensor, labels: Tensor, targets: Tensor | None = None) -> "Reasons":
        """targets: [B], the classes that are asked about, else the likeliest. labels: [B] or [B, K]."""
        with evaluation_mode(model):
            evidence = model.evidence(images)
            contributions = model.contributions(evidence)
        logits, classes = evidence.logits, len(model.task.classes)
        targets = logits.argmax(dim=1) if targets is None else targets
        said = classes_said(logits, model.task.several)
        margin = torch.full_like(logits[:, 0], torch.nan, dtype=torch.float64)
        if evidence.distance is not None:
            margin = prototype_margin(evidence.distance, shows_class_of(labels, model.class_of()))
        return cls(
            said,
            evidence.similarity.argmax(dim=1),
            evidence.similarity,
            contributions[torch.arange(len(images), device=images.device), :, targets],
            margin,
            (said == classes_shown(labels, classes)).all(dim=1),
            targets,
        )


def steadiness(
    model: PrototypeModel, images: Tensor, labels: Tensor, rows: Tensor, maps: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """Figures of each image and draw by "NOISE FIGURE", [B, DRAWS], and the margin without noise, [B, 1].

    Whether the decision stays; where it does, whether the most similar prototype does too, how the order of
    contributions to the decided class and of similarities is kept, and how alike maps for that class are: rank
    correlation, and the share of the highest pixels that stay among them. Not a number where the decision changes, and
    for the order of contributions where no two prototypes add anything. rows: [B], numbers of the images; maps: by
    which methods.
    """
    before = Reasons.of(model, images, labels)
    own = {name: attribute(model, images, before.targets, name, seed) for name in maps}
    found: dict[str, list[Tensor]] = defaultdict(list)
    for noise in NOISES:
        for draw in range(DRAWS):
            moved = shaken(images, rows, noise, draw, seed)
            after = Reasons.of(model, moved, labels, before.targets)
            stays = (after.said == before.said).all(dim=1)
            figures = {**kept_reasons(before, after), **kept_maps(model, moved, before.targets, own, seed)}
            figures = {name: torch.where(stays, values, torch.nan) for name, values in figures.items()}
            figures["decision_stays"] = stays.double()
            for name, values in (figures | margins(after)).items():
                found[f"{noise} {name}"].append(values)
    alone = {f"none {name}": [values] for name, values in margins(before).items()}
    return {name: torch.stack(values, dim=1) for name, values in (found | alone).items()}


def kept_reasons(before: Reasons, after: Reasons) -> dict[str, Tensor]:
    """Whether the nearest prototype stays, and the rank correlations of contributions and of similarities: [B] each."""
    several = (before.adds != 0).sum(dim=1) > 1
    order = spearman(before.adds[:, None], after.adds[:, None])
    return {
        "nearest_stays": (before.nearest == after.nearest).double(),
        "contributions": torch.where(several, order, torch.nan),
        "similarities": spearman(before.similarity[:, None], after.similarity[:, None]),
    }


def kept_maps(
    model: PrototypeModel, moved: Tensor, targets: Tensor, own: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Rank correlation and overlap of maps of shaken images with those of the images as they are, [B] each, by method.

    moved: [B, C, H, W]; own: maps [B, H, W] of the images as they are, by method.
    """
    figures = {}
    for name, maps in own.items():
        pair = torch.stack([maps, attribute(model, moved, targets, name, seed)])
        figures[f"{name} correlation"] = rank_correlations(pair)[:, 0, 1]
        figures[f"{name} overlap"] = overlaps(pair, KEPT)[:, 0, 1]
    return figures


def margins(reasons: Reasons) -> dict[str, Tensor]:
    """The margin, and whether it fails early: not a number where the answer is wrong, [B] each."""
    return {"margin": reasons.margin, "early_failure": early_failures(reasons.margin, reasons.right)}


def summary(found: Mapping[str, Tensor], maps: Sequence[str]) -> dict[str, Any]:
    """Entries of robustness.json: mean over images of each one's mean over draws. found: [N, DRAWS] each."""
    content: dict[str, Any] = {"draws": DRAWS, "kept": KEPT}
    for noise, size in {"none": 0.0, **NOISES}.items():
        own = {
            key.removeprefix(f"{noise} "): over_draws(values) for key, values in found.items() if key.startswith(noise)
        }
        content[noise] = {
            "size": size,
            **{key: share_with_interval(own[key]) for key in SHARES if key in own},
            **{key: mean_of(own[key]) for key in ("contributions", "similarities", "margin") if key in own},
        }
        if noise != "none":
            content[noise]["maps"] = {
                name: {key: mean_of(own[f"{name} {key}"]) for key in ("correlation", "overlap")} for name in maps
            }
    return content


def over_draws(values: Tensor) -> Tensor:
    """Mean over the draws that have the figure: [N, DRAWS] -> [N], not a number without any."""
    return values.nanmean(dim=1)


def share_with_interval(values: Tensor) -> dict[str, Any]:
    """Mean of shares [N] of the images that have one, with Wilson's interval; None without any.

    As many trials as images are counted, for draws of one image are no images: the interval is rather too wide.
    """
    values = values[~values.isnan()].double()
    if not len(values):
        return {"mean": None, "interval": None}
    mean = float(values.mean())
    return {"mean": mean, "interval": list(wilson_interval(mean * len(values), len(values)))}
