"""Receiver operating characteristic with ties; numpy alone, so that the explorer can use it."""

from __future__ import annotations

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a member scores above a non-member, ties counting half.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    scores : np.ndarray [shape=(n,)]
        Finite; higher is more member-like.

    Returns
    -------
    float
        In [0, 1]; exactly 0.5 for a constant score, NaN where a class is empty.

    Raises
    ------
    ValueError
        If a score is not finite or the arrays differ in length.
    """
    labels, scores = _checked(labels, scores)
    codes = np.unique(scores, return_inverse=True)[1]
    members = np.bincount(codes[labels])
    others = np.bincount(codes[~labels], minlength=len(members))
    members = np.pad(members, (0, len(others) - len(members)))
    pairs = int(members.sum()) * int(others.sum())
    if not pairs:
        return float("nan")
    # Twice the number of won pairs is a whole number, so a constant score gives exactly one half.
    twice = int((members * (2 * (np.cumsum(others) - others) + others)).sum())
    return twice / (2 * pairs)


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates of the rule "member if score >= threshold" at every distinct threshold.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member; both present.
    scores : np.ndarray [shape=(n,)]
        Finite.

    Returns
    -------
    tuple of np.ndarray [shape=(k + 1,)]
        False positive rate, true positive rate, threshold; the first threshold is infinity, the rates rise from 0 to 1.

    Raises
    ------
    ValueError
        If a class is empty, a score is not finite or the arrays differ in length.
    """
    labels, scores = _checked(labels, scores)
    if labels.all() or not labels.any():
        raise ValueError("a ROC curve needs members and non-members")
    values, codes = np.unique(scores, return_inverse=True)
    true = np.bincount(codes, weights=labels)[::-1].cumsum() / labels.sum()
    false = np.bincount(codes, weights=~labels)[::-1].cumsum() / (~labels).sum()
    return np.r_[0.0, false], np.r_[0.0, true], np.r_[np.inf, values[::-1]]


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as booleans and scores as floats, refused unless they fit together."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"{labels.shape} labels do not fit {scores.shape} scores")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; leave out what could not be scored and count it")
    return labels == 1, scores
