"""Blind baselines: what can be told of membership without the model, every step fitted inside the fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from precompute.attack import fit_linear, sigmoid
from precompute.blind.acoustic import ACOUSTIC, acoustic_features
from precompute.blind.fingerprint import FINGERPRINT, fingerprint_features
from precompute.blind.metadata import METADATA, metadata_features
from precompute.blind.text import vectorizer
from precompute.blind.trees import trees_fold
from precompute.clips import Clip
from precompute.statistics.logistic import standardise
from precompute.statistics.single_clip import fit_typicality

VERSION = 2
"""Part of the cache key of the features: raised when the same clip would give other numbers."""

FAMILIES = ("metadata", "text", "acoustic", "fingerprint", "joint", "boosted")
"""The paper's three, how the file was made, the paper's three joined, and boosted trees on everything."""

DENSE: dict[str, tuple[str, ...]] = {"metadata": METADATA, "acoustic": ACOUSTIC}
"""Families of plain numbers that a logistic regression is fitted on, and their columns."""

UPLOAD_FEATURES = (*ACOUSTIC, "metadata.duration_s")
"""All that is known of an uploaded clip: its sound and its length, neither transcript nor format."""

TOP = 12
SVD_COMPONENTS = 20


@dataclass(frozen=True)
class BlindFit:
    """Out-of-fold blind scores of one dataset and what made them.

    Parameters
    ----------
    scores : pd.DataFrame
        One row per clip in the order given, columns ``metadata_score`` ... ``boosted_score``, float32 in (0, 1); NaN in
        all rows of a family that has nothing to work on.
    top : dict of str to list
        Per family, ``{"feature", "weight"}`` of the largest coefficients (mean over folds, on standardised features),
        positive pointing to members; empty for the boosted trees.
    models : dict of str to dict
        ``{family: {"top", "features", "folds"}}`` for ``models.json``; ``joint`` and ``boosted`` hold only ``top``,
        ``upload`` is fitted on `UPLOAD_FEATURES`.
    typicality : dict
        ``{"features", "folds"}`` for ``models.json``; see `precompute.statistics.single_clip`.
    """

    scores: pd.DataFrame
    top: dict[str, list[dict[str, Any]]]
    models: dict[str, dict[str, Any]]
    typicality: dict[str, Any]


def features(clip: Clip, samples: np.ndarray) -> dict[str, float]:
    """Data-intrinsic features of one clip.

    Parameters
    ----------
    clip : Clip
    samples : np.ndarray [shape=(n,)]
        Its audio, mono at 16 kHz.

    Returns
    -------
    dict of str to float
        The same finite columns for every clip, prefixed ``metadata.``, ``acoustic.`` and ``fingerprint.``.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return {**metadata_features(clip, samples), **acoustic_features(samples), **fingerprint_features(clip)}


def blind_scores(
    table: pd.DataFrame, texts: Sequence[str | None], labels: Sequence[int] | np.ndarray, folds: np.ndarray
) -> BlindFit:
    """Fit all blind families out of fold on one dataset.

    Parameters
    ----------
    table : pd.DataFrame
        One row per clip with the columns of `features`.
    texts : sequence of str or None
        Transcripts or captions; a clip without one counts as empty, a dataset without any has no text family.
    labels : sequence of int
        1 member, 0 non-member.
    folds : np.ndarray [shape=(n,)]
        From `precompute.attack.assign_folds`.

    Returns
    -------
    BlindFit
    """
    y, folds = np.asarray(labels), np.asarray(folds)
    written = np.array([text or "" for text in texts], dtype=object)
    has_text = any(text.strip() for text in written)
    dense = {
        **{family: [name for name in columns if name in table] for family, columns in DENSE.items()},
        "upload": [name for name in UPLOAD_FEATURES if name in table],
    }
    models = {name: _dense_family(table, columns, y, folds) for name, columns in dense.items()}
    models["text"] = _pooled(lambda a, b: _text_fold(written, y, a, b), y, folds) if has_text else _absent(len(y))
    both = [*dense["metadata"], *dense["acoustic"]]
    models["joint"] = _pooled(lambda a, b: _joint_fold(table[both], written, y, a, b), y, folds)
    # Column by column, since a matrix of all of them is as large as the table.
    traces = [table[name].to_numpy() for name in FINGERPRINT if name in table]
    everything = [*(table[name].to_numpy() for name in both), *traces]
    models["boosted"] = _pooled(lambda a, b: _boosted_fold(everything, written, y, a, b), y, folds)
    models["fingerprint"] = _absent(len(y))
    if traces:
        models["fingerprint"] = _pooled(lambda a, b: (trees_fold(traces, y, a, b), {}, {}), y, folds)
    scores = pd.DataFrame({f"{name}_score": sigmoid(models[name].logits) for name in FAMILIES})
    return BlindFit(
        scores=scores,
        top={name: models[name].top for name in FAMILIES},
        models={name: model.as_numbers(keep_folds=name in (*dense, "text")) for name, model in models.items()},
        typicality={"features": dense["upload"], "folds": fit_typicality(table[dense["upload"]].to_numpy(), folds)},
    )


