"""Redrawn labels: what a trained score's AUC does by chance, freely and given what reaches the model."""

from math import comb

import numpy as np
import pytest
from scipy.stats import kstest

from precompute.adjustment import Covariates, Propensity, propensity
from precompute.attack import assign_folds
from precompute.nulls import (
    EXCEEDANCES,
    adjusted_scores,
    conditional_null,
    fixed_null,
    permutation_null,
    permuted,
    redrawn,
    sequential_p,
)
from precompute.statistics.logistic import expit, out_of_fold_draws, weighted_aucs
from precompute.units import Design, design


def alone(labels: np.ndarray) -> Design:
    return design(labels, [None] * len(labels))


def nested(per_class: int, size: int) -> tuple[np.ndarray, Design]:
    units = np.repeat(np.arange(2 * per_class), size)
    labels = units % 2
    return labels, design(labels, [f"speaker {unit}" for unit in units])


def folds_of(labels: np.ndarray, made: Design) -> np.ndarray:
    return assign_folds([f"{i:05d}" for i in range(len(labels))], labels, units=made.units)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def one_stratum(labels: np.ndarray) -> np.ndarray:
    return np.zeros(len(labels), dtype=int)


def test_free_permutations_keep_the_class_sizes_and_reach_every_clip():
    labels = np.arange(40) % 2
    drawn = permuted(labels, alone(labels), one_stratum(labels), 200, rng())
    assert drawn.shape == (40, 200) and (drawn.sum(axis=0) == 20).all()
    np.testing.assert_allclose(drawn.mean(axis=1), 0.5, atol=0.15)


def test_labels_are_permuted_within_the_groups_that_hold_both_classes():
    labels = np.r_[np.ones(9), np.zeros(1), np.ones(2), np.zeros(8)].astype(int)
    strata = np.repeat([0, 1], 10)
    drawn = permuted(labels, alone(labels), strata, 50, rng())
    assert (drawn[:10].sum(axis=0) == 9).all() and (drawn[10:].sum(axis=0) == 2).all()


def test_labels_that_go_with_groups_are_permuted_across_whole_groups():
    labels, made = nested(6, 4)
    drawn = permuted(labels, made, one_stratum(labels), 100, rng())
    by_group = drawn.reshape(12, 4, 100)
    assert (by_group == by_group[:, :1]).all() and (by_group[:, 0].sum(axis=0) == 6).all()


def test_redrawn_labels_follow_the_chances_clip_by_clip_or_group_by_group():
    labels = np.arange(400) % 2
    chance = np.where(np.arange(400) < 200, 0.9, 0.2)
    drawn = redrawn(chance, alone(labels), 300, rng())
    assert drawn[:200].mean() == pytest.approx(0.9, abs=0.01) and drawn[200:].mean() == pytest.approx(0.2, abs=0.01)
    labels, made = nested(2, 3)
    drawn = redrawn(np.repeat([0.9, 0.1, 0.6, 0.4], 3), made, 2000, rng()).reshape(4, 3, 2000)
    assert (drawn == drawn[:, :1]).all()
    np.testing.assert_allclose(drawn[:, 0].mean(axis=1), [0.9, 0.1, 0.6, 0.4], atol=0.03)


@pytest.mark.parametrize(
    ("drawn", "p"),
    [
        ([0.9] * 4 + [0.1] * 5 + [0.9] * 6, 10 / 15),  # the tenth exceedance is the fifteenth draw
        ([0.9] * 10 + [0.1] * 989, 1.0),  # what comes after the tenth does not count
        ([0.1] * 999, 1 / 1000),
        ([0.1] * 95 + [0.9] * 4, 5 / 100),
        ([0.5] * 20, 1.0),  # as high as observed is reached
        ([], 1.0),
    ],
)
def test_the_sequential_p_worked_by_hand(drawn, p):
    """Besag and Clifford (1991): h / l at the h-th exceedance, else (1 + reached) / (1 + draws)."""
    assert sequential_p(np.array(drawn), 0.5) == pytest.approx(p)


def test_sequential_ps_are_valid_under_the_null():
    random = rng(5)
    ps = np.array([sequential_p(random.random(199), random.random()) for _ in range(3000)])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (ps <= level).mean() <= level + 3 * np.sqrt(level / 3000)
    assert ps.mean() == pytest.approx(0.5, abs=0.04)


def test_the_deviation_of_a_trained_auc_is_larger_than_delong_says():
    labels = np.arange(300) % 2
    features = rng(1).standard_normal((300, 20))
    made = alone(labels)
    found = permutation_null(features, labels, folds_of(labels, made), made, 0.5, 200, 0)
    assert found.centre == pytest.approx(0.5, abs=0.02)
    assert 1.15 < found.factor < 1.8
    # DeLong's own, with no signal: sqrt((n + m + 1) / (12 n m)).
    assert found.sd / found.factor == pytest.approx(np.sqrt(301 / (12 * 150 * 150)), rel=0.05)
    assert found.floor == 0.0 and found.draws == 200


def test_a_score_that_was_not_trained_is_not_widened():
    labels = np.arange(400) % 2
    made = alone(labels)
    score = rng(2).standard_normal(400)
    found = fixed_null(score, labels, folds_of(labels, made), made, one_stratum(labels), None, 0.5, 400, 0)
    assert found.factor == pytest.approx(1.0, abs=0.1)


