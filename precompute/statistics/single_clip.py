"""One new clip against known ones: share of non-members scoring as high, and whether the clip belongs here at all.

Both counts are cross-conformal: the clip is scored by each fold's model and compared with the clips that very model has
not seen, so that its score is exchangeable with theirs (Vovk, Cross-conformal predictors, 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from precompute.statistics.directions import principal

COMPONENTS = 20
"""Principal directions in which a clip may differ from its dataset; all others share one variance."""

REFUSE_BELOW = 0.01
"""A clip is refused when a smaller share of the dataset's own clips lies as far out."""


@dataclass(frozen=True)
class Share:
    """A conformal share: ``(1 + count) / (1 + n)``.

    Parameters
    ----------
    share : float
        In (0, 1].
    floor : float
        ``1 / (1 + n)``, the smallest value that n known clips allow.
    n : int
    """

    share: float
    floor: float
    n: int


def share_at_least(values: Sequence[float], heldout: Sequence[np.ndarray]) -> Share:
    """Share of known clips with a value at least as high as the new clip's, fold by fold.

    Parameters
    ----------
    values : sequence of float
        The new clip's value under each fold's model.
    heldout : sequence of np.ndarray
        Values of the known clips which that fold's model has not seen.

    Returns
    -------
    Share
    """
    count = sum(int((known >= value).sum()) for value, known in zip(values, heldout, strict=True))
    n = sum(len(known) for known in heldout)
    return Share((1 + count) / (1 + n), 1 / (1 + n), n)


def fit_typicality(features: np.ndarray, folds: np.ndarray) -> list[dict[str, Any]]:
    """Learn what a dataset's clips look like, without each fold in turn.

    Distance is Mahalanobis under probabilistic principal components (Tipping and Bishop 1999): the `COMPONENTS` widest
    directions keep their own variance and the rest share one, so an odd clip counts whichever way it is odd.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
    folds : np.ndarray [shape=(n,)]

    Returns
    -------
    list of dict
        Per fold plain numbers: mean, scale, components, variances, rest and the held-out clips' distances.
    """
    return [_fit_fold(features, folds != fold) for fold in np.unique(folds)]


def _fit_fold(features: np.ndarray, training: np.ndarray) -> dict[str, Any]:
    """One fold of `fit_typicality`; all of a dataset's features are large, and are copied once."""
    rows = features[training].astype(float, copy=False)
    mean = rows.mean(axis=0)
    rows -= mean
    spread = np.sqrt(np.einsum("ij,ij->j", rows, rows) / len(rows))
    scale = np.where(spread > 1e-9 * np.maximum(1.0, np.abs(mean)), spread, 1.0)
    rows /= scale
    singular, directions = principal(rows)
    variances = singular**2 / len(rows)
    kept = min(COMPONENTS, max(1, len(rows) // 5), len(variances))
    rest = max(1e-3, float(variances[kept:].sum()) / max(1, rows.shape[1] - kept))
    # Rounded before the held-out distances are taken, so that known and new clips meet the very same model.
    model = {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "components": np.round(directions[:kept], 5).tolist(),
        "variances": np.maximum(variances[:kept], rest).tolist(),
        "rest": rest,
    }
    return {**model, "heldout": typicality_distance(model, features[~training]).tolist()}


def typicality_distance(model: Mapping[str, Any], features: np.ndarray) -> np.ndarray:
    """Squared distance of clips from a dataset.

    Parameters
    ----------
    model : mapping
        One fold of `fit_typicality`.
    features : np.ndarray [shape=(n, f)]

    Returns
    -------
    np.ndarray [shape=(n,)]
        About f for a typical clip; larger is stranger.
    """
    rows = (np.atleast_2d(features) - np.asarray(model["mean"])) / np.asarray(model["scale"])
    along = rows @ np.asarray(model["components"]).T
    across = np.maximum(0.0, (rows**2).sum(axis=1) - (along**2).sum(axis=1))
    return (along**2 / np.asarray(model["variances"])).sum(axis=1) + across / model["rest"]


def typicality(models: Sequence[Mapping[str, Any]], features: np.ndarray) -> Share:
    """Share of a dataset's own clips that lie at least as far out as a new one.

    Parameters
    ----------
    models : sequence of mapping
        All folds of `fit_typicality`.
    features : np.ndarray [shape=(f,)]
        The new clip's.

    Returns
    -------
    Share
        A clip with a share under `REFUSE_BELOW` is refused; fewer than 100 known clips cannot refuse any.
    """
    distances = [float(typicality_distance(model, features)[0]) for model in models]
    return share_at_least(distances, [np.asarray(model["heldout"]) for model in models])
