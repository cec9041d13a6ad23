"""The likelihood-ratio test agrees with a reference fit, keeps its size and survives separation."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from precompute.attack import assign_folds
from precompute.statistics.delong import delong_paired
from precompute.statistics.incremental import auc_gain, likelihood_ratio, stack_scores


def sample(n=300, blind=1.0, mia=0.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    return labels, rng.standard_normal(n) + blind * labels, 4 * rng.standard_normal(n) + 4 * mia * labels


def test_the_statistic_is_twice_the_gain_of_an_unpenalised_fit():
    labels, blind, mia = sample(mia=0.3)

    def fitted(*columns):
        rows = np.column_stack([np.ones(len(labels)), *columns])

        def loss(beta):
            return np.logaddexp(0, np.where(labels == 1, -1, 1) * (rows @ beta)).sum()

        return -minimize(loss, np.zeros(rows.shape[1]), tol=1e-12).fun

    found = likelihood_ratio(labels, blind, mia)
    wanted = 2 * (fitted(blind, mia) - fitted(blind))
    assert found.statistic == pytest.approx(wanted, abs=1e-5)
    assert found.p == pytest.approx(chi2.sf(wanted, 1), rel=1e-4)
    assert (found.df, found.separated) == (1, False)
    assert likelihood_ratio(labels, blind, mia, factor=1.3).statistic == pytest.approx(wanted / 1.69, abs=1e-5)


def test_it_does_not_depend_on_scale_sign_or_mirroring():
    labels, blind, mia = sample(mia=0.3)
    plain = likelihood_ratio(labels, blind, mia)
    turned, mirrored = likelihood_ratio(labels, 1e4 * blind - 7, -1e-4 * mia), likelihood_ratio(1 - labels, blind, mia)
    assert turned.statistic == pytest.approx(plain.statistic, abs=1e-4)
    assert mirrored.statistic == pytest.approx(plain.statistic, abs=1e-5)
    assert [turned.slope, mirrored.slope] == pytest.approx([-plain.slope] * 2, abs=1e-4)
    assert plain.slope > 0


def test_a_score_without_news_is_found_one_time_in_twenty_and_one_with_news_mostly():
    null = [likelihood_ratio(*sample(seed=seed)).p < 0.05 for seed in range(200)]
    real = [likelihood_ratio(*sample(mia=0.4, seed=seed)).p < 0.05 for seed in range(100)]
    assert np.mean(null) == pytest.approx(0.05, abs=0.035)
    assert np.mean(real) > 0.8


def test_a_shift_seen_by_both_scores_is_not_added_value():
    # The membership score is the blind one with noise: strong alone, nothing beside it.
    rng = np.random.default_rng(0)
    labels, blind, _ = sample(2000, blind=2.0)
    noisy = blind + rng.standard_normal(2000)
    assert likelihood_ratio(labels, np.zeros(2000), noisy).p < 1e-20
    assert likelihood_ratio(labels, blind, noisy).p > 0.01


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_perfect_separation_is_said_and_answered(share):
    labels, blind, _ = sample()
    # Some members level with the non-members leave no clip on the wrong side either: no finite fit exists.
    level = np.where(np.arange(len(labels)) < share * len(labels), 1.0, 0.0)
    found = likelihood_ratio(labels, blind, labels * level)
    assert found.separated
    assert found.p < 1e-10


def test_nothing_can_be_added_to_a_blind_score_that_separates():
    labels, blind, mia = sample()
    found = likelihood_ratio(labels, 10.0 * labels + np.tanh(blind), mia)
    assert found.separated
    assert found.p > 0.9


def test_scores_without_anything_of_their_own_have_no_test():
    labels, blind, _ = sample()
    for column in (np.ones(300), 3 * blind + 1):
        found = likelihood_ratio(labels, blind, column)
        assert (found.statistic, found.df, found.p) == (0.0, 0, 1.0)
    with pytest.raises(ValueError, match="non-members"):
        likelihood_ratio(np.ones(300), blind, blind**2)


def test_clips_without_a_score_are_left_out():
    labels, blind, mia = sample(mia=0.3)
    gaps = np.where(np.arange(300) % 10 == 0, np.nan, mia)
    kept = np.isfinite(gaps)
    assert likelihood_ratio(labels, blind, gaps) == likelihood_ratio(labels[kept], blind[kept], mia[kept])


def test_the_joint_score_gains_where_membership_says_more():
    labels, blind, mia = sample(600, blind=0.5, mia=1.0)
    folds = assign_folds([str(row) for row in range(600)], labels)
    both = stack_scores(labels, blind, mia, folds)
    gain = auc_gain(labels, blind, both)
    assert gain.low > 0.02
    assert gain == delong_paired(labels, both, blind)
    both[:7] = np.nan
    assert auc_gain(labels, blind, both) == delong_paired(labels[7:], both[7:], blind[7:])
    assert auc_gain(labels, blind, both, units=np.arange(600)).se == pytest.approx(auc_gain(labels, blind, both).se)
