"""Run folders as `fit` and `evaluate` leave them, made of drawn numbers and pictures: no training, no data set."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from protolens.config import RunConfig, Stage, to_mapping, to_toml
from protolens.evaluation import wilson_interval
from protolens.explanation import Explanation, Reason, Seen
from protolens.train import Run

TERMS = {"classification": 20.0, "reconstruction": 1.0, "prototype_coverage": 1.0}


@dataclass
class RunMaker:
    """Writes a run folder. Every number in it follows from `seed` and the sizes."""

    folder: Path
    classes: Sequence[str] = ("cat", "dog", "owl")
    prototypes: int = 8
    height: int = 8
    width: int = 8
    bands: int = 1
    decoder: bool = True
    evaluated: bool = True
    epochs: int = 12
    per_class: Sequence[int] | None = None
    model: str = "prototypedl"
    places: bool = False  # whether prototypes stand at places of a map of 3 x 3; such models have no decoder
    seen: bool = False  # whether decisions are sums over places, and the set has masks; needs places
    followed: bool = False  # whether the run tells what became of its prototypes, and its evaluation how they do
    built_in: bool = False  # whether it tells what a network's own prototypes are like
    seed: int = 0

    def write(self) -> Run:
        """Write the folder and open it."""
        self.random = np.random.default_rng(self.seed)
        self.decoder = self.decoder and not self.places
        self.folder.mkdir(parents=True, exist_ok=True)
        shape = (self.prototypes, len(self.classes))
        self.weights = self.random.normal(0, 0.6, shape)
        self.weights[np.arange(shape[0]), np.arange(shape[0]) % shape[1]] += 2
        self.bias = self.random.normal(0, 0.3, shape[1])
        self.usual = -self.random.uniform(2, 4, shape[0])
        (self.folder / "config.toml").write_text(to_toml(self.config()))
        (self.folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.history()))
        self.json("prototypes.json", {"model": "abc", "data": "def", "prototypes": self.prototype_entries()})
        self.json("run.json", self.facts())
        if self.built_in:
            self.json("built_in.json", self.built_in_prototypes())
        if self.evaluated:
            self.json("evaluation.json", self.evaluation())
        return Run.open(self.folder)

    def json(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def picture(self, name: str) -> str:
        """Write a drawn PNG picture: stripes of some width, so that pictures differ."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.png())
        return name

    def png(self) -> bytes:
        rows, columns = np.mgrid[: self.height, : self.width]
        wave = np.sin(rows * self.random.uniform(0.2, 1) + columns * self.random.uniform(0.2, 1))
        tint = self.random.uniform(0.3, 1, self.bands)
        pixels = ((wave[:, :, None] + 1) * 127 * tint).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels[:, :, 0] if self.bands == 1 else pixels).save(buffer, "PNG")
        return buffer.getvalue()

    def stage(self) -> Stage:
        return Stage("train", epochs=self.epochs, weights=TERMS)

    def config(self) -> dict[str, Any]:
        tables = to_mapping(RunConfig())
        tables["data"]["root"] = "/home/somebody/private"
        tables["train"]["select"] = "accuracy"  # as fit writes down what "auto" has become
        stage = to_mapping(self.stage())
        return tables | {"model": {"name": self.model}, "stages": {stage.pop("name"): stage}}

    def counts(self) -> list[int]:
        return list(self.per_class or [100 + 3 * k for k in range(len(self.classes))])

    def facts(self) -> dict[str, Any]:
        counts = self.counts()
        splits = {
            name: {"images": sum(part), "digest": name[0] * 64, "per_class": part}
            for name, part in (
                ("training", counts),
                ("validation", [max(1, n // 10) for n in counts]),
                ("test", [max(1, n // 5) for n in counts]),
            )
        }
        data = {"name": "drawn", "classes": list(self.classes), "bands": self.bands, "height": self.height}
        leak = {"first": "train/3", "first_split": "training", "second": "test/9", "second_split": "test"}
        return {
            "model": {"name": self.model, "digest": "abc", "parameters": 12345},
            "settings": {"prototypes": self.prototypes},
            "data": data
            | {"width": self.width, "splits": splits, "notes": ["The pictures are drawn by the test."]}
            | {"leaks": [leak | {"why": "pixels", "key": "00ff", "action": "dropped"}]},
            "stages": [to_mapping(self.stage())],
            "chosen": [{"stage": "train", "epoch": max(0, self.epochs - 2), "score": 0.9 if self.epochs else None}],
            **({"followed": self.steps()} if self.followed else {}),
            "seconds": 83.2,
            "made_with": {"protolens": "0.1.0", "torch": "2.15.0", "python": "3.11", "device": "cpu"}
            | {"threads": 2, "processes": 1},
        }

    def history(self) -> list[dict[str, Any]]:
        lines = []
        for epoch in range(1, self.epochs + 1):
            accuracy = 1 - 0.8 / epoch
            terms = {name: 3 / (epoch + number) for number, name in enumerate(TERMS)}
            validation = {"accuracy": accuracy, "balanced_accuracy": accuracy * 0.9, "loss": 2 / epoch}
            line = {"stage": "train", "epoch": epoch, "terms": terms, "validation": validation, "chosen": True}
            lines.append(line | {"seconds": 1.5 * epoch} | (self.whereabouts(epoch) if self.followed else {}))
        return lines

    def steps(self) -> list[dict[str, Any]]:
        steps = [
            {"step": "project", "projected": 9, "patches": 8, "mean_move": 2.345},
            {"step": "prune", "dropped": [4], "left": 8},
        ]
        figures = {"before": {"accuracy": 0.912}, "after": {"accuracy": 0.887}}
        return [{"stage": "train", **step, **figures} for step in steps]

    def whereabouts(self, epoch: int) -> dict[str, Any]:
        """One prototype is never used and goes away; another is dropped in the middle."""
        count = self.prototypes + (epoch <= self.epochs // 2)
        uses = [0, *[5] * (count - 1)]
        norm, distance = [1.0 + epoch, *[2.0] * (count - 1)], [10.0 * epoch, *[0.5] * (count - 1)]
        return {"prototypes": {"uses": uses, "norm": norm, "distance": distance}}

    def box(self) -> list[int]:
        """Somewhere in the picture, a quarter as long and as wide."""
        width, height = max(1, self.width // 4), max(1, self.height // 4)
        left, top = self.random.integers(0, self.width - width + 1), self.random.integers(0, self.height - height + 1)
        return [int(side) for side in (left, top, left + width, top + height)]

    def prototype_entries(self) -> list[dict[str, Any]]:
        entries = []
        for number in range(self.prototypes):
            uses = self.random.integers(0, 40, len(self.classes))
            uses[number % len(self.classes)] += 200
            if number == 1:
                uses[:] = 0
            owner = self.classes[int(self.weights[number].argmax())]
            origin = {"split": "training", "index": 7 * number, "name": f"train/{7 * number}", "label": owner}
            entry = {
                "prototype": number,
                "class": owner,
                "weights": self.weights[number].tolist(),
                "uses": uses.tolist(),
                "purity": float(uses.max() / uses.sum()) if uses.sum() else None,
                "most_used_by": self.classes[int(uses.argmax())] if uses.sum() else None,
                "usual_similarity": float(self.usual[number]),
                "nearest_distance": 9.0 if number == 1 else 0.5 + 0.1 * number,
                "provenance": origin | {"similarity": -0.4} | self.where(),
                "image": self.picture(f"prototypes/{number:04d}-nearest.png"),
                "decoded": self.picture(f"prototypes/{number:04d}.png") if self.decoder else None,
            }
            entries.append(entry)
        return entries

    def built_in_prototypes(self) -> dict[str, Any]:
        """By dot product the nearest image is of the class, by distance of the first class for all."""
        entries = []
        for k, name in enumerate(self.classes):
            own = {"index": k, "name": f"train/{k}", "label": name, "value": 20.0 + k}
            first = {"index": 40, "name": "train/40", "label": self.classes[0], "value": 6.0}
            own["image"] = self.picture(f"prototypes/built-in-{k:04d}-dot-product.png")
            first["image"] = self.picture(f"prototypes/built-in-{k:04d}-distance.png")
            entries.append({"class": name, "dot_product": own, "distance": first})
        owners = [self.classes[k] for k in self.weights.argmax(axis=1)]
        near = [
            {"index": 7 * p, "name": f"train/{7 * p}", "label": name, "value": 1.0} for p, name in enumerate(owners)
        ]
        kinds = {"codes": 60, "built_in": len(self.classes), "prototypes": self.prototypes}
        return {
            "model": "abc",
            "data": "def",
            "unit": 2.0,
            "built_in": entries,
            "prototypes": near,
            "length": {"codes": 24.5, "built_in": 1.43, "prototypes": 24.0},
            "map": {
                "how": "pca",
                "images": list(range(60)),
                "classes": [k % len(self.classes) for k in range(60)],
                **{measure: self.plane(kinds) for measure in ("distance", "dot_product")},
            },
        }

    def plane(self, kinds: dict[str, int]) -> dict[str, Any]:
        drawn = {
            kind: {axis: self.random.normal(3, 1, count).tolist() for axis in "xy"} for kind, count in kinds.items()
        }
        return drawn | {"kept": {"codes": 0.5, "built_in": 0.01, "prototypes": 0.6}}

    def where(self) -> dict[str, Any]:
        if not self.places:
            return {"place": None, "box": None, "field": None}
        field = [0, 0, self.width, self.height // 2] if self.random.integers(2) else [0, 0, self.width, self.height]
        return {"place": [int(side) for side in self.random.integers(0, 3, 2)], "box": self.box(), "field": field}

    def explanation(self, index: int | None, label: str | None, predicted: int | None = None) -> Explanation:
        """The explanation of a drawn image, of class `predicted` or the one that its similarities say."""
        similarity = self.usual + self.random.normal(0, 1.2, self.prototypes)
        logits = similarity @ self.weights + self.bias
        explained = int(logits.argmax()) if predicted is None else predicted
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        owners = self.weights.argmax(axis=1)
        reasons = [
            Reason(p, self.classes[owners[p]], float(s), float(w), float(s * w), float(u))
            for p, (s, w, u) in enumerate(zip(similarity, self.weights[:, explained], self.usual, strict=True))
        ]
        reasons.sort(key=lambda reason: -abs(reason.lift))
        maps = {}
        if self.places:
            # as for the many prototypes of a large model: the weakest reasons have no place
            reasons = [replace(r, place=(0, 1), box=tuple(self.box())) for r in reasons[:-1]] + reasons[-1:]
            maps = {reason.prototype: torch.from_numpy(self.random.normal(size=(3, 3))) for reason in reasons[:6]}
        return Explanation(
            image=f"test/{index}" if index is not None else "photos/mine.png",
            index=index,
            label=label,
            predicted=self.classes[explained],
            explained=self.classes[explained],
            probability=float(shares[explained]),
            probabilities=dict(zip(self.classes, map(float, shares), strict=True)),
            logit=float(logits[explained]),
            bias=float(self.bias[explained]),
            nearest=int(similarity.argmax()),
            reasons=tuple(reasons),
            maps=maps,
            seen=self.what_is_seen(float(logits[explained])) if self.seen else None,
        )

    def what_is_seen(self, logit: float) -> Seen:
        """Drawn values that sum to the logit."""
        adds = self.random.normal(0, 0.1, (3, 3))
        numbers = self.random.integers(0, self.prototypes, (3, 3))
        return Seen(torch.from_numpy(numbers), torch.from_numpy(adds + (logit - adds.sum()) / 9))

    def truth(self, index: int | None, seen: Seen) -> dict[str, str]:
        """Write what is seen at places, and a mask whose first row has no class."""
        stem = f"examples/{index:06d}"
        np.savez(self.folder / f"{stem}-places.npz", prototypes=seen.prototypes.numpy(), adds=seen.adds.numpy())
        mask = self.random.integers(0, len(self.classes), (self.height, self.width), dtype=np.uint8)
        mask[0] = 255
        Image.fromarray(mask).save(self.folder / f"{stem}-mask.png")
        return {"places": f"{stem}-places.npz", "mask": f"{stem}-mask.png"}

    def example(self, index: int, right: bool) -> dict[str, Any]:
        explanation = self.explanation(index, None)
        k = self.classes.index(explanation.predicted)
        label = explanation.predicted if right else self.classes[(k + 1) % len(self.classes)]
        drawn = self.picture(f"examples/{index:06d}-reconstruction.png") if self.decoder else None
        picture = self.picture(f"examples/{index:06d}.png")
        heat = {str(p): self.picture(f"examples/{index:06d}-heat-{p:04d}.png") for p in explanation.maps}
        pictures = {"picture": picture, "reconstruction": drawn, "heat_maps": heat}
        if explanation.seen:
            pictures |= self.truth(index, explanation.seen)
        return explanation.to_dict() | {"label": label} | pictures

    def evaluation(self) -> dict[str, Any]:
        counts = [max(1, n // 5) for n in self.counts()]
        table = np.diag(counts)
        for k, n in enumerate(counts):
            wrong = n // 4
            table[k, k] -= wrong
            table[k, (k + 1) % len(counts)] += wrong
        right, images = int(table.trace()), int(table.sum())
        return {
            "model": "abc",
            "data": "t" * 64,
            "images": images,
            "accuracy": right / images,
            "accuracy_interval": list(wilson_interval(right, images)),
            "right": right,
            "balanced_accuracy": float((table.diagonal() / table.sum(axis=1)).mean()),
            "area_under_roc": 0.9512,
            "loss": 0.4321,
            "calibration_error": 0.0271,
            "brier_score": 0.1234,
            "negative_log_likelihood": 0.4321,
            "always_most_common_class": max(counts) / images,
            "confusion": table.tolist(),
            "classes": [
                {
                    "name": name,
                    "images": counts[k],
                    "recall": float(table[k, k] / counts[k]),
                    "precision": float(table[k, k] / table[:, k].sum()) if table[:, k].sum() else None,
                }
                for k, name in enumerate(self.classes)
            ],
            "examples": {
                "sample": [self.example(index, index % 3 > 0) for index in range(10)],
                "right": [self.example(index, True) for index in range(20, 26)],
                "wrong": [self.example(index, False) for index in range(30, 36)],
            },
            **(self.promises() if self.followed else {}),
            **(self.masks() if self.seen else {}),
            "seconds": 0.5,
        }

    def masks(self) -> dict[str, Any]:
        """Prototypes take ever fewer places; the last stands for no test pixel."""
        shares = np.arange(self.prototypes, 0, -1) / sum(range(self.prototypes + 1))
        stand_for = [{"class": p % len(self.classes), "purity": 0.5 + 0.01 * p} for p in range(self.prototypes - 1)]
        figures = {"pixels": 4567, "pixel_accuracy": 0.613, "mean_iou": 0.412, "purity": 0.655}
        always = {"pixel_accuracy": 0.351, "mean_iou": 0.07}
        found = figures | {"normalised_mutual_information": 0.271, "always_most_common_class": always}
        overlaps = {"iou": [None, *[0.412] * (len(self.classes) - 1)]}
        entries = {"prototypes": [*stand_for, {"class": 0, "purity": None}]}
        return {"shares_of_places": shares.tolist(), "masks": found | overlaps | entries}

    def promises(self) -> dict[str, Any]:
        return {
            "before": {"project": {"accuracy": 0.912, "accuracy_interval": [0.85, 0.951]}},
            "interpretation": {
                "conciseness": {"1.5": 1.25, "2.0": 2.5, "5.0": 4.0},
                "predictor_accuracy": 0.934,
                "fidelity": 0.987,
            },
            "prototypes": {
                "own_class_nearest": 0.81,
                "patches_of_own_class": 0.941,
                "consistency": 0.0377,
                "duplicates": 0.25,
                "stranger_overlap": None,
            },
        }


@pytest.fixture(scope="session")
def run_maker() -> type[RunMaker]:
    """The class itself, for fixtures that outlive a test."""
    return RunMaker


@pytest.fixture
def maker(tmp_path: Path) -> Callable[..., RunMaker]:
    """Makes a RunMaker for a folder below tmp_path."""

    def make(**changes: Any) -> RunMaker:
        return RunMaker(tmp_path / "drawn-run", **changes)

    return make
