"""Null distributions of trained scores: labels redrawn, everything that was fitted to labels fitted again.

DeLong's variance and a bootstrap of fixed out-of-fold scores both ignore that the scores were trained on the same
labels; with 30 indicators and 1,000 clips a class the true deviation of a null AUC is about 1.4 times DeLong's. So the
standard error of a trained score's AUC is DeLong's times the ratio of the two under redrawn labels, and p-values come
from the redrawn AUCs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import comb

import numpy as np

from precompute.adjustment import Propensity, overlap_weights, refitted_chances
from precompute.statistics.delong import weighted_delong
from precompute.statistics.logistic import out_of_fold_draws, weighted_aucs
from precompute.units import Design

EXCEEDANCES = 10
"""A sequence of draws ends when this many reached the observed value (Besag and Clifford 1991)."""

BLOCK = 100
"""Draws fitted together."""

NUMBERS = 2**18
"""Clips times draws that are held at once: a block of most datasets, a part of a block of a large one."""

JUDGED = 10
"""Draws on which the untrained standard error is taken, for the ratio."""


@dataclass(frozen=True)
class Null:
    """What redrawn labels gave.

    Parameters
    ----------
    p : float
        Share of draws at least as high as observed, by the sequential rule; at least ``1 / (draws + 1)``.
    draws : int
        Labels drawn until the rule stopped.
    floor : float
        Smallest p that the number of groups allows; 0 where clips were labelled one by one.
    centre, sd : float
        Mean and standard deviation of the redrawn AUCs.
    factor : float
        ``sd`` over the standard error that ignores training, at least 1.
    """

    p: float
    draws: int
    floor: float
    centre: float
    sd: float
    factor: float


def permuted(
    labels: np.ndarray, design: Design, strata: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Permute labels: across whole groups where labels go with groups, else within each stratum.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
    design : Design
    strata : np.ndarray [shape=(n,)], int
        Groups that hold both classes; all alike where there is none.
    draws : int
    rng : np.random.Generator

    Returns
    -------
    np.ndarray [shape=(n, draws)], int8
    """
    keys = design.units if design.nested else np.arange(len(labels))
    first = np.unique(keys, return_index=True)[1]
    codes = np.unique(keys, return_inverse=True)[1]
    result = np.empty((len(first), draws), dtype=np.int8)
    for stratum in np.unique(strata[first]):
        rows = np.flatnonzero(strata[first] == stratum)
        order = np.argsort(rng.random((len(rows), draws)), axis=0)
        result[rows] = labels[first][rows].astype(np.int8)[order]
    return result[codes]


