"""The verbs `evaluate` and `explain`, and the report, on images that can show several classes."""

import json
import math
import re

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from protolens.cli import main
from protolens.evaluation import evaluate, evaluate_ensemble
from protolens.evaluation.examples import choose_all_right, choose_most_wrong
from protolens.evaluation.interpretation import fidelity
from protolens.evaluation.promises import own_class_nearest, patches_of_own_class, stranger_overlap
from protolens.evaluation.several import bootstrap_interval
from protolens.explanation import Subject, explain_images
from protolens.report import write_report
from protolens.train import average_precisions, fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def run(several, tmp_path_factory):
    changes = {"data": {"name": "pairs"}, "model": {"name": "blackbox"}, "train": {"batch": 30}}
    folder = tmp_path_factory.mktemp("runs") / "run"
    return fit(digits_run(**changes, stages={"train": {"epochs": 6}}), folder)


@pytest.fixture(scope="module")
def seen(several, run):
    """Logits and labels of the test images."""
    with torch.no_grad():
        return run.model()(several.test.take(torch.arange(200)) / 255), several.test.labels


def test_the_figures_of_a_run_equal_scikit_learn_s(run, seen):
    found, (logits, labels) = evaluate(run).content, seen
    said = (logits > 0).long()
    assert "confusion" not in found
    assert found["mean_average_precision"] == pytest.approx(average_precision_score(labels, logits))
    assert found["micro_f1"] == pytest.approx(f1_score(labels, said, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    assert found["constant_score"] == pytest.approx(average_precision_score(labels, torch.zeros(200, 10)))
    for k, entry in enumerate(found["classes"]):
        assert entry["images"] == int(labels[:, k].sum())
        assert entry["average_precision"] == pytest.approx(average_precision_score(labels[:, k], logits[:, k]))
        assert entry["recall"] == pytest.approx(recall_score(labels[:, k], said[:, k]))
        if entry["precision"] is not None:
            assert entry["precision"] == pytest.approx(precision_score(labels[:, k], said[:, k]))
    exact = int((said == labels).all(dim=1).sum())
    assert (found["right"], found["subset_accuracy"]) == (exact, pytest.approx(exact / 200))
    assert found["subset_accuracy_interval"][0] < exact / 200 < found["subset_accuracy_interval"][1]
    assert evaluate(run).accuracy == exact / 200


def test_the_interval_is_that_of_resamples_one_by_one(seen, monkeypatch):
    monkeypatch.setattr("protolens.evaluation.several.RESAMPLES", 200)
    logits, labels = seen[0][:40], seen[1][:40]
    low, high = bootstrap_interval(logits, labels, seed=0)
    generator = torch.Generator().manual_seed(9)
    means = []
    for _ in range(200):
        rows = torch.randint(40, (40,), generator=generator)
        means.append(float(average_precisions(logits[rows], labels[rows])[:, 0].nanmean()))
    means.sort()
    # another seed: the ends agree up to the chance of 200 resamples
    width = means[-5] - means[5]
    assert (low, high) == (pytest.approx(means[5], abs=width / 4), pytest.approx(means[-5], abs=width / 4))
    monkeypatch.setattr("protolens.evaluation.several.VALUES", 100)
    assert bootstrap_interval(logits, labels, seed=0) == pytest.approx([low, high])
    assert bootstrap_interval(logits, torch.zeros_like(labels), seed=0) is None


def test_examples_are_images_with_all_classes_right_and_those_with_most_wrong():
    logits = torch.tensor([[3.0, -3], [1, 1], [-1, -2], [-4, -4], [2, -9], [-2, 3]])
    labels = torch.tensor([[1, 0], [1, 1], [1, 1], [1, 1], [1, 1], [0, 1]])
    assert choose_all_right(logits, labels).tolist() == [0, 5]
    assert choose_most_wrong(logits, labels).tolist() == [3, 2, 4]
    assert choose_most_wrong(logits, (logits > 0).long()).tolist() == []


def test_a_promise_is_kept_by_a_prototype_of_any_class_that_the_image_shows():
    similarity = torch.tensor([[3.0, 2, 1], [1, 3, 2], [1, 2, 3]])
    labels, class_of = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0]]), torch.tensor([0, 1, 2])
    assert own_class_nearest(similarity, labels, class_of) == 0.5
    assert patches_of_own_class(similarity, labels, class_of, count=1) == pytest.approx(1 / 3)
    assert stranger_overlap(similarity, labels, class_of) == pytest.approx((0 + 0.75 + 0.5) / 3)
    assert fidelity(similarity - 2, 1.5 - similarity, several=True) == 0
    assert fidelity(similarity - 2, similarity - 2.5, several=True) == 1


