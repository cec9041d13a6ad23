"""DeLong's error agrees with pairs counted one by one; intervals cover; perfect separation is not certainty."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from precompute.statistics.correlation import correlation, within_class
from precompute.statistics.delong import (
    delong,
    delong_paired,
    floored,
    hanley_mcneil,
    interval,
    placements,
    weighted_auc,
    weighted_delong,
)
from precompute.statistics.intervals import bootstrap_weights, cluster_bootstrap_weights, estimate, resampled_aucs
from precompute.statistics.roc import auc


def sample(n_member=60, n_non_member=67, gap=0.7, levels=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [n_member, n_non_member]))
    scores = rng.standard_normal(len(labels)) + gap * labels
    return labels, scores if levels is None else np.round(scores * levels) / levels


def by_pairs(labels, *columns):
    """AUCs and their covariance matrix from all pairs of clips (DeLong et al. 1988)."""
    member = labels == 1
    won = np.array([(np.sign(c[member][:, None] - c[~member][None]) + 1) / 2 for c in columns])
    m, n = member.sum(), (~member).sum()
    covariance = np.atleast_2d(np.cov(won.mean(axis=2))) / m + np.atleast_2d(np.cov(won.mean(axis=1))) / n
    return won.mean(axis=(1, 2)), covariance


def test_a_case_worked_by_hand():
    # Members 3, 2 beat 1 and 3/4 of the non-members 2, 1; these lie below 3/4 and all of the members. Variance of the
    # two pairs of placements: 1/32 each, halved twice over.
    labels, scores = np.array([1, 1, 0, 0]), np.array([3.0, 2.0, 2.0, 1.0])
    assert placements(labels, scores).tolist() == [1.0, 0.75, 0.75, 1.0]
    found = delong(labels, scores)
    assert (found.auc, found.n_member, found.n_non_member) == (0.875, 2, 2)
    assert found.se == pytest.approx(np.sqrt(1 / 64 + 1 / 64))


@pytest.mark.parametrize("levels", [None, 1, 3])
def test_errors_agree_with_all_pairs_counted(levels):
    labels, first = sample(levels=levels)
    second = first + sample(seed=1)[1]
    aucs, covariance = by_pairs(labels, first, second)
    assert delong(labels, first).auc == auc(labels, first) == pytest.approx(aucs[0])
    assert delong(labels, first).se == pytest.approx(np.sqrt(covariance[0, 0]))
    paired = delong_paired(labels, first, second)
    wanted = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert paired.difference == pytest.approx(aucs[0] - aucs[1])
    assert paired.se == pytest.approx(wanted)
    assert paired.p == pytest.approx(2 * norm.sf(abs(aucs[0] - aucs[1]) / wanted))
    assert (paired.high - paired.low) / 2 == pytest.approx(1.959964 * wanted, rel=1e-6)


def test_turning_scores_round_and_swapping_labels_mirror_the_auc_and_its_interval():
    labels, scores = sample(30, 80, levels=4)
    plain, turned = delong(labels, scores), delong(labels, -scores)
    swapped = delong(1 - labels, scores)
    assert turned.auc == pytest.approx(1 - plain.auc)
    assert turned.se == pytest.approx(plain.se)
    low, high = interval(plain.auc, plain.se, 30, 80)
    assert interval(swapped.auc, swapped.se, 80, 30) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("labels", [np.repeat([1, 0], 40), np.repeat([1, 0], [10, 40])])
def test_perfect_separation_is_not_certain(labels):
    sizes = int(labels.sum()), int((1 - labels).sum())
    found = delong(labels, labels * 2.0)
    assert (found.auc, found.se) == (1.0, 0.0)
    low, high = interval(found.auc, found.se, *sizes)
    assert 0.5 < low < 0.98
    assert high == 1.0
    assert interval(0.0, 0.0, *sizes[::-1]) == pytest.approx((0.0, 1 - low))
    assert floored(0.9, 0.03, *sizes) == 0.03


def test_a_constant_score_has_the_interval_of_no_signal():
    labels = np.repeat([1, 0], 100)
    found = delong(labels, np.zeros(200))
    low, high = interval(found.auc, found.se, 100, 100)
    # sqrt((m + n + 1) / (12 m n)), the error of a rank sum without ties.
    assert hanley_mcneil(0.5, 100, 100) == pytest.approx(np.sqrt(201 / 120_000))
    assert low == pytest.approx(0.421, abs=0.002)
    assert high == pytest.approx(1 - low)


def test_intervals_widen_with_the_factor_and_with_the_level():
    narrow, wide = interval(0.6, 0.03, 90, 90), interval(0.6, 0.03, 90, 90, factor=1.3)
    assert wide[0] < narrow[0] < 0.6 < narrow[1] < wide[1]
    ninety = interval(0.6, 0.03, 90, 90, level=0.9)
    assert narrow[0] < ninety[0] < ninety[1] < narrow[1]
    assert all(0 < end < 1 for end in interval(0.97, 0.05, 20, 20))


def test_too_few_clips_have_no_interval():
    assert np.isnan(delong(np.ones(4), np.arange(4.0)).auc)
    lone = delong(np.array([1, 0, 0]), np.arange(3.0))
    assert np.isnan(lone.se)
    assert np.isnan(interval(lone.auc, lone.se, 1, 2)).all()


def test_scores_and_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="finite"):
        delong(np.array([1, 0]), np.array([np.nan, 1.0]))
    with pytest.raises(ValueError, match="weights"):
        weighted_auc(np.array([1, 0]), np.array([0.0, 1.0]), np.array([1.0, -1.0]))


@pytest.mark.parametrize("true", [0.5, 0.6, 0.9])
def test_intervals_cover_the_true_auc(true):
    rng = np.random.default_rng(7)
    labels, gap = np.repeat([1, 0], 100), np.sqrt(2) * norm.ppf(true)
    covered = 0
    for _ in range(2000):
        found = delong(labels, rng.standard_normal(200) + gap * labels)
        low, high = interval(found.auc, found.se, 100, 100)
        covered += low <= true <= high
    assert 0.935 <= covered / 2000 <= 0.965


def test_scores_that_order_clips_alike_differ_by_nothing_and_two_perfect_scores_by_an_unknown():
    labels, scores = sample()
    same = delong_paired(labels, scores, 3 * scores + 1)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    rng = np.random.default_rng(0)
    perfect = delong_paired(labels, labels + rng.random(len(labels)) / 2, labels + rng.random(len(labels)) / 2)
    assert perfect.difference == 0.0
    assert perfect.low < -0.005
    assert perfect.high > 0.005
    assert perfect.p == 1.0


def test_equal_weights_change_nothing_and_weights_count_as_copies():
    labels, scores = sample(levels=3)
    value, se = weighted_delong(labels, scores, np.full(len(labels), 0.3))
    assert value == pytest.approx(auc(labels, scores))
    assert se == pytest.approx(delong(labels, scores).se)
    assert weighted_auc(labels, scores, np.ones(len(labels))) == pytest.approx(auc(labels, scores), abs=1e-12)
    counts = np.random.default_rng(0).integers(0, 4, len(labels))
    assert weighted_auc(labels, scores, counts) == pytest.approx(auc(labels.repeat(counts), scores.repeat(counts)))


@pytest.mark.parametrize("levels", [None, 2])
def test_the_weighted_auc_agrees_with_scikit_learn(levels):
    labels, scores = sample(levels=levels)
    weights = np.random.default_rng(1).random(len(labels))
    wanted = roc_auc_score(labels, scores, sample_weight=weights)
    assert weighted_auc(labels, scores, weights) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("dependent", [False, True])
def test_weighted_errors_match_the_spread_over_samples(dependent):
    # Overlap-like weights of a covariate that either has nothing to do with the score or drives it.
    rng = np.random.default_rng(3)
    labels = np.repeat([1, 0], 150)
    found = []
    for _ in range(600):
        covariate = rng.standard_normal(300) + 0.8 * labels
        chance = 1 / (1 + np.exp(-(0.8 * covariate - 0.32)))
        scores = (covariate if dependent else 0.0) + rng.standard_normal(300)
        found.append(weighted_delong(labels, scores, np.where(labels == 1, 1 - chance, chance)))
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.08)
    assert np.mean(np.abs(values - values.mean()) < 1.96 * errors) == pytest.approx(0.95, abs=0.025)
    if dependent:
        assert values.mean() == pytest.approx(0.5, abs=0.02)


def test_copies_of_every_clip_add_nothing_once_they_are_units():
    labels, scores = sample(40, 50)
    once = delong(labels, scores)
    twice = delong(np.tile(labels, 2), np.tile(scores, 2), units=np.tile(np.arange(90), 2))
    assert twice.auc == pytest.approx(once.auc)
    assert twice.se == pytest.approx(once.se)
    assert delong(np.tile(labels, 2), np.tile(scores, 2)).se < 0.75 * once.se
    assert delong(labels, scores, units=np.arange(90)).se == pytest.approx(once.se)


def clustered_null(rng, nested):
    """24 units of 8 clips with a shared shift of the score and no difference between classes."""
    units = np.repeat(np.arange(24), 8)
    labels = units % 2 if nested else np.tile([1, 0], 96)
    return labels, rng.standard_normal(24)[units] + rng.standard_normal(192), units


def test_errors_by_unit_match_the_spread_where_plain_ones_do_not():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(500):
        labels, scores, units = clustered_null(rng, nested=True)
        found.append((auc(labels, scores), delong(labels, scores).se, delong(labels, scores, units).se))
    values, plain, by_unit = np.array(found).T
    assert by_unit.mean() == pytest.approx(values.std(), rel=0.1)
    assert plain.mean() < 0.6 * values.std()


@pytest.mark.parametrize("nested", [True, False])
def test_resampled_units_cover_one_half_when_clips_depend(nested):
    rng = np.random.default_rng(11)
    labels, _, units = clustered_null(rng, nested)
    weights = cluster_bootstrap_weights(labels, units, draws=300)
    plain = bootstrap_weights(labels, draws=300)
    hits = np.zeros(2)
    for _ in range(200):
        scores = clustered_null(rng, nested)[1]
        for index, drawn in enumerate((weights, plain)):
            found = estimate(labels, scores, drawn)
            hits[index] += found.low <= 0.5 <= found.high
    assert 0.88 <= hits[0] / 200 <= 0.985
    # Plain resamples are far too sure of clips nested in units, and too unsure where units cancel out.
    assert hits[1] / 200 < 0.8 if nested else hits[1] / 200 >= hits[0] / 200


def test_units_of_one_clip_are_resampled_as_clips_are():
    labels, scores = sample(40, 50)
    alone = cluster_bootstrap_weights(labels, np.arange(90), draws=400, seed=2)
    plain = bootstrap_weights(labels, draws=400, seed=2)
    assert (alone.shape, alone.dtype) == (plain.shape, plain.dtype)
    np.testing.assert_array_equal(alone, plain)
    assert np.std(resampled_aucs(labels, scores, alone)) == pytest.approx(delong(labels, scores).se, rel=0.1)


def test_a_unit_travels_whole_and_classes_keep_their_size():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0])
    units = np.array(list("aabbccddeeff"))
    weights = cluster_bootstrap_weights(labels, units, draws=50, seed=1)
    assert (weights[0::2] == weights[1::2]).all()
    assert (weights[labels == 1].sum(axis=0) == 6).all()
    assert (weights[labels == 0].sum(axis=0) == 6).all()
    assert len(np.unique(weights, axis=1).T) > 4
    with pytest.raises(ValueError, match="units"):
        cluster_bootstrap_weights(labels, units[1:])


def test_the_correlation_by_unit_is_fishers_for_single_clips_and_ignores_copies():
    rng = np.random.default_rng(0)
    first = rng.standard_normal(2000)
    second = 0.5 * first + rng.standard_normal(2000)
    plain, alone = correlation(first, second), correlation(first, second, units=np.arange(2000))
    assert (alone.low, alone.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    units = np.tile(np.arange(2000), 3)
    copied = correlation(np.tile(first, 3), np.tile(second, 3), units)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high), abs=1e-3)
    naive = correlation(np.tile(first, 3), np.tile(second, 3))
    assert copied.high - copied.low > 1.6 * (naive.high - naive.low)


def test_two_scores_that_share_a_unit_but_nothing_else_do_not_correlate_within_class():
    rng = np.random.default_rng(4)
    units, rejected = np.repeat(np.arange(40), 10), np.zeros(2)
    labels = units % 2
    for _ in range(200):
        first, second = (rng.standard_normal(40)[units] + rng.standard_normal(400) + labels for _ in range(2))
        rejected += [within_class(labels, first, second, which).p < 0.05 for which in (None, units)]
    assert rejected[0] / 200 > 0.2
    assert rejected[1] / 200 < 0.09
