"""From indicators to out-of-fold membership scores: one fold assignment per clip, one centred logit per fold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from precompute.indicators import INDICATORS, LABEL_ONLY
from precompute.statistics.intervals import cluster_bootstrap_weights, estimate
from precompute.statistics.logistic import balanced, fit_draws, standardise, with_ones
from precompute.tables import ORIGINAL, Key, Scores, scores_of, without
from precompute.units import table_design

FOLDS = 10
MIN_PER_CLASS = 20
"""Clips per class under which the heatmap leaves a pair of datasets out."""


def columns_of(scores: pd.DataFrame) -> tuple[str, ...]:
    """Name the indicators that a target has: what the attack on it is fed with.

    A target whose weights are at hand has all 30. One behind an endpoint has those that follow from the log
    probabilities it is told, or, where it is told none, those of the text alone.

    Parameters
    ----------
    scores : pd.DataFrame
        Rows of one target.

    Returns
    -------
    tuple of str
        In the order of `INDICATORS` or `LABEL_ONLY`; all of `INDICATORS` where no row could be scored.
    """
    for names in (INDICATORS, LABEL_ONLY):
        known = tuple(name for name in names if name in scores and scores[name].notna().any())
        if known:
            return known
    return INDICATORS


@dataclass(frozen=True)
class LinearModel:
    """A standardised logistic regression of one fold, as plain numbers.

    Parameters
    ----------
    mean, scale, coef : np.ndarray [shape=(f,)]
        Of the training fold; a feature constant there has coefficient 0.
    intercept : float
    centre : float
        Mean logit of the training fold, taken off before folds are pooled: otherwise each fold's offset would order
        clips of different folds.
    """

    mean: np.ndarray
    scale: np.ndarray
    coef: np.ndarray
    intercept: float
    centre: float

    def logit(self, features: np.ndarray) -> np.ndarray:
        """Centred logit of each row of `features` [shape=(n, f)]; above 0 is more member-like than the average."""
        raw = (features - self.mean) / self.scale @ self.coef + self.intercept
        # The solver leaves differences of this order between clips that are alike; they must not order them.
        return np.round(raw - self.centre, 9)

    def as_numbers(self) -> dict[str, Any]:
        """Give the model as lists and floats, for ``models.json``."""
        return {
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "coef": self.coef.tolist(),
            "intercept": self.intercept,
            "centre": self.centre,
        }

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> LinearModel:
        """Read back what `as_numbers` gave; further keys are ignored."""
        mean, scale, coef = (np.asarray(numbers[key], dtype=float) for key in ("mean", "scale", "coef"))
        return cls(mean, scale, coef, float(numbers["intercept"]), float(numbers["centre"]))


def assign_folds(
    clip_ids: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    n_splits: int = FOLDS,
    seed: int = 0,
    units: np.ndarray | None = None,
) -> np.ndarray:
    """Stratified folds that depend on the set of clips and the seed, not on the order of the rows.

    Parameters
    ----------
    clip_ids : sequence of str
        Unique.
    labels : sequence of int
        1 member, 0 non-member.
    n_splits : int
        Lowered to the number of units of the class that has fewer.
    seed : int
    units : np.ndarray [shape=(n,)] or None
        Clips that share a unit share a fold; None makes every clip its own. See `precompute.units`.

    Returns
    -------
    np.ndarray [shape=(n,)], int
        Fold of each clip, 0 to ``n_splits - 1``; numbers of units of each kind (member, non-member, both) differ by at
        most one between folds.

    Raises
    ------
    ValueError
        If an id repeats or a class has fewer than two units.
    """
    ids, classes = np.asarray(clip_ids, dtype=str), np.asarray(labels)
    if len(np.unique(ids)) != len(ids):
        raise ValueError("a clip occurs twice; folds are assigned once per clip")
    order = np.argsort(ids, kind="stable")
    codes = np.arange(len(ids)) if units is None else np.unique(units[order], return_inverse=True)[1]
    # Units are named by their first clip in order of ids, so that no number depends on the rows' order.
    first = np.unique(codes, return_index=True)[1]
    rank = np.argsort(np.argsort(first))
    codes = rank[codes]
    size = np.bincount(codes)
    share = np.bincount(codes, weights=(classes[order] == 1).astype(float)) / size
    kinds = [np.flatnonzero(kind) for kind in (share == 1.0, share == 0.0, (share > 0) & (share < 1))]
    smaller = min(len(kinds[0]), len(kinds[1])) + len(kinds[2])
    if smaller < 2:
        raise ValueError("cross-validation needs two clips of each class, not of one group")
    n_splits = min(n_splits, smaller)
    rng = np.random.default_rng(seed)
    fold_of_unit = np.empty(len(size), dtype=int)
    offset = 0
    for members in kinds:
        shuffled = rng.permutation(members)
        dealt = shuffled[np.argsort(-size[shuffled], kind="stable")]  # large units first, so that folds stay level
        # The next kind goes on where the last stopped, for the same reason.
        fold_of_unit[dealt] = (np.arange(len(dealt)) + offset) % n_splits
        offset += len(dealt)
    folds = np.empty(len(ids), dtype=int)
    folds[order] = fold_of_unit[codes]
    return folds


def fit_linear(features: np.ndarray, labels: np.ndarray) -> LinearModel:
    """Logistic regression on standardised features with equal class weights and ridge penalty (C = 1).

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
        Finite.
    labels : np.ndarray [shape=(n,)]
        Both classes present.

    Returns
    -------
    LinearModel
    """
    rows = with_ones(features)
    mean, scale = standardise(rows[:, :-1])
    varies = np.isfinite(scale)
    scale = np.where(varies, scale, 1.0)
    if not varies.any():
        return LinearModel(mean, scale, np.zeros(len(mean)), 0.0, 0.0)
    y = (np.asarray(labels) == 1).astype(float)[:, None]
    beta = fit_draws(rows, y, balanced(y, np.ones_like(y)))[:, 0]
    beta[:-1] *= varies
    return LinearModel(mean, scale, beta[:-1], float(beta[-1]), float(np.mean(rows @ beta)))


def fit_folds(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, fit: Callable[..., Any] = fit_linear
) -> dict[int, Any]:
    """Fit one model per fold on the clips outside it.

    Parameters
    ----------
    features : np.ndarray [shape=(n, f)]
        Rows with a value that is not finite take no part.
    labels, folds : np.ndarray [shape=(n,)]
    fit : callable
        ``fit(features, labels)`` returning an object with a ``logit`` method.

    Returns
    -------
    dict of int to model
        By fold; a fold whose training part lacks a class has none.
    """
    usable = np.isfinite(features).all(axis=1)
    models = {}
    for fold in np.unique(folds):
        training = usable & (folds != fold)
        if len(np.unique(labels[training])) == 2:
            models[int(fold)] = fit(features[training], labels[training])
    return models


def apply_folds(
    models: Mapping[int, Any], features: np.ndarray, folds: np.ndarray, recentre: bool = False
) -> np.ndarray:
    """Score each clip with the model that was fitted without its fold.

    Parameters
    ----------
    models : mapping of int to model
        From `fit_folds`.
    features : np.ndarray [shape=(n, f)]
    folds : np.ndarray [shape=(n,)]
    recentre : bool
        Take off the mean logit of the fold's training clips under *these* features. Needed where the models were fitted
        on another condition: a condition that moves all clips alike moves them by another amount in each fold.

    Returns
    -------
    np.ndarray [shape=(n,)]
        Centred logits; NaN for rows that are not finite or have no model.
    """
    usable = np.isfinite(features).all(axis=1)
    logits = np.full(len(features), np.nan)
    for fold, model in models.items():
        heldout = usable & (folds == fold)
        training = usable & (folds != fold)
        if heldout.any() and training.any():
            offset = model.logit(features[training]).mean() if recentre else 0.0
            logits[heldout] = np.round(model.logit(features[heldout]) - offset, 9)
    return logits


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Map centred logits to scores in (0, 1) as float32; NaN stays NaN."""
    return (0.5 * (1.0 + np.tanh(0.5 * logits))).astype(np.float32)  # this form never overflows


