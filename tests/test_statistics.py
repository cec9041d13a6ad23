"""Statistics agree with scikit-learn, scipy and with values worked out by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from precompute.statistics.correlation import correlation, within_class
from precompute.statistics.intervals import bootstrap_weights, estimate, mean_estimate, resampled_aucs
from precompute.statistics.roc import auc, roc_curve
from precompute.statistics.single_clip import fit_typicality, share_at_least, typicality, typicality_distance


def scores_of(n: int, gap: float, levels: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [n, n + 7])
    scores = rng.standard_normal(len(labels)) + gap * labels
    return labels, scores if levels is None else np.round(scores * levels) / levels


def test_auc_of_a_hand_worked_case_counts_ties_half():
    # Members 3, 2; non-members 2, 1: won 3>2, 3>1, 2>1 and half of 2=2 give 3.5 of 4 pairs.
    assert auc(np.array([1, 1, 0, 0]), np.array([3.0, 2.0, 2.0, 1.0])) == 3.5 / 4


@pytest.mark.parametrize("levels", [None, 1, 2, 20])
@pytest.mark.parametrize("gap", [-1.0, 0.0, 2.0])
def test_auc_and_curve_agree_with_scikit_learn(gap, levels):
    labels, scores = scores_of(60, gap, levels)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    false, true, thresholds = roc_curve(labels, scores)
    wanted = sklearn_roc_curve(labels, scores, drop_intermediate=False)
    for found, expected in zip((false, true, thresholds), wanted, strict=True):
        np.testing.assert_allclose(found, expected)
    assert np.trapezoid(true, false) == pytest.approx(auc(labels, scores))


def test_auc_of_negated_scores_is_one_minus_auc():
    labels, scores = scores_of(40, 0.7, 2)
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores), abs=1e-15)


@pytest.mark.parametrize("sizes", [(3, 4), (224, 224), (100, 333)])
def test_a_constant_score_has_auc_exactly_one_half(sizes):
    assert auc(np.repeat([1, 0], sizes), np.full(sum(sizes), 0.1)) == 0.5


def test_an_empty_class_has_no_auc_and_no_curve():
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))
    with pytest.raises(ValueError, match="members and non-members"):
        roc_curve(np.zeros(3), np.arange(3.0))


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        auc(np.array([1, 0]), np.array([np.nan, 1.0]))
    with pytest.raises(ValueError, match="fit"):
        auc(np.array([1, 0]), np.array([1.0]))


def test_every_resample_keeps_the_class_sizes():
    labels = np.array([0, 1, 0, 0, 1, 0])
    weights = bootstrap_weights(labels, draws=50, seed=3)
    assert (weights[labels == 1].sum(axis=0) == 2).all() and (weights[labels == 0].sum(axis=0) == 4).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(labels, draws=50, seed=3))


@pytest.mark.parametrize("levels", [None, 2])
def test_a_resampled_auc_is_the_auc_of_the_repeated_clips(levels):
    labels, scores = scores_of(30, 0.5, levels)
    scores[4] = np.nan
    weights = bootstrap_weights(labels, draws=5)
    found = resampled_aucs(labels, scores, weights)
    usable = np.isfinite(scores)
    for draw in range(5):
        times = np.where(usable, weights[:, draw], 0)
        assert found[draw] == pytest.approx(
            roc_auc_score(np.repeat(labels, times), np.repeat(scores, times)), abs=1e-12
        )


def test_the_interval_agrees_with_scipys_bootstrap_and_with_delong():
    labels, scores = scores_of(150, 0.8)
    found = estimate(labels, scores, bootstrap_weights(labels, draws=4000))
    members, others = scores[labels == 1], scores[labels == 0]

    def area(a, b, axis=-1):
        ranks = stats.rankdata(np.concatenate([a, b], axis=axis), axis=axis)
        n, m = a.shape[axis], b.shape[axis]
        return (ranks[..., :n].sum(axis=axis) - n * (n + 1) / 2) / (n * m)

    wanted = stats.bootstrap(
        (members, others), area, n_resamples=4000, method="percentile", vectorized=True, rng=np.random.default_rng(1)
    )
    assert found.low == pytest.approx(wanted.confidence_interval.low, abs=0.006)
    assert found.high == pytest.approx(wanted.confidence_interval.high, abs=0.006)
    # DeLong: variance of the share of won pairs over members and over non-members.
    won = (members[:, None] > others).astype(float)
    delong = np.sqrt(won.mean(axis=1).var(ddof=1) / len(members) + won.mean(axis=0).var(ddof=1) / len(others))
    assert found.se == pytest.approx(delong, rel=0.08)
    assert found.low < found.low_90 < found.auc < found.high_90 < found.high


def test_clips_without_a_score_are_left_out_and_counted():
    labels, scores = scores_of(30, 0.5)
    scores[[0, 1, 40]] = np.nan
    found = estimate(labels, scores, bootstrap_weights(labels, draws=20))
    assert (found.n_member, found.n_non_member) == (28, 36)
    usable = np.isfinite(scores)
    assert found.auc == pytest.approx(roc_auc_score(labels[usable], scores[usable]))


def test_without_any_score_the_estimate_is_nan_and_nothing_fails():
    labels = np.array([1, 1, 0, 0])
    found = estimate(labels, np.full(4, np.nan), bootstrap_weights(labels, draws=5))
    assert np.isnan([found.auc, found.low, found.high]).all()
    assert (found.n_member, found.n_non_member) == (0, 0)


def test_the_mean_over_realizations_has_its_own_interval():
    labels, first = scores_of(80, 0.6)
    second = scores_of(80, 0.2, seed=1)[1]
    weights = bootstrap_weights(labels, draws=200)
    mean, single, drawn = mean_estimate(labels, [first, second], weights)
    assert mean.auc == pytest.approx(np.mean(single))
    assert single == [auc(labels, first), auc(labels, second)]
    np.testing.assert_allclose(
        drawn, (resampled_aucs(labels, first, weights) + resampled_aucs(labels, second, weights)) / 2
    )


def test_correlation_agrees_with_scipy_and_skips_missing_scores():
    rng = np.random.default_rng(0)
    first = rng.standard_normal(50)
    second = 0.5 * first + rng.standard_normal(50)
    first[7] = np.nan
    keep = np.isfinite(first)
    found = correlation(first, second)
    wanted = stats.pearsonr(first[keep], second[keep])
    assert (found.pearson, found.p, found.n) == (pytest.approx(wanted.statistic), pytest.approx(wanted.pvalue), 49)
    assert found.spearman == pytest.approx(stats.spearmanr(first[keep], second[keep]).statistic)
    # Fisher: tanh(atanh r -+ 1.96 / sqrt(n - 3)).
    assert found.low == pytest.approx(np.tanh(np.arctanh(found.pearson) - stats.norm.ppf(0.975) / np.sqrt(46)))


def test_a_constant_score_correlates_with_nothing():
    assert np.isnan(correlation(np.ones(9), np.arange(9.0)).pearson)


def test_scores_that_share_only_the_class_do_not_correlate_within_it():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 2000)
    first, second = rng.standard_normal((2, 4000)) + 1.6 * labels
    assert correlation(first, second).pearson > 0.3
    assert abs(within_class(labels, first, second).pearson) < 0.05


def test_the_share_of_known_clips_is_counted_fold_by_fold():
    # Fold one: 0.5 and 2 are at least 0.5; fold two: only 3 is at least 1. (1 + 3) / (1 + 5).
    found = share_at_least([0.5, 1.0], [np.array([0.5, 2.0, -1.0]), np.array([3.0, 0.0])])
    assert (found.share, found.floor, found.n) == (4 / 6, 1 / 6, 5)


def test_shares_of_exchangeable_clips_are_at_most_their_level():
    rng = np.random.default_rng(0)
    known = [rng.standard_normal(60) for _ in range(5)]
    shares = np.array([share_at_least([x] * 5, known).share for x in rng.standard_normal(2000)])
    assert abs((shares <= 0.1).mean() - 0.1) < 0.05


def test_a_clip_like_the_others_is_typical_and_an_odd_one_is_not():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((30, 30)) * np.r_[np.full(5, 5.0), np.full(25, 0.3)]
    clips = rng.standard_normal((400, 30)) @ mixing.T
    models = fit_typicality(clips[:300], np.arange(300) % 5)
    shares = np.array([typicality(models, row).share for row in clips[300:]])
    assert 0.3 < shares.mean() < 0.7
    assert (shares < 0.01).mean() <= 0.05
    assert typicality(models, clips[0] * 8).share == pytest.approx(1 / 301)


def test_a_feature_that_never_varies_counts_in_full_when_it_does():
    clips = np.column_stack([np.random.default_rng(0).standard_normal(50), np.ones(50)])
    (model, *_) = fit_typicality(clips, np.arange(50) % 2)
    near, far = typicality_distance(model, np.array([[0.0, 1.0], [0.0, 9.0]]))
    assert far > near + 60
