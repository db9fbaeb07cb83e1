"""The page of a comparison: what is best is bold, what is not known is a dash, and the first line is the verdict."""

from itertools import combinations
from math import hypot

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protolens.report.compared import (
    GROUPS,
    NUMBER_FROM_DOT,
    X,
    Y,
    answer,
    cell,
    crowd,
    plane,
    shifts,
    verdicts,
    write_compared,
)
from protolens.terminal import show_comparison

ACCURACY, LOSS = GROUPS[0].columns[0], GROUPS[0].columns[-1]


def figure(*values):
    known = [value for value in values if value is not None]
    return {"values": list(values), "mean": sum(known) / len(known) if known else None, "spread": 0.01}


def kind(name, **figures):
    return {"name": name, "model": "kmex", "runs": [f"runs/{name}"], "seeds": [0], "figures": figures}


def pair(better, worse, told_apart):
    return {"better": better, "worse": worse, "told_apart": told_apart, "sentence": f"{better} beside {worse}."}


@pytest.fixture
def found():
    kinds = [
        kind("a", accuracy=figure(0.9, 0.92), loss=figure(0.3), **{X: figure(0.2), Y: figure(0.9)}),
        kind("<b>", accuracy=figure(0.8), loss=figure(0.1), **{X: figure(None), Y: figure(0.5)}),
        kind("c", accuracy=figure(0.91), loss=figure(None)),
    ]
    pairs = [pair("a", "c", False), pair("a", "<b>", True), pair("c", "<b>", True)]
    return {"data": "digits", "images": 100, "kinds": kinds, "pairs": pairs}


def test_the_best_is_bold_by_the_direction_of_its_figure(found):
    kinds = found["kinds"]
    assert [cell(each, ACCURACY, kinds)["best"] for each in kinds] == [True, False, True]
    assert [cell(each, LOSS, kinds)["best"] for each in kinds] == [False, True, False]
    assert cell(kinds[0], ACCURACY, kinds)["text"] == "91.00\xa0%"
    assert cell(kinds[0], ACCURACY, kinds)["spread"] == "± 1.00\xa0%"
    assert cell(kinds[2], LOSS, kinds)["text"] == "–"


def test_the_verdict_names_the_best_and_those_that_are_not_told_apart(found):
    assert answer(found) == "a has the highest accuracy; c cannot be told apart from it."
    found["pairs"][0]["told_apart"] = True
    assert answer(found) == "a is the most accurate; every other one is told apart from it."
    for each in found["pairs"]:
        each["told_apart"] = False
    assert answer(found) == "a has the highest accuracy, and none of the others can be told apart from it."


def of_many() -> dict[str, object]:
    """Six kinds, of which the second is told apart from the first alone, and the last from the third."""
    names = "abcdef"
    apart = {("a", "b"), ("c", "f")}
    pairs = [pair(*two, two in apart) for two in combinations(names, 2)]
    return {"data": "digits", "images": 100, "kinds": [kind(name) for name in names], "pairs": pairs}


def test_of_many_pairs_those_of_the_best_and_those_that_are_told_apart_are_read(found):
    assert verdicts(found) == (["a beside c.", "a beside <b>.", "c beside <b>."], [])
    to_read, others = verdicts(of_many())
    assert to_read == [*(f"a beside {name}." for name in "bcdef"), "c beside f."]
    assert len(others) == 15 - 6
    assert answer(of_many()) == "a has the highest accuracy; of the others only b can be told apart from it."


def test_the_other_pairs_are_there_for_who_wants_them(tmp_path, capsys):
    page = write_compared(of_many(), tmp_path).read_text(encoding="utf-8")
    folded = page.split("<details><summary>The other 9 pairs, which cannot be told apart")[1].split("</details>")[0]
    assert folded.count("<li>") == 9
    assert "e beside f." in folded
    assert "a beside b." not in folded
    show_comparison(of_many())
    assert "The other 9 pairs cannot be told apart; the page has them." in capsys.readouterr().out


def test_of_two_the_verdict_names_both_or_the_better():
    found = {"kinds": [kind("a"), kind("b")], "pairs": [pair("a", "b", True)]}
    assert answer(found) == "a is the more accurate of the two."
    assert answer(found | {"pairs": [pair("a", "b", False)]}) == "a and b cannot be told apart."


def test_the_plane_shows_those_that_have_both_kinds_of_diversity(found):
    chart = plane(found)
    assert chart.words == "1: a"
    assert plane({"kinds": found["kinds"][1:]}) is None


@given(st.lists(st.tuples(st.floats(0, 250), st.floats(0, 150)), max_size=12))
def test_each_number_is_near_its_dot_and_in_the_way_of_no_other_thing_where_there_is_room(dots):
    found = shifts(dots)
    assert len(found) == len(dots)
    assert {round(hypot(*shift)) for shift in found} <= set(NUMBER_FROM_DOT)
    numbers = [(x + right, y + up) for (x, y), (right, up) in zip(dots, found, strict=True)]
    for number, (x, y) in zip(numbers, dots, strict=True):
        near = [dot for dot in dots if hypot(dot[0] - x, dot[1] - y) < 90]
        if len(near) < 3:  # itself, and one other
            assert all(crowd(*number, other) == 0 for other in (*dots, *numbers) if other not in (number, (x, y)))


def test_numbers_of_dots_that_coincide_are_apart():
    one, other = shifts([(100, 50), (100, 50)])
    assert crowd(*one, other) == 0
    assert crowd(1, 2, (1, 2)) == 1
    assert crowd(1, 2, (1, 9)) == 0.5


def test_what_it_refuses_has_a_column_for_each_other_data_set(found, tmp_path):
    for kind, share in zip(found["kinds"], (0.8, 0.4, None), strict=True):
        kind["figures"]["uncertainty.refused_of.<i>"] = figure(share)
        kind["figures"]["calibration_error"] = figure(0.01)
    page = write_compared(found, tmp_path).read_text()
    assert "Does it know when it does not know?" in page
    assert "refuses of &lt;i&gt;" in page
    assert 'class="strong">80.00\xa0%' in page
    assert "0.0100" in page


def test_what_was_measured_of_robustness_stands_beside_its_control(found, tmp_path):
    drop = "trust.prototypes.maps.{}.inpaint.average_drop.remove_top"
    assert "Do its reasons hold?" not in write_compared(found, tmp_path).read_text()
    found["kinds"][0]["figures"] |= {drop.format("prp"): figure(0.77), drop.format("random"): figure(0.34)}
    page = write_compared(found, tmp_path).read_text()
    assert "Do its reasons hold?" in page
    assert "77.00\xa0%" in page
    assert "34.00\xa0%" in page
    assert "found again" not in page


def test_the_page_holds_names_as_text_and_leaves_out_what_nobody_has(found, tmp_path):
    page = write_compared(found, tmp_path).read_text()
    assert "&lt;b&gt; beside" not in page
    assert "a beside &lt;b&gt;." in page
    assert "Does it decide as its black box does?" not in page
    assert "<code>protolens compare runs/a &#39;runs/&lt;b&gt;&#39; runs/c --out" in page
