import itertools

import pytest

from protolens.report.promises import before_sentence, conciseness_columns, fidelity_rows, promise_rows

DATA = {"classes": ["cat", "dog"], "splits": {"test": {"images": 40, "per_class": [30, 10]}}}
PROTOTYPES = [{"class": "cat"}, {"class": "dog"}, {"class": "dog"}]
SCORES = {"accuracy": 0.979, "accuracy_interval": [0.958, 0.99]}


def test_accuracy_before_each_step_stands_beside_that_of_the_finished_model():
    before = {"project": {"accuracy": 0.9821, "accuracy_interval": [0.962, 0.9917]},
              "eliminate": {"accuracy": 1.0, "accuracy_interval": [0.98, 1.0]}}  # fmt: skip
    assert before_sentence(SCORES | {"before": before}).replace("\xa0", " ") == (
        "Test accuracy before projection 98.2 % (95 % interval 96.2 % to 99.2 %); before elimination 100 % "
        "(95 % interval 98.0 % to 100 %); of the finished model 97.9 % (95 % interval 95.8 % to 99.0 %)."
    )


@pytest.mark.parametrize("evaluation", [SCORES, SCORES | {"before": {}, "interpretation": {}, "prototypes": {}}])
def test_what_an_evaluation_does_not_know_is_not_shown(evaluation):
    assert before_sentence(evaluation) == ""
    assert promise_rows(evaluation, DATA, PROTOTYPES) == []
    assert fidelity_rows(evaluation) == []
    assert conciseness_columns(evaluation) == []


def test_promises_stand_beside_the_chance_of_a_random_pair():
    rows = promise_rows({"prototypes": {"own_class_nearest": 0.9, "duplicates": 0.0}}, DATA, PROTOTYPES)
    assert [(row["name"], row["value"]) for row in rows] == [
        ("own class nearest", "90.0\xa0%"),
        ("duplicates", "0\xa0%"),
    ]
    labels, owners = ["cat"] * 30 + ["dog"] * 10, [entry["class"] for entry in PROTOTYPES]
    same = [label == owner for label, owner in itertools.product(labels, owners)]
    assert rows[0]["beside"] == f"100 % is best; chance: {100 * sum(same) / len(same):.1f}\xa0%"


def test_a_promise_that_cannot_be_measured_is_a_dash():
    rows = promise_rows({"prototypes": {"consistency": None, "stranger_overlap": None}}, DATA, PROTOTYPES)
    assert [row["value"] for row in rows] == ["–", "–"]


def test_an_interpreter_is_compared_with_its_network():
    found = {"fidelity": 0.987, "predictor_accuracy": 0.991, "conciseness": {"1.5": 1.234, "5.0": 4.0}}
    evaluation = SCORES | {"interpretation": found}
    assert [(row["name"], row["value"], row["beside"]) for row in fidelity_rows(evaluation)] == [
        ("fidelity", "98.7\xa0%", "100 % is best"),
        ("accuracy of the network", "99.1\xa0%", "the interpreter: 97.9\xa0%"),
    ]
    assert conciseness_columns(evaluation) == [("67\xa0%", "1.23"), ("20\xa0%", "4.00")]
