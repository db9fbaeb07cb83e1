"""Where the prototypes of a model look, on birds in the official layout, and on models that are planted."""

import math

import pytest
import torch
from torch.nn import functional as F

from protolens.config import DataConfig, RunConfig, build
from protolens.data import MemoryImages, open_data
from protolens.data.images import Annotations
from protolens.evaluation import evaluate
from protolens.evaluation.comparing import Compared, figures_of
from protolens.evaluation.locating import LIMIT, NOISE, Pairs, ends, looked_at, noisy, region, scores_of_parts
from protolens.evaluation.parts import PATCH, REGION, Meanings
from protolens.models import build_model, state_digest
from protolens.train import Run, Team, fit
from tests.conftest import make_task
from tests.data import test_cub

birds = test_cub.birds
ALONE = Team(torch.device("cpu"))
SIDE = 32


@pytest.fixture
def finished(birds, tmp_path) -> Run:
    """A short training on the small folder of birds, whose two parts have names."""
    test_cub.with_parts(birds)
    test_cub.write(birds / "parts" / "parts.txt", ["1 left eye", "2 right eye"])
    data = {"name": "cub", "root": str(birds.parent), "size": SIDE, "validation": 0.2}
    stages = {name: {"epochs": 1} for name in ("joint-1", "head-1")}
    tables = {"data": data, "model": {"name": "protopnet", "per_class": 2, "rounds": 1}, "stages": stages}
    return fit(build(RunConfig, tables, "a test"), tmp_path / "run")


def slowly(run: Run) -> dict[str, float]:
    """The figures by loops over prototypes and images, from the definitions."""
    data, model = open_data(run.config.data), run.model().eval()
    test, class_of = data.test, model.class_of().tolist()
    images = test.take(torch.arange(len(test))).float() / 255
    parts = test.marks(torch.arange(len(test)))[1].tolist()

    def inside(images, image, number, reach):
        with torch.no_grad():
            own = model.evidence(images[image : image + 1]).maps[:, number : number + 1]
        large = F.interpolate(own, size=(SIDE, SIDE), mode="bicubic", align_corners=False)[0, 0]
        y, x = divmod(int(large.argmax()), SIDE)
        return [abs(x + 0.5 - px) <= reach / 2 and abs(y + 0.5 - py) <= reach / 2 for px, py in parts[image]]

    def shown(image):
        return [not math.isnan(px) for px, _ in parts[image]]

    with torch.no_grad():
        similarity = torch.stack([model.evidence(image[None]).similarity[0] for image in images])
    moved = torch.stack([noisy(images[i : i + 1], torch.tensor([i]), run.config.seed)[0] for i in range(len(test))])
    purity, consistent, stable = [], [], []
    for number, k in enumerate(class_of):
        own = [image for image, label in enumerate(test.labels.tolist()) if label == k]
        hits = {image: inside(images, image, number, REGION * SIDE) for image in own}
        shares = []
        for part in range(2):
            seen = [image for image in own if shown(image)[part]]
            if seen:
                shares.append(sum(hits[image][part] for image in seen) / len(seen))
        consistent.append(max(shares) >= 0.8)
        same = [hits[image] == inside(moved, image, number, REGION * SIDE) for image in own]
        stable.append(sum(same) / len(same))
        nearest = similarity[:, number].topk(min(10, len(test))).indices.tolist()
        eye = [any(inside(images, image, number, PATCH * SIDE)) for image in nearest if any(shown(image))]
        purity.append(sum(eye) / len(eye))
    return {name: sum(values) / len(values) for name, values in
            (("purity", purity), ("consistency", consistent), ("stability", stable))}  # fmt: skip


def test_evaluating_birds_tells_what_loops_over_prototypes_and_images_find(finished):
    before = (finished.folder / "model.safetensors").read_bytes()
    content = evaluate(finished).content
    found = content["parts"]
    assert found["figures"] == pytest.approx(slowly(finished))
    assert (found["asked"], found["prototypes"], found["images"]) == (6, 6, content["images"])
    assert found["controls"]["centre"]["stability"] == 1
    assert set(found["controls"]["random"]) == set(found["figures"])
    assert {entry["part"] for entry in found["meanings"]} <= {"left eye", "right eye"}
    compared = figures_of(Compared.open(finished), None)
    assert {name: compared[f"transparency.parts.{name}"] for name in found["figures"]} == found["figures"]
    assert evaluate(finished, again=True).content["parts"] == found
    assert (finished.folder / "model.safetensors").read_bytes() == before
    best, worst = (found["meanings"][entry["prototype"]]["share"] for entry in found["shown"])
    assert best == max(entry["share"] for entry in found["meanings"])
    assert worst == min(entry["share"] for entry in found["meanings"])
    for entry in found["shown"]:
        for image in entry["images"]:
            assert (finished.folder / image["picture"]).exists()
            left, top, right, bottom = image["box"]
            assert 0 <= left < right <= SIDE
            assert 0 <= top < bottom <= SIDE