def dataset_folds(clips: pd.DataFrame, seed: int = 0, n_splits: int = FOLDS) -> pd.Series:
    """Fold of every clip of one dataset.

    Parameters
    ----------
    clips : pd.DataFrame
        Rows of one dataset with `clip_id` and `label`; `group`, `text` and `audio_hash`, where they are there, keep
        clips that are not independent in one fold.
    seed, n_splits : int

    Returns
    -------
    pd.Series
        Folds, indexed by clip_id.
    """
    clips = clips.drop_duplicates("clip_id")
    units = table_design(clips).units
    folds = assign_folds(clips["clip_id"].tolist(), clips["label"].to_numpy(), n_splits, seed, units)
    return pd.Series(folds, index=clips["clip_id"].to_numpy(), name="fold")


Folds = Mapping[str, pd.Series]
"""By dataset: fold of every clip, indexed by clip_id."""


def membership_scores(scores: pd.DataFrame, folds: Folds) -> pd.DataFrame:
    """Add the out-of-fold membership score of every row of a table, both ways; see `cell_scores`.

    Parameters
    ----------
    scores : pd.DataFrame
        Rows of ``scores.parquet``.
    folds : mapping of str to pd.Series
        From `dataset_folds`, by dataset.

    Returns
    -------
    pd.DataFrame
        A copy with `mia_score` and `mia_score_transfer`.
    """
    scores = scores.reset_index(drop=True)
    for dataset, target in scores_of(scores).pairs():
        cells = scores_of(scores).cells(dataset, target)
        for key, columns in cell_scores(cells, folds[dataset]):
            scores.loc[cells[key].index, list(columns)] = columns.to_numpy()
    return scores


