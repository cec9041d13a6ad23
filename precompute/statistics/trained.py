"""AUC of a score that was trained on the same labels, with an interval that says so."""

from __future__ import annotations

import numpy as np

from precompute.statistics.delong import floored, interval, weighted_delong
from precompute.statistics.intervals import Estimate


def effective_size(weights: np.ndarray) -> float:
    """Kish's effective sample size ``(sum w)^2 / sum w^2``; 0 where there is no weight."""
    total = float((weights**2).sum())
    return float(weights.sum()) ** 2 / total if total else 0.0


def trained_estimate(
    labels: np.ndarray,
    scores: np.ndarray,
    units: np.ndarray,
    factor: float = 1.0,
    weights: np.ndarray | None = None,
) -> Estimate:
    """AUC with an interval for dependent clips and, by `factor`, for a score that was trained on the same labels.

    Parameters
    ----------
    labels, scores, units : np.ndarray [shape=(n,)]
        Clips without a finite score are left out.
    factor : float
        What training adds to the standard error without a signal; see `precompute.nulls`. Where the
        classes are far apart training adds less, and the interval is wider than it need be.
    weights : np.ndarray [shape=(n,)] or None
        Overlap weights; None counts all clips alike.

    Returns
    -------
    Estimate
        Limits on the logit scale; NaN where a class has no clip.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    usable = np.isfinite(scores)
    labels, scores, units = labels[usable], scores[usable], np.asarray(units)[usable]
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=float)[usable]
    n_member, n_non_member = (int((labels == label).sum()) for label in (1, 0))
    value, se = weighted_delong(labels, scores, weights, units)
    if not (np.isfinite(value) and np.isfinite(se)):
        return Estimate(*(float("nan"),) * 6, n_member, n_non_member)
    if np.ptp(scores) == 0:  # a constant score has an AUC of one half whatever is drawn
        return Estimate(value, value, value, value, value, 0.0, n_member, n_non_member)
    low, high = interval(value, se, n_member, n_non_member, factor)
    low_90, high_90 = interval(value, se, n_member, n_non_member, factor, level=0.90)
    return Estimate(
        value, low, high, low_90, high_90, factor * floored(value, se, n_member, n_non_member), n_member, n_non_member
    )