def test_an_explanation_names_all_classes_and_explains_the_likeliest(run, several):
    model, images = run.model(), several.test.take(torch.arange(200)) / 255
    subjects = [Subject(name) for name in several.test.names]
    found = explain_images(model, images, subjects)
    for explanation, logits in zip(found, model(images).tolist(), strict=True):
        said = [str(k) for k, logit in enumerate(logits) if logit > 0]
        assert explanation.predicted == (", ".join(said) or "none")
        assert explanation.explained == str(logits.index(max(logits)))
        assert explanation.probability == pytest.approx(1 / (1 + math.exp(-max(logits))))
        begins = {0: "Shows none of the classes; ", 1: f"Shows {explanation.explained}, with "}
        assert explanation.sentence.startswith(begins.get(len(said), f"Shows {explanation.predicted}; "))
    (other,) = explain_images(model, images[:1], subjects[:1], target="3")
    assert other.sentence.startswith("Shows none of the classes; 3 with ")


def test_the_examples_name_all_classes_of_the_label(run, several):
    kinds = evaluate(run).content["examples"]
    for example in [*kinds["sample"], *kinds["right"], *kinds["wrong"]]:
        shown = several.test.labels[example["index"]].nonzero().flatten().tolist()
        assert example["label"] == (", ".join(map(str, shown)) or "none")
    assert all(example["label"] == example["predicted"] for example in kinds["right"])
    assert all(example["label"] != example["predicted"] for example in kinds["wrong"])


def test_several_runs_decide_together(run):
    found = evaluate_ensemble([run, run])
    alone = evaluate(run).content["mean_average_precision"]
    assert found["members"][0] == {"run": str(run.folder), "mean_average_precision": pytest.approx(alone)}
    assert found["mean_average_precision"] == pytest.approx(alone)


def test_the_report_has_the_figures_of_each_class_and_no_confusion_matrix(run):
    evaluate(run)
    text = write_report(run).read_text(encoding="utf-8")
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.split("</style>")[1]))
    for words in ("Validation mean average precision", "All classes right", "Most classes wrong", "a constant score:"):
        assert words in said
    assert "Confusion matrix" not in said
    assert "an image shows" in said
    linked, ids = set(re.findall(r'href="#([\w-]+)"', text)), set(re.findall(r'id="([\w-]+)"', text))
    assert linked <= ids


def test_the_command_line_shows_the_figures_of_each_class(run, capsys):
    assert main(["evaluate", str(run.folder)]) == 0
    said = capsys.readouterr().out
    for words in ("mean average precision", "constant score", "micro F1", "95 % interval"):
        assert words in said
    assert main(["evaluate", str(run.folder), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["classes"]) == 10
    assert main(["evaluate", str(run.folder), str(run.folder), "--ensemble"]) == 0
    assert "together" in capsys.readouterr().out


def test_fit_says_by_which_figure_it_chose_and_convert_refuses(several, tmp_path, capsys):
    words = ["fit", "--data", "pairs", "--model", "blackbox", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert "epoch 1 was chosen: validation mean average precision " in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "run")]) == 1
    assert "kmex needs images of one class each" in capsys.readouterr().err
