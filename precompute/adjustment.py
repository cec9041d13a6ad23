"""Shift adjustment: members and non-members reweighted until what reaches the model no longer tells them apart.

The weights are overlap weights (Li, Morgan and Zaslavsky 2018): a member counts 1 - e(x), a non-member e(x), where e(x)
is the chance of being a claimed member given what reaches the model. They answer for the clips that could have been
either, the population weighted by e(1 - e). File size, headers and the like cannot reach a model and take no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from precompute.statistics.directions import principal
from precompute.statistics.logistic import (
    balanced,
    expit,
    fit_draws,
    fold_rows,
    out_of_fold_draws,
    standardise,
    standardised,
)

COMPONENTS = 20
"""Principal directions of the sound, and of the wording, that the propensity may use."""

RIDGES = ((1.0, 1e5), (10.0, 1e3, 1e5), (10.0, 1e3, 1e5))
"""Penalties to choose from by out-of-fold log loss, for sizes, sound and wording; 1e5 all but drops a block.

A shift is usually strong and narrow in the few sizes and faint in the many others; one penalty for all would either
leave the first standing or drown in the second.
"""

CLIPPED = 1e-3
"""Propensities are kept this far from 0 and 1; no weight is then exactly 0."""

FEWEST_EFFECTIVE = 100
LEAST_SHARE = 0.10
CALIPER = 0.2
"""Widest gap of a matched pair, in standard deviations of the propensity's logit (Austin 2011)."""


@dataclass(frozen=True)
class Propensity:
    """Cross-fitted chance of being a claimed member, and the weights that follow.

    Parameters
    ----------
    covariates : np.ndarray [shape=(n, q)]
        What it was fitted on.
    ridge : np.ndarray [shape=(q,)]
        Chosen penalty of each covariate.
    chance : np.ndarray [shape=(n,)]
        e(x), each clip's from a model that was fitted without its fold.
    weights : np.ndarray [shape=(n,)]
        1 - e for members, e for non-members.
    starts : list of np.ndarray [shape=(q + 1, 1)]
        Coefficients per fold, where refits under redrawn labels begin.
    """

    covariates: np.ndarray
    ridge: np.ndarray
    chance: np.ndarray
    weights: np.ndarray
    starts: list[np.ndarray]


@dataclass(frozen=True)
class Covariates:
    """What of the clips of a dataset reaches the model.

    Parameters
    ----------
    values : np.ndarray [shape=(n, q)]
        Finite.
    blocks : tuple of int
        Numbers of columns, in order: sizes (length, words), sound, wording and groups; each has its own penalty.
    """

    values: np.ndarray
    blocks: tuple[int, ...]


def covariates(
    table: pd.DataFrame, texts: Sequence[str | None], groups: Sequence[object | None] | None = None
) -> Covariates:
    """Collect what of a clip reaches the model: its length, its sound at the front end's rate, and its words.

    Parameters
    ----------
    table : pd.DataFrame
        Blind features of one dataset: ``metadata.duration_s, metadata.word_count, metadata.character_count`` and the
        ``acoustic.`` columns are read, those that are there.
    texts : sequence of str or None
        Transcripts or captions.
    groups : sequence or None
        Up to `COMPONENTS` groups are given a column each: which speaker it is reaches the model too.

    Returns
    -------
    Covariates
        No label enters.
    """
    sizes = [np.zeros((len(table), 0))]
    for name in ("duration_s", "word_count", "character_count"):
        if f"metadata.{name}" in table:
            size = np.log1p(table[f"metadata.{name}"].to_numpy(dtype=float))
            sizes += [size[:, None], (size[:, None] - size.mean()) ** 2]
    columns = [name for name in table if str(name).startswith("acoustic.")]
    sound = _directions(table[columns].to_numpy(dtype=float, copy=True))
    levels = [] if groups is None else [g for g in dict.fromkeys(groups) if g is not None and g == g]
    if not 1 < len(levels) <= COMPONENTS:
        levels = []
    who = np.array([[float(group == level) for level in levels] for group in groups or texts]).reshape(len(table), -1)
    parts = [np.hstack(sizes), sound, np.hstack([_wording(texts), who])]
    return Covariates(np.hstack(parts), tuple(part.shape[1] for part in parts))


def _directions(rows: np.ndarray) -> np.ndarray:
    """Principal components of rows, which are standardised in place."""
    if not rows.shape[1]:
        return rows
    standardise(rows)
    singular, directions = principal(rows)
    kept = int(min(COMPONENTS, (singular > 1e-9).sum()))
    return rows @ directions[:kept].T


def _wording(texts: Sequence[str | None]) -> np.ndarray:
    """Take the main directions of the TF-IDF of the texts; no column where no term repeats."""
    from sklearn.decomposition import TruncatedSVD

    from precompute.blind.text import vectorizer

    written = [text or "" for text in texts]
    vectors = vectorizer(written)
    if vectors is None:
        return np.zeros((len(written), 0))
    rows = vectors.transform(written)
    kept = min(COMPONENTS, rows.shape[1] - 1)
    return TruncatedSVD(kept, random_state=0).fit_transform(rows) if kept > 0 else rows.toarray()


