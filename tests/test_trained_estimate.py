"""The interval of a trained score's AUC: DeLong's, for dependent clips, under weights, and widened for training."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from precompute.statistics.delong import delong, weighted_delong
from precompute.statistics.roc import auc
from precompute.statistics.trained import effective_size, trained_estimate


def scores_of(n: int = 80, gap: float = 0.7, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.repeat([1, 0], [n, n + 9])
    return labels, np.random.default_rng(seed).standard_normal(len(labels)) + gap * labels, np.arange(len(labels))


def test_without_weights_or_widening_it_is_delongs_interval_on_the_logit_scale():
    labels, scores, units = scores_of()
    found, known = trained_estimate(labels, scores, units), delong(labels, scores)
    assert found.auc == pytest.approx(auc(labels, scores), abs=1e-12) and found.se == pytest.approx(known.se)
    reach = known.se / (known.auc * (1 - known.auc))
    for limits, level in (((found.low, found.high), 0.975), ((found.low_90, found.high_90), 0.95)):
        wanted = expit(logit(known.auc) + np.array([-1, 1]) * norm.ppf(level) * reach)
        assert limits == pytest.approx(tuple(wanted))


def test_near_chance_the_factor_widens_the_error_and_the_limits_and_leaves_the_auc():
    labels, scores, units = scores_of(gap=0.1)
    narrow, wide = (trained_estimate(labels, scores, units, factor) for factor in (1.0, 1.5))
    assert wide.auc == narrow.auc and wide.se == pytest.approx(1.5 * narrow.se)
    reach = [logit(found.high) - logit(found.auc) for found in (narrow, wide)]
    assert reach[1] == pytest.approx(1.5 * reach[0])


def test_doubling_every_clip_narrows_nothing_where_units_say_so():
    labels, scores, units = scores_of()
    twice = [np.repeat(values, 2) for values in (labels, scores, units)]
    once, known, naive = (
        trained_estimate(labels, scores, units),
        trained_estimate(*twice),
        trained_estimate(twice[0], twice[1], np.arange(len(twice[0]))),
    )
    assert known.se == pytest.approx(once.se, rel=1e-6) and naive.se < 0.75 * once.se
    assert known.n_member == 2 * once.n_member


def test_weights_are_those_of_the_weighted_auc():
    labels, scores, units = scores_of()
    weights = np.random.default_rng(1).uniform(0.1, 1, len(labels))
    found = trained_estimate(labels, scores, units, weights=weights)
    assert (found.auc, found.se) == pytest.approx(weighted_delong(labels, scores, weights, units))


def test_clips_without_a_score_are_left_out_and_counted():
    labels, scores, units = scores_of()
    lost = scores.copy()
    lost[[0, 1, 100]] = np.nan
    found = trained_estimate(labels, lost, units, weights=np.ones(len(labels)))
    kept = np.isfinite(lost)
    assert (found.n_member, found.n_non_member) == (78, 88)
    assert found.auc == pytest.approx(auc(labels[kept], scores[kept]), abs=1e-12)


@pytest.mark.parametrize("sizes", [(30, 30), (47, 61)])
def test_a_constant_score_has_an_auc_of_one_half_and_no_width(sizes):
    labels = np.repeat([1, 0], sizes)
    found = trained_estimate(labels, np.full(len(labels), 0.1), np.arange(len(labels)), 2.0)
    assert found.auc == found.low == found.high == pytest.approx(0.5, abs=1e-12) and found.se == 0.0


def test_perfect_separation_still_has_an_interval():
    labels = np.repeat([1, 0], 25)
    found = trained_estimate(labels, labels * 1.0, np.arange(50))
    assert found.auc == found.high == 1.0 and 0.8 < found.low < 0.99 and found.se > 0


@pytest.mark.parametrize(
    ("labels", "units"), [([1, 1, 1, 1], [0, 1, 2, 3]), ([1, 1, 0, 0], [0, 1, 2, 2]), ([], [])]
)  # fmt: skip
def test_a_class_without_clips_or_with_one_unit_has_no_interval(labels, units):
    found = trained_estimate(np.array(labels), np.arange(len(labels), dtype=float), np.array(units))
    assert np.isnan([found.low, found.high, found.se]).all() and found.n_member == sum(labels)


def test_the_effective_size_is_kishs():
    assert effective_size(np.full(7, 0.3)) == pytest.approx(7.0)
    assert effective_size(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective_size(np.zeros(3)) == 0.0


def test_intervals_of_dependent_clips_cover_one_half_as_often_as_they_say():
    rng = np.random.default_rng(2)
    units = np.repeat(np.arange(60), 5)
    labels, hits = units % 2, []
    for _ in range(300):
        score = rng.standard_normal(60)[units] + rng.standard_normal(300)
        found = trained_estimate(labels, score, units)
        hits.append(found.low <= 0.5 <= found.high)
    assert 0.91 <= np.mean(hits) <= 0.99
