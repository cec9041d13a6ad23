"""A dataset and a target: overlap first, then the raw and the adjusted attack, each with a null of its own."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from precompute.adjustment import Covariates, boosted_check, squares_check
from precompute.attack import assign_folds
from precompute.headline import MOST_EXCESS, Headline, Overlap, Sample, find_headline, find_overlap, given_headline
from precompute.statistics.roc import auc
from precompute.statistics.trained import trained_estimate
from precompute.units import design

FEW = {"draws": 99, "plain": 40, "least": 40}


def world(
    n: int = 300, shift: float = 0.0, leak: float = 0.0, speakers: int = 0, seed: int = 0
) -> tuple[Sample, Covariates, np.ndarray]:
    """Covariates of which the first may shift the labels, and indicators that follow it and the leak."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6))
    labels = (rng.random(n) < expit(shift * x[:, 0])).astype(int) if shift else rng.permutation(np.arange(n) % 2)
    groups: list = [None] * n
    if speakers:
        unit = np.arange(n) % (2 * speakers)
        labels, groups = unit % 2, [f"speaker {k}" for k in unit]
        x = rng.standard_normal((2 * speakers, 6))[unit] + x
    features = 0.7 * x[:, :1] + rng.standard_normal((n, 5)) + leak * labels[:, None]
    made = design(labels, groups)
    folds = assign_folds([f"{i:05d}" for i in range(n)], labels, units=made.units)
    return Sample(labels, folds, made, np.zeros(n, dtype=int)), Covariates(x, (2, 2, 2)), features


def found_of(sample: Sample, found: Covariates, features: np.ndarray) -> tuple[Overlap, Headline]:
    overlap = find_overlap(sample, found, squares_check)
    return overlap, find_headline(sample, features, overlap, **FEW)


def test_where_nothing_differs_nothing_is_lost_and_nothing_found():
    overlap, headline = found_of(*world())
    assert overlap.lost is None and overlap.excess < MOST_EXCESS
    assert overlap.effective_member > 100 and overlap.effective_non_member > 100
    assert headline.adjusted_null.p > 0.05 and headline.raw_null.p > 0.05
    assert headline.adjusted.low < 0.5 < headline.adjusted.high


def test_a_pure_shift_is_in_the_raw_auc_and_not_in_the_adjusted_one():
    sample, x, features = world(600, shift=1.5)
    overlap, headline = found_of(sample, x, features)
    assert overlap.lost is None and overlap.before.auc > 0.7 and abs(overlap.after.auc - overlap.expected) < 0.08
    assert overlap.worst_after < 0.5 * overlap.worst_before
    assert headline.raw.low > 0.5 and headline.raw_null.p < 0.05
    assert headline.adjusted_null.p > 0.05 and headline.adjusted.low < 0.5


def test_a_leak_is_in_both_and_has_the_smallest_p_there_is():
    _, headline = found_of(*world(leak=0.8))
    assert headline.raw.low > 0.5 and headline.adjusted.low > 0.5
    assert headline.adjusted_null.p == pytest.approx(1 / 100)


def test_intervals_are_widened_by_their_own_null():
    sample, x, features = world()
    overlap, headline = found_of(sample, x, features)
    factor, weights = headline.adjusted_null.factor, overlap.fitted.weights
    assert headline.raw_null.factor > 1.1 and factor > 1.1
    fixed = trained_estimate(sample.labels, headline.adjusted_score, sample.design.units, weights=weights)
    assert headline.adjusted.auc == fixed.auc and headline.adjusted.se == pytest.approx(factor * fixed.se)
    assert headline.adjusted.low < fixed.low and headline.adjusted.high > fixed.high


def test_classes_that_have_nothing_in_common_lose_overlap():
    sample, x, _ = world(400, shift=40.0)
    found = find_overlap(sample, x, squares_check)
    assert "(effective) are like the other class" in str(found.lost) and found.effective_member < 100


def test_a_shift_that_no_line_takes_off_is_seen_by_the_other_learner():
    sample, x, _ = world(600)
    # Members lie on a ring: a propensity of straight lines finds nothing to weigh.
    labels = (np.abs(x.values[:, 0]) > 0.67).astype(int)
    made = design(labels, [None] * 600)
    folds = assign_folds([f"{i:05d}" for i in range(600)], labels)
    for check in (boosted_check, squares_check):
        found = find_overlap(replace(sample, labels=labels, design=made, folds=folds), x, check, draws=6)
        assert found.excess > MOST_EXCESS and "the reweighted classes still differ" in str(found.lost)


def test_a_balanced_dataset_is_seldom_refused():
    refused = [find_overlap(*world(200, shift=0.8, seed=seed)[:2], squares_check, seed=seed).lost for seed in range(20)]
    assert sum(reason is not None for reason in refused) <= 3


