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


def correlation(first: np.ndarray, second: np.ndarray) -> Correlation:
    """Pearson and Spearman correlation over the clips that have both scores.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n,)]
        NaN where a clip has no score.

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
    interval = result.confidence_interval()
    rank = stats.spearmanr(first, second).statistic
    return Correlation(
        float(result.statistic),
        float(interval.low),
        float(interval.high),
        float(result.pvalue),
        float(rank),
        len(first),
    )


def within_class(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Correlation:
    """Correlation after each class's own means are taken out.

    Two scores that only share the class difference correlate when pooled and not within a class.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    first, second : np.ndarray [shape=(n,)]
        NaN where a clip has no score.

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
    return correlation(first, second)
