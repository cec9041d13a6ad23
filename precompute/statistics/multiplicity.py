"""Corrections for asking many questions: Holm for verdicts, Benjamini-Hochberg for tables to browse."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values so that the chance of any false rejection stays below the level (Holm 1979).

    Parameters
    ----------
    p : array_like
        In [0, 1]; NaN is no test, counts for nothing and stays NaN.

    Returns
    -------
    np.ndarray, same shape
        In [p, 1], in the order of `p`.

    Raises
    ------
    ValueError
        If a value lies outside [0, 1].
    """
    p, tested = _checked(p)
    adjusted = np.full(p.shape, np.nan)
    values = p[tested]
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    ranked = np.empty(len(values))
    ranked[order] = np.minimum(steps, 1.0)
    adjusted[tested] = ranked
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjust p-values so that the expected share of false ones among the rejected stays below the level.

    Benjamini and Hochberg (1995), as `scipy.stats.false_discovery_control`.

    Parameters
    ----------
    p : array_like
        In [0, 1]; NaN is no test, counts for nothing and stays NaN.

    Returns
    -------
    np.ndarray, same shape

    Raises
    ------
    ValueError
        If a value lies outside [0, 1].
    """
    from scipy.stats import false_discovery_control

    p, tested = _checked(p)
    adjusted = np.full(p.shape, np.nan)
    if tested.any():
        adjusted[tested] = false_discovery_control(p[tested])
    return adjusted


def _checked(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P-values as floats, and where there is one."""
    p = np.asarray(p, dtype=float)
    tested = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError("a p-value lies outside [0, 1]")
    return p, tested