def propensity(found: Covariates, labels: np.ndarray, folds: np.ndarray) -> Propensity:
    """Fit the propensity out of fold, with the penalties that predict best out of fold.

    Parameters
    ----------
    found : Covariates
    labels, folds : np.ndarray [shape=(n,)]

    Returns
    -------
    Propensity
    """
    y = (labels == 1).astype(float)
    choices = [ridges if width else ridges[:1] for ridges, width in zip(RIDGES, found.blocks, strict=True)]
    penalties = [np.repeat(chosen, found.blocks) for chosen in product(*choices)]
    chances = np.full((len(penalties), len(y)), y.mean())
    starts: list[list[np.ndarray]] = [[] for _ in penalties]
    for fold in np.unique(folds):
        training = folds != fold
        known, others = fold_rows(found.values, training)
        ones = np.ones((len(known), 1))
        beta = None
        for number, ridge in enumerate(penalties):
            # Each penalty begins where the last one ended, which is near.
            beta = fit_draws(known, y[training, None], ones, ridge, beta)
            chances[number, ~training] = expit(others @ beta[:, 0])
            starts[number].append(beta)
    chances = np.clip(chances, CLIPPED, 1 - CLIPPED)
    losses = -np.mean(np.log(np.where(y == 1, chances, 1 - chances)), axis=1)
    best = int(np.argmin(losses))
    chance = chances[best]
    return Propensity(found.values, penalties[best], chance, overlap_weights(y, chance), starts[best])


def refitted_chances(fitted: Propensity, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Cross-fit the propensity again under redrawn labels.

    Parameters
    ----------
    fitted : Propensity
    labels : np.ndarray [shape=(n, draws)]
    folds : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(n, draws)]
    """
    chance = np.empty(labels.shape)
    for start, fold in zip(fitted.starts, np.unique(folds), strict=True):
        training = folds != fold
        known, others = fold_rows(fitted.covariates, training)
        beta = fit_draws(known, labels[training], np.ones((len(known), 1)), fitted.ridge, start)
        chance[~training] = expit(others @ beta)
    return np.clip(chance, CLIPPED, 1 - CLIPPED)


def overlap_weights(labels: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Weigh members by 1 - e and non-members by e."""
    return np.where(labels == 1, 1 - chance, chance)


def overlap_lost(effective: float, n: int) -> bool:
    """Whether too few clips of a class are like the other class's.

    Under `LEAST_SHARE` of the class, or under `FEWEST_EFFECTIVE` clips where that is the weights' doing (under half of
    the class is left); a class that is small to begin with is a matter of power, not of overlap.
    """
    return effective < LEAST_SHARE * n or (effective < FEWEST_EFFECTIVE and effective < 0.5 * n)


def boosted_check(matrix: np.ndarray, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Try to tell the weighted classes apart with another learner than the propensity's own: boosted trees.

    Parameters
    ----------
    matrix : np.ndarray [shape=(n, f)]
    labels, weights : np.ndarray [shape=(n, draws)]
    folds : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(n, draws)]
        Out-of-fold centred logits; the balance is their weighted AUC.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    from precompute.blind.trees import BINS, bin_edges, binned

    logits = np.zeros(labels.shape)
    with threadpool_limits(1):  # as in `trees_fold`
        for fold in np.unique(folds):
            training = folds != fold
            cuts = bin_edges(matrix.T, training)
            x, new = (binned(matrix.T, cuts, rows) for rows in (training, ~training))
            for draw in range(labels.shape[1]):
                y = labels[training, draw]
                if y.min() == y.max():  # labels drawn by group can leave a training part one class
                    continue
                model = HistGradientBoostingClassifier(
                    max_iter=40, max_leaf_nodes=7, max_bins=BINS, early_stopping=False, random_state=0
                )
                model.fit(x, y, sample_weight=balanced(y, weights[training, draw]))
                logits[~training, draw] = model.decision_function(new) - model.decision_function(x).mean()
    return logits


def squares_check(matrix: np.ndarray, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Do as `boosted_check` does, with a ridge regression on covariates and their squares; for simulations."""
    rows = standardised(matrix)
    return out_of_fold_draws(np.hstack([rows, rows**2]), labels, weights, folds, ridge=10.0)


def standardised_differences(matrix: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Difference of weighted class means in pooled standard deviations, per covariate; 0 where one does not vary.

    Parameters
    ----------
    matrix : np.ndarray [shape=(n, q)]
    labels, weights : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(q,)]
    """
    member, other = labels == 1, labels != 1
    gap = np.average(matrix[member], axis=0, weights=weights[member]) - np.average(
        matrix[other], axis=0, weights=weights[other]
    )
    spread = np.sqrt((matrix[member].var(axis=0) + matrix[other].var(axis=0)) / 2)
    return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 1e-12)


def matched_pairs(fitted: Propensity, labels: np.ndarray, most: int = 200) -> list[tuple[int, int, float]]:
    """Pair members with the non-members most like them, to be listened to side by side.

    Optimal one-to-one matching on the distance of the covariates among pairs within `CALIPER` of each other's
    propensity.

    Parameters
    ----------
    fitted : Propensity
    labels : np.ndarray [shape=(n,)]
    most : int
        Pairs to return, the nearest first; as many members and non-members at most are drawn for the matching times 4.

    Returns
    -------
    list of (int, int, float)
        Row of the member, row of the non-member, distance in standard deviations per covariate (root mean square).
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(0)
    members, others = (np.flatnonzero(labels == label) for label in (1, 0))
    members, others = (np.sort(rng.permutation(rows)[: 4 * most]) for rows in (members, others))
    rows = standardised(fitted.covariates)
    distance = cdist(rows[members], rows[others]) / np.sqrt(max(1, rows.shape[1]))
    logit = np.log(fitted.chance / (1 - fitted.chance))
    near = np.abs(logit[members][:, None] - logit[others][None]) <= CALIPER * max(float(logit.std()), 1e-3)
    first, second = linear_sum_assignment(np.where(near, distance, 1e6))
    pairs = [
        (int(members[i]), int(others[j]), float(distance[i, j]))
        for i, j in zip(first, second, strict=True)
        if near[i, j]
    ]
    return sorted(pairs, key=lambda pair: pair[2])[:most]