def planted(count=24, classes=3, unseen=()):
    """Images with a bright spot each, which is the part 0; part 1 is at chance, and of some nothing is seen."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.uint8)
    spots = torch.randint(1, 7, (count, 2), generator=generator) * 4
    parts = torch.rand(count, 2, 2, generator=generator) * SIDE
    for row, (x, y) in enumerate(spots.tolist()):
        pixels[row, 0, y : y + 4, x : x + 4] = 255
        parts[row, 0] = torch.tensor([x + 2.0, y + 2.0])
    parts[list(unseen)] = torch.nan
    known = Annotations(marks=lambda row: (torch.zeros(4).numpy(), parts[row].numpy()), parts=("spot", "else"))
    labels = torch.arange(count) % classes
    return MemoryImages("test", pixels, labels, [str(row) for row in range(count)], annotations=known)


class Spotting(torch.nn.Module):
    """Looks at the brightest place: what it gives for an image is the mean of each 4 x 4 pixels."""

    def forward(self, images):
        return F.avg_pool2d(images, 4)


def spotting(per_class=2, classes=3):
    """A ProtoPNet whose code is brightness, and whose prototypes all are the brightest."""
    task = make_task(1, (SIDE, SIDE), classes)
    model = build_model({"name": "protopnet", "per_class": per_class, "features": 1}, task, 0).eval()
    model.normalise, model.backbone, model.add_on = torch.nn.Identity(), Spotting(), torch.nn.Identity()
    model.prototypes.vectors.data = torch.ones_like(model.prototypes.vectors)
    return model


class Folder:
    """What is asked of a run."""

    def __init__(self, folder):
        self.folder, self.config = folder, build(RunConfig, {}, "a test")


def asked(images, model, folder):
    with torch.no_grad():
        similarity = model.evidence(images.take(torch.arange(len(images))).float() / 255).similarity
    return scores_of_parts(Folder(folder), model, images, similarity, ALONE)


def test_prototypes_that_always_find_the_spot_mean_it_and_controls_do_not(tmp_path):
    images, model = planted(), spotting()
    before = state_digest(model)
    found = asked(images, model, tmp_path)
    assert found["figures"]["purity"] == found["figures"]["consistency"] == 1
    assert all(entry == {"part": "spot", "share": 1, "images": 8} for entry in found["meanings"])
    for control in found["controls"].values():
        assert control["purity"] < 0.7
        assert control["consistency"] < 0.5
    assert state_digest(model) == before


def test_images_that_show_no_part_say_nothing(tmp_path):
    found = asked(planted(unseen=range(0, 24, 2)), spotting(), tmp_path)
    assert found["figures"]["consistency"] == 1
    assert all(entry["images"] == 4 for entry in found["meanings"])
    nothing = asked(planted(unseen=range(24)), spotting(), tmp_path)
    assert nothing["figures"] == {"purity": None, "consistency": None, "stability": None}
    assert (nothing["asked"], nothing["shown"]) == (0, [])


def test_a_prototype_whose_class_has_no_test_image_is_not_asked(tmp_path):
    found = asked(planted(classes=3), spotting(classes=4), tmp_path)
    assert (found["asked"], found["prototypes"]) == (6, 8)
    assert found["meanings"][-1] == {"part": None, "share": None, "images": 0}
    assert found["figures"]["consistency"] == 1


def test_without_parts_or_places_a_sentence_says_why(tmp_path):
    bare = planted()
    bare.annotations = Annotations()
    assert asked(bare, spotting(), tmp_path) == {"reason": "The parts of what these images show are not known."}
    whole = build_model({"name": "prototypedl"}, make_task(1, (SIDE, SIDE), 3), 0).eval()
    found = asked(planted(), whole, tmp_path)
    assert found == {"reason": "The prototypes of this model have no place in an image."}


def test_parts_scale_with_the_size_that_birds_are_read_in(birds):
    test_cub.with_parts(birds)
    small, large = (
        open_data(DataConfig(name="cub", root=str(birds.parent), size=size)).test for size in (SIDE, 2 * SIDE)
    )
    rows = torch.arange(len(small))
    assert torch.allclose(large.marks(rows)[1], 2 * small.marks(rows)[1], equal_nan=True)
    assert small.part_names == ("part 1", "part 2")


def test_a_table_of_part_names_that_lacks_one_is_named(birds):
    test_cub.with_parts(birds)
    test_cub.write(birds / "parts" / "parts.txt", ["1 beak"])
    assert "parts.txt has no line for number 2" in test_cub.refusal(birds)


def test_pairs_are_the_images_of_the_class_and_the_nearest_ones():
    similarity = torch.rand(30, 5, generator=torch.Generator().manual_seed(0))
    labels, class_of = torch.arange(30) % 4, torch.tensor([0, 1, 2, 3, 0])
    pairs = Pairs.of(similarity, labels, class_of)
    slow = {}
    for number in range(5):
        nearest = sorted(range(30), key=lambda row, number=number: -float(similarity[row, number]))[:10]
        for image in range(30):
            flags = (int(labels[image]) == int(class_of[number]), image in nearest)
            if any(flags):
                slow[image, number] = flags
    found = zip(pairs.image.tolist(), pairs.prototype.tolist(), pairs.own.tolist(), pairs.near.tolist(), strict=True)
    assert {(image, number): (own, near) for image, number, own, near in found} == slow
    assert pairs.image.tolist() == sorted(pairs.image.tolist())


def test_batches_and_processes_look_at_the_same_places(monkeypatch):
    images, model = planted(), spotting()
    pairs = Pairs.of(torch.rand(24, 6), images.labels, model.class_of())
    whole = looked_at(model, images, pairs, ALONE, lambda floats, rows: noisy(floats, rows, 0))
    monkeypatch.setattr("protolens.evaluation.locating.batch_for", lambda _: 5)
    change = lambda floats, rows: noisy(floats, rows, 0)  # noqa: E731
    assert torch.equal(looked_at(model, images, pairs, ALONE, change), whole)


def test_noise_is_small_the_same_for_an_image_and_has_the_deviation_of_the_band():
    images = torch.full((3, 3, 64, 64), 0.5)
    first, again = noisy(images, torch.tensor([4, 5, 6]), 1), noisy(images[:1], torch.tensor([5]), 1)
    assert torch.equal(first[1], again[0])
    assert not torch.equal(first[0], first[1])
    apart = (first - images) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    assert float(apart.abs().max()) == pytest.approx(LIMIT, abs=1e-5)
    inner = apart[apart.abs() < LIMIT - 1e-4]
    # a normal of 0.2 that is cut at 1.25 of its deviations keeps 78.9 % of its values inside
    assert len(inner) / apart.numel() == pytest.approx(math.erf(LIMIT / NOISE / math.sqrt(2)), abs=0.01)
    assert noisy(torch.zeros(1, 5, 8, 8), torch.tensor([0]), 1).shape == (1, 5, 8, 8)


def test_a_region_lies_inside_the_image_and_nowhere_is_none():
    assert region(torch.tensor([2.5, 16.0]), (3, 32, 64)) == [0, 11, 8, 21]
    assert region(torch.tensor([63.5, 31.5]), (3, 32, 64)) == [58, 26, 64, 32]
    assert region(torch.tensor([math.nan, math.nan]), (3, 32, 64)) is None


def test_the_ends_are_the_highest_and_the_lowest_share_and_of_equal_ones_the_part_that_more_images_show():
    part, images = torch.tensor([0, 1, -1, 0, 1, 0]), torch.tensor([5, 20, 0, 20, 9, 3])
    share = torch.tensor([1, 1, math.nan, 1, 0.2, 0.2])
    apart = torch.tensor([1, 7, math.nan, 3, 50, math.nan])
    assert ends(Meanings(part, share, images, apart)) == [3, 5]
    assert ends(Meanings(part[2:3], share[2:3], images[2:3], apart[2:3])) == []
