"""The guard against images in two splits."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.data import MemoryImages
from protolens.data.leakage import Leak, find_leaks, guard

SPLITS = ("training", "validation", "test")
CONTENTS = st.lists(st.integers(0, 6), max_size=8)


def split(name: str, contents: list[int]) -> MemoryImages:
    pixels = torch.tensor(contents, dtype=torch.uint8).view(-1, 1, 1, 1)
    names = [f"{name}/{row}" for row in range(len(contents))]
    return MemoryImages(name, pixels, torch.zeros(len(contents), dtype=torch.int64), names)


def album(*contents: list[int]) -> tuple[dict[str, MemoryImages], dict[str, list[str]]]:
    parts = {name: split(name, inside) for name, inside in zip(SPLITS, contents, strict=True)}
    return parts, {name: [h.hex() for h in images.hashes.tolist()] for name, images in parts.items()}


def content(images: MemoryImages) -> list[int]:
    return images.take(torch.arange(len(images))).flatten().tolist()


@given(CONTENTS, CONTENTS, CONTENTS)
def test_every_image_in_two_splits_is_named_with_a_copy_of_it(training, validation, test):
    contents = dict(zip(SPLITS, (training, validation, test), strict=True))
    leaks = find_leaks(*album(training, validation, test), "pixels", "allow")
    for first, second in (("training", "validation"), ("training", "test"), ("validation", "test")):
        shared = set(contents[first]) & set(contents[second])
        here = {f"{first}/{row}" for row, value in enumerate(contents[first]) if value in shared}
        there = {f"{second}/{row}" for row, value in enumerate(contents[second]) if value in shared}
        found = [leak for leak in leaks if (leak.first_split, leak.second_split) == (first, second)]
        assert {leak.first for leak in found} == here
        assert {leak.second for leak in found} == there
        assert len({leak.key for leak in found}) == len(shared)
        for leak in found:
            places = (int(name.split("/")[1]) for name in (leak.first, leak.second))
            assert contents[first][next(places)] == contents[second][next(places)]


@given(CONTENTS, CONTENTS, CONTENTS)
def test_dropping_leaves_no_image_in_two_splits_and_the_test_untouched(training, validation, test):
    left, leaks = guard(*album(training, validation, test), "pixels", "drop", "x")
    assert content(left["test"]) == test
    assert content(left["validation"]) == [value for value in validation if value not in test]
    assert content(left["training"]) == [value for value in training if value not in {*validation, *test}]
    assert {leak.action for leak in leaks} <= {"dropped"}


@given(CONTENTS, CONTENTS, CONTENTS)
def test_allowing_keeps_every_image(training, validation, test):
    left, leaks = guard(*album(training, validation, test), "pixels", "allow", "x")
    assert [content(left[name]) for name in SPLITS] == [training, validation, test]
    assert {leak.action for leak in leaks} <= {"kept"}


def test_a_leak_reads_as_a_sentence_would():
    assert str(Leak("a/1", "training", "b/2", "test", "pixels", "00", "kept")) == "a/1 (training) = b/2 (test)"
    assert str(Leak("a/1", "training", "b/2", "test", "group", "p1", "kept")) == "a/1 (training) and b/2 (test)"
