"""What a condition changes: the AUC of the same clips before and after, and members' loss of certainty over others'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.statistics.intervals import percentiles, resampled_aucs
from precompute.statistics.roc import auc


@dataclass(frozen=True)
class Contrast:
    """Change of an AUC between two conditions of the same clips.

    Parameters
    ----------
    difference : float
        Swapped minus original, in [-1, 1]; negative where the condition takes the difference away.
    low, high, low_90, high_90 : float
        95% and 90% percentile intervals.
    se : float
        Standard deviation over the resamples.
    p : float
        Two-sided, of no change; normal.
    auc_original, auc_swapped : float
    n_member, n_non_member : int
        Clips that have both scores; only they enter.
    """

    difference: float
    low: float
    high: float
    low_90: float
    high_90: float
    se: float
    p: float
    auc_original: float
    auc_swapped: float
    n_member: int
    n_non_member: int


@dataclass(frozen=True)
class Interaction:
    """How much more certainty members lose under a condition than non-members do.

    Parameters
    ----------
    difference : float
        Mean change of members minus mean change of non-members; positive where members lose more.
    low, high : float
        95% interval.
    se : float
    p : float
        Two-sided, of no difference.
    member, non_member : float
        Mean change of each class, in the unit of the loss (nats per token).
    n_member, n_non_member : int
        Clips that have both losses.
    n_units : int
        Independent units among them.
    """

    difference: float
    low: float
    high: float
    se: float
    p: float
    member: float
    non_member: float
    n_member: int
    n_non_member: int
    n_units: int


def condition_contrast(labels: np.ndarray, original: np.ndarray, swapped: np.ndarray, weights: np.ndarray) -> Contrast:
    """Paired difference of the AUC under a condition and on the original audio.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    original, swapped : np.ndarray [shape=(n,)]
        Scores of the same clips; NaN where a clip has none.
    weights : np.ndarray [shape=(n, draws)]
        From `intervals.bootstrap_weights` or `cluster_bootstrap_weights`, the same for both conditions.

    Returns
    -------
    Contrast
        NaN where a class is empty.
    """
    from scipy.special import ndtr

    labels = np.asarray(labels)
    both = np.isfinite(original) & np.isfinite(swapped)
    columns = [np.where(both, column, np.nan) for column in (original, swapped)]
    single = [auc(labels[both], column[both]) for column in columns]
    drawn = resampled_aucs(labels, columns[1], weights) - resampled_aucs(labels, columns[0], weights)
    low, low_90, high_90, high = percentiles(drawn)
    difference = single[1] - single[0]
    se = float(np.nanstd(drawn)) if np.isfinite(drawn).any() else float("nan")
    p = float("nan")
    if difference == 0:
        p = 1.0
    elif np.isfinite(difference):
        # Where no resample differs (from perfect separation to none, say) the draws set the smallest p there is.
        p = float(2 * ndtr(-abs(difference) / se)) if se > 0 else 2 / (len(drawn) + 1)
    sizes = [int((labels[both] == label).sum()) for label in (1, 0)]
    return Contrast(difference, low, high, low_90, high_90, se, p, single[0], single[1], sizes[0], sizes[1])


def interaction(
    labels: np.ndarray, original_nll: np.ndarray, swapped_nll: np.ndarray, units: np.ndarray | None = None
) -> Interaction:
    """Compare members' loss of certainty under a condition with non-members', as a difference in differences.

    Without units this is Welch's two-sample interval of the changes. With units, squares are taken of the sums over
    each unit (Liang and Zeger 1986), scaled per class by k / (k - 1) with k units, so that units of one clip each give
    Welch's interval again; degrees of freedom are Welch and Satterthwaite's where no unit holds clips of both classes,
    else one less than there are units.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    original_nll, swapped_nll : np.ndarray [shape=(n,)]
        Mean negative log likelihood of the same clips and text; NaN where a clip has none.
    units : np.ndarray [shape=(n,)] or None
        Clips that share a value are not independent. None: every clip for itself.

    Returns
    -------
    Interaction
        Standard error, interval and p are NaN where a class has under two units or no change varies.
    """
    from scipy.stats import t

    change = np.asarray(swapped_nll, dtype=float) - np.asarray(original_nll, dtype=float)
    usable = np.isfinite(change)
    change, member = change[usable], np.asarray(labels)[usable] == 1
    codes = np.arange(len(change)) if units is None else np.unique(np.asarray(units)[usable], return_inverse=True)[1]
    n_units = int(codes.max(initial=-1) + 1)
    sizes = int(member.sum()), int((~member).sum())
    means = [float(change[rows].mean()) if rows.any() else float("nan") for rows in (member, ~member)]
    counts, moved = [], []
    for rows, mean in zip((member, ~member), means, strict=True):
        counts.append(len(np.unique(codes[rows])))
        parts = np.bincount(codes[rows], weights=change[rows] - mean, minlength=n_units) / max(rows.sum(), 1)
        moved.append(parts * np.sqrt(counts[-1] / max(counts[-1] - 1, 1)))
    difference = means[0] - means[1]
    se = float(np.linalg.norm(moved[0] - moved[1]))
    low = high = p = float("nan")
    if min(counts) < 2 or se <= 1e-12 * float(np.abs(change).max()):
        se = float("nan")
    else:
        crossed = sum(counts) > n_units
        variances = np.array([parts @ parts for parts in moved])
        df = n_units - 1 if crossed else variances.sum() ** 2 / (variances**2 / (np.array(counts) - 1)).sum()
        reach = float(t.ppf(0.975, df)) * se
        low, high, p = difference - reach, difference + reach, float(2 * t.sf(abs(difference) / se, df))
    return Interaction(difference, low, high, se, p, means[0], means[1], sizes[0], sizes[1], n_units)
