import itertools

from hypothesis import given
from hypothesis import strategies as st

from protolens.report.numbers import MINUS, counted, fixed, percent, places, signed, three, ticks

NUMBERS = st.floats(-1e5, 1e5, allow_nan=False)


@given(NUMBERS)
def test_three_significant_digits_are_within_half_of_the_third(value):
    shown = three(value)
    if abs(value) >= 1e-4:
        assert abs(float(shown.replace(",", "").replace(MINUS, "-")) - value) <= 0.5001e-2 * abs(value)


def test_three_significant_digits_read_as_people_write_them():
    shown = {0.01234: "0.0123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.0: "1,234", 0.0: "0", -9.996: "−10.0"}
    assert {value: three(value) for value in shown} == shown
    assert three(None) == "–"


def test_a_percentage_says_hundred_only_where_all_are_meant():
    shown = [percent(share) for share in (1, 0.99971, 0.999999, 0.5, 0.00003, 0)]
    assert [text.removesuffix("\N{NO-BREAK SPACE}%") for text in shown] == [
        *("100", "99.97", "over 99.99", "50.0", "under 0.01", "0"),
    ]


@given(NUMBERS, st.integers(0, 5))
def test_a_sign_is_shown_for_every_number_that_is_not_shown_as_zero(value, decimals):
    shown = signed(value, decimals)
    if float(f"{value:.{decimals}f}") == 0:
        assert shown == fixed(0, decimals)
    else:
        assert shown[0] == ("+" if value > 0 else MINUS)


def test_words_follow_their_count():
    said = [counted(1, "image"), counted(2000, "image"), counted(3, "class"), counted(2, "patch"), counted(2, "epoch")]
    assert [words.replace("\N{NO-BREAK SPACE}", " ") for words in said] == [
        "1 image", "2,000 images", "3 classes", "2 patches", "2 epochs"
    ]  # fmt: skip


@given(st.lists(NUMBERS.filter(lambda value: abs(value) > 1e-3), min_size=1))
def test_the_largest_number_of_a_column_has_three_significant_digits(values):
    largest = max(map(abs, values))
    assert abs(float(f"{largest:.{places(values)}f}") - largest) <= 0.5001e-2 * largest


@given(NUMBERS, st.floats(1e-3, 1e4))
def test_the_marks_of_a_scale_enclose_it_in_even_steps(low, span):
    marks = ticks(low, low + span)
    steps = [after - before for before, after in itertools.pairwise(marks)]
    tolerance = 1e-6 * max(abs(low), span)
    assert marks[0] <= low + tolerance
    assert marks[-1] >= low + span - tolerance
    assert max(steps) - min(steps) <= tolerance
    assert 2 <= len(marks) <= 8