def test_the_adjusted_score_is_out_of_fold_and_missing_where_there_is_nothing_to_score():
    sample, x, features = world(leak=0.8)
    features[[3, 10]] = np.nan
    overlap, headline = found_of(sample, x, features)
    assert np.isnan(headline.adjusted_score[[3, 10]]).all() and np.isfinite(headline.adjusted_score).sum() == 298
    assert headline.raw.n_member + headline.raw.n_non_member == 298
    held = sample.folds == 4
    turned = replace(sample, labels=np.where(held, 1 - sample.labels, sample.labels))
    again = find_headline(turned, features, overlap, **FEW)
    scored = held & np.isfinite(headline.adjusted_score)
    np.testing.assert_allclose(again.adjusted_score[scored], headline.adjusted_score[scored], atol=1e-3)


def test_the_same_seed_gives_the_same_headline():
    sample, x, features = world()
    overlap = find_overlap(sample, x, squares_check)
    first, second = (find_headline(sample, features, overlap, 3, **FEW) for _ in range(2))
    assert first.adjusted == second.adjusted and first.adjusted_null == second.adjusted_null


def test_speakers_without_a_leak_are_no_leak():
    _, headline = found_of(*world(480, speakers=12))
    assert headline.raw_null.factor > 1.0 and headline.adjusted_null.floor > 0
    assert headline.adjusted_null.p > 0.05 and headline.raw.low < 0.5


def test_a_constant_indicator_table_gives_one_half_everywhere():
    sample, x, features = world(120)
    _, headline = found_of(sample, x, np.full_like(features, 2.5))
    assert headline.raw.auc == pytest.approx(0.5, abs=1e-12) == headline.adjusted.auc
    assert headline.raw_null.p == 1.0 and headline.adjusted_null.p > 0.05


def given_of(sample: Sample, x: Covariates, score: np.ndarray) -> Headline:
    return given_headline(sample, score, find_overlap(sample, x, squares_check), draws=199, plain=100)


def test_a_given_score_is_taken_as_it_is():
    sample, x, features = world(leak=0.5)
    score = features.sum(axis=1)
    found = given_of(sample, x, score)
    assert found.raw.auc == pytest.approx(auc(sample.labels, score), abs=1e-12)
    assert found.adjusted_null.p == pytest.approx(1 / 200) and found.raw_null.p == pytest.approx(1 / 101)
    np.testing.assert_array_equal(found.adjusted_score, score)


def test_a_given_score_that_reads_the_shift_alone_is_null_once_adjusted():
    sample, x, features = world(600, shift=1.5)
    found = given_of(sample, x, features.sum(axis=1))
    assert found.raw_null.p < 0.05 and found.adjusted_null.p > 0.05


def test_given_scores_of_some_clips_only_use_those():
    sample, x, features = world()
    score = features.sum(axis=1)
    score[::3] = np.nan
    found = given_of(sample, x, score)
    assert found.raw.n_member + found.raw.n_non_member == 200 and np.isnan(found.adjusted_score[::3]).all()


def test_the_scale_of_a_given_score_does_not_matter():
    """A likelihood of a whole text is of the order of 1e-20; the same order of clips, the same p."""
    sample, x, features = world(600, shift=1.5)
    overlap = find_overlap(sample, x, squares_check)
    score = features.sum(axis=1)
    plain, tiny = (given_headline(sample, k * score, overlap, draws=199, plain=40) for k in (1.0, 1e-20))
    assert tiny.adjusted_null.p == plain.adjusted_null.p and tiny.raw_null == plain.raw_null


EMPTY = "with no clip left in a fold the propensity's starts and the folds no longer pair up: ValueError from zip"


def test_a_target_that_wrote_nothing_has_no_estimate_and_does_not_fail():
    sample, x, features = world(100)
    overlap = find_overlap(sample, x, squares_check)
    found = find_headline(sample, np.full_like(features, np.nan), overlap, **FEW)
    assert np.isnan([found.raw.auc, found.adjusted.auc]).all()


def test_given_scores_of_a_few_clips_do_not_fail():
    sample, x, features = world(100)
    overlap = find_overlap(sample, x, squares_check)
    score = np.where(np.isin(sample.folds, [0, 1]), features[:, 0], np.nan)
    assert given_headline(sample, score, overlap, draws=20, plain=20).raw.n_member == 10


LONE = "labels redrawn by group can be all alike in a training part; balanced() then gives no weight and trees refuse"


@pytest.mark.parametrize("speakers", [2, 3])
def test_balance_can_be_checked_with_few_speakers(speakers):
    sample, x, _ = world(120, speakers=speakers)
    assert find_overlap(sample, x, boosted_check).before.n_member == 60


def test_balance_can_be_checked_where_a_draw_makes_all_clips_members():
    """With six speakers a class this befalls one audit in five: 6 folds x 20 draws x 2 / 2^10."""
    sample, x, _ = world(120, speakers=6)
    boosted_check(x.values, np.ones((120, 1)), np.full((120, 1), 0.5), sample.folds)