@dataclass(frozen=True)
class _Family:
    """Pooled out-of-fold logits of one family, its largest weights and its fold models."""

    logits: np.ndarray
    top: list[dict[str, Any]]
    folds: list[dict[str, Any]]
    features: list[str] | None = None

    def as_numbers(self, keep_folds: bool) -> dict[str, Any]:
        """Plain numbers for ``models.json``."""
        return {"top": self.top, "features": self.features, "folds": self.folds if keep_folds else []}


_Fold = tuple[np.ndarray, dict[str, float], dict[str, Any]]
"""Centred logits of the held-out clips, weight per feature, and the model as plain numbers."""


def _absent(n: int) -> _Family:
    """Stand in for a family with nothing to work on."""
    return _Family(np.full(n, np.nan), [], [])


def _pooled(
    fit: Callable[[np.ndarray, np.ndarray], _Fold],
    labels: np.ndarray,
    folds: np.ndarray,
    names: list[str] | None = None,
) -> _Family:
    """Run `fit(training rows, held-out rows)` for every fold and pool the held-out logits."""
    logits, weights, models = np.full(len(labels), np.nan), [], []
    for fold in np.unique(folds):
        training, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found, weight, model = fit(training, held)
        logits[held] = np.round(found, 9)
        weights.append(weight)
        heldout = {"label": labels[held].astype(int).tolist(), "logit": logits[held].tolist()}
        models.append({**model, "heldout": heldout})
    return _Family(logits, _largest(weights), models, names)


