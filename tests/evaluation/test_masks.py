"""Maps against masks, by scikit-learn and slow definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score, normalized_mutual_info_score

from protolens.data import DataSet, MemoryImages, to_float
from protolens.data.images import Annotations
from protolens.evaluation.evaluation import look
from protolens.evaluation.masks import (
    NO_CLASS,
    count,
    figures_of_table,
    majority,
    normalised_mutual_information,
    scores_of_masks,
)
from protolens.models import build_model
from protolens.train import Team
from tests.conftest import make_task


def drawn(seed, prototypes=5, classes=3):
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(prototypes, (4, 2, 3), generator=generator)
    masks = torch.randint(classes, (4, 8, 12), generator=generator).to(torch.uint8)
    masks[torch.rand(masks.shape, generator=generator) < 0.2] = NO_CLASS
    return places, masks


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_each_pixel_counts_for_the_prototype_of_its_place(seed):
    places, masks = drawn(seed)
    slow = torch.zeros(5, 3, dtype=torch.int64)
    for image in range(4):
        for row in range(8):
            for column in range(12):
                if masks[image, row, column] != NO_CLASS:
                    slow[int(places[image, row // 4, column // 4]), int(masks[image, row, column])] += 1
    assert torch.equal(count(places, masks, 5, 3), slow)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_figures_agree_with_scikit_learn(seed):
    places, masks = drawn(seed)
    large = places.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    known = masks != NO_CLASS
    belongs, labels = large[known].numpy(), masks[known].numpy()
    table = count(places, masks, 5, 3)
    class_of = majority(table)
    found = figures_of_table(table, class_of)
    told = class_of.numpy()[belongs]
    assert found["pixels"] == len(labels)
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(labels, told))
    assert found["pixel_accuracy"] == pytest.approx(found["purity"])  # where classes come from the same pixels
    assert found["iou"] == pytest.approx(jaccard_score(labels, told, average=None, labels=range(3), zero_division=0))
    assert found["mean_iou"] == pytest.approx(sum(found["iou"]) / 3)
    expected = normalized_mutual_info_score(labels, belongs)
    assert found["normalised_mutual_information"] == pytest.approx(expected, abs=1e-9)


def test_degenerate_tables_have_figures():
    one = torch.tensor([[4, 0], [0, 0]])
    assert normalised_mutual_information(one) == 0
    found = figures_of_table(one, majority(one))
    assert found["iou"] == [1.0, None]
    assert found["mean_iou"] == found["purity"] == 1
    assert majority(torch.tensor([[0, 0], [1, 5]])).tolist() == [1, 1]


def windows(name, seed):
    """Six noisy images of 32 pixels whose halves have a class each, drawn of three; a corner has none."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randint(3, (6, 2), generator=generator)
    masks = sides.repeat_interleave(16, dim=1)[:, None].expand(-1, 32, -1).to(torch.uint8).clone()
    masks[:, :8, :8] = NO_CLASS
    pixels = torch.randint(60, (6, 3, 32, 32), generator=generator) + 60 * masks[:, None].clamp(max=3)
    names, reader = [f"{name}/{i}" for i in range(6)], masks.numpy()
    known = Annotations(mask=lambda row: reader[row])
    return MemoryImages(name, pixels.to(torch.uint8), sides[:, 0], names, annotations=known)


def test_prototypes_stand_for_the_class_of_their_training_pixels_and_shares_are_of_all_places():
    task = make_task(3, (32, 32), classes=3)
    data = DataSet(
        "drawn",
        task,
        *(windows(name, seed) for seed, name in enumerate(["training", "validation", "test"])),
        leaks=(),
        notes=(),
    )
    of = {"name": "network", "source": "torchvision:resnet18"}
    model = build_model({"name": "concepts", "of": of, "layers": ["layer1"], "concepts": 5}, task, 0).eval()
    team = Team(torch.device("cpu"))
    found = scores_of_masks(model, data.training, data.test, team)
    tables, places = [], torch.zeros(5)
    for images in (data.training, data.test):
        table = [[0] * 3 for _ in range(5)]
        maps = model.evidence(to_float(images.take(torch.arange(6)), "cpu")).maps.argmax(dim=1)
        for image, mask in zip(maps, images.masks(torch.arange(6)), strict=True):
            for row in range(32):
                for column in range(32):
                    if mask[row, column] != NO_CLASS:
                        table[image[row // 4, column // 4]][mask[row, column]] += 1
        tables.append(table)
        places = torch.stack([(maps == p).sum() for p in range(5)])
    common = max(range(3), key=lambda k: sum(row[k] for row in tables[0]))
    right = 0
    for learnt, seen, told in zip(*tables, found["prototypes"], strict=True):
        own = max(range(3), key=learnt.__getitem__) if any(learnt) else common
        assert told == {"class": own, "purity": pytest.approx(seen[own] / sum(seen)) if any(seen) else None}
        right += seen[own]
    assert found["pixel_accuracy"] == pytest.approx(right / found["pixels"])
    share = sum(row[common] for row in tables[1]) / found["pixels"]
    assert found["always_most_common_class"]["pixel_accuracy"] == pytest.approx(share)
    there = [k for k in range(3) if k == common or any(row[k] for row in tables[1])]
    assert found["always_most_common_class"]["mean_iou"] == pytest.approx(share / len(there))
    torch.testing.assert_close(look(model, data.test, team).places, places / places.sum())


def test_without_masks_or_maps_nothing_is_said():
    task = make_task(3, (32, 32), classes=3)
    blind = windows("test", 0)
    data = DataSet("drawn", task, blind, blind, blind, leaks=(), notes=())
    team, model = Team(torch.device("cpu")), build_model({"name": "blackbox"}, task, 0)
    assert scores_of_masks(model, data.training, data.test, team) is None
    assert look(model, data.test, team).places is None
    blind.annotations = Annotations()
    assert scores_of_masks(build_model({"name": "protopnet"}, task, 0), blind, blind, team) is None