def redrawn(chance: np.ndarray, design: Design, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw labels from Bernoulli(e(x)), per group where labels go with groups.

    Parameters
    ----------
    chance : np.ndarray [shape=(n,)]
    design : Design
    draws : int
    rng : np.random.Generator

    Returns
    -------
    np.ndarray [shape=(n, draws)], int8
    """
    if not design.nested:
        return (rng.random((len(chance), draws)) < chance[:, None]).astype(np.int8)
    codes = np.unique(design.units, return_inverse=True)[1]
    mean = np.bincount(codes, weights=chance) / np.bincount(codes)
    return (rng.random((len(mean), draws)) < mean[:, None]).astype(np.int8)[codes]


def permutation_null(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    design: Design,
    observed: float,
    draws: int,
    seed: int,
    strata: np.ndarray | None = None,
    ridge: float = 1.0,
) -> Null:
    """Find the null of an unadjusted out-of-fold AUC: whether scores differ by label, for whatever reason.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
    labels, folds : np.ndarray [shape=(n,)]
    design : Design
    observed : float
    draws : int
    seed : int
    strata : np.ndarray or None
    ridge : float

    Returns
    -------
    Null
    """
    rng = np.random.default_rng([seed, 1])
    strata = np.zeros(len(labels), dtype=int) if strata is None else strata
    ones = np.ones((len(labels), 1))
    found = _Drawn(design)
    for size in _parts(draws, len(labels)):
        drawn = permuted(labels, design, strata, size, rng)
        found.add(drawn, out_of_fold_draws(features, drawn, ones, folds, ridge), np.broadcast_to(ones, drawn.shape))
    return found.null(observed)


def conditional_null(
    features: np.ndarray,
    fitted: Propensity,
    folds: np.ndarray,
    design: Design,
    observed: float,
    most: int,
    seed: int,
    least: int = BLOCK,
) -> Null:
    """Null of the adjusted AUC given what reaches the model: labels from Bernoulli(e(x)), attack and weights refitted.

    Permuting labels freely would test "scores differ by label", which a pure shift makes true as well.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
        Indicators.
    fitted : Propensity
    folds : np.ndarray [shape=(n,)]
    design : Design
    observed : float
        Adjusted AUC of the labels as claimed.
    most, least : int
        Draws at most and at least; between them the sequence stops once it is clearly null.
    seed : int

    Returns
    -------
    Null
    """
    rng = np.random.default_rng([seed, 2])
    found = _Drawn(design)
    while len(found.aucs) < most:
        block = min(BLOCK, most - len(found.aucs)) if found.aucs else min(least, most)
        for size in _parts(block, len(folds)):
            drawn = redrawn(fitted.chance, design, size, rng)
            weights = overlap_weights(drawn, refitted_chances(fitted, drawn, folds))
            found.add(drawn, adjusted_scores(features, drawn, weights, folds), weights)
        if sum(one >= observed for one in found.aucs) >= EXCEEDANCES:
            break
    return found.null(observed)


def adjusted_scores(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Out-of-fold attack fitted under overlap weights, so that it learns what the shift does not explain.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
    labels, weights : np.ndarray [shape=(n, draws)]
    folds : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(n, draws)]
        Centred logits.
    """
    return out_of_fold_draws(features, labels, weights, folds)


def fixed_null(
    score: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    design: Design,
    strata: np.ndarray,
    fitted: Propensity | None,
    observed: float,
    draws: int,
    seed: int,
) -> Null:
    """Null of a score that was not trained here: free permutations, or Bernoulli(e(x)) where a propensity is given.

    Parameters
    ----------
    score, labels, folds, strata : np.ndarray [shape=(n,)]
    design : Design
    fitted : Propensity or None
        None weighs all clips alike.
    observed : float
    draws : int
    seed : int

    Returns
    -------
    Null
    """
    rng = np.random.default_rng([seed, 3])
    found = _Drawn(design)
    for size in _parts(draws, len(labels)):
        if fitted is None:
            drawn = permuted(labels, design, strata, size, rng)
            weights = np.ones(drawn.shape)
        else:
            drawn = redrawn(fitted.chance, design, size, rng)
            weights = overlap_weights(drawn, refitted_chances(fitted, drawn, folds))
        found.add(drawn, np.broadcast_to(score[:, None], drawn.shape), weights)
    return found.null(observed)


def _parts(draws: int, clips: int) -> list[int]:
    """Split a number of draws so that `NUMBERS` are held at once, or a draw where that alone is more."""
    size = max(1, min(draws, NUMBERS // clips))
    return [min(size, draws - first) for first in range(0, draws, size)]


@dataclass
class _Drawn:
    """What is kept of drawn labels: of every draw its AUC, of the first ones the standard error as well."""

    design: Design
    aucs: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(self, drawn: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> None:
        """Take labels, scores and weights [shape=(n, draws)] in, and keep none of them."""
        for column, value in enumerate(weighted_aucs(drawn, scores, weights).tolist()):
            self.aucs.append(value)
            if np.isfinite(value) and len(self.errors) < JUDGED:
                one = (drawn[:, column], scores[:, column], weights[:, column])
                self.errors.append(weighted_delong(*one, self.design.units)[1])

    def null(self, observed: float) -> Null:
        """Reduce what was kept to a p-value and the factor on the standard error."""
        design = self.design
        aucs = np.array([value for value in self.aucs if np.isfinite(value)])
        errors = [error for error in self.errors if np.isfinite(error)]  # a class of one unit has none
        untrained = float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0
        sd = float(aucs.std(ddof=1))
        floor = 0.0
        if design.nested:
            floor = 1 / comb((design.groups_member or 0) + (design.groups_non_member or 0), design.groups_member or 0)
        return Null(
            p=max(sequential_p(aucs, observed), floor),
            draws=len(self.aucs),
            floor=floor,
            centre=float(aucs.mean()),
            sd=sd,
            factor=max(1.0, sd / untrained) if untrained > 1e-9 else 1.0,
        )


def sequential_p(drawn: np.ndarray, observed: float) -> float:
    """P-value of a sequence of draws that stops at the `EXCEEDANCES`-th one at least as high (Besag and Clifford 1991).

    Parameters
    ----------
    drawn : np.ndarray [shape=(draws,)]
        In the order drawn.
    observed : float

    Returns
    -------
    float
        ``EXCEEDANCES / l`` where the last needed came at draw l, else ``(1 + reached) / (1 + draws)``.
    """
    reached = np.flatnonzero(drawn >= observed)
    if len(reached) >= EXCEEDANCES:
        return EXCEEDANCES / float(reached[EXCEEDANCES - 1] + 1)
    return (1 + len(reached)) / (1 + len(drawn))