def cell_scores(cells: Mapping[Key, pd.DataFrame], fold_of: pd.Series) -> Iterator[tuple[Key, pd.DataFrame]]:
    """Out-of-fold membership scores of every cell of one dataset and target, both ways.

    `mia_score` (refit) is fitted inside the cell's own condition; `mia_score_transfer` on the ORIGINAL rows of the
    training clips with the same scored text (the carried text's original is the generated one) and applied to the
    held-out clips. For the original condition the two are equal.

    Parameters
    ----------
    cells : mapping of Key to pd.DataFrame
        The indicators that `columns_of` names are used.
    fold_of : pd.Series
        Fold of every clip, indexed by clip_id; shared by all cells.

    Yields
    ------
    tuple of (Key, pd.DataFrame)
        The two columns, float32 in (0, 1), indexed by clip_id; NaN where an indicator is not finite.
    """
    known: dict[Key, Mapping[int, LinearModel]] = {}
    for key in sorted(cells, key=lambda key: key[0] != "original"):
        rows = cells[key]
        features, folds = rows[list(columns_of(rows))].to_numpy(dtype=float), fold_of.loc[rows["clip_id"]].to_numpy()
        models = fit_folds(features, rows["label"].to_numpy(), folds)
        refit = apply_folds(models, features, folds)
        transfer = np.full(len(rows), np.nan)
        origin = ("original", 0, "generated" if key[2] == "carried" else key[2])
        if key[0] == "original":
            known[key], transfer = models, refit
        elif origin in known:
            transfer = apply_folds(known[origin], features, folds, recentre=True)
        both = {"mia_score": sigmoid(refit), "mia_score_transfer": sigmoid(transfer)}
        yield key, pd.DataFrame(both, index=rows["clip_id"].to_numpy())


