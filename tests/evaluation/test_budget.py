"""Spans of time, forecasts by a clock that the tests turn, and how many images a budget buys."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from protolens.errors import ProtolensError
from protolens.evaluation.budget import (
    ENOUGH,
    about,
    agreed,
    foreseen,
    half_width,
    images_within,
    in_numbers,
    in_points,
    line_of,
    parse_duration,
    planned,
    rate_of,
    spoken,
    tried,
    typed,
)
from protolens.train import Team

seconds = st.floats(1e-4, 50)


class Clock:
    """Time that passes where somebody works: so much once, and so much for each image."""

    def __init__(self, each: float, once: float = 0.0):
        self.now, self.each, self.once, self.calls = 0.0, each, once, []

    def __call__(self) -> float:
        return self.now

    def work(self, images: int) -> None:
        self.now += self.once + self.each * images
        self.once = 0.0
        self.calls.append(images)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), (" 1h0m5s ", 3605), ("1.5h", 5400), ("0.5s", 0.5)],
)
def test_spans_of_time_are_read(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "10", "0s", "ten minutes", "10 m", "30m1h", "-5m", "5d", "1h30", "٣m", "s"])
def test_what_is_no_span_of_time_is_refused_in_a_sentence(text):
    with pytest.raises(ProtolensError, match="is no span of time; write 90s, 10m, 1h30m or 2h"):
        parse_duration(text)


@given(st.floats(0.01, 1e6))
def test_what_is_typed_is_read_again_and_no_shorter(span):
    assert span <= parse_duration(typed(span)) < span + 1


@pytest.mark.parametrize(
    ("span", "exactly", "roughly"),
    [
        (0.3, "under 1 s", "under 1 s"),
        (42.2, "42 s", "42 s"),
        (187, "3 min 7 s", "3 min 10 s"),
        (599, "9 min 59 s", "10 min"),
        (830, "13 min 50 s", "14 min"),
        (7530, "2 h 5 min 30 s", "2 h 5 min"),
        (7200, "2 h", "2 h"),
    ],
)
def test_spans_are_said_in_words(span, exactly, roughly):
    assert (spoken(span), about(span)) == (exactly, roughly)


@given(seconds, st.floats(0, 20), st.integers(1, 64))
def test_a_rate_is_found_on_growing_numbers_of_images(each, once, most):
    clock = Clock(each, once)
    rate = rate_of(clock.work, most, clock)
    assert all(1 <= images <= most for images in clock.calls)
    assert clock.calls[:2] == [1, 1]
    assert rate == pytest.approx(each, rel=1e-6)
    assert each * clock.calls[-1] >= ENOUGH * 0.999 or clock.calls[-1] == most


@given(st.floats(0, 20), seconds, st.floats(0, 20), st.integers(1, 64))
def test_a_call_and_each_image_in_it_are_told_apart(call, each, warming, most):
    now, calls = [0.0], []

    def work(images: int) -> None:
        now[0] += call + each * images + (0 if calls else warming)
        calls.append(images)

    told = line_of(work, most, lambda: now[0])
    assert all(1 <= images <= most for images in calls)
    if most == 1:
        assert told == (0.0, pytest.approx(call + each))
    else:
        assert told == (pytest.approx(call, abs=1e-6), pytest.approx(each, rel=1e-6, abs=1e-9))
        assert calls[-1] == most or each * (calls[-1] - 1) >= ENOUGH * 0.999


@given(seconds, seconds, st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 5000))
def test_a_budget_is_never_overrun_and_more_of_it_buys_no_less(first, second, budget, more, most):
    costs = lambda images: {"first": first * images, "second": second * min(images, 32)}  # noqa: E731
    count = images_within(costs, budget, most)
    assert 0 <= count <= most
    assert sum(costs(count).values()) <= budget
    if count < most:
        assert sum(costs(count + 1).values()) > budget
    assert images_within(costs, budget + more, most) >= count


@given(seconds, st.integers(30, 5000), st.floats(1, 1e5))
def test_a_plan_holds_the_least_or_says_what_it_costs(each, wanted, budget):
    costs = lambda images: {"lime": each * images}  # noqa: E731
    try:
        plan = planned("image", costs, wanted, 30, budget)
    except ProtolensError as error:
        assert each * 30 > 0.9 * budget
        hint = parse_duration(str(error).partition("write --budget ")[2].split(",")[0])
        assert planned("image", costs, wanted, 30, hint).count >= 30
    else:
        assert 30 <= plan.count <= wanted
        assert plan.seconds <= 0.9 * budget
        assert plan.count == wanted or plan.whole > 0.9 * budget


def test_what_was_used_counts_and_without_a_budget_all_is_measured():
    costs = lambda images: {"lime": float(images)}  # noqa: E731
    assert planned("image", costs, 1000, 30, 100.0, used=40.0).count == 54
    assert planned("image", costs, 1000, 30, None).count == 1000
    assert planned("image", costs, 12, 30, 15.0).count == 12
    with pytest.raises(
        ProtolensError, match=r"--budget 50s reaches for 9 images, and fewer than 30 say too little; 30 "
    ):
        planned("image", costs, 1000, 30, 50.0, used=40.0)


def test_time_ends_near_the_budget_by_a_clock_that_passes_as_forecast(capsys):
    clock, team = Clock(each=0.05, once=2.0), Team(torch.device("cpu"))
    rate = agreed(team, {"lime": rate_of(clock.work, tried(4000), clock)})["lime"]
    plan = foreseen(team, "image", lambda images: {"lime": rate * images}, 4000, 30, 60.0, 0.0, clock)
    assert capsys.readouterr().err.startswith("about 5")
    clock.work(plan.count)
    assert 50 < clock() <= 60
    assert plan.count < 4000


def test_a_forecast_is_told_where_somebody_waits(capsys):
    team = Team(torch.device("cpu"))
    clock = lambda: 0.0  # noqa: E731
    costs = lambda images: {"lime": 0.54 * images, "kernelshap": 0.24 * images, "self": 0.0}  # noqa: E731
    foreseen(team, "image", costs, 1000, 30, None, 0.0, clock)
    assert capsys.readouterr().err == "about 13 min for 1,000 images: lime 9 min, kernelshap 4 min\n"
    foreseen(team, "image", costs, 10, 30, None, 0.0, clock)
    assert capsys.readouterr().err == ""
    plan = foreseen(team, "image", costs, 1000, 30, 434.0, 0.0, clock)
    assert plan.count == 500
    said = "about 6 min 30 s for 500 of 1,000 images (all would take about 13 min): lime 4 min 30 s, kernelshap 2 min\n"
    assert capsys.readouterr().err == said
    facts = plan.facts("accuracy is known to ±4.1 points")
    assert facts["bought"] == "within 7 min 14 s: 500 of 1,000 images; accuracy is known to ±4.1 points"
    assert facts["forecast"] == {
        "images": 500,
        "wanted": 1000,
        "seconds": 390.0,
        "seconds_of_all": 780.0,
        "parts": {"lime": 270.0, "kernelshap": 120.0, "self": 0.0},
    }


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_the_widest_interval_is_told(ends):
    intervals = [(min(pair), max(pair)) for pair in ends]
    assume(intervals)
    assert half_width([None, *intervals]) == max((high - low) / 2 for low, high in intervals)


def test_no_interval_is_no_figure():
    assert half_width([None]) is None
    assert in_points(None) == in_numbers(None) == "no figure"
    assert in_numbers(0.0341) == "±0.034"
    assert in_points(0.0412) == "±4.1 points"
