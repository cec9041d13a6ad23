"""Correlation between two scores of the same clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Correlation:
    """How two scores go together.

    Parameters
    ----------
    pearson : float
        In [-1, 1]; NaN where a score is constant or under 4 clips have both.
    low, high : float
        95% interval by Fisher's transformation.
    p : float
        Two-sided, of no correlation.
    spearman : float
        The same on ranks.
    n : int
        Clips that have both scores.
    """

    pearson: float
    low: float
    high: float
    p: float
    spearman: float
    n: int


def correlation(first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None) -> Correlation:
    """Pearson and Spearman correlation over the clips that have both scores.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n,)]
        NaN where a clip has no score.
    units : np.ndarray [shape=(n,)] or None
        Clips that share a value are not independent: the interval and p then come from the influence of each unit
        (Devlin, Gnanadesikan and Kettenring 1975, Biometrika 62) on Fisher's scale, with Student's t of
        one degree less than there are units.

    Returns
    -------
    Correlation
    """
    from scipy import stats

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 4 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(*(float("nan"),) * 5, n=len(first))
    result = stats.pearsonr(first, second)
    rank = stats.spearmanr(first, second).statistic
    if units is None:
        interval = result.confidence_interval()
        low, high, p = float(interval.low), float(interval.high), float(result.pvalue)
    else:
        low, high, p = _clustered(first, second, float(result.statistic), np.asarray(units)[both])
    return Correlation(float(result.statistic), low, high, p, float(rank), len(first))


def within_class(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None
) -> Correlation:
    """Correlation after each class's own means are taken out.

    Two scores that only share the class difference correlate when pooled and not within a class.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    first, second : np.ndarray [shape=(n,)]
        NaN where a clip has no score.
    units : np.ndarray [shape=(n,)] or None
        As for `correlation`.

    Returns
    -------
    Correlation
    """
    first, second = np.array(first, dtype=float), np.array(second, dtype=float)
    both = np.isfinite(first) & np.isfinite(second)
    for label in np.unique(labels):
        rows = both & (labels == label)
        if rows.any():
            first[rows] -= first[rows].mean()
            second[rows] -= second[rows].mean()
    return correlation(first, second, units)


def _clustered(first: np.ndarray, second: np.ndarray, r: float, units: np.ndarray) -> tuple[float, float, float]:
    """95% interval and p of a Pearson correlation `r` whose clips depend on each other within units."""
    from scipy.stats import t

    codes = np.unique(units, return_inverse=True)[1]
    k = int(codes.max()) + 1
    if k < 3 or 1 - abs(r) < 1e-12:
        return (float("nan"),) * 3
    x, y = ((column - column.mean()) / column.std() for column in (first, second))
    parts = np.bincount(codes, weights=x * y - r / 2 * (x**2 + y**2)) / (len(first) * (1 - r**2))
    se = float(np.sqrt(k / (k - 1) * (parts @ parts)))
    z, reach = np.arctanh(r), float(t.ppf(0.975, k - 1)) * se
    return float(np.tanh(z - reach)), float(np.tanh(z + reach)), float(2 * t.sf(abs(z) / se, k - 1))
