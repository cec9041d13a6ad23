"""Equivalence, power and sample sizes agree with each other, with simulation and with the method's figures."""

import numpy as np
import pytest
from scipy.stats import norm

from precompute.statistics.delong import delong, hanley_mcneil
from precompute.statistics.equivalence import clips_needed, power_of, tost
from precompute.statistics.power import clips_for, detectable_auc, minimal_detectable


def test_two_one_sided_tests_of_a_case_worked_by_hand():
    # From 0.45 and 0.55, an AUC of 0.51 with error 0.02 lies 3 and 2 errors inside.
    found = tost(0.51, 0.02)
    assert found.p_low == pytest.approx(norm.sf(3))
    assert found.p_high == pytest.approx(norm.sf(2))
    assert found.p == found.p_high
    assert (found.low_90, found.high_90) == pytest.approx((0.51 - 1.644854 * 0.02, 0.51 + 1.644854 * 0.02), abs=1e-6)


@pytest.mark.parametrize("auc", np.linspace(0.42, 0.58, 33))
def test_equivalence_is_a_90_percent_interval_inside_the_margin(auc):
    found = tost(auc, 0.018)
    assert (found.p < 0.05) == (found.low_90 > 0.45 and found.high_90 < 0.55)
    mirrored = tost(1 - auc, 0.018)
    assert (mirrored.p_low, mirrored.p_high) == pytest.approx((found.p_high, found.p_low))


def test_a_wide_interval_is_no_equivalence_however_central():
    assert tost(0.5, 0.05).p > 0.1
    assert np.isnan(tost(float("nan"), float("nan")).p)
    with pytest.raises(ValueError, match="floor"):
        tost(0.5, 0.0)


def test_an_auc_at_the_margin_passes_one_time_in_twenty():
    drawn = 0.55 + 0.015 * np.random.default_rng(0).standard_normal(4000)
    assert np.mean([tost(auc, 0.015).p < 0.05 for auc in drawn]) == pytest.approx(0.05, abs=0.01)


def test_power_is_that_of_the_methods_simulation():
    # One family, trained score (1.3 times the error of a fixed one): 83%, 37% and none.
    se = 1.3 * hanley_mcneil(0.5, 1000, 1000)
    for n, wanted in ((1000, 0.83), (500, 0.37), (250, 0.0)):
        assert power_of(n, se, 1000) == pytest.approx(wanted, abs=0.025)
    assert power_of(1000, se, 1000, families=3) == pytest.approx(power_of(1000, se, 1000) ** 3)


@pytest.mark.parametrize("true", [0.5, 0.52])
def test_power_is_the_share_of_simulated_verdicts(true):
    drawn = true + 0.02 * np.random.default_rng(1).standard_normal(4000)
    passed = np.mean([tost(auc, 0.02).p < 0.05 for auc in drawn])
    assert power_of(300, 0.02, 300, true=true) == pytest.approx(passed, abs=0.025)


@pytest.mark.parametrize(("families", "true"), [(1, 0.5), (4, 0.5), (1, 0.53)])
def test_the_clips_needed_are_the_fewest_with_the_power(families, true):
    needed = clips_needed(0.03, 200, families=families, true=true)
    assert power_of(needed, 0.03, 200, families=families, true=true) >= 0.8
    assert power_of(needed - 1, 0.03, 200, families=families, true=true) < 0.8


def test_clips_needed_follow_the_closed_form_at_no_difference():
    # n (se / margin)^2 (z_0.95 + z_0.90)^2
    wanted = 200 * (0.03 / 0.05) ** 2 * (norm.ppf(0.95) + norm.ppf(0.9)) ** 2
    assert clips_needed(0.03, 200) == int(np.ceil(wanted))
    with pytest.raises(ValueError, match="no number"):
        clips_needed(0.03, 200, true=0.56)
    with pytest.raises(ValueError, match="nothing"):
        clips_needed(0.0, 200)


def test_the_minimal_detectable_auc_is_2_8_errors_from_one_half():
    assert minimal_detectable(0.02) == pytest.approx(0.5 + 2.8016 * 0.02, abs=1e-5)
    assert minimal_detectable(0.9) == 1.0
    assert np.isnan(minimal_detectable(float("nan")))
    # "300 per class: leaks of AUC 0.57 and above."
    assert detectable_auc(300, 300) == pytest.approx(0.566, abs=0.001)
    assert detectable_auc(300, 300, factor=1.3) == pytest.approx(0.586, abs=0.001)


def test_clips_for_an_auc_find_it_four_times_in_five():
    n = clips_for(0.6)
    # An exponential member score is what Hanley and McNeil's error assumes: AUC = a / (1 + a).
    rng = np.random.default_rng(2)
    labels, found = np.repeat([1, 0], n), 0
    for _ in range(1000):
        scores = rng.exponential(size=2 * n) * np.where(labels == 1, 1.5, 1.0)
        seen = delong(labels, scores)
        found += abs(seen.auc - 0.5) / seen.se > norm.ppf(0.975)
    assert found / 1000 == pytest.approx(0.8, abs=0.04)


def test_clips_for_an_auc_are_the_fewest_and_mirror_round_one_half():
    assert clips_for(0.57) == clips_for(0.43) > clips_for(0.6) > clips_for(0.9) >= 2
    assert clips_for(0.57) == pytest.approx(300, abs=40)
    assert clips_for(0.57, factor=1.3) == pytest.approx(1.69 * clips_for(0.57), abs=3)
    for auc in (0.5, 1.0):
        with pytest.raises(ValueError, match="no number"):
            clips_for(auc)
