"""Codes in a plane, against scikit-learn and the definitions written out."""

import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA, TruncatedSVD

from protolens.errors import ProtolensError
from protolens.train.planes import bent_plane, open_umap, plane_of_distances, plane_of_dot_products


def drawn(seed: int, images: int = 40, features: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, features, generator=generator) * torch.arange(1, features + 1) + 2


@given(st.integers(0, 2**32))
def test_the_plane_of_distances_is_scikit_learns_pca(seed):
    codes, others = drawn(seed), drawn(seed + 1)
    plane, oracle = plane_of_distances(codes), PCA(2, svd_solver="full").fit(codes.double().numpy())
    signs = torch.tensor((plane.axes.numpy() * oracle.components_).sum(axis=1).round())
    assert signs.abs().tolist() == [1, 1]
    torch.testing.assert_close(plane.place(others), torch.tensor(oracle.transform(others.double().numpy())) * signs)
    assert plane.kept(codes) == pytest.approx(oracle.explained_variance_ratio_.sum())


@given(st.integers(0, 2**32))
def test_the_plane_of_dot_products_is_scikit_learns_svd_and_keeps_them_best(seed):
    codes, others = drawn(seed), drawn(seed + 1)
    plane = plane_of_dot_products(codes)
    oracle = TruncatedSVD(2, algorithm="arpack", random_state=0).fit(codes.double().numpy())
    signs = torch.tensor((plane.axes.numpy() * oracle.components_).sum(axis=1).round())
    torch.testing.assert_close(plane.place(others), torch.tensor(oracle.transform(others.double().numpy())) * signs)
    whole = codes.double() @ codes.double().T
    # Eckart and Young: what no table of dot products of two numbers each can keep
    least = torch.linalg.eigvalsh(whole)[:-2].square().sum()
    torch.testing.assert_close((whole - plane.place(codes) @ plane.place(codes).T).square().sum(), least)


def test_what_lies_in_the_plane_is_kept_and_what_stands_on_it_is_not():
    codes = torch.tensor([[3.0, 0, 0], [0, 2, 0], [-3, 0, 0], [0, -2, 0]])
    for plane in (plane_of_distances(codes), plane_of_dot_products(codes)):
        torch.testing.assert_close(plane.place(codes), codes[:, :2].double())
        assert plane.kept(codes) == pytest.approx(1)
        assert plane.kept(torch.tensor([[0.0, 0, 5]])) == 0
        assert plane.kept(torch.tensor([[3.0, 0, 4]])) == pytest.approx(9 / 25)


@pytest.mark.parametrize("codes", [torch.arange(5.0)[:, None], torch.zeros(5, 3), torch.ones(1, 3)])
def test_codes_of_one_number_all_alike_or_alone_have_a_place(codes):
    for plane in (plane_of_distances(codes), plane_of_dot_products(codes)):
        assert plane.place(codes).isfinite().all()
        assert plane.place(codes).shape == (len(codes), 2)
        assert 0 <= plane.kept(codes) <= 1 + 1e-12


def test_umap_is_asked_for_by_its_metric_and_places_others_afterwards(monkeypatch):
    class Twice:
        """Stands for umap.UMAP, which takes a minute to compile."""

        def __init__(self, **how):
            assert how == {"n_components": 2, "metric": "cosine", "random_state": 7, "n_jobs": 1}

        def fit(self, codes):
            self.embedding_ = 2 * codes[:, :2]
            return self

        def transform(self, others):
            return 3 * others[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Twice))
    codes, others = drawn(0), drawn(1, images=3)
    places, beside = bent_plane(codes, others, "cosine", 2**32 + 7)
    assert places.tolist() == (2 * codes[:, :2]).tolist()
    assert beside.tolist() == (3 * others[:, :2]).tolist()


def test_a_missing_umap_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(
        ProtolensError, match=r"^train\.map_of_codes = umap needs the extra: pip install 'protolens\[umap"
    ):
        open_umap()
