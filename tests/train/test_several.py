"""Images that show several classes: figures against scikit-learn, the loss, and what training makes of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from torch.nn import functional as F

from protolens.config import Task
from protolens.data import Batch
from protolens.errors import ProtolensError
from protolens.models import MODELS, build_model, load_model, models_for_several
from protolens.nn import classification
from protolens.train import average_precisions, classes_said, classes_shown, figures_of_several, fit, in_words
from protolens.train.tracing import trace
from tests.conftest import digits_run

# concepts are found by a step, which has tests of its own
LEARNING = [name for name in models_for_several() if name != "concepts"]
PAIRS = {"data": {"name": "pairs"}}
BOX = PAIRS | {"model": {"name": "blackbox"}, "stages": {"train": {"epochs": 1}}}


@st.composite
def decided(draw):
    """Logits with many ties, and labels, [N, K] each."""
    images, classes = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    logits = torch.randint(-3, 4, (images, classes), generator=generator) / 2
    return logits, (torch.rand(images, classes, generator=generator) < draw(st.sampled_from([0.1, 0.5]))).long()


@given(decided())
def test_average_precision_equals_scikit_learn_s_with_ties_and_is_undefined_without_positives(case):
    logits, labels = case
    for k, found in enumerate(average_precisions(logits, labels)[:, 0].tolist()):
        if labels[:, k].any():
            assert found == pytest.approx(average_precision_score(labels[:, k], logits[:, k]))
        else:
            assert found != found


@given(decided(), st.integers(0, 99))
def test_the_average_precision_of_a_resample_is_that_of_its_images(case, seed):
    logits, labels = case
    rows = torch.randint(len(logits), (3, len(logits)), generator=torch.Generator().manual_seed(seed))
    counts = torch.stack([row.bincount(minlength=len(logits)) for row in rows])
    slow = torch.stack([average_precisions(logits[row], labels[row])[:, 0] for row in rows], dim=1)
    torch.testing.assert_close(average_precisions(logits, labels, counts), slow, equal_nan=True)


@given(decided())
def test_figures_equal_scikit_learn_s(case):
    logits, labels = case
    found, said = figures_of_several(logits, labels), (logits > 0).long()
    precisions = [average_precision_score(y, x) for y, x in zip(labels.T, logits.T, strict=True) if y.any()]
    assert found["mean_average_precision"] == (pytest.approx(sum(precisions) / len(precisions)) if precisions else None)
    if (labels | said).any():
        # scikit-learn takes a single column for class numbers
        wide = [torch.cat([table, torch.zeros_like(table[:, :1])], dim=1) for table in (labels, said)]
        for average in ("micro", "macro"):
            expected = f1_score(*wide, average=average, zero_division=float("nan"))
            assert found[f"{average}_f1"] == pytest.approx(expected)
        assert found["subset_accuracy"] == pytest.approx(accuracy_score(*wide))
    else:
        assert found["micro_f1"] is found["macro_f1"] is None
        assert found["subset_accuracy"] == 1


def test_the_classes_of_an_image_in_words():
    shown = classes_shown(torch.tensor([[1, 0, 1], [0, 0, 0]]), 3)
    assert [in_words(row, ("water", "land", "road")) for row in shown] == ["water, road", "none"]
    assert classes_shown(torch.tensor([2, 0]), 3).tolist() == [[False, False, True], [True, False, False]]
    logits = torch.tensor([[0.5, 0.0, 2.0], [-1.0, -2.0, -3.0]])
    assert classes_said(logits, several=True).tolist() == [[True, False, True], [False, False, False]]
    assert classes_said(logits, several=False).tolist() == [[False, False, True], [True, False, False]]


def test_the_loss_is_the_mean_over_classes_of_the_binary_cross_entropy_written_out():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 3, generator=generator), torch.randint(2, (5, 3), generator=generator)
    share = logits.sigmoid()
    each = -torch.where(labels == 1, share.log(), (1 - share).log()).mean(dim=1)
    torch.testing.assert_close(classification(logits, labels), each.mean())
    weights = torch.tensor([1.0, 2, 0, 1, 4])
    torch.testing.assert_close(classification(logits, labels, weights), (each * weights).sum() / 8)
    numbers = labels.argmax(dim=1)
    torch.testing.assert_close(classification(logits, numbers), F.cross_entropy(logits, numbers))


@pytest.mark.parametrize("name", LEARNING)
def test_models_for_several_classes_learn_every_part_from_them(name):
    model = build_model({"name": name}, Task(("a", "b", "c"), 1, 8, 16, several=True), 0).train()
    batch = Batch(torch.rand(6, 1, 8, 16), torch.randint(2, (6, 3)))
    (stage,) = model.stages()
    terms = model.losses(batch, model.evidence(batch.images), 0)
    sum(weight * terms[name] for name, weight in stage.weights.items()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_a_run_selects_by_mean_average_precision_and_learns(several, tmp_path, name):
    changes = PAIRS | {"model": {"name": name}, "stages": {"train": {"epochs": 15}}, "train": {"batch": 50}}
    run = fit(digits_run(**changes), tmp_path / "run")
    figures = [line["validation"] for line in run.history]
    assert set(figures[0]) == {"mean_average_precision", "micro_f1", "macro_f1", "subset_accuracy", "loss"}
    assert run.config.train.select == "mean_average_precision"
    assert run.facts["chosen"][0]["score"] == max(line["mean_average_precision"] for line in figures)
    chance = several.validation.labels.double().mean()
    assert figures[-1]["mean_average_precision"] > 1.5 * chance
    assert load_model(run.folder / "model.safetensors").task.several
    assert run.facts["data"]["splits"]["test"]["per_class"] == several.test.labels.sum(dim=0).tolist()


def test_a_prototype_is_used_by_images_and_by_each_class_that_they_show(several):
    model = build_model({"name": "blackbox"}, several.task, 0)
    found = trace(model, several.validation)
    images = several.validation.take(torch.arange(200)) / 255
    closest = model.eval().evidence(images).similarity.argmax(dim=1)
    for j in range(10):
        own = several.validation.labels[closest == j]
        assert (int(found.images[j]), found.uses[j].tolist()) == (len(own), own.sum(dim=0).tolist())
    assert int(found.images.sum()) == 200


def test_the_file_of_prototypes_names_all_classes_of_the_nearest_image(several, tmp_path):
    run = fit(digits_run(**BOX), tmp_path / "run")
    for entry in run.prototypes:
        shown = several.training.labels[entry["provenance"]["index"]].nonzero().flatten().tolist()
        assert entry["provenance"]["label"] == (", ".join(map(str, shown)) or "none")
        assert entry["images"] >= max(entry["uses"])


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(models_for_several())))
def test_other_models_are_refused_by_a_sentence_that_names_those_that_can(several, tmp_path, name):
    with pytest.raises(
        ProtolensError,
        match=f"{name} needs images of one class each, .*; blackbox, concepts, network and prototypedl can",
    ):
        fit(digits_run(**PAIRS, model={"name": name}, stages={}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train": {"select": "accuracy"}},
            r"train\.select = accuracy is no figure .*; write mean_average_precision or",
        ),
        ({"train": {"class_weights": "balanced"}}, r"train\.class_weights = balanced needs images of one class each"),
        ({"stages": {"train": {"then": {"project": {}}}}}, r"stages\.train\.then\.project needs images of one class"),
    ],
)
def test_what_does_not_go_with_several_classes_is_refused_before_training(several, tmp_path, changes, sentence):
    with pytest.raises(ProtolensError, match=sentence):
        fit(digits_run(**{**BOX, **changes}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_figure_of_several_classes_cannot_select_where_there_is_one(tmp_path):
    with pytest.raises(
        ProtolensError, match=r"train\.select = micro_f1 is no figure .*; write accuracy or balanced_acc"
    ):
        fit(digits_run(train={"select": "micro_f1"}), tmp_path / "run")


def test_a_run_of_several_classes_goes_on_where_it_stopped_and_may_drop_unused_prototypes(several, tmp_path):
    changes = PAIRS | {"model": {"name": "prototypedl"}, "stages": {"train": {"epochs": 1, "then": {"eliminate": {}}}}}
    run = fit(digits_run(**changes), tmp_path / "run")
    (step,) = run.facts["followed"]
    assert step["left"] == len(run.prototypes)
    assert 0 <= step["after"]["mean_average_precision"] <= 1
    again = fit(digits_run(**changes), tmp_path / "run", resume=True)
    assert again.facts["model"]["digest"] == run.facts["model"]["digest"]
