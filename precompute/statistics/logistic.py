"""Ridge logistic regression for many label vectors at once: what makes refitting under resampled labels affordable."""

from __future__ import annotations

import numpy as np

from precompute.statistics.rows import row_parts

TOLERANCE = 1e-5
"""Largest gradient entry, per clip, at which a fit counts as converged."""

MOST_STEPS = 100

NUMBERS = 2**16
"""Clips times draws that are sorted at once: under `precompute.heap.LARGE`, from which memory is asked for anew."""


def balanced(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Scale weights so that both classes weigh n / 2, as scikit-learn's ``class_weight="balanced"`` does.

    Parameters
    ----------
    labels, weights : np.ndarray [shape=(n,) or (n, draws)]

    Returns
    -------
    np.ndarray
        Same shape; each column sums to n where both classes have weight.
    """
    total, of_members = weights.sum(axis=0), np.where(labels == 1, weights, 0.0).sum(axis=0)
    both = (of_members > 0) & (of_members < total)
    shares = (
        np.divide(len(labels) / 2, part, out=np.zeros(np.shape(part)), where=both)
        for part in (of_members, total - of_members)
    )
    found = np.where(labels == 1, *shares)
    found *= weights
    return found


def fit_draws(
    rows: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    ridge: float | np.ndarray = 1.0,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Fit one ridge logistic regression per column of labels.

    Minimises ``ridge / 2 |beta|^2 + sum_i w_i log(1 + exp(-+ eta_i))`` with a free intercept, the objective of
    scikit-learn's ``LogisticRegression(C=1 / ridge)``. All draws share one curvature a step, the mean of theirs
    (with fixed curvature: Boehning and Lindsay 1988), so that a step is two matrix products for all draws together;
    draws that do not settle are finished one by one with their own.

    Parameters
    ----------
    rows : np.ndarray [shape=(n, f + 1)]
        Standardised features, the same for all draws, and last a column of ones.
    labels : np.ndarray [shape=(n, draws)]
        0 or 1.
    weights : np.ndarray [shape=(n, draws) or (n, 1)]
        At least 0.
    ridge : float or np.ndarray [shape=(f,)]
        Above 0; one for all features or one each.
    start : np.ndarray [shape=(f + 1, draws) or (f + 1, 1)] or None
        Where to begin; the intercept stands last. None begins at 0.

    Returns
    -------
    np.ndarray [shape=(f + 1, draws)]
        Coefficients and, last, the intercept.
    """
    n, draws = labels.shape
    penalty = np.append(np.broadcast_to(np.asarray(ridge, dtype=float), rows.shape[1] - 1), 0.0)
    beta = np.zeros((len(penalty), draws)) if start is None else np.broadcast_to(start, (len(penalty), draws)).copy()
    weights = np.broadcast_to(weights, labels.shape)
    open_draws = np.arange(draws)
    last = np.full(draws, np.inf)
    for _ in range(MOST_STEPS if draws else 0):
        gradient, curvature = _slopes(rows, labels, weights, beta, open_draws)
        gradient -= penalty[:, None] * beta[:, open_draws]
        size = np.abs(gradient).max(axis=0) / n
        going, growing = size > TOLERANCE, size > 2.0 * last[open_draws]
        last[open_draws] = size
        if growing.any():  # the mean curvature is too far from this draw's own
            for draw in open_draws[going & growing]:
                beta[:, draw] = _newton(rows, labels[:, draw], weights[:, draw], penalty)
            going &= ~growing
        if not going.any():
            break
        hessian = _weighed_products(rows, curvature) + np.diag(penalty)
        hessian[-1, -1] += 1e-9
        open_draws, gradient = open_draws[going], gradient[:, going]
        beta[:, open_draws] += np.linalg.solve(hessian, gradient)
    else:
        for draw in open_draws:
            beta[:, draw] = _newton(rows, labels[:, draw], weights[:, draw], penalty)
    return beta


def _slopes(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, beta: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the log likelihood per draw, shape (f + 1, draws), and its mean curvature at each clip, (n,)."""
    gradient, curvature = np.zeros((rows.shape[1], len(draws))), np.empty(len(rows))
    for part in row_parts(len(rows), len(draws)):
        chance, w = expit(rows[part] @ beta[:, draws]), weights[part][:, draws]
        gradient += rows[part].T @ (w * (labels[part][:, draws] - chance))
        curvature[part] = (w * chance * (1 - chance)).mean(axis=1)
    return gradient, curvature


def _weighed_products(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of the weighed outer products of rows, shape (f + 1, f + 1)."""
    found = np.zeros((rows.shape[1], rows.shape[1]))
    for part in row_parts(*rows.shape):
        found += (rows[part] * weights[part, None]).T @ rows[part]
    return found


def _newton(rows: np.ndarray, y: np.ndarray, w: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """One draw by Newton's method with step halving."""

    def loss(beta: np.ndarray) -> float:
        eta = rows @ beta
        return float(w @ (np.logaddexp(0.0, eta) - y * eta) + 0.5 * penalty @ beta**2)

    beta = np.zeros(rows.shape[1])
    now = loss(beta)
    for _ in range(MOST_STEPS):
        chance = expit(rows @ beta)
        gradient = rows.T @ (w * (y - chance)) - penalty * beta
        if np.abs(gradient).max() <= TOLERANCE * len(y):
            break
        hessian = _weighed_products(rows, w * chance * (1 - chance)) + np.diag(penalty)
        hessian[-1, -1] += 1e-9
        step, scale = np.linalg.solve(hessian, gradient), 1.0
        while (tried := loss(beta + scale * step)) > now and scale > 1e-6:
            scale /= 2
        beta, now = beta + scale * step, tried
    return beta


def expit(logits: np.ndarray) -> np.ndarray:
    """Logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def fold_rows(features: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise rows by the training rows' mean and deviation; a column that does not vary there becomes 0.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
    training : np.ndarray [shape=(n,)], bool

    Returns
    -------
    tuple of np.ndarray [shape=(n_training, f + 1)] and [shape=(n - n_training, f + 1)]
        Training rows and the others, each with a column of ones last, for the intercept.
    """
    known, others = (with_ones(features, np.flatnonzero(rows)) for rows in (training, ~training))
    mean, scale = standardise(known[:, :-1])
    others[:, :-1] -= mean
    others[:, :-1] /= scale
    return known, others


def with_ones(features: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """Copy features [shape=(n, f)], or the chosen rows of them, with a column of ones last, for the intercept."""
    chosen = np.arange(len(features)) if chosen is None else chosen
    rows = np.ones((len(chosen), features.shape[1] + 1))
    for part in row_parts(len(chosen)):
        rows[part, :-1] = features[chosen[part]]
    return rows


def standardised(features: np.ndarray) -> np.ndarray:
    """Copy features [shape=(n, f)] as `standardise` changes them."""
    rows = np.array(features, dtype=float)
    standardise(rows)
    return rows


def standardise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise rows in place by their own mean and deviation; a column that does not vary becomes 0.

    Stored float32 numbers repeat to about 1e-7; a column that varies by less than 1e-6 holds rounding, not signal.

    Parameters
    ----------
    rows : np.ndarray [shape=(n, f)]

    Returns
    -------
    tuple of np.ndarray [shape=(f,)]
        What was taken off each column, and what it was divided by: infinity where it does not vary.
    """
    mean = rows.mean(axis=0)
    rows -= mean
    spread = np.sqrt(np.einsum("ij,ij->j", rows, rows) / len(rows))
    scale = np.where(spread > 1e-6 * np.maximum(1.0, np.abs(mean)), spread, np.inf)
    rows /= scale
    return mean, scale


def out_of_fold_draws(
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    ridge: float = 1.0,
    start: list[np.ndarray] | None = None,
) -> np.ndarray:
    """Out-of-fold centred logits for many label vectors; a draw's fold whose training part lacks a class scores 0.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
        Finite.
    labels : np.ndarray [shape=(n, draws)]
    weights : np.ndarray [shape=(n, draws) or (n, 1)]
        Balanced between the classes within each training part here.
    folds : np.ndarray [shape=(n,)]
    ridge : float
    start : list of np.ndarray or None
        Per fold (in order of `np.unique`), as for `fit_draws`.

    Returns
    -------
    np.ndarray [shape=(n, draws)]
    """
    logits = np.zeros(labels.shape)
    for index, fold in enumerate(np.unique(folds)):
        held = folds == fold
        both, found = _held_out(features, labels, weights, ~held, ridge, None if start is None else start[index])
        logits[np.ix_(held, both)] = found
    return logits


def _held_out(
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    training: np.ndarray,
    ridge: float,
    start: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """One fold of `out_of_fold_draws`, whose rows are gone with it: draws that can be fitted, and their logits."""
    known, others = fold_rows(features, training)
    y = labels[training]
    w = balanced(y, weights[training])
    both = (y == 1).any(axis=0) & (y == 0).any(axis=0)
    if not both.all():  # copies of what may be large
        y, w = y[:, both], w[:, both]
    beta = fit_draws(known, y, w, ridge, start)
    return both, np.round(others @ beta - known.mean(axis=0) @ beta, 9)


def weighted_aucs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted AUC of every column, ties counting half.

    Parameters
    ----------
    labels, scores : np.ndarray [shape=(n, draws)]
        Finite scores of any scale.
    weights : np.ndarray [shape=(n, draws) or (n, 1)]

    Returns
    -------
    np.ndarray [shape=(draws,)]
        NaN where a class has no weight.
    """
    weights, step = np.broadcast_to(weights, labels.shape), max(1, NUMBERS // max(1, len(labels)))
    draws = [slice(first, first + step) for first in range(0, labels.shape[1], step)]
    return np.concatenate([np.zeros(0), *(_aucs(labels[:, at], scores[:, at], weights[:, at]) for at in draws)])


def _aucs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`weighted_aucs` of a few columns."""
    won = np.zeros(labels.shape[1])
    order = np.argsort(scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    ranks = np.zeros(scores.shape)
    steps = np.vstack([np.zeros((1, scores.shape[1])), np.cumsum(ranked[1:] != ranked[:-1], axis=0)])
    np.put_along_axis(ranks, order, steps, axis=0)
    for nudge in (0.25, -0.25):  # ties: the members once all above, once all below
        order = np.argsort(ranks + nudge * labels, axis=0, kind="stable")
        y = np.take_along_axis(labels, order, axis=0)
        w = np.take_along_axis(weights, order, axis=0)
        below = np.cumsum(w * (y == 0), axis=0)
        won += 0.5 * (w * (y == 1) * below).sum(axis=0)
    pairs = (weights * (labels == 1)).sum(axis=0) * (weights * (labels == 0)).sum(axis=0)
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
