"""The headline of a dataset and a target: raw and shift-adjusted attack, each with a null of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from precompute.adjustment import (
    Covariates,
    Propensity,
    boosted_check,
    overlap_lost,
    overlap_weights,
    propensity,
    refitted_chances,
    standardised_differences,
)
from precompute.nulls import BLOCK, Null, adjusted_scores, conditional_null, fixed_null, permutation_null, redrawn
from precompute.statistics.intervals import Estimate
from precompute.statistics.logistic import out_of_fold_draws, weighted_aucs
from precompute.statistics.trained import effective_size, trained_estimate
from precompute.units import Design

DRAWS = 999
"""Most label draws behind a headline p-value; the smallest possible p is then 0.001."""

PLAIN_DRAWS = 200
"""Free permutations behind the interval of a raw AUC."""


@dataclass(frozen=True)
class Sample:
    """Labels of one dataset with what every refit needs.

    Parameters
    ----------
    labels, folds : np.ndarray [shape=(n,)], int
    design : Design
    strata : np.ndarray [shape=(n,)], int
        Group of each clip where groups hold both classes, 0 elsewhere: free permutations stay within.
    """

    labels: np.ndarray
    folds: np.ndarray
    design: Design
    strata: np.ndarray


@dataclass(frozen=True)
class Overlap:
    """Whether a dataset's classes can be compared like with like.

    Parameters
    ----------
    fitted : Propensity
    effective_member, effective_non_member : float
        Effective sample sizes of the weighted classes.
    before, after : Estimate
        AUC with which another learner tells the classes apart, without and with the weights, out of fold.
    expected : float
        The same with the weights where labels were drawn from the propensity itself. It lies below 0.5: what weights
        balance over all clips, a held-out part unbalances the other way.
    excess : float
        ``after - expected`` in standard deviations of those draws; above `MOST_EXCESS` a shift is left.
    worst_before, worst_after : float
        Largest standardised difference over the covariates.
    lost : str or None
        Why the dataset cannot be audited, None where it can.
    """

    fitted: Propensity
    effective_member: float
    effective_non_member: float
    before: Estimate
    after: Estimate
    expected: float
    excess: float
    worst_before: float
    worst_after: float
    lost: str | None


@dataclass(frozen=True)
class Headline:
    """Raw and adjusted attack of one dataset and target.

    Parameters
    ----------
    raw, adjusted : Estimate
    raw_null, adjusted_null : Null
    adjusted_score : np.ndarray [shape=(n,)]
        Out-of-fold centred logits of the attack that was fitted under overlap weights; NaN where it has none.
    """

    raw: Estimate
    adjusted: Estimate
    raw_null: Null
    adjusted_null: Null
    adjusted_score: np.ndarray


MOST_EXCESS = 2.33
"""One-sided 1%: a check that refuses one balanced dataset in a hundred."""

CHECK_DRAWS = 20

Check = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def find_overlap(
    sample: Sample, found: Covariates, check: Check = boosted_check, draws: int = CHECK_DRAWS, seed: int = 0
) -> Overlap:
    """Fit the propensity, weigh, and let another learner look for what is left of the shift.

    Parameters
    ----------
    sample : Sample
    found : Covariates
        What reaches the model.
    check : callable
        ``(matrix, labels, weights, folds)`` to out-of-fold scores, for many label vectors.
    draws : int
        Label vectors drawn from the propensity, to know what the check finds where nothing is left.
    seed : int

    Returns
    -------
    Overlap
    """
    labels, folds, units = sample.labels, sample.folds, sample.design.units
    matrix = found.values
    fitted = propensity(found, labels, folds)
    sizes = [effective_size(fitted.weights[labels == label]) for label in (1, 0)]
    drawn = redrawn(fitted.chance, sample.design, draws, np.random.default_rng([seed, 4]))
    y = np.column_stack([labels, labels, drawn]).astype(float)
    weights = np.column_stack(
        [np.ones(len(labels)), fitted.weights, overlap_weights(drawn, refitted_chances(fitted, drawn, folds))]
    )
    checked = check(matrix, y, weights, folds)
    null = weighted_aucs(y[:, 2:], np.round(checked[:, 2:], 9), weights[:, 2:])
    before = trained_estimate(labels, checked[:, 0], units)
    after = trained_estimate(labels, checked[:, 1], units, weights=fitted.weights)
    expected, spread = float(np.nanmean(null)), float(np.nanstd(null, ddof=1))
    excess = (after.auc - expected) / max(spread, 1e-9)
    worst = [float(np.abs(standardised_differences(matrix, labels, one)).max(initial=0.0)) for one in weights[:, :2].T]
    lost = _lost(labels, sizes, after, expected, excess)
    return Overlap(fitted, sizes[0], sizes[1], before, after, expected, excess, worst[0], worst[1], lost)


def _lost(labels: np.ndarray, sizes: list[float], after: Estimate, expected: float, excess: float) -> str | None:
    """Say why like cannot be compared with like, if it cannot."""
    for size, label, word in zip(sizes, (1, 0), ("members", "non-members"), strict=True):
        n = int((labels == label).sum())
        if overlap_lost(size, n):
            return f"of {n} {word} only {size:.0f} (effective) are like the other class"
    if excess > MOST_EXCESS:
        return (
            f"the reweighted classes still differ: another learner tells them apart with AUC {after.auc:.2f}, where "
            f"{expected:.2f} is expected of balanced ones ({excess:.1f} standard deviations)"
        )
    return None


def find_headline(
    sample: Sample,
    features: np.ndarray,
    overlap: Overlap,
    seed: int = 0,
    draws: int = DRAWS,
    plain: int = PLAIN_DRAWS,
    least: int = BLOCK,
) -> Headline:
    """Attack a dataset as it stands and under overlap weights, and refit both under redrawn labels.

    Parameters
    ----------
    sample : Sample
    features : np.ndarray [shape=(n, f)]
        Indicators; rows that are not finite take no part.
    overlap : Overlap
    seed : int
    draws, plain, least : int
        Most draws for the conditional p-value, free permutations for the raw interval, and fewest draws.

    Returns
    -------
    Headline
    """
    part, fitted, usable = _usable(sample, features, overlap.fitted)
    if not _judgeable(part):
        return _nothing(part, len(usable))
    if not usable.all():  # a copy of what may be large
        features = features[usable]
    y = part.labels[:, None].astype(float)
    raw_score = out_of_fold_draws(features, y, np.ones((len(y), 1)), part.folds)[:, 0]
    score = adjusted_scores(features, y, fitted.weights[:, None], part.folds)[:, 0]
    units = part.design.units
    adjusted = trained_estimate(part.labels, score, units, weights=fitted.weights)
    raw = trained_estimate(part.labels, raw_score, units)
    raw_null = permutation_null(features, part.labels, part.folds, part.design, raw.auc, plain, seed, part.strata)
    null = conditional_null(features, fitted, part.folds, part.design, adjusted.auc, draws, seed, least)
    adjusted_score = np.full(len(usable), np.nan)
    adjusted_score[usable] = score
    return Headline(
        raw=trained_estimate(part.labels, raw_score, units, raw_null.factor),
        adjusted=trained_estimate(part.labels, score, units, null.factor, fitted.weights),
        raw_null=raw_null,
        adjusted_null=null,
        adjusted_score=adjusted_score,
    )


def given_headline(
    sample: Sample, score: np.ndarray, overlap: Overlap, seed: int = 0, draws: int = DRAWS, plain: int = PLAIN_DRAWS
) -> Headline:
    """Do the same for a score made elsewhere: nothing is trained here, so only labels and weights are redrawn.

    Parameters
    ----------
    sample : Sample
    score : np.ndarray [shape=(n,)]
        Higher is more member-like; NaN where a clip has none.
    overlap, seed, draws, plain
        As for `find_headline`.

    Returns
    -------
    Headline
    """
    part, fitted, usable = _usable(sample, score[:, None], overlap.fitted)
    if not _judgeable(part):
        return _nothing(part, len(usable))
    units = part.design.units
    raw = trained_estimate(part.labels, score[usable], units)
    adjusted = trained_estimate(part.labels, score[usable], units, weights=fitted.weights)
    nulls = [
        fixed_null(score[usable], part.labels, part.folds, part.design, part.strata, one, seen.auc, most, seed)
        for one, seen, most in ((None, raw, plain), (fitted, adjusted, draws))
    ]
    return Headline(raw, adjusted, nulls[0], nulls[1], np.where(usable, score, np.nan))


def _judgeable(part: Sample) -> bool:
    """Whether both classes are left, in at least two folds."""
    return len(np.unique(part.labels)) == 2 and len(np.unique(part.folds)) > 1


def _nothing(part: Sample, n: int) -> Headline:
    """Stand in for a headline where nothing could be scored."""
    lost = trained_estimate(np.zeros(0, dtype=int), np.zeros(0), np.zeros(0, dtype=int))
    none = replace(lost, n_member=int((part.labels == 1).sum()), n_non_member=int((part.labels == 0).sum()))
    null = Null(1.0, 0, 0.0, float("nan"), float("nan"), 1.0)
    return Headline(none, none, null, null, np.full(n, np.nan))


def _usable(sample: Sample, features: np.ndarray, fitted: Propensity) -> tuple[Sample, Propensity, np.ndarray]:
    """Leave out the clips that have no features."""
    usable = np.isfinite(features).all(axis=1)
    if usable.all():
        return sample, fitted, usable
    design = replace(sample.design, units=sample.design.units[usable])
    part = Sample(sample.labels[usable], sample.folds[usable], design, sample.strata[usable])
    left = set(part.folds)
    starts = [start for start, fold in zip(fitted.starts, np.unique(sample.folds), strict=True) if fold in left]
    kept = Propensity(fitted.covariates[usable], fitted.ridge, fitted.chance[usable], fitted.weights[usable], starts)
    return part, kept, usable
