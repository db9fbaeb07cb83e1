import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protolens.report.quality import WORST, confusion_rows, shade, shades, worst_confusions


@given(
    st.integers(2, 12).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 50), min_size=k, max_size=k), min_size=k, max_size=k)
    )
)
def test_the_worst_confusions_are_the_largest_numbers_beside_the_diagonal(table):
    names = [f"class {k}" for k in range(len(table))]
    shown = worst_confusions(table, names)
    beside = np.array(table)
    np.fill_diagonal(beside, 0)
    expected = sorted((number for number in beside.flatten().tolist() if number), reverse=True)[:WORST]
    assert [int(row["images"]) for row in shown] == expected
    for row in shown:
        assert table[names.index(row["true"])][names.index(row["said"])] == int(row["images"])


def test_a_cell_shows_its_number_and_nothing_for_none():
    rows = confusion_rows([[9, 1], [0, 1200]], ["a", "b"])
    assert [[cell["text"] for cell in row["cells"]] for row in rows] == [["9", "1"], ["", "1,200"]]
    assert [[cell["own"] for cell in row["cells"]] for row in rows] == [[True, False], [False, True]]
    assert rows[1]["cells"][0]["shade"] == 0


def test_the_legend_of_the_shades_says_where_each_ends():
    for name, bound in shades():
        share = float(bound.split("\N{NO-BREAK SPACE}")[0]) / 100
        # the bound is rounded to whole per cent
        assert f"shade-{shade(max(share - 0.006, 1e-6))}" == name
        assert share + 0.006 > 1 or f"shade-{shade(share + 0.006)}" != name


def test_a_class_without_test_images_is_a_row_without_shade():
    rows = confusion_rows([[3, 0], [0, 0]], ["a", "b"])
    assert [cell["shade"] for cell in rows[1]["cells"]] == [0, 0]
