"""Standard error and interval of an AUC from placement values: plain, paired, weighted, and with dependent clips.

A clip's placement is the share of the other class that it beats (ties half); the AUC is the mean placement of either
class, and its variance the sum of the two variances of the mean placement (DeLong, DeLong and Clarke-Pearson 1988,
Biometrics 44). Counting in sorted order instead of over pairs is the device of Sun and Xu (2014, IEEE
Signal Processing Letters 21). Where clips are dependent, squares are taken of the sums over each unit
(Obuchowski 1997, Biometrics 53).

All of it takes the scores as given. A score that was trained on the same labels varies more than this says, because
another sample would also have trained it otherwise; `factor` widens for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.statistics.roc import _checked, auc

NO_SPREAD = 1e-12
"""Standard error below which placements show no variation at all, as at perfect separation."""


@dataclass(frozen=True)
class Delong:
    """An AUC with its standard error.

    Parameters
    ----------
    auc : float
        In [0, 1]; NaN where a class is empty.
    se : float
        At least 0; exactly 0 at perfect separation, which `interval` and `floored` do not take at its word. NaN where a
        class has under two (effective) units.
    n_member, n_non_member : int
        Clips.
    """

    auc: float
    se: float
    n_member: int
    n_non_member: int


@dataclass(frozen=True)
class Paired:
    """The difference of two AUCs of the same clips.

    Parameters
    ----------
    difference : float
        First minus second, in [-1, 1].
    se : float
    low, high : float
        Normal interval, cut to [-1, 1].
    p : float
        Two-sided, of no difference.
    """

    difference: float
    se: float
    low: float
    high: float
    p: float


def placements(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """How far each clip lies on its own class's side: the share of the other class that it beats, ties half.

    Parameters
    ----------
    labels, scores : np.ndarray [shape=(n,)]
        As for `roc.auc`.
    weights : np.ndarray [shape=(n,)] or None
        At least 0; each class's weights are normalised. None counts every clip once.

    Returns
    -------
    np.ndarray [shape=(n,)]
        In [0, 1]. Of a member: the share of non-members below it; of a non-member: the share of members above it. NaN
        where the other class has no weight.
    """
    labels, scores = _checked(labels, scores)
    counts = _checked_weights(weights, len(scores))
    values, codes = np.unique(scores, return_inverse=True)
    member = np.bincount(codes, weights=np.where(labels, counts, 0.0), minlength=len(values))
    other = np.bincount(codes, weights=np.where(labels, 0.0, counts), minlength=len(values))
    below = np.cumsum(other) - other / 2
    above = np.cumsum(member[::-1])[::-1] - member / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(labels, (below / other.sum())[codes], (above / member.sum())[codes])


def delong(labels: np.ndarray, scores: np.ndarray, units: np.ndarray | None = None) -> Delong:
    """AUC with DeLong's standard error.

    Parameters
    ----------
    labels, scores : np.ndarray [shape=(n,)]
        As for `roc.auc`.
    units : np.ndarray [shape=(n,)] or None
        Clips that share a value are not independent. None: every clip for itself.

    Returns
    -------
    Delong
        `auc` equals `roc.auc` exactly.

    Raises
    ------
    ValueError
        If a score is not finite or the arrays differ in length.
    """
    spread = _influence(labels, scores, None, units)[1]
    member = np.asarray(labels) == 1
    return Delong(auc(labels, scores), _root(spread), int(member.sum()), int((~member).sum()))


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Compute the AUC in which each clip counts by its weight, ties half.

    Parameters
    ----------
    labels, scores : np.ndarray [shape=(n,)]
        As for `roc.auc`.
    weights : np.ndarray [shape=(n,)]
        At least 0, such as overlap weights; each class's are normalised.

    Returns
    -------
    float
        In [0, 1]; `roc.auc` for equal weights, NaN where a class has no weight.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, a score is not finite or the arrays differ in length.
    """
    return _influence(labels, scores, weights, None)[0]


def weighted_delong(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, units: np.ndarray | None = None
) -> tuple[float, float]:
    """Weighted AUC with the standard error of a two-sample U statistic with normalised weights.

    The weights count as known. Each class's variance is scaled by k / (k - 1), k the effective number of its units
    (Kish), so that equal weights give DeLong's standard error exactly.

    Parameters
    ----------
    labels, scores, weights : np.ndarray [shape=(n,)]
        As for `weighted_auc`.
    units : np.ndarray [shape=(n,)] or None
        As for `delong`.

    Returns
    -------
    tuple of float
        AUC and standard error.
    """
    value, spread = _influence(labels, scores, weights, units)
    return value, _root(spread)


