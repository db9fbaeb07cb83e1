"""What edits change, against counting image by image."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from protolens.config import Task
from protolens.editing.consequences import compare_logits
from protolens.evaluation.comparing import difference_of, sentence

CLASSES = ("cat", "dog", "owl")
TASK = Task(CLASSES, 1, 8, 8)
row = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))  # label, said before, said after


def found_of(rows, uneven=True):
    labels, before, after = (torch.tensor(column) for column in zip(*rows, strict=True))
    logits = (torch.nn.functional.one_hot(said, 3).float() for said in (before, after))
    return compare_logits(*logits, labels, [f"image {i}" for i in range(len(rows))], TASK, uneven=uneven)


@given(st.lists(row, min_size=1, max_size=60))
def test_counts_flips_and_classes_are_those_of_each_image(rows):
    found = found_of(rows)
    for accuracy, place in ((found.before, 1), (found.after, 2)):
        right = sum(each[0] == each[place] for each in rows)
        interval = binomtest(right, len(rows)).proportion_ci(0.95, method="wilson")
        assert (accuracy.right, accuracy.images) == (right, len(rows))
        assert accuracy.share == pytest.approx(right / len(rows))
        assert accuracy.interval == pytest.approx((interval.low, interval.high))
    flips = [(i, *each) for i, each in enumerate(rows) if each[1] != each[2]]
    assert len(found.flips) == len(flips)
    for flip, (index, label, before, after) in zip(found.flips, flips, strict=True):
        way = "mended" if after == label else "broken" if before == label else "other"
        names = (CLASSES[label], CLASSES[before], CLASSES[after])
        assert (flip.index, flip.name, flip.way) == (index, f"image {index}", way)
        assert (flip.label, flip.before, flip.after) == names
    mended, broken = found.count("mended"), found.count("broken")
    assert found.difference == pytest.approx((mended - broken) / len(rows))
    assert found.chance == pytest.approx(binomtest(mended, mended + broken).pvalue if mended + broken else 1.0)
    assert found.interval[0] <= found.difference <= found.interval[1]


@given(st.lists(row, min_size=1, max_size=60))
def test_each_class_is_counted_by_itself(rows):
    found = found_of(rows)
    shares = []
    for k, change in enumerate(found.classes):
        own = [each for each in rows if each[0] == k]
        assert (change.name, change.images) == (CLASSES[k], len(own))
        expected = [sum(each[place] == k for each in own) / len(own) if own else None for place in (1, 2)]
        assert [change.before, change.after] == [share if share is None else pytest.approx(share) for share in expected]
        assert change.mended == sum(each[1] != k and each[2] == k for each in own)
        assert change.broken == sum(each[1] == k and each[2] != k for each in own)
        assert change.said_before == sum(each[1] == k for each in rows)
        assert change.said_after == sum(each[2] == k for each in rows)
        shares += [expected] if own else []
    assert found.balanced == pytest.approx(tuple(sum(column) / len(shares) for column in zip(*shares, strict=True)))
    assert found_of(rows, uneven=False).balanced is None


def test_the_sentence_is_that_of_compare_about_the_better_of_both():
    better = found_of([(0, 1, 0)] * 30 + [(1, 1, 1)] * 70)
    assert better.sentence == (
        "The edited model is more accurate than the model as it was: +30.0 points, 95 % interval 21.0 to 39.0."
    )
    worse = found_of([(0, 0, 1)] * 30 + [(1, 1, 1)] * 70)
    assert worse.difference == pytest.approx(-0.3)
    assert worse.sentence.startswith("The model as it was is more accurate than the edited model: +30.0 points, 95 %")
    unsure = found_of([(0, 0, 1)] * 2 + [(1, 2, 1)] * 3 + [(1, 1, 1)] * 95)
    assert unsure.sentence.startswith("The edited model and the model as it was cannot be told apart: +1.0 points,")
    same = found_of([(0, 0, 0)] * 9)
    assert same.sentence.endswith("cannot be told apart: +0.0 points, 95 % interval 0.0 to 0.0.")


def test_verdict_and_chance_are_those_of_the_paired_test_that_compare_makes():
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(2, 400, generator=generator) < torch.tensor([[0.9], [0.86]])
    rows = [(0, int(not second), int(not first)) for first, second in right.T.tolist()]
    found, expected = found_of(rows), difference_of(right[:1], right[1:])
    assert found.difference == pytest.approx(expected.value)
    assert found.chance == pytest.approx(expected.chance)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=0.006)
    said = sentence("The edited model", "the model as it was", expected, told_apart=found.chance < 0.05)
    assert found.sentence.split(":")[0] == said.split(":")[0]


def test_an_image_that_shows_several_classes_is_right_with_all_of_them():
    task = Task(CLASSES, 1, 8, 8, several=True)
    labels = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    before = torch.tensor([[1.0, 1, -1], [-1, -1, -1], [1, -1, -1]])
    after = torch.tensor([[1.0, -1, -1], [-1, -1, -1], [-1, 1, -1]])
    found = compare_logits(before, after, labels, ["a", "b", "c"], task, uneven=True)
    assert (found.before.right, found.after.right) == (2, 2)
    assert [(flip.label, flip.before, flip.after, flip.way) for flip in found.flips] == [
        ("cat, dog", "cat, dog", "cat", "broken"),
        ("dog", "cat", "dog", "mended"),
    ]
    assert found.balanced is None
    assert [(change.before, change.after) for change in found.classes] == [(1, 1), (0.5, 0.5), (None, None)]