def test_groups_given_whole_labels_widen_the_null_and_set_a_floor_to_p():
    labels, made = nested(6, 20)
    features = np.repeat(rng(3).standard_normal((12, 3)), 20, axis=0) + 0.1 * rng(4).standard_normal((240, 3))
    folds = folds_of(labels, made)
    found = permutation_null(features, labels, folds, made, 1.1, 300, 0)
    assert found.floor == 1 / comb(12, 6) and found.p == pytest.approx(1 / 301)
    few_labels, few = nested(3, 20)
    rows = np.repeat(np.arange(6), 20)
    found = permutation_null(features[:120], few_labels, rows // 2, few, 1.1, 300, 0)
    assert found.p == found.floor == 1 / comb(6, 3)
    clips = permutation_null(features, labels, folds, alone(labels), 1.1, 300, 0)
    assert permutation_null(features, labels, folds, made, 1.1, 300, 0).sd > 2 * clips.sd


def shifted(n: int, seed: int, shift: float = 1.5, leak: float = 0.0):
    """A shift along the first covariate, on which all indicators depend; a leak adds to one of them."""
    random = rng(seed)
    x = random.standard_normal((n, 4))
    labels = (random.random(n) < expit(shift * x[:, 0])).astype(int)
    features = x[:, :1] + random.standard_normal((n, 5))
    features[:, 0] += leak * labels
    made = alone(labels)
    folds = folds_of(labels, made)
    return labels, features, folds, made, propensity(Covariates(x, (1, 1, 2)), labels, folds)


def adjusted_auc(labels: np.ndarray, features: np.ndarray, folds: np.ndarray, fitted: Propensity) -> float:
    y, w = labels[:, None].astype(float), fitted.weights[:, None]
    return float(weighted_aucs(y, adjusted_scores(features, y, w, folds), w)[0])


def test_a_pure_shift_is_rejected_by_free_permutations_and_not_given_the_propensity():
    labels, features, folds, made, fitted = shifted(500, 1)
    y = labels[:, None].astype(float)
    raw = float(weighted_aucs(y, out_of_fold_draws(features, y, np.ones((500, 1)), folds), np.ones((500, 1)))[0])
    assert permutation_null(features, labels, folds, made, raw, 199, 0).p == pytest.approx(1 / 200)
    observed = adjusted_auc(labels, features, folds, fitted)
    found = conditional_null(features, fitted, folds, made, observed, 199, 0)
    assert found.p > 0.1 and found.draws < 199


def test_a_leak_beyond_the_shift_is_found_given_the_propensity():
    labels, features, folds, made, fitted = shifted(500, 2, leak=1.0)
    found = conditional_null(features, fitted, folds, made, adjusted_auc(labels, features, folds, fitted), 199, 0)
    assert found.p == pytest.approx(1 / 200) and found.draws == 199


def test_ps_given_the_propensity_are_about_uniform_in_worlds_with_a_shift_and_no_leak():
    ps = []
    for seed in range(40):
        labels, features, folds, made, fitted = shifted(160, 100 + seed, shift=1.0)
        observed = adjusted_auc(labels, features, folds, fitted)
        ps.append(conditional_null(features, fitted, folds, made, observed, 99, seed, least=50).p)
    assert np.mean(np.array(ps) <= 0.1) <= 0.225
    assert kstest(ps, "uniform").pvalue > 0.01


def test_drawing_stops_after_the_block_with_the_tenth_exceedance():
    _, features, folds, made, fitted = shifted(120, 3, shift=0.5)
    early = conditional_null(features, fitted, folds, made, 0.0, 999, 0, least=30)
    assert early.draws == 30 and early.p == 1.0
    never = conditional_null(features, fitted, folds, made, 1.1, 250, 0, least=30)
    assert never.draws == 250 and never.p == pytest.approx(1 / 251)


def test_the_same_seed_gives_the_same_null():
    _, features, folds, made, fitted = shifted(120, 4, shift=0.5)
    first, second, other = (conditional_null(features, fitted, folds, made, 0.55, 60, s, least=60) for s in (1, 1, 2))
    assert first == second and first != other


def test_a_fixed_score_that_reads_the_shift_alone_is_null_given_the_propensity():
    labels, features, folds, made, fitted = shifted(500, 6)
    score = features.sum(axis=1)
    y, w = labels[:, None].astype(float), fitted.weights[:, None]
    strata = one_stratum(labels)
    freely = fixed_null(score, labels, folds, made, strata, None, 0.7, 199, 0)
    observed = float(weighted_aucs(y, score[:, None], w)[0])
    given = fixed_null(score, labels, folds, made, strata, fitted, observed, 199, 0)
    assert freely.p == pytest.approx(1 / 200) and given.p > 0.05
    assert EXCEEDANCES == 10


SINGLE = "groups of one clip are strata of one: permuting within them moves nothing (p 0.01, sd 0, factor 1)"


def test_groups_of_one_clip_each_are_permuted_like_clips_without_groups():
    from precompute.evidence import dataset_of
    from tests.fake_scores import FakeDataset, fake_clips

    clips = fake_clips(FakeDataset("a", 60))
    clips["group"] = [f"recording {i}" for i in range(120)]
    sample = dataset_of("a", clips, 0).sample
    drawn = permuted(sample.labels, sample.design, sample.strata, 20, rng())
    assert (drawn != sample.labels[:, None]).any()


def test_a_draw_that_leaves_a_class_one_group_does_not_undo_the_widening():
    labels, made = nested(6, 20)
    folds = folds_of(labels, made)
    factors = []
    for seed in range(30):
        random = rng(seed)
        fitted = propensity(Covariates(random.standard_normal((240, 4)), (1, 1, 2)), labels, folds)
        features = random.standard_normal((240, 5))
        factors.append(conditional_null(features, fitted, folds, made, 0.5, 25, seed, least=25).factor)
    assert np.median(factors) > 1.3 and min(factors) > 1.05
