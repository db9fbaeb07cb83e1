"""What `protolens evaluate` costs, beside its limit of 3 minutes, and its core figures beside a loop over images.

The runs are PrototypeDL and a black box on MNIST after one epoch, as training changes no time. Against the limit stands
the command as it is typed: its start, reading, all default metrics on the 10,000 test images, and the report; and all
that `evaluate` measures, with three more commands: robustness and the gap to a black box on 1,000 test images each,
uncertainty on all and on those of Fashion-MNIST. Accuracy, use of prototypes by similarity and by contribution, and
agreement with the nearest prototype are also found one image at a time, of the first 500, which is scaled to all; both
ways must find the same. Needs PROTOLENS_DATA with MNIST and Fashion-MNIST.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import Figure, arguments, in_turn, seconds, show

from protolens import Run, fit, read_run
from protolens.data import Images, open_data, to_float
from protolens.evaluation.evaluation import look
from protolens.evaluation.predicates import transparency
from protolens.models import PrototypeModel
from protolens.train import Team, accuracy, confusion
from protolens.train.device import keep_freed_memory

LIMIT = 180.0  # seconds
ALONE = 500  # images of the loop


def trained(recipe: str, folder: Path) -> Run:
    """A run of the recipe after one epoch."""
    settings, where = read_run(recipe, {"stages": {"train": {"epochs": 1}}, "train": {"device": "cpu"}})
    return fit(settings, folder / recipe, where=where)


def command(run: Run, *asked: str) -> None:
    """All that a person waits for."""
    typed = [str(Path(sys.executable).parent / "protolens"), "evaluate", str(run.folder), *asked, "--device", "cpu"]
    subprocess.run(typed, check=True, capture_output=True)


def ours(model: PrototypeModel, images: Images) -> list[float]:
    """Accuracy, unused shares by similarity and by contribution, and agreement, as `evaluate` finds them."""
    sight, class_of = look(model, images, Team(model.device)), model.class_of()
    predicted, classes = sight.logits.argmax(dim=1), len(model.task.classes)
    found = transparency(sight.similarity, sight.contributions, predicted, images.labels, class_of, classes)
    by_similarity, by_contribution = found["by_similarity"], found["by_contribution"]
    return [
        accuracy(confusion(predicted, images.labels, classes)),
        by_similarity["unused"],
        by_contribution["unused"],
        by_similarity["nearest_agreement"],
    ]


def loop(model: PrototypeModel, images: Images) -> list[float]:
    """The same, one image at a time."""
    right = agreeing = 0
    prototypes = len(model.prototypes)
    nearest_of, strongest_of, class_of = [0] * prototypes, [0] * prototypes, model.class_of().tolist()
    for row in range(ALONE):
        with torch.no_grad():
            evidence = model.evidence(to_float(images.take(torch.tensor([row])), "cpu"))
            adds = model.contributions(evidence)[0]
        said, nearest = int(evidence.logits[0].argmax()), int(evidence.similarity[0].argmax())
        right += said == int(images.labels[row])
        agreeing += class_of[nearest] == said
        nearest_of[nearest] += 1
        strongest_of[int(adds[:, said].abs().argmax())] += 1
    unused = [uses.count(0) / prototypes for uses in (nearest_of, strongest_of)]
    return [right / ALONE, *unused, agreeing / ALONE]


def core(run: Run) -> Figure:
    """Seconds of the core figures of all test images."""
    model, images = run.model().eval(), open_data(run.config.data).test
    mine, theirs = ours(model, images.subset("test", torch.arange(ALONE))), loop(model, images)
    for own, other, step in zip(
        mine, theirs, (ALONE, len(model.prototypes), len(model.prototypes), ALONE), strict=True
    ):
        # rounding may decide between two that are equal
        assert abs(own - other) < 1.5 / step, (mine, theirs)
    fast, slow = in_turn(lambda: ours(model, images), lambda: loop(model, images), rounds=3)
    slow *= len(images) / ALONE
    name = f"accuracy, use, contributions and agreement of {len(images):,} images, against a loop"
    return Figure(name, fast, slow, "s", slow / fast, 5.0)


def main() -> None:
    given = arguments(__doc__)
    keep_freed_memory()
    with TemporaryDirectory() as folder:
        run, box = (trained(name, Path(folder)) for name in ("mnist-prototypedl", "mnist-blackbox"))
        taken = seconds(lambda: command(run, "--again"))
        more = (["--robustness"], ["--beside", str(box.folder)], ["--uncertainty", "fashion-mnist"])
        every = taken + sum(seconds(lambda asked=asked: command(run, *asked)) for asked in more)
        limits = [
            Figure(f"evaluate MNIST's test split, {what}, against its limit", spent, LIMIT, "s", LIMIT / spent, 1.0)
            for what, spent in (("default metrics", taken), ("all metrics", every))
        ]
        show([*limits, core(run)], given.json)


if __name__ == "__main__":
    main()
