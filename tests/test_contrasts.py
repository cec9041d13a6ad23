"""Contrasts between conditions: signs, hand-worked values, Welch's interval and coverage with dependent clips."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from precompute.statistics.contrasts import condition_contrast, interaction
from precompute.statistics.delong import delong_paired
from precompute.statistics.intervals import bootstrap_weights, cluster_bootstrap_weights
from precompute.statistics.roc import auc


def sample(n=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], n)
    original = rng.standard_normal(2 * n) + labels
    return labels, original, original - 0.8 * labels + 0.5 * rng.standard_normal(2 * n)


def test_the_contrast_is_swapped_less_original_with_the_paired_error():
    labels, original, swapped = sample()
    found = condition_contrast(labels, original, swapped, bootstrap_weights(labels))
    paired = delong_paired(labels, swapped, original)
    assert found.difference == auc(labels, swapped) - auc(labels, original) == paired.difference < 0
    assert found.se == pytest.approx(paired.se, rel=0.1)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=0.01)
    assert found.low < found.low_90 < found.high_90 < found.high < 0
    assert found.p < 1e-6


def test_clips_that_lack_one_condition_enter_neither():
    labels, original, swapped = sample()
    swapped[::5] = np.nan
    kept = np.isfinite(swapped)
    found = condition_contrast(labels, original, swapped, bootstrap_weights(labels, 50))
    assert found.auc_original == auc(labels[kept], original[kept])
    assert (found.n_member, found.n_non_member) == (160, 160)


def test_an_unchanged_score_has_no_contrast_and_a_lost_class_none_either():
    labels, original, _ = sample()
    weights = bootstrap_weights(labels, 99)
    same = condition_contrast(labels, original, 2 * original, weights)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    destroyed = condition_contrast(labels, labels * 1.0, np.zeros(400), weights)
    assert (destroyed.difference, destroyed.p) == (-0.5, 0.02)
    empty = condition_contrast(labels, original, np.where(labels == 1, original, np.nan), weights)
    assert np.isnan([empty.difference, empty.low, empty.p]).all()


def test_a_difference_in_differences_worked_by_hand():
    # Members lose 1, 2, 3; non-members 0, 1. 2 - 0.5 = 1.5; variances 1 / 3 and 0.5 / 2.
    labels = np.array([1, 1, 1, 0, 0])
    found = interaction(labels, np.zeros(5), np.array([1.0, 2.0, 3.0, 0.0, 1.0]))
    assert (found.difference, found.member, found.non_member) == (1.5, 2.0, 0.5)
    assert found.se == pytest.approx(np.sqrt(1 / 3 + 1 / 4))
    assert (found.n_member, found.n_non_member, found.n_units) == (3, 2, 5)


@pytest.mark.parametrize("units", [None, np.arange(90)])
def test_without_shared_units_it_is_welchs_interval(units):
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [30, 60])
    original, swapped = rng.standard_normal(90), rng.standard_normal(90) * (1 + labels) + 0.4 * labels
    found = interaction(labels, original, swapped, units)
    change = swapped - original
    welch = ttest_ind(change[:30], change[30:], equal_var=False)
    wanted = welch.confidence_interval()
    assert found.p == pytest.approx(welch.pvalue)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_the_error_by_unit_of_a_case_worked_by_hand():
    # Units of members change by 1, 1 and 3, 3, of non-members by 0, 0 and 2, 2: each class's mean is known as from two
    # values 2 apart, variance 2 / 2.
    labels, units = np.repeat([1, 0], 4), np.repeat(np.arange(4), 2)
    found = interaction(labels, np.zeros(8), np.array([1.0, 1, 3, 3, 0, 0, 2, 2]), units)
    assert found.difference == 1.0
    assert found.se == pytest.approx(np.sqrt(2))
    assert found.n_units == 4


@pytest.mark.parametrize("nested", [True, False])
def test_intervals_by_unit_cover(nested):
    rng = np.random.default_rng(1)
    units = np.repeat(np.arange(20), 6)
    labels = units % 2 if nested else np.tile([1, 0], 60)
    hits = np.zeros(2)
    for _ in range(400):
        # Where units hold both classes the effect itself differs between units.
        shared = rng.standard_normal(20)[units] * (1 if nested else labels - 0.5)
        change = 0.3 * labels + shared + rng.standard_normal(120)
        for index, which in enumerate((units, None)):
            found = interaction(labels, np.zeros(120), change, which)
            hits[index] += found.low <= 0.3 <= found.high
    assert 0.92 <= hits[0] / 400 <= 0.98
    assert hits[1] / 400 < 0.9


def test_one_unit_or_no_variation_has_no_interval():
    labels = np.repeat([1, 0], 4)
    change = np.random.default_rng(0).standard_normal(8)
    lone = interaction(labels, np.zeros(8), change, np.array([0, 0, 0, 0, 1, 2, 3, 4]))
    assert np.isfinite(lone.difference)
    assert np.isnan([lone.low, lone.p]).all()
    assert np.isnan(interaction(labels, np.zeros(8), labels * 2.0).p)
    assert np.isnan(interaction(labels, np.zeros(8), np.where(labels == 1, change, np.nan)).difference)


def test_the_contrast_may_be_resampled_by_unit():
    labels, original, swapped = sample(60)
    once = condition_contrast(labels, original, swapped, bootstrap_weights(labels, 400))
    labels, original, swapped = (np.tile(values, 3) for values in (labels, original, swapped))
    weights = cluster_bootstrap_weights(labels, np.tile(np.arange(120), 3), 400)
    copied = condition_contrast(labels, original, swapped, weights)
    assert copied.se == pytest.approx(once.se, rel=0.15)
