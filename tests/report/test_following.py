from math import isnan

import pytest

from protolens.report.charts import Marks
from protolens.report.following import followed_rows, in_words, points, whereabouts_section


@pytest.mark.parametrize(
    ("entry", "placed", "said"),
    [
        (
            {"step": "project", "projected": 30, "patches": 29, "mean_move": 2.3506},
            True,
            "30\xa0prototypes moved onto 29\xa0training patches, by a distance of 2.35 on average",
        ),
        (
            {"step": "project", "projected": 1, "patches": 1, "mean_move": 0.0},
            False,
            "1\xa0prototype moved onto 1\xa0training image, by a distance of 0 on average",
        ),
        (
            {"step": "cluster", "centres": 50, "vectors": 1295, "inertia": 3.5, "rounds": 7},
            False,
            "7\xa0rounds of k-means over 1,295 codes, 50 centres",
        ),
        (
            {"step": "calibrate", "temperature": 0.0512, "looked_at": 1295},
            False,
            "temperature 0.0512, by the network’s probabilities of 1,295\xa0training images",
        ),
        ({"step": "prune", "dropped": [3, 5], "left": 42}, True,
         "2 dropped whose nearest images are mostly of other classes, 42 left"),
        ({"step": "eliminate", "dropped": [1], "left": 9}, False, "1 dropped that no image was nearest to, 9 left"),
        ({"step": "eliminate", "dropped": [], "left": 9}, False, "none dropped, 9 left"),
        ({"step": "something new"}, False, "the prototypes were changed"),
    ],
)  # fmt: skip
def test_a_step_is_told_in_words(entry, placed, said):
    assert in_words(entry, placed) == said


def test_a_step_stands_between_the_accuracies_before_and_after(maker):
    first, second = followed_rows(maker(followed=True).write(), placed=True)
    assert (first["stage"], first["step"]) == ("train", "project")
    assert (first["before"], first["after"], first["change"]) == ("91.2\xa0%", "88.7\xa0%", "−2.50\xa0points")
    assert second["did"].endswith("8 left")


def test_a_run_of_before_steps_were_told_has_no_rows(maker):
    assert followed_rows(maker().write(), placed=False) == []


def test_a_change_has_its_sign():
    assert [points(change) for change in (0.0123, -0.0123, 0.0)] == [
        "+1.23\xa0points", "−1.23\xa0points", "0.00\xa0points"
    ]  # fmt: skip


LINES = [
    {"prototypes": {"uses": [3, 0, 5], "norm": [1.0, 4.0, 3.0], "distance": [0.5, 8.0, 1.5]}},
    {},
    {"prototypes": {"uses": [2, 6], "norm": [1.0, 5.0], "distance": [0.25, 0.75]}},
]


def test_used_and_unused_prototypes_are_followed_apart_over_the_epochs():
    section = whereabouts_section(LINES, Marks((3,)))
    curves = {(chart.title, curve.label): curve.values for chart in section["charts"] for curve in chart.curves}
    shown = {name: [None if isnan(value) else value for value in values] for name, values in curves.items()}
    assert shown == {
        ("Number of prototypes", "used"): [2, None, 2],
        ("Number of prototypes", "unused"): [1, None, 0],
        ("Mean norm of prototypes", "used"): [2.0, None, 3.0],
        ("Mean norm of prototypes", "unused"): [4.0, None, None],
        ("Mean distance of prototypes to the nearest code", "used"): [1.0, None, 0.5],
        ("Mean distance of prototypes to the nearest code", "unused"): [8.0, None, None],
    }
    assert all("nan" not in chart.svg for chart in section["charts"])


def test_the_last_epoch_is_told_in_words():
    assert whereabouts_section(LINES, Marks())["sentence"] == "After the last epoch 2 of 2\xa0prototypes are used."
    assert whereabouts_section(LINES[:1], Marks())["sentence"] == (
        "After the last epoch 2 of 3\xa0prototypes are used; their mean distance to the nearest code is 1.00, "
        "that of the others 8.00."
    )


def test_a_model_that_measures_no_distance_has_no_chart_of_it():
    line = {"prototypes": LINES[0]["prototypes"] | {"distance": None}}
    section = whereabouts_section([line], Marks((1,)))
    assert [chart.title for chart in section["charts"]] == ["Number of prototypes", "Mean norm of prototypes"]
    assert section["sentence"] == "After the last epoch 2 of 3\xa0prototypes are used."


def test_a_run_that_did_not_follow_its_prototypes_has_no_section():
    assert whereabouts_section([{}, {}], Marks()) is None