def fold_models(scores: pd.DataFrame | Scores, folds: Folds, given: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Keep what scoring a new clip needs: the fold models of original audio and generated text.

    Parameters
    ----------
    scores : pd.DataFrame or Scores
        Rows of ``scores.parquet``.
    folds : mapping of str to pd.Series
        As given to `membership_scores`.
    given : collection of str
        Targets whose scores were made elsewhere, which have no model.

    Returns
    -------
    dict
        ``{dataset: {target: {"indicators": [...], "folds": [{mean, scale, coef, intercept, centre, heldout}]}}}``,
        plain numbers only; `heldout` holds `clip_id, label, logit` of the clips that fold's model has not seen.
    """
    result: dict[str, dict[str, Any]] = {}
    for dataset, target in without(scores, given):
        rows = scores_of(scores).cells(dataset, target)[ORIGINAL]
        used = list(columns_of(rows))
        features = rows[used].to_numpy(dtype=float)
        labels, fold_of = rows["label"].to_numpy(), folds[dataset].loc[rows["clip_id"]].to_numpy()
        models = fit_folds(features, labels, fold_of)
        logits = apply_folds(models, features, fold_of)
        result.setdefault(dataset, {})[target] = {
            "indicators": used,
            "folds": [
                {**model.as_numbers(), "heldout": heldout(rows["clip_id"].to_numpy(), labels, logits, fold_of == fold)}
                for fold, model in models.items()
            ],
        }
    return result


def heldout(clip_ids: np.ndarray, labels: np.ndarray, logits: np.ndarray, rows: np.ndarray) -> dict[str, list[Any]]:
    """Ids, labels and centred logits of the clips a fold's model has not seen, without those it cannot score."""
    rows = rows & np.isfinite(logits)
    return {
        "clip_id": [str(name) for name in clip_ids[rows]],
        "label": [int(label) for label in labels[rows]],
        "logit": [float(logit) for logit in logits[rows]],
    }


def original(scores: pd.DataFrame, scored_text: str = "generated") -> pd.DataFrame:
    """Rows of the original audio with one scored text."""
    return scores[(scores["condition"] == "original") & (scores["scored_text"] == scored_text)]


def heatmap(
    scores: pd.DataFrame | Scores,
    seed: int = 0,
    n_splits: int = FOLDS,
    units: Mapping[str, pd.Series] | None = None,
    given: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Attack every pair of datasets (paper, Figure 2).

    On the diagonal members against non-members. Off the diagonal members of the row's dataset against members of the
    column's: there is no membership to find, so an AUC near 1 says that the indicators tell datasets apart.

    Parameters
    ----------
    scores : pd.DataFrame
        Rows of ``scores.parquet``.
    seed, n_splits : int
    units : mapping of str to pd.Series or None
        By dataset: which clips are dependent, indexed by clip_id; None takes every clip for itself.
    given : collection of str
        Targets whose scores were made elsewhere, which have no indicators.

    Returns
    -------
    list of dict
        `target, row, column, auc, auc_low, auc_high, n_row, n_column, kind, reason`; the AUC is None, with a reason,
        where under `MIN_PER_CLASS` clips are left on a side. Swapping row and column swaps labels and keeps the AUC.
    """
    rows: list[dict[str, Any]] = []
    pairs = without(scores, given)
    for target in dict.fromkeys(target for _, target in pairs):
        names = [dataset for dataset, used in pairs if used == target]
        cells = [scores_of(scores).cells(name, target)[ORIGINAL] for name in names]
        wanted = dict.fromkeys(["clip_id", "dataset", "label", *(one for cell in cells for one in columns_of(cell))])
        table = pd.concat([cell[list(wanted)] for cell in cells], ignore_index=True)
        del cells
        for name in names:
            part = table[table["dataset"] == name]
            labels = part["label"].to_numpy()
            rows.append(_heatmap_cell(target, name, name, part, labels, seed, n_splits, _units(part, units)))
        for first, second in combinations(names, 2):
            cell = _heatmap_pair(target, first, second, table, seed, n_splits, units)
            rows.append(cell)
            swapped = {"row": second, "column": first, "n_row": cell["n_column"], "n_column": cell["n_row"]}
            rows.append({**cell, **swapped})
    return rows


def _heatmap_pair(
    target: str,
    first: str,
    second: str,
    table: pd.DataFrame,
    seed: int,
    n_splits: int,
    units: Mapping[str, pd.Series] | None,
) -> dict[str, Any]:
    """Members of one dataset against members of another, without the clips both hold."""
    ids = [set(table.loc[table["dataset"] == name, "clip_id"]) for name in (first, second)]
    part = table[(table["label"] == 1) & table["dataset"].isin([first, second])]
    part = part[~part["clip_id"].isin(ids[0] & ids[1])]
    labels = (part["dataset"] == first).to_numpy().astype(int)
    return _heatmap_cell(target, first, second, part, labels, seed, n_splits, _units(part, units))


def _units(part: pd.DataFrame, units: Mapping[str, pd.Series] | None) -> np.ndarray:
    """Units of the rows of one or two datasets; those of different datasets are different."""
    if units is None:
        return np.arange(len(part))
    named = [f"{name} {units[name][clip]}" for name, clip in zip(part["dataset"], part["clip_id"], strict=True)]
    return pd.factorize(np.array(named, dtype=object))[0]  # by appearance: resamples then need no sorting


def _heatmap_cell(
    target: str,
    row: str,
    column: str,
    part: pd.DataFrame,
    labels: np.ndarray,
    seed: int,
    n_splits: int,
    units: np.ndarray,
) -> dict[str, Any]:
    """One cell of the heatmap: a fresh out-of-fold attack of label 1 against label 0."""
    features = part[list(columns_of(part))].to_numpy(dtype=float)
    usable = np.isfinite(features).all(axis=1)
    features, labels, ids = features[usable], labels[usable], part["clip_id"].to_numpy()[usable]
    units = units[usable]
    counts = int((labels == 1).sum()), int((labels == 0).sum())
    cell: dict[str, Any] = {
        "target": target,
        "row": row,
        "column": column,
        "auc": None,
        "auc_low": None,
        "auc_high": None,
        "n_row": counts[0],
        "n_column": counts[1],
        "kind": "membership" if row == column else "domain",
        "reason": None,
    }
    if min(len(np.unique(units[labels == label])) for label in (1, 0)) < 2 <= min(counts):
        return {**cell, "reason": "a side has one group only"}
    if min(counts) < MIN_PER_CLASS:
        return {**cell, "reason": f"{counts[0]} against {counts[1]} clips are left, {MIN_PER_CLASS} a side are needed"}
    folds = assign_folds(ids.tolist(), labels, n_splits, seed, units)
    score = sigmoid(apply_folds(fit_folds(features, labels, folds), features, folds))
    found = estimate(labels, score, cluster_bootstrap_weights(labels, units, seed=seed))
    return {**cell, "auc": found.auc, "auc_low": found.low, "auc_high": found.high}


def fold_aucs(labels: np.ndarray, score: np.ndarray, folds: np.ndarray) -> Iterator[float]:
    """AUC inside each fold, NaN where a fold lacks a class."""
    from precompute.statistics.roc import auc

    for fold in np.unique(folds):
        rows = (folds == fold) & np.isfinite(score)
        yield auc(labels[rows], score[rows])
