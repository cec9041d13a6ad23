"""Stratified bootstrap of the AUC, with one set of resamples shared by every score of the same clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from precompute.statistics.roc import auc

DRAWS = 1000

NUMBERS = 2**18
"""Clips times resamples that are worked on at once."""


@dataclass(frozen=True)
class Estimate:
    """An AUC with what is needed to judge it.

    Parameters
    ----------
    auc : float
        NaN where a class is empty.
    low, high : float
        95% percentile interval.
    low_90, high_90 : float
        90% percentile interval, the one that two one-sided tests at 5% read.
    se : float
        Standard deviation over the resamples.
    n_member, n_non_member : int
        Clips that entered.
    """

    auc: float
    low: float
    high: float
    low_90: float
    high_90: float
    se: float
    n_member: int
    n_non_member: int


def bootstrap_weights(labels: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each clip occurs in each resample, drawn within its class.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    draws : int
        Number of resamples.
    seed : int

    Returns
    -------
    np.ndarray [shape=(n, draws)], uint8
        Each column sums to the class size within each class. Two scores weighted by the same array are resampled
        together, so differences between them are paired.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    weights = np.zeros((len(labels), draws), dtype=np.uint8)
    for label in (1, 0):
        rows = np.flatnonzero(labels == label)
        step = max(1, NUMBERS // draws)
        for first in range(0, len(rows), step):  # the same clips as in one draw of all, but few held at once
            chosen = rng.integers(len(rows), size=(min(step, len(rows) - first), draws))
            places = rows[chosen] * draws + np.arange(draws)
            np.add.at(weights.reshape(-1), places.reshape(-1), np.uint8(1))  # no clip is drawn 256 times: 1e-500
    return weights


def cluster_bootstrap_weights(labels: np.ndarray, units: np.ndarray, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each clip occurs in each resample of whole units, for clips that are not independent.

    Units that hold members only, units that hold non-members only and units that hold both are each drawn among
    themselves, so that labels given to whole units stay balanced and both classes' clips of a unit travel together
    (Davison and Hinkley 1997, on hierarchical data).

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    units : np.ndarray [shape=(n,)]
        Clips that share a value are drawn together.
    draws : int
        Number of resamples.
    seed : int

    Returns
    -------
    np.ndarray [shape=(n, draws)], uint8
        As `bootstrap_weights`, to which it comes down where every clip is a unit of its own; where units differ in
        size, columns differ in their sum.

    Raises
    ------
    ValueError
        If the arrays differ in length.
    """
    is_member, units = np.asarray(labels) == 1, np.asarray(units)
    if is_member.shape != units.shape:
        raise ValueError(f"{is_member.shape} labels do not fit {units.shape} units")
    codes = np.unique(units, return_inverse=True)[1]
    members = np.bincount(codes, weights=is_member)
    others = np.bincount(codes, weights=~is_member)
    mixed = (members > 0) & (others > 0)
    # Neither 1 nor 0 leaves a unit out of a draw.
    pure = bootstrap_weights(np.where(mixed, -1, members > 0), draws, seed)
    if mixed.any():
        pure += bootstrap_weights(np.where(mixed, 1, -1), draws, seed + 1)
    return pure if np.array_equal(codes, np.arange(len(codes))) else pure[codes]


def resampled_aucs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC, ties counting half, in every resample.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
    scores : np.ndarray [shape=(n,)]
        Clips with a score that is not finite are left out of every resample.
    weights : np.ndarray [shape=(n, draws)]
        From `bootstrap_weights`.

    Returns
    -------
    np.ndarray [shape=(draws,)]
        NaN where a resample lacks a class.
    """
    scores = np.asarray(scores, dtype=float)
    usable = np.flatnonzero(np.isfinite(scores))
    usable = usable[np.argsort(scores[usable], kind="stable")]
    values = scores[usable]
    is_member = np.asarray(labels)[usable] == 1
    # Non-members below each member, plus half of those that tie: positions in the sorted non-members, not pairs.
    others = values[~is_member]
    first = np.searchsorted(others, values[is_member], side="left")
    after = np.searchsorted(others, values[is_member], side="right")
    aucs = []
    for part in parts(weights, len(usable)):
        member_weights = part[usable[is_member]]
        below = np.zeros((len(others) + 1, part.shape[1]), dtype=np.int32)
        np.cumsum(part[usable[~is_member]], axis=0, dtype=np.int32, out=below[1:])
        twice = below[first]
        # Without ties, which is the common case, both counts are one and need not be gathered twice.
        twice += twice if np.array_equal(first, after) else below[after]
        won = np.einsum("ij,ij->j", twice, member_weights, dtype=np.int64)
        pairs = member_weights.sum(axis=0, dtype=np.int64) * below[-1].astype(np.int64)
        aucs.append(np.divide(won, 2 * pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    return np.concatenate([np.zeros(0), *aucs])


def parts(weights: np.ndarray, clips: int) -> Iterator[np.ndarray]:
    """Split resamples so that what is made of a part holds about `NUMBERS` numbers, however many clips there are.

    Parameters
    ----------
    weights : np.ndarray [shape=(n, draws)]
    clips : int
        Of the n, those that are used.

    Yields
    ------
    np.ndarray [shape=(n, k)]
        Views, in order.
    """
    step = max(1, NUMBERS // max(1, clips))
    for first in range(0, weights.shape[1], step):
        yield weights[:, first : first + step]


def estimate(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> Estimate:
    """AUC of one score with its bootstrap interval; clips without a finite score are left out.

    Parameters
    ----------
    labels, scores : np.ndarray [shape=(n,)]
    weights : np.ndarray [shape=(n, draws)]
        From `bootstrap_weights` of the same clips.

    Returns
    -------
    Estimate
    """
    return mean_estimate(labels, [scores], weights)[0]


def mean_estimate(
    labels: np.ndarray, scores: list[np.ndarray], weights: np.ndarray
) -> tuple[Estimate, list[float], np.ndarray]:
    """Mean AUC over realizations of one condition, with an interval that resamples clips, not realizations.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
    scores : list of np.ndarray [shape=(n,)]
        One per realization.
    weights : np.ndarray [shape=(n, draws)]

    Returns
    -------
    tuple of (Estimate, list of float, np.ndarray [shape=(draws,)])
        The mean, the AUC of each realization, and the resampled means, for paired differences.
    """
    labels = np.asarray(labels)
    usable = [np.isfinite(column) for column in scores]
    single = [auc(labels[rows], column[rows]) for column, rows in zip(scores, usable, strict=True)]
    drawn = np.mean([resampled_aucs(labels, column, weights) for column in scores], axis=0)
    low, low_90, high_90, high = percentiles(drawn)
    sizes = [min(int((labels[rows] == label).sum()) for rows in usable) for label in (1, 0)]
    spread = float(np.nanstd(drawn)) if np.isfinite(drawn).any() else float("nan")
    return Estimate(float(np.mean(single)), low, high, low_90, high_90, spread, sizes[0], sizes[1]), single, drawn


def percentiles(drawn: np.ndarray) -> tuple[float, float, float, float]:
    """Take the 2.5, 5, 95 and 97.5 percent points of resampled values; NaN where there is none."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return (float("nan"),) * 4
    low, low_90, high_90, high = (float(value) for value in np.percentile(finite, [2.5, 5, 95, 97.5]))
    return low, low_90, high_90, high
