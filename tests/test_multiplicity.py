"""Corrected p-values agree with values worked out by hand; uneven losses are told from even ones."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from precompute.statistics.missing import missingness
from precompute.statistics.multiplicity import benjamini_hochberg, holm


def test_holm_of_a_case_worked_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1 gives 0.04, 0.06, 0.06, 0.5, already rising.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.5, 0.02]), [0.06, 0.04, 0.5, 0.06])
    # 0.011 times 2 is below 0.01 times 3, so it is lifted to it.
    np.testing.assert_allclose(holm([0.01, 0.011, 0.9]), [0.03, 0.03, 0.9])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([0.2]).tolist() == [0.2]


def test_holm_rejects_what_stepping_down_rejects():
    p = np.random.default_rng(0).random(40) ** 4
    rejected = set()
    for step, index in enumerate(np.argsort(p)):
        if p[index] > 0.05 / (len(p) - step):
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(p) <= 0.05)) == rejected
    assert 1 < len(rejected) < 40


def test_benjamini_hochberg_of_a_case_worked_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4/1, 4/2, 4/3, 1, then the smallest from there on up.
    np.testing.assert_allclose(benjamini_hochberg([0.03, 0.01, 0.5, 0.02]), [0.04, 0.04, 0.5, 0.04])
    p = np.random.default_rng(1).random(30)
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    assert (benjamini_hochberg(p) <= holm(p)).all()


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_a_test_that_was_not_made_counts_for_nothing(adjust):
    with_gap, without = adjust([0.01, np.nan, 0.04]), adjust([0.01, 0.04])
    assert np.isnan(with_gap[1])
    np.testing.assert_allclose(with_gap[[0, 2]], without)
    assert np.isnan(adjust([np.nan])).all()
    assert len(adjust([])) == 0
    with pytest.raises(ValueError, match="outside"):
        adjust([0.5, 1.2])


def test_lost_clips_are_counted_by_class_and_tested():
    labels = np.repeat([1, 0], 4)
    # Members lose 3 of 4, non-members 1 of 4. Tables with 4 lost: 1, 16, 36, 16, 1 of 70; as extreme or more: 34 / 70.
    found = missingness(labels, np.array([1, 1, 1, 0, 1, 0, 0, 0]))
    assert (found.member, found.non_member, found.n_member, found.n_non_member) == (3, 1, 4, 4)
    assert found.p == pytest.approx(34 / 70)
    assert missingness(labels, np.zeros(8)).p == 1.0
    assert missingness(np.repeat([1, 0], 300), np.arange(600) < 20).p < 1e-5


def test_an_empty_class_has_no_test_of_losses():
    assert np.isnan(missingness(np.ones(3), np.zeros(3)).p)
    with pytest.raises(ValueError, match="fit"):
        missingness(np.ones(3), np.zeros(2))
