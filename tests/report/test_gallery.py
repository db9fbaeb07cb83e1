import pytest

from protolens.report.gallery import (
    findings,
    gallery_section,
    read_prototypes,
    used_reach,
    weight_rows,
    weight_shade,
    weight_shades,
)
from protolens.report.pictures import Album
from protolens.train import Run


def entry(**changes):
    origin = {"split": "training", "index": 3, "name": "train/3", "label": "4"}
    return {"class": "4", "provenance": origin, "most_used_by": "4", "purity": 0.98, "weights": [0.1, 1.5]} | changes


def test_a_prototype_that_is_used_by_its_class_and_looks_like_it_has_no_finding():
    assert findings(entry()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"most_used_by": None, "purity": None}, "never used: every training image is more like another prototype"),
        ({"most_used_by": "9"}, "stands for 4 by its weight but is used most by 9"),
        ({"purity": 0.62}, "mixed: only 62.0\xa0% of its images are of one class"),
        (
            {"provenance": {"label": "3", "split": "training", "index": 1, "name": "train/1"}},
            "looks like 3 (nearest training image) but speaks for 4",
        ),
    ],
)
def test_what_is_odd_is_said_in_words(changes, said):
    assert findings(entry(**changes)) == [said]


def test_a_shared_nearest_image_and_a_blank_picture_are_findings():
    said = findings(entry(), twins=[5, 7, 8], blank=True)
    assert said == [
        "its decoded picture is blank: the decoder has learnt nothing about it",
        "its nearest training image is also that of prototypes 5, 7 and 8",
    ]


def test_a_prototype_without_provenance_is_no_failure():
    assert findings(entry(provenance=None)) == []


def test_the_strongest_class_is_marked_and_signs_are_written():
    entries = [entry(prototype=0, weights=[-2.0, 0.5], **{"class": "9"})]
    cells = weight_rows(entries, ["4", "9"])[0]["cells"]
    assert [(cell["text"], cell["shade"], cell["own"]) for cell in cells] == [
        ("−2.00", "against-4", False),
        ("0.50", "for-1", True),
    ]


def test_the_legend_of_the_weights_says_where_each_shade_begins():
    entries = [entry(weights=[-2.0, 0.5])]
    for name, bound in weight_shades(entries):
        value = float(bound.replace("−", "-"))
        assert weight_shade(value * 1.001 / 2.0) == name
        assert weight_shade(value * 0.999 / 2.0) != name


def test_an_unused_prototype_beyond_every_used_one_has_left_the_data():
    entries = [
        entry(nearest_distance=2.0),
        entry(nearest_distance=0.5),
        entry(nearest_distance=5.25, most_used_by=None, purity=None),
        entry(nearest_distance=1.5, most_used_by=None, purity=None),
    ]
    reach = used_reach(entries)
    assert reach == 2.0
    assert [len(findings(each, reach=reach)) for each in entries] == [0, 0, 2, 1]
    assert findings(entries[2], reach=reach)[1] == (
        "left the data (out of distribution): its distance to the nearest code is 5.25, "
        "that of a used prototype at most 2.00"
    )


def test_without_known_distances_nothing_has_left_the_data():
    unused = {"most_used_by": None, "purity": None}
    for entries in ([entry(), entry(**unused)], [entry(nearest_distance=None), entry(nearest_distance=None, **unused)]):
        assert used_reach(entries) is None
        assert len(findings(entries[1], reach=None)) == 1


def test_the_first_sentence_counts_those_that_left_the_data(maker):
    made = maker()
    run = made.write()
    section = gallery_section(run, read_prototypes(run, Album(run.folder)))
    assert "1 of them never used, 1 of these out of distribution" in section["sentence"]


def test_patches_at_different_places_of_one_image_are_not_the_same(maker):
    made = maker(places=True)
    made.write()
    entries = made.prototype_entries()
    for number, place in ((3, [0, 1]), (4, [0, 1]), (5, [2, 2])):
        entries[number]["provenance"] |= {"index": 7, "place": place}
    made.json("prototypes.json", {"model": "abc", "data": "def", "prototypes": entries})
    prototypes = read_prototypes(Run.open(made.folder), Album(made.folder))
    shared = {
        each.number: each.findings for each in prototypes if any("is also that" in said for said in each.findings)
    }
    assert list(shared) == [3, 4]
    assert "its patch is also that of prototype 4" in shared[3]
