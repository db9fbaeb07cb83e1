import pytest

from protolens.report.gallery import findings, weight_rows, weight_shade, weight_shades


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
