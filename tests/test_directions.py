"""Principal directions found a part at a time."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from precompute.statistics import rows as parts
from precompute.statistics.directions import principal


@pytest.fixture
def rows():
    found = np.random.default_rng(5).standard_normal((300, 8)) * np.arange(1, 9)
    return found - found.mean(axis=0)


def test_directions_are_scikit_learns_up_to_sign(rows):
    singular, found = principal(rows)
    wanted = PCA(8, svd_solver="full").fit(rows)
    np.testing.assert_allclose(singular, wanted.singular_values_, rtol=1e-10)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted.components_), atol=1e-9)


@pytest.mark.parametrize("at_once", [1, 7, 299])
def test_parts_of_any_size_give_the_same(rows, at_once, monkeypatch):
    whole = principal(rows)
    monkeypatch.setattr(parts, "ROWS_AT_ONCE", at_once)
    singular, found = principal(rows)
    np.testing.assert_allclose(singular, whole[0], rtol=1e-10)
    np.testing.assert_allclose(np.abs(found), np.abs(whole[1]), atol=1e-9)


def test_fewer_rows_than_columns_give_so_many_directions(rows):
    singular, found = principal(rows[:3])
    assert singular.shape == (3,) and found.shape == (3, 8)
    assert principal(rows[:0])[1].shape == (0, 8)


def test_no_more_rows_than_a_part_are_decomposed_at_once(rows, monkeypatch):
    seen = []
    original = np.linalg.qr

    def noted(matrix, mode):
        seen.append(len(matrix))
        return original(matrix, mode=mode)

    monkeypatch.setattr(parts, "ROWS_AT_ONCE", 20)
    monkeypatch.setattr(np.linalg, "qr", noted)
    principal(rows)
    assert max(seen) <= 20 + rows.shape[1] and len(seen) == 15
