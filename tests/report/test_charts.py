import re
import xml.etree.ElementTree as ElementTree
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protolens.report.charts import HEIGHT, MARGIN, WIDTH, Curve, Marks, line_chart, logarithmic_ticks


def draw(values, **changes):
    options = {"low": 0, "high": 1, "marks": Marks((2,)), "kind": "percent"} | changes
    return line_chart("name", "Accuracy", [Curve("accuracy", "solid", values)], **options)


def test_a_chart_has_no_style_that_a_strict_policy_would_refuse_and_no_colour_of_its_own():
    svg = draw([0.1, 0.5, 0.9])
    assert "style" not in svg.svg
    assert not re.search(r"#[0-9a-f]{6}\b", svg.svg)
    assert "font-family" not in svg.svg


def test_text_in_a_chart_stays_text():
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", draw([0.1, 0.5, 0.9]).svg)
    assert {"0 %", "50 %", "100 %", "epoch", "1", "3"} <= set(texts)


def test_the_chosen_epoch_is_marked_at_its_place():
    chart = ElementTree.fromstring(draw([0.1, 0.5, 0.9]).svg)
    dot = next(use for use in chart.iter("use") if "stroke-accent" in use.get("class", ""))
    left, right, top, bottom = MARGIN
    # epoch 2 of 1 to 3 is the middle, and 0.5 of 0 to 1 as well
    assert float(dot.get("x")) == pytest.approx((left + WIDTH - right) / 2, abs=0.5)
    assert float(dot.get("y")) == pytest.approx((top + HEIGHT - bottom) / 2, abs=0.5)


def test_the_same_numbers_give_the_same_chart():
    assert draw([0.1, 0.5]).svg == draw([0.1, 0.5]).svg


def test_a_chart_says_what_it_shows():
    assert draw([0.1, 0.5, 0.9]).words == "Accuracy over the epochs: accuracy from 10.0\xa0% to 90.0\xa0%"


@pytest.mark.parametrize("values", [[0.4], [nan, 0.4, nan], [0.4, 0.4]])
def test_few_values_are_drawn_as_well(values):
    assert "<path" in draw(values, marks=Marks()).svg


@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e6))
def test_logarithmic_marks_enclose_the_values(low, factor):
    marks = logarithmic_ticks(low, low * factor)
    assert marks == sorted(marks)
    assert marks[0] <= low * 1.000001
    assert marks[-1] >= low * factor * 0.999999
    assert 2 <= len(marks) <= 14
