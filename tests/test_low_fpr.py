"""True positive rates at low false positive rates: ties cost, thresholds vary, few non-members show nothing."""

import numpy as np
import pytest
from scipy.stats import norm

from precompute.statistics.intervals import bootstrap_weights
from precompute.statistics.low_fpr import _rates, tpr_at_fpr
from precompute.statistics.roc import roc_curve


def sample(n_member=300, n_non_member=400, gap=1.5, levels=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [n_member, n_non_member]))
    scores = rng.standard_normal(len(labels)) + gap * labels
    return labels, scores if levels is None else np.round(scores * levels) / levels


def test_a_case_worked_by_hand():
    # Ten in a hundred non-members may pass: 91 to 100, so the threshold is 90. Members above it: 90.5, 99, 101.
    labels = np.repeat([0, 1], [100, 5])
    scores = np.r_[np.arange(1.0, 101.0), 12.0, 90.0, 90.5, 99.0, 101.0]
    found = tpr_at_fpr(labels, scores, 0.1)
    assert (found.tpr, found.achieved, found.threshold) == (0.6, 0.1, 90.0)
    assert (found.shown, found.n_member, found.n_non_member, found.n_needed) == (True, 5, 100, 100)


def test_non_members_that_tie_at_the_threshold_all_stay_below_it():
    labels = np.repeat([0, 1], [100, 4])
    scores = np.r_[np.zeros(85), np.ones(15), 0.0, 1.0, 1.0, 2.0]
    found = tpr_at_fpr(labels, scores, 0.1)
    assert (found.tpr, found.achieved) == (0.25, 0.0)


@pytest.mark.parametrize("levels", [None, 1, 5])
@pytest.mark.parametrize("fpr", [0.025, 0.05, 0.3])
def test_it_is_the_best_point_of_the_curve_within_the_rate(levels, fpr):
    labels, scores = sample(levels=levels)
    found = tpr_at_fpr(labels, scores, fpr)
    false, true, _ = roc_curve(labels, scores)
    assert found.tpr == pytest.approx(true[false <= fpr + 1e-12].max())
    assert found.achieved <= fpr
    assert found.low <= found.tpr <= found.high


def test_too_few_non_members_show_nothing_and_say_how_many_it_takes():
    labels, scores = sample()
    found = tpr_at_fpr(labels, scores, 0.01)
    assert not found.shown
    assert found.n_needed == 1000
    assert np.isnan([found.tpr, found.low, found.high, found.threshold]).all()
    assert tpr_at_fpr(labels, scores, 0.001).n_needed == 10_000
    assert tpr_at_fpr(*sample(50, 1000), 0.01).shown


def test_resamples_weigh_clips_as_copies_would():
    labels, scores = sample(levels=6)
    weights = bootstrap_weights(labels, draws=20)
    rates, achieved, _ = _rates(labels == 1, scores, weights, 0.05)
    for draw in range(20):
        copies = weights[:, draw]
        once = np.ones((copies.sum(), 1), dtype=int)
        wanted = tpr_at_fpr(labels.repeat(copies), scores.repeat(copies), 0.05, weights=once)
        assert (rates[draw], achieved[draw]) == (wanted.tpr, wanted.achieved)


def test_finding_none_is_not_certainty():
    labels = np.repeat([0, 1], [1000, 60])
    found = tpr_at_fpr(labels, -1.0 * labels, 0.01)
    assert found.tpr == found.low == 0.0
    # Wilson: z^2 / (n + z^2)
    assert found.high == pytest.approx(1.96**2 / (60 + 1.96**2), rel=1e-3)
    assert tpr_at_fpr(labels, labels, 0.01).low < 0.95


def test_intervals_include_the_thresholds_own_uncertainty():
    true = norm.sf(norm.isf(0.05), loc=1.5)
    hits = []
    for seed in range(200):
        labels, scores = sample(500, 200, seed=seed)
        found = tpr_at_fpr(labels, scores, 0.05, weights=bootstrap_weights(labels, 250, seed))
        known = 1.96 * np.sqrt(true * (1 - true) / 500)
        hits.append((found.low <= true <= found.high, abs(found.tpr - true) <= known))
    ours, fixed_threshold = np.mean(hits, axis=0)
    assert 0.9 <= ours <= 0.99
    assert fixed_threshold < 0.75


def test_a_rate_outside_zero_and_one_is_refused():
    with pytest.raises(ValueError, match="rate"):
        tpr_at_fpr(*sample(), 0.0)