def _largest(weights: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    """Find the `TOP` features by size of mean weight; one that a fold does not know counts 0 there."""
    if not weights:
        return []
    mean = pd.DataFrame(weights).fillna(0.0).mean()
    order = mean.abs().sort_values(ascending=False, kind="stable").index[:TOP]
    return [{"feature": str(name), "weight": round(float(mean[name]), 4)} for name in order if mean[name]]


def _dense_family(table: pd.DataFrame, columns: list[str], labels: np.ndarray, folds: np.ndarray) -> _Family:
    """Fit standardised logistic regressions on numeric columns."""
    if not columns:
        return _absent(len(labels))
    values = table[columns].to_numpy(dtype=float)

    def fold(training: np.ndarray, held: np.ndarray) -> _Fold:
        model = fit_linear(values[training], labels[training])
        return model.logit(values[held]), dict(zip(columns, model.coef.tolist(), strict=True)), model.as_numbers()

    return _pooled(fold, labels, folds, columns)


def _sparse_logistic(rows: Any, labels: np.ndarray, held: Any) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Fit on sparse rows; centred logits of the held-out rows, coefficients, intercept and centre."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(class_weight="balanced", max_iter=2000).fit(rows, labels)
    centre = float(model.decision_function(rows).mean())
    return model.decision_function(held) - centre, model.coef_[0], float(model.intercept_[0]), centre


def _text_fold(texts: np.ndarray, labels: np.ndarray, training: np.ndarray, held: np.ndarray) -> _Fold:
    """Fit on TF-IDF; a fold in which no term repeats scores every clip 0."""
    vectors = vectorizer(texts[training])
    if vectors is None:
        nothing: dict[str, Any] = {"vocabulary": [], "idf": [], "coef": [], "intercept": 0.0, "centre": 0.0}
        return np.zeros(len(held)), {}, nothing
    logits, coef, intercept, centre = _sparse_logistic(
        vectors.transform(texts[training]), labels[training], vectors.transform(texts[held])
    )
    names = vectors.get_feature_names_out().tolist()
    # Six digits are more than the fit supports and keep models.json small.
    stored = {"idf": _short(vectors.idf_), "coef": _short(coef), "intercept": intercept, "centre": centre}
    return logits, dict(zip(names, coef.tolist(), strict=True)), {"vocabulary": names, **stored}


def _short(values: np.ndarray) -> list[float]:
    """Values rounded to six decimals."""
    return np.round(values, 6).tolist()


def _joint_fold(
    dense: pd.DataFrame, texts: np.ndarray, labels: np.ndarray, training: np.ndarray, held: np.ndarray
) -> _Fold:
    """Fit on standardised numbers beside TF-IDF."""
    from scipy.sparse import csr_matrix

    names, vectors = list(dense.columns), vectorizer(texts[training])
    words = [csr_matrix((len(part), 0)) for part in (training, held)]
    if vectors is not None:
        names += [f"text: {term}" for term in vectors.get_feature_names_out()]
        words = [vectors.transform(texts[part]) for part in (training, held)]
    rows = [_with_room(part, dense.shape[1]) for part in words]
    for j, name in enumerate(dense.columns):  # one by one: dense rows would be as large as the sparse ones
        known, new = (dense[name].to_numpy(dtype=float)[part, None] for part in (training, held))
        mean, scale = standardise(known)
        for sparse, column in zip(rows, (known, (new - mean) / scale), strict=True):
            sparse.data[sparse.indptr[:-1] + j] = column[:, 0]
    logits, coef, _, _ = _sparse_logistic(rows[0], labels[training], rows[1])
    return logits, dict(zip(names, coef.tolist(), strict=True)), {}


def _with_room(words: Any, width: int) -> Any:
    """Move sparse rows to the right, with `width` zeros in their place that are stored and can be set."""
    from scipy.sparse import csr_matrix

    n = words.shape[0]
    ends = words.indptr + width * np.arange(n + 1, dtype=words.indptr.dtype)
    values, columns = np.zeros(ends[-1]), np.empty(ends[-1], dtype=words.indices.dtype)
    places = np.arange(words.nnz) + width * np.repeat(np.arange(1, n + 1), np.diff(words.indptr))
    values[places], columns[places] = words.data, words.indices + width
    for j in range(width):
        columns[ends[:-1] + j] = j
    return csr_matrix((values, columns, ends), shape=(n, width + words.shape[1]))


def _boosted_fold(
    dense: Sequence[np.ndarray], texts: np.ndarray, labels: np.ndarray, training: np.ndarray, held: np.ndarray
) -> _Fold:
    """Boost trees on numbers and main directions of the text: the worst case, since a line can miss a shift."""
    return trees_fold([*dense, *_text_directions(texts, training).T], labels, training, held), {}, {}


def _text_directions(texts: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Take the main directions of the training texts' TF-IDF, shape (n, k); no column where no term repeats."""
    from sklearn.decomposition import TruncatedSVD

    vectors = vectorizer(texts[training])
    if vectors is None:
        return np.zeros((len(texts), 0))
    rows = vectors.transform(texts)
    if rows.shape[1] <= SVD_COMPONENTS:
        return rows.toarray()
    return TruncatedSVD(SVD_COMPONENTS, random_state=0).fit(rows[training]).transform(rows)