def delong_paired(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    units: np.ndarray | None = None,
    factor: float = 1.0,
    level: float = 0.95,
) -> Paired:
    """Difference of two AUCs of the same clips (DeLong et al. 1988), first minus second.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    first, second : np.ndarray [shape=(n,)]
        Finite scores.
    units : np.ndarray [shape=(n,)] or None
        As for `delong`.
    factor : float
        Widening of the standard error, for trained scores.
    level : float
        Of the interval.

    Returns
    -------
    Paired
        Two scores that order the clips alike differ by exactly 0. Scores that differ and yet show no spread (both
        separate the classes, say) get the standard errors of `floored` as if independent.
    """
    from scipy.special import ndtr, ndtri

    values, spreads = zip(*(_influence(labels, scores, None, units) for scores in (first, second)), strict=True)
    difference = auc(labels, first) - auc(labels, second)
    se = _root(spreads[0] - spreads[1])
    orders = [np.unique(scores, return_inverse=True)[1] for scores in (first, second)]
    if np.array_equal(orders[0], orders[1]) and np.isfinite(difference):
        return Paired(0.0, 0.0, 0.0, 0.0, 1.0)
    if se < NO_SPREAD:
        sizes = int((np.asarray(labels) == 1).sum()), int((np.asarray(labels) != 1).sum())
        se = float(np.linalg.norm([floored(value, 0.0, *sizes) for value in values]))
    se *= factor
    reach = float(ndtri(0.5 + level / 2)) * se
    low, high = max(difference - reach, -1.0), min(difference + reach, 1.0)
    if not np.isfinite(se):
        low = high = float("nan")
    return Paired(difference, se, low, high, float(2 * ndtr(-abs(difference) / se)))


def hanley_mcneil(auc: float | np.ndarray, n_member: float, n_non_member: float) -> float | np.ndarray:
    """Compute the standard error that an AUC of this size has under exponential scores, without the scores themselves.

    Hanley and McNeil (1982), Radiology 143, equations 1 and 2.

    Parameters
    ----------
    auc : float or np.ndarray
        In [0, 1].
    n_member, n_non_member : float
        At least 1.

    Returns
    -------
    float or np.ndarray
        0 at an AUC of 0 or 1; swapping the classes with the AUC mirrored leaves it as it is.
    """
    auc = np.asarray(auc, dtype=float)
    member, other = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (n_member - 1) * member + (n_non_member - 1) * other
    return np.sqrt(np.maximum(variance, 0.0) / (n_member * n_non_member))[()]


def floored(auc: float, se: float, n_member: float, n_non_member: float) -> float:
    """Give the standard error, or Hanley and McNeil's where the placements show no spread, as at AUC 1.

    Parameters
    ----------
    auc, se : float
        From `delong` or `weighted_delong`.
    n_member, n_non_member : float
        Clips, or effective clips; at least 1.

    Returns
    -------
    float
        Above 0: `hanley_mcneil` is taken half a clip of the smaller class away from an AUC of 0 or 1. NaN stays NaN.
    """
    if not se < NO_SPREAD:
        return se
    edge = 1 / (2 * min(n_member, n_non_member))
    return float(hanley_mcneil(np.clip(auc, edge, 1 - edge), n_member, n_non_member))


def interval(
    auc: float, se: float, n_member: float, n_non_member: float, factor: float = 1.0, level: float = 0.95
) -> tuple[float, float]:
    """Interval of an AUC on the logit scale, which keeps it inside [0, 1] (Pepe 2003, chapter 5).

    Parameters
    ----------
    auc, se : float
        From `delong` or `weighted_delong`.
    n_member, n_non_member : float
        Clips, or effective clips; at least 1.
    factor : float
        Widening of the standard error, for trained scores.
    level : float

    Returns
    -------
    tuple of float
        Lower and upper end, around the AUC; the lower end of an AUC of 1 is below 1. NaN where the AUC or the standard
        error is.
    """
    from scipy.special import expit, logit, ndtri

    if not (np.isfinite(auc) and np.isfinite(se)):
        return float("nan"), float("nan")
    # No attained AUC but 0 and 1 lies within half a pair of the ends.
    edge = 1 / (2 * min(n_member, n_non_member)) if se < NO_SPREAD else 1 / (2 * n_member * n_non_member)
    centre = float(np.clip(auc, edge, 1 - edge))
    reach = float(ndtri(0.5 + level / 2)) * factor * floored(auc, se, n_member, n_non_member) / (centre * (1 - centre))
    return min(float(expit(logit(centre) - reach)), auc), max(float(expit(logit(centre) + reach)), auc)


def _influence(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, units: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """Weighted AUC and what each unit moves it by; the sum of squares of the latter is the variance."""
    placed = placements(labels, scores, weights)
    counts = _checked_weights(weights, len(placed))
    member = np.asarray(labels) == 1
    codes = np.arange(len(placed)) if units is None else np.unique(units, return_inverse=True)[1]
    moved = np.zeros(codes.max(initial=-1) + 1)
    value = float("nan")
    if counts[member].sum() == 0 or counts[~member].sum() == 0:
        return value, np.full(len(moved), np.nan)
    for rows in (~member, member):
        total = counts[rows].sum()
        value = float(counts[rows] @ placed[rows] / total)
        per_unit = np.bincount(codes[rows], weights=counts[rows], minlength=len(moved))
        effective = total**2 / (per_unit**2).sum()
        # Under two units a class says nothing about its spread.
        scale = np.sqrt(effective / (effective - 1)) if effective > 1 + 1e-9 else np.nan
        parts = counts[rows] * (placed[rows] - value) / total
        moved += scale * np.bincount(codes[rows], weights=parts, minlength=len(moved))
    return value, moved


def _root(moved: np.ndarray) -> float:
    """Root of the sum of squares; NaN where there is none."""
    return float(np.sqrt(moved @ moved)) if len(moved) else float("nan")


def _checked_weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    """Weights as floats, refused unless they fit."""
    if weights is None:
        return np.ones(n)
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"weights must be {n} finite numbers of at least 0")
    return weights
