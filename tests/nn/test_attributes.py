"""FLINT's networks against torchvision's, its terms against their definitions written slowly."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy
from torch import nn

from protolens.nn import AttributeDecoder, AttributePrototypes, LargePredictor, SmallPredictor, imitation, indecision


@st.composite
def scores(draw, rows=2):
    images, columns, seed = draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.integers(0, 99))
    generator = torch.Generator().manual_seed(seed)
    scale = draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    return tuple(torch.randn(images, columns, generator=generator).double() * scale for _ in range(rows))


@given(scores())
def test_imitation_is_the_mean_cross_entropy_of_two_softmaxes_and_finite_for_any_logits(pair):
    logits, predictor = pair
    term = imitation(logits, predictor)
    assert term.isfinite()
    total = 0.0
    for mine, wanted in zip(logits.tolist(), predictor.tolist(), strict=True):
        log_sum = max(mine) + math.log(sum(math.exp(value - max(mine)) for value in mine))
        total -= sum(p * (value - log_sum) for p, value in zip(softmax(wanted), mine, strict=True))
    assert float(term) == pytest.approx(total / len(logits), rel=1e-6, abs=1e-9)


def test_imitation_gives_the_predictor_no_gradient():
    logits, predictor = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    imitation(logits, predictor).backward()
    assert logits.grad is not None
    assert predictor.grad is None


@given(scores(rows=1))
def test_indecision_is_the_entropy_of_images_less_that_of_their_mean(attributes):
    (attributes,) = attributes
    rows = [scipy_entropy(softmax(row)) for row in attributes.abs().numpy()]
    whole = scipy_entropy(softmax(abs(attributes.numpy().mean(axis=0))))
    assert float(indecision(attributes)) == pytest.approx(sum(rows) / len(rows) - whole, abs=1e-6)


def test_indecision_prefers_one_attribute_an_image_and_another_one_for_each():
    own, common, every = 20 * torch.eye(5), torch.zeros(5, 5), torch.full((5, 5), 20.0)
    common[:, 0] = 20
    assert indecision(own) < indecision(common) - 0.5
    assert indecision(own) < indecision(every) - 0.5


def test_the_large_predictor_is_resnet_18_without_normalisation_and_pooling_and_tapped_before_its_last_block():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    other = resnet18(norm_layer=lambda _: nn.Identity()).eval()
    other.conv1, other.maxpool = nn.Conv2d(5, 64, 3, padding=1, bias=False), nn.Identity()
    other.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 4))
    seen = {}
    other.layer3.register_forward_hook(lambda _module, _inputs, output: seen.update(third=output))
    other.layer4[1].register_forward_hook(lambda _module, inputs, _output: seen.update(fourth=inputs[0]))
    network = LargePredictor(5, 4).eval()
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        mine.data.copy_(theirs.data)
    images = torch.rand(2, 5, 20, 28)
    logits, taps = network(images)
    torch.testing.assert_close(logits, other(images))
    torch.testing.assert_close(taps, [seen["third"], seen["fourth"]])


def test_the_small_predictor_has_the_paper_s_weights_and_taps_after_its_convolutions():
    network = SmallPredictor(1, 10, (28, 28)).eval()
    assert [tuple(p.shape) for p in network.parameters() if p.ndim > 1] == [
        (16, 1, 3, 3), (32, 16, 3, 3), (128, 6272), (10, 128)]  # fmt: skip
    logits, (maps,) = network(torch.rand(2, 1, 28, 28))
    assert maps.shape == (2, 32, 14, 14)
    assert maps.min() == 0
    torch.testing.assert_close(network.dense(maps), logits)


@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 5), st.sampled_from([(2, 8), (10, 24, 8)]))
def test_a_decoder_s_pictures_have_the_size_and_bands_that_were_asked_for(height, width, bands, widths):
    decoder = AttributeDecoder(3, bands, (height, width), widths)
    assert decoder(torch.rand(2, 3)).shape == (2, bands, height, width)


def test_dropped_attributes_leave_the_others_and_their_pictures_as_if_they_were_never_active():
    torch.manual_seed(0)
    prototypes, decoder = AttributePrototypes(4, 6), AttributeDecoder(4, 1, (8, 8), (2, 8))
    nn.init.normal_(prototypes.intercept)
    code, kept = torch.rand(3, 6), torch.tensor([0, 2])
    before = prototypes(code)
    silent = before.clone()
    silent[:, [1, 3]] = 0
    picture = decoder(silent)
    prototypes.keep(kept)
    decoder.keep(kept)
    torch.testing.assert_close(prototypes(code), before[:, kept])
    torch.testing.assert_close(decoder(prototypes(code)), picture)
