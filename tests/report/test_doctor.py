"""The page of a doctor: the answer first, each sick prototype with picture, figure and mend, what was not asked."""

import re
from html import unescape

import pytest

from protolens.evaluation.findings import KINDS
from protolens.report import write_doctor
from protolens.report.doctor import ILLNESSES, answer, measured, split_mend
from tests.report.conftest import RunMaker


def finding(number: int, kind: str, **changes):
    return {
        "prototype": number,
        "kind": kind,
        "class": "cat",
        "measure": "distance to the nearest code",
        "figure": 2.5,
        "threshold": 1.25,
        "beside": 0.5,
        "sentence": f"Something about {number}.",
        "others": [],
        "mend": "Do this: `protolens fit x --model.prototypes 3 --out y`",
        "images": [],
    } | changes


def found_of(*findings, prototypes: int = 8, not_asked=()):
    sick = {kind: sum(each["kind"] == kind for each in findings) for kind in KINDS}
    return {
        "images": {"training": 1200, "validation": 1},
        "prototypes": prototypes,
        "healthy": prototypes - len({each["prototype"] for each in findings}),
        "kinds": {kind: {"sick": sick[kind], "not_asked": dict(not_asked).get(kind)} for kind in KINDS},
        "findings": list(findings),
    }


def words_of(path) -> str:
    text = re.sub(r"<(style|script).*?</\1>", "", path.read_text(), flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


def test_every_illness_has_its_words():
    assert list(ILLNESSES) == list(KINDS)


def test_the_answer_comes_first_and_each_sick_prototype_has_its_mend(tmp_path):
    maker = RunMaker(tmp_path / "run", classes=("cat", "<dog>", "owl"))
    run = maker.write()
    maker.picture("doctor/training-000003.png")
    image = {"picture": "doctor/training-000003.png", "name": "train/3", "label": "<dog>", "box": [1, 1, 5, 5]}
    found = found_of(
        finding(1, "duplicate", others=[4], measure="correlation with another of its class"),
        finding(4, "duplicate", others=[1], measure="correlation with another of its class"),
        finding(4, "background", images=[image, image], measure="share of its nearest patches on background"),
        not_asked=[("wrong-signed", "there are no weights")],
    )
    path = write_doctor(run, found, run.folder)
    page, words = path.read_text(), words_of(path)
    assert words.index("2 of 8 prototypes are sick: 2 are duplicates; 1 looks at background.") < words.index(
        "Prototype 1"
    )
    assert "Judged by 1,200 training images and 1 validation image." in words
    assert words.count("Something about") == 3
    assert words.count("protolens fit x --model.prototypes 3 --out y") == 2  # once an illness
    assert "Not asked: there are no weights." in words
    assert page.count("train/3") == 2
    assert page.count('id="training-000003"') == 1
    assert "<dog>" not in page
    assert 'id="duplicate-1"' in page
    assert 'id="background-4"' in page


def test_healthy_prototypes_are_told_so(tmp_path):
    run = RunMaker(tmp_path / "run").write()
    words = words_of(write_doctor(run, found_of(), tmp_path))
    assert "All 8 prototypes are healthy." in words
    assert "What to do" not in words
    assert f"--out {tmp_path}" in words
    assert answer(found_of(prototypes=1)) == "Its 1\N{NO-BREAK SPACE}prototype is healthy."
    assert answer(found_of(finding(0, "never-used"))).startswith(
        "1 of 8\N{NO-BREAK SPACE}prototypes is sick: 1 is never"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "distance to the nearest code: 2.50; healthy: at most 1.25; usual for an image, to another one: 0.500"),
        (
            {"kind": "class-mixed", "measure": "share of images", "figure": 0.5, "threshold": 0.8, "beside": 0.1},
            "share of images: 50.0 %; healthy: at least 80.0 %; all images: 10.0 %",
        ),
        (
            {"kind": "never-used", "measure": "images that it wins", "figure": 0.0, "threshold": 1.0, "beside": 3.0},
            "images that it wins: 0; healthy: at least 1; decisions to which it adds most: 3",
        ),
        (
            {"kind": "duplicate", "measure": "correlation with", "figure": 0.99996, "threshold": 0.999},
            "correlation with: 0.9999; healthy: at most 0.9990",
        ),
        ({"kind": "wrong-signed", "measure": "weight", "figure": -0.5, "threshold": 0.0, "beside": None},
         "weight: −0.500; healthy: at least 0"),
    ],
)  # fmt: skip
def test_a_figure_stands_beside_where_health_ends(changes, said):
    assert measured(finding(0, **{"kind": "out-of-distribution"} | changes)).replace("\N{NO-BREAK SPACE}", " ") == said


def test_a_mend_is_a_sentence_and_a_command():
    assert split_mend("Do this: `protolens fit`") == ("Do this", "protolens fit")
    assert split_mend("Cut the images") == ("Cut the images", "")
