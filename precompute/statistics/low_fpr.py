"""True positive rate at a low false positive rate, shown only where there are non-members enough to set the threshold.

Carlini et al. (2022), "Membership inference attacks from first principles": an attack matters where it is certain of
some clips, which an AUC averages away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.statistics.intervals import bootstrap_weights, parts, percentiles
from precompute.statistics.roc import _checked

LEAST_PASSED = 10
"""Non-members that must be able to pass at the wanted rate."""


@dataclass(frozen=True)
class LowFpr:
    """Share of members found while few non-members are.

    Parameters
    ----------
    tpr : float
        In [0, 1]; NaN where not shown, as are the next four.
    low, high : float
        95% interval, which includes the uncertainty of the threshold.
    achieved : float
        False positive rate at the threshold: at most `fpr`, less where non-members tie.
    threshold : float
        A clip counts as a member if its score is above it.
    fpr : float
        The rate asked for.
    shown : bool
        Whether there are non-members enough.
    n_member, n_non_member : int
    n_needed : int
        Non-members that showing it takes: 10 / fpr.
    """

    tpr: float
    low: float
    high: float
    achieved: float
    threshold: float
    fpr: float
    shown: bool
    n_member: int
    n_non_member: int
    n_needed: int


def tpr_at_fpr(
    labels: np.ndarray, scores: np.ndarray, fpr: float, weights: np.ndarray | None = None, seed: int = 0
) -> LowFpr:
    """Share of members above the threshold that at most this share of the non-members passes.

    Parameters
    ----------
    labels, scores : np.ndarray [shape=(n,)]
        As for `roc.auc`.
    fpr : float
        In (0, 1), such as 0.01.
    weights : np.ndarray [shape=(n, draws)] or None
        From `intervals.bootstrap_weights` or `cluster_bootstrap_weights`; None draws 1,000.
    seed : int
        Of that draw.

    Returns
    -------
    LowFpr
        The interval takes the 2.5 and 97.5 percent points over resamples, each with a threshold of its own, and is
        never narrower than Wilson's for a known threshold: a resample of no finds has none either.

    Raises
    ------
    ValueError
        If `fpr` is outside (0, 1), a score is not finite or the arrays differ in length.
    """
    from scipy.stats import binomtest

    if not 0 < fpr < 1:
        raise ValueError(f"a false positive rate of {fpr} is no rate between 0 and 1")
    member, scores = _checked(labels, scores)
    sizes = int(member.sum()), int((~member).sum())
    needed = int(np.ceil(LEAST_PASSED / fpr - 1e-9))
    if sizes[1] < needed or not sizes[0]:
        return LowFpr(*(float("nan"),) * 5, fpr, False, *sizes, needed)
    once = np.ones((len(scores), 1), dtype=np.int16)
    rate, achieved, threshold = (float(value[0]) for value in _rates(member, scores, once, fpr))
    if weights is None:
        weights = bootstrap_weights(member.astype(int), seed=seed)
    drawn = [_rates(member, scores, part, fpr)[0] for part in parts(weights, len(scores))]
    low, _, _, high = percentiles(np.concatenate(drawn))
    known = binomtest(round(rate * sizes[0]), sizes[0]).proportion_ci(method="wilson")
    low, high = float(np.fmin(low, known.low)), float(np.fmax(high, known.high))
    return LowFpr(rate, low, high, achieved, threshold, fpr, True, *sizes, needed)


def _rates(
    member: np.ndarray, scores: np.ndarray, weights: np.ndarray, fpr: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give true and false positive rate and threshold of every resample, [shape=(draws,)]; NaN without a class."""
    falling = np.argsort(-scores, kind="stable")
    others, members = falling[~member[falling]], falling[member[falling]]
    seen = np.cumsum(weights[others], axis=0, dtype=np.int32)
    # The first non-member past the allowance sets the threshold, and its ties stay on the same side.
    allowed = np.floor(fpr * seen[-1] + 1e-9)
    threshold = scores[others][np.argmax(seen > allowed, axis=0)]
    rates = []
    for rows in (members, others):
        counts = np.cumsum(np.pad(weights[rows], ((1, 0), (0, 0))), axis=0, dtype=np.int32)
        above = np.searchsorted(-scores[rows], -threshold, side="left")
        found, total = counts[above, np.arange(len(threshold))], counts[-1]
        rates.append(np.divide(found, total, out=np.full(len(found), np.nan), where=total > 0))
    rates[0][seen[-1] == 0] = np.nan  # no threshold without non-members
    return rates[0], rates[1], threshold
