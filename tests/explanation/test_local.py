"""Local explanations: sums, sentences, and the model left as it was."""

import pytest
import torch

from protolens.errors import ProtolensError
from protolens.explanation import Subject, explain_images
from protolens.explanation.local import percent
from protolens.models import build_model, state_digest
from tests.conftest import make_task

MODELS = [{"name": "prototypedl"}, {"name": "prototypedl", "squared": True, "bias": False}, {"name": "blackbox"}]


def explained(choice, **words):
    model = build_model(choice, make_task(), 0)
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    subjects = [Subject(f"image {i}") for i in range(3)]
    return model, images, explain_images(model, images, subjects, **words)


@pytest.mark.parametrize("choice", MODELS, ids=str)
@pytest.mark.parametrize("target", [None, "class 2"])
def test_contributions_are_similarity_times_weight_and_sum_with_the_bias_to_the_logit(choice, target):
    usual = torch.randn(4 if choice["name"] == "blackbox" else 15)
    model, images, explanations = explained(choice, target=target, usual=usual)
    for row, explanation in enumerate(explanations):
        logits = model.eval()(images[row : row + 1])[0]
        k = int(logits.argmax()) if target is None else 2
        assert explanation.explained == f"class {k}"
        assert explanation.predicted == f"class {int(logits.argmax())}"
        for reason in explanation.reasons:
            assert reason.contribution == pytest.approx(reason.similarity * reason.weight)
            assert reason.usual == pytest.approx(float(usual[reason.prototype]))
        total = explanation.bias + sum(reason.contribution for reason in explanation.reasons)
        lifted = explanation.baseline + sum(reason.lift for reason in explanation.reasons)
        assert total == pytest.approx(float(logits[k].detach()), abs=1e-4)
        assert lifted == pytest.approx(explanation.logit, abs=1e-4)
        assert sum(explanation.probabilities.values()) == pytest.approx(1)
        lifts = [abs(reason.lift) for reason in explanation.reasons]
        assert lifts == sorted(lifts, reverse=True)


def test_the_sentence_names_the_class_and_the_strongest_voices_for_and_against():
    _, _, explanations = explained({"name": "prototypedl"}, usual=torch.randn(15))
    explanation = explanations[0]
    pro = next(reason for reason in explanation.reasons if reason.lift > 0)
    con = next(reason for reason in explanation.reasons if reason.lift < 0)
    assert explanation.sentence.startswith(f"{explanation.explained}, with {100 * explanation.probability:.0f} %. P")
    assert f"rototype {pro.prototype} ({pro.class_name}) speaks for it most" in explanation.sentence
    assert f"rototype {con.prototype} ({con.class_name}) speaks against it most" in explanation.sentence


def test_an_unknown_class_names_the_nearest():
    with pytest.raises(ProtolensError, match="clas 2 is not a class of this model; did you mean class 2?"):
        explained({"name": "prototypedl"}, target="clas 2")


def test_explaining_leaves_weights_mode_and_generators_as_they_were():
    model = build_model({"name": "blackbox", "network": "strong"}, make_task(), 0).train()
    before, state = state_digest(model), torch.get_rng_state()
    explain_images(model, torch.rand(2, 1, 28, 28, generator=torch.Generator()), [Subject("a"), Subject("b")])
    assert model.training
    assert state_digest(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_probability_near_certainty_is_not_rounded_to_it():
    assert [percent(share) for share in (0.97, 0.999, 1.0, 0.001, 0.0)] == [
        "97 %", "more than 99 %", "100 %", "less than 1 %", "0 %"
    ]  # fmt: skip
