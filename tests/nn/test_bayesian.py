"""Bayesian layers beside torch.distributions, and beside drawing the weights themselves."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from protolens.nn import BayesianLinear, Counted, FirstBayesianLinear, Gaussian, drawn_outputs
from protolens.nn.bayesian import rho_of


@given(st.integers(0, 2**31), st.floats(0.1, 3), st.floats(0.001, 2))
def test_the_divergence_is_that_of_torch_s_distributions(seed, prior, deviation):
    torch.manual_seed(seed)
    layer = BayesianLinear(5, 3, deviation)
    torch.nn.init.normal_(layer.of_weight.rho)
    expected = sum(
        kl_divergence(Normal(mean, torch.nn.functional.softplus(of.rho)), Normal(0.0, prior)).sum()
        for mean, of in ((layer.weight, layer.of_weight), (layer.bias, layer.of_bias))
    )
    torch.testing.assert_close(layer.divergence(prior), expected, rtol=1e-6, atol=1e-6)


@given(st.floats(1e-4, 50))
def test_a_deviation_is_the_softplus_of_its_rho(deviation):
    assert float(torch.nn.functional.softplus(rho_of(torch.tensor(deviation)))) == pytest.approx(deviation, rel=1e-4)


def test_drawn_outputs_have_the_moments_of_outputs_of_drawn_weights():
    torch.manual_seed(0)
    layer, code = BayesianLinear(4, 2, 0.3), torch.randn(3, 4)
    outputs = torch.stack([layer.train()(code) for _ in range(20_000)])
    weights = Normal(layer.weight, layer.of_weight.deviation()).sample((20_000,))
    biases = Normal(layer.bias, layer.of_bias.deviation()).sample((20_000,))
    expected = torch.einsum("bi,noi->nbo", code, weights) + biases[:, None]
    torch.testing.assert_close(outputs.mean(dim=0), expected.mean(dim=0), atol=0.03, rtol=0)
    torch.testing.assert_close(outputs.std(dim=0), expected.std(dim=0), atol=0.02, rtol=0.02)


def test_in_evaluation_a_layer_has_its_means_and_a_fixed_one_a_draw():
    layer, code = BayesianLinear(4, 2, 0.3).eval(), torch.randn(3, 4)
    torch.testing.assert_close(layer(code), torch.nn.functional.linear(code, layer.weight, layer.bias))
    before = layer.weight.detach().clone()
    layer.fix(torch.Generator().manual_seed(0))
    again = BayesianLinear(4, 2, 0.3).eval()
    again.load_state_dict({**layer.state_dict(), "weight": before, "bias": torch.zeros(2)})
    again.fix(torch.Generator().manual_seed(0))
    assert torch.equal(again.weight, layer.weight)
    assert not torch.equal(before, layer.weight)


def test_gradients_reach_deviations_that_have_nearly_vanished():
    code, of = torch.zeros(2, 3, requires_grad=True), Gaussian((1, 3), 1e-6)
    bias = Gaussian((1,), 1e-6)
    out = drawn_outputs(code, torch.zeros(1, 3), torch.zeros(1), (of.deviation(), bias.deviation()))
    out.sum().backward()
    assert of.rho.grad.isfinite().all()
    assert code.grad.isfinite().all()


def test_images_are_counted_once():
    counted = Counted()
    counted.learn(iter([torch.zeros(4, 1, 2, 2), torch.zeros(3, 1, 2, 2)]))
    assert counted.images == 7


def test_a_first_layer_begins_as_the_best_independent_distributions_of_a_regression():
    images = torch.rand(50, 1, 2, 3)
    images[:, :, 0, 0] = 0
    layer = FirstBayesianLinear(6, 4, prior=2.0)
    before = layer.weight.detach().clone()
    layer.learn(images.split(16))
    pixels = torch.cat([images.flatten(1), torch.ones(50, 1)], dim=1).double()
    precision = pixels.T @ pixels + torch.eye(7) / 2.0**2
    expected = precision.diagonal().rsqrt().float()
    torch.testing.assert_close(layer.of_weight.deviation(), expected[:6].expand(4, 6))
    torch.testing.assert_close(layer.of_bias.deviation(), expected[6].expand(4))
    # the regression's mean is nearer to the prior's, 0, the less the images say
    torch.testing.assert_close(layer.weight, before * (1 - (expected[:6] / 2.0) ** 2))
    assert torch.equal(layer.weight[:, 0], torch.zeros(4))
