import itertools
from dataclasses import replace

import pytest

from protolens.errors import ProtolensError
from protolens.report.gallery import read_prototypes
from protolens.report.pictures import Album, Picture
from protolens.report.reasons import SHOWN, explain_why


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


@pytest.fixture
def why(maker):
    """Explains an image of a drawn run; the run's maker as an attribute."""
    made = maker(prototypes=12, classes=("cat", "dog"))
    prototypes = read_prototypes(made.write(), Album(made.folder))

    def explain(entry):
        return explain_why(entry, prototypes, Picture(made.png()), None, "image-0", "protolens evaluate r")

    explain.maker = made
    return explain


def test_shown_contributions_and_bias_sum_to_the_shown_logit(why):
    for _ in range(20):
        shown = why(why.maker.explanation(3, "cat").to_dict())
        total = number(shown.exact_bias) + sum(number(row[4]) for row in shown.exact)
        assert total == pytest.approx(number(shown.exact_logit), abs=0.5e-4 * (len(shown.exact) + 2))
        assert shown.exact_sum == shown.exact_logit


def test_shown_lifts_and_baseline_sum_to_the_shown_logit(why):
    for _ in range(20):
        shown = why(why.maker.explanation(3, "cat").to_dict())
        rows = [shown.start, *shown.rows, shown.more]
        tolerance = 0.5e-2 * (len(rows) + 1)
        assert sum(number(row.lift) for row in rows) == pytest.approx(number(shown.end.lift), abs=tolerance)
        assert sum(number(row.contribution) for row in rows) == pytest.approx(number(shown.end.lift), abs=tolerance)


def test_the_bars_go_from_the_baseline_to_the_logit_without_a_gap(why):
    shown = why(why.maker.explanation(3, "cat").to_dict())
    for rows in ([*shown.rows, shown.more], [*shown.rows, *shown.folded]):
        bars = [shown.start.bar, *(row.bar for row in rows), shown.end.bar]
        for before, after in itertools.pairwise(bars):
            assert after.start == pytest.approx(before.end, abs=1e-6)
        assert all(0 <= place <= 100 for bar in bars for place in (bar.start, bar.end))


def test_a_bar_is_as_long_as_its_lift_on_the_scale_that_is_shown(why):
    entry = why.maker.explanation(3, "cat").to_dict()
    shown = why(entry)
    places = [(float(place.removesuffix("%")), number(label)) for place, label in shown.ticks]
    (left, low), (right, high) = places[0], places[-1]
    for reason, row in zip(entry["reasons"], shown.rows, strict=False):
        length = (row.bar.end - row.bar.start) / (right - left) * (high - low)
        assert length == pytest.approx(reason["lift"], abs=1e-2)
        assert row.bar.speaks == ("for" if reason["lift"] > 0 else "against")


def test_the_strongest_reasons_are_in_sight_and_the_others_folded(why):
    entry = why.maker.explanation(3, "cat").to_dict()
    shown = why(entry)
    assert [row.prototype.number for row in shown.rows] == [reason["prototype"] for reason in entry["reasons"][:SHOWN]]
    assert len(shown.folded) == 12 - SHOWN


def test_reasons_that_add_nothing_are_folded(why):
    explanation = why.maker.explanation(3, "cat")
    first = explanation.reasons[0]
    silent = tuple(replace(reason, weight=0.0, contribution=0.0) for reason in explanation.reasons[1:])
    alone = replace(explanation, reasons=(first, *silent), logit=explanation.bias + first.contribution)
    assert len(why(alone.to_dict()).rows) == 1


def test_reasons_that_do_not_sum_to_the_logit_are_refused(why):
    entry = why.maker.explanation(3, "cat").to_dict()
    entry["logit"] += 0.5
    with pytest.raises(ProtolensError, match=r"^test/3: bias and contributions sum to .* and not to the logit .*; "):
        why(entry)


def test_the_title_says_whether_the_image_was_recognised(why):
    explanation = why.maker.explanation(3, "cat", predicted=1)
    assert why(explanation.to_dict()).title == "cat, taken for dog"
    assert why(replace(explanation, label="dog").to_dict()).title == "dog, recognised"
    assert why(replace(explanation, label=None).to_dict()).title == "taken for dog"


def test_a_reason_at_a_place_has_its_box_and_its_heat_map(maker):
    made = maker(prototypes=12, places=True)
    prototypes = read_prototypes(made.write(), Album(made.folder))
    entry = made.explanation(3, "cat").to_dict()
    first = entry["reasons"][0]
    heat = {first["prototype"]: Picture(made.png())}
    shown = explain_why(entry, prototypes, Picture(made.png()), None, "image-0", "protolens evaluate r", heat)
    assert shown.placed
    assert [row.box for row in (*shown.rows, *shown.folded)] == [
        reason["box"] and tuple(reason["box"]) for reason in entry["reasons"]
    ]
    assert [row.heat for row in shown.rows] == [heat[first["prototype"]], *[None] * (SHOWN - 1)]
    assert shown.folded[-1].box is None


def test_an_explanation_from_before_places_were_told_has_none(why):
    entry = why.maker.explanation(3, "cat").to_dict()
    for reason in entry["reasons"]:
        del reason["box"], reason["place"]
    assert not why(entry).placed


def test_prototypes_without_a_training_image_of_their_own_are_shown_without_places(maker):
    made = maker(prototypes=12, places=True)
    prototypes = [replace(each, patch=None) for each in read_prototypes(made.write(), Album(made.folder))]
    entry = made.explanation(3, "cat").to_dict()
    assert not explain_why(entry, prototypes, Picture(made.png()), None, "image-0", "protolens evaluate r").placed
