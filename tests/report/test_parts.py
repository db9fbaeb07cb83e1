"""What the report and the terminal say of parts: whether prototypes mean them, beside controls."""

import copy
import json

import pytest

from protolens.report import write_report
from protolens.report.parts import meaning, meaning_sentences, part_rows, part_sentence, parts_of
from protolens.terminal import show_evaluation

FIGURES = {"purity": 0.613, "consistency": 0.25, "stability": 0.5}
FOUND = {
    "figures": FIGURES,
    "controls": {
        "random": dict.fromkeys(FIGURES, 0.031),
        "centre": {"purity": 0.2, "consistency": 0.1, "stability": None},
    },
    "prototypes": 8,
    "asked": 8,
    "images": 40,
    "region": 72 / 224,
    "patch": 32 / 224,
    "nearest": 10,
    "least": 0.8,
    "noise": 0.2,
    "limit": 0.25,
    "meanings": [{"part": "beak", "share": 0.92, "images": 26}, *[{"part": "tail", "share": 0.4, "images": 1}] * 7],
    "shown": [
        {"prototype": 0, "images": [{"image": "birds/one.png", "picture": "examples/000001.png", "box": [0, 1, 3, 4]}]},
        {"prototype": 5, "images": [{"image": "test/7", "picture": "examples/000001.png", "box": None}]},
    ],
}


def with_parts(run, found=FOUND):
    path = run.folder / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parts": found}))
    return run


def test_a_prototype_means_its_part_where_it_is_consistent_and_none_where_it_is_not():
    assert meaning(FOUND, 0) == "means the beak, in 92.0\xa0% of the 26\xa0test images of its class that show it."
    assert meaning(FOUND, 5) == (
        "means no part; the tail, which it meets most often, is in its region in 40.0\xa0% of the 1\xa0test image of "
        "its class that show it."
    )
    none = FOUND | {"meanings": [{"part": "beak", "share": 0.0, "images": 3}]}
    assert meaning(none, 0) == "means no part: none is in its region in any test image of its class."
    first, second = meaning_sentences(FOUND)
    assert first.startswith("Most consistent: prototype 0 means the beak")
    assert second.startswith("Least consistent: prototype 5 means no part")


def test_figures_stand_beside_their_controls_and_what_is_unknown_is_a_dash():
    rows = part_rows(FOUND)
    assert [row["value"] for row in rows] == ["25.0\xa0%", "50.0\xa0%", "61.3\xa0%"]
    assert [row["centre"] for row in rows] == ["10.0\xa0%", "–", "20.0\xa0%"]
    assert part_sentence(FOUND) == (
        "25.0\xa0% of 8\xa0prototypes keep to one part; always looking at the middle of the image would let 10.0\xa0% "
        "of them do so."
    )
    nothing = FOUND | {"figures": dict.fromkeys(FIGURES), "shown": []}
    assert part_sentence(nothing) == "No prototype can be asked: no test image of their classes shows a part."
    assert meaning_sentences(nothing) == []


@pytest.mark.parametrize("found", [None, {"reason": "The parts of what these images show are not known."}])
def test_without_parts_neither_the_report_nor_the_terminal_speaks_of_them(maker, found, capsys):
    run = maker(places=True).write()
    assert parts_of({"parts": found} if found else {}) is None
    text = write_report(with_parts(run, found) if found else run).read_text(encoding="utf-8")
    assert "mean parts" not in text
    assert "means-part" not in text
    show(run)
    assert "consistency" not in capsys.readouterr().out


def test_the_report_shows_where_the_most_and_the_least_consistent_prototypes_look(maker):
    run = with_parts(maker(places=True).write())
    text = write_report(run).read_text(encoding="utf-8")
    for words in (
        "Do its prototypes mean parts?",
        'Most consistent: <a href="#prototype-0">prototype 0</a> means the beak',
        'Least consistent: <a href="#prototype-5">prototype 5</a> means no part',
        'id="means-part-consistency"',
        'id="means-part-stability"',
        'id="means-part-purity"',
        "test image one.png; a box marks where prototype 0 looks",
    ):
        assert words in text
    assert "where prototype 5 looks" not in text  # it looks nowhere


def test_a_picture_that_is_missing_is_named(maker):
    found = copy.deepcopy(FOUND)
    found["shown"][0]["images"][0]["picture"] = "examples/none.png"
    run = with_parts(maker(places=True).write(), found)
    with pytest.raises(Exception, match=r"examples/none.png is missing; `protolens evaluate .* --again` makes it anew"):
        write_report(run)


def show(run):
    from types import SimpleNamespace

    show_evaluation(run, SimpleNamespace(content=json.loads((run.folder / "evaluation.json").read_text())))


def test_the_terminal_tells_the_figures_and_what_prototypes_mean(maker, capsys):
    show(with_parts(maker(places=True).write()))
    said = capsys.readouterr().out
    assert "part consistency" in said
    assert "25.0" in said
    assert "Most consistent: prototype 0 means the beak" in said
