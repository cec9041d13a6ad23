"""Every table and verdict of a bundle, from its scores: ``results.json`` and ``models.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from precompute import attack
from precompute.blind import FAMILIES, BlindFit
from precompute.bundle import plain
from precompute.indicators import INDICATORS, ORIENTATION
from precompute.statistics.correlation import correlation, within_class
from precompute.statistics.intervals import Estimate, bootstrap_weights, estimate, mean_estimate, percentiles
from precompute.statistics.intervals import resampled_aucs as resampled
from precompute.statistics.roc import auc
from precompute.verdicts import Evidence, decide

READABLE_WER = 0.8
"""Above this word error of non-members a target cannot read the audio, and its own text says nothing about memory."""

SPEECHLESS = ("silence", "silence_fixed", "noise", "noise_fixed")
"""Conditions in which there is nothing to read; whether the target can read is judged on the original there."""

FITS = {"refit": "mia_score", "transfer": "mia_score_transfer"}

INTERVAL = "95% percentile interval of a stratified bootstrap of clips (1,000 resamples)"
TRAINED = f"out-of-fold logistic regression, equal class weights, centred per fold; {INTERVAL}, which ignores refitting"
METHODS = {
    "refit": f"30 indicators, fitted inside this condition, {TRAINED}",
    "transfer": f"30 indicators, fitted on the original audio of the training clips, {TRAINED}",
    "boosted": f"gradient-boosted trees, out of fold; {INTERVAL}, which ignores refitting",
    "linear": TRAINED,
    "t": "paired t-test over the folds' AUCs, as the paper reports one; folds share training clips, so p is too small",
}


@dataclass(frozen=True)
class _Dataset:
    """The clips of one dataset in a fixed order, with their folds and one set of resamples for all scores."""

    name: str
    clip_ids: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    weights: np.ndarray

    def column(self, table: pd.DataFrame, name: str) -> np.ndarray:
        """Take a column of `table` (one row per clip) in the order of the clips, NaN where a clip has no row."""
        values = table.set_index("clip_id")[name].reindex(self.clip_ids)
        return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)

    def estimate(self, values: np.ndarray) -> Estimate:
        """AUC of a column with its interval."""
        return estimate(self.labels, values, self.weights)


def build_results(
    clips: pd.DataFrame,
    scores: pd.DataFrame,
    blind: pd.DataFrame,
    audit: Mapping[str, Any],
    models: Mapping[str, Any] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Make every table and verdict of an audit.

    Parameters
    ----------
    clips : pd.DataFrame
        ``clips.parquet``: `clip_id, dataset, label`.
    scores : pd.DataFrame
        ``scores.parquet``, membership scores included.
    blind : pd.DataFrame
        ``blind.parquet``: `clip_id, dataset` and a ``*_score`` column per family.
    audit : mapping
        ``audit.json``: `seed` and, per dataset, `truth` are read.
    models : mapping or None
        ``models.json``, for the largest weights of the blind families; without it they are left empty.

    Returns
    -------
    dict of str to list of dict
        Contents of ``results.json``: keys `blind, mia, indicators, correlation, heatmap, conditions, verdicts`; plain
        numbers, None where a value does not exist.
    """
    seed = int(audit.get("seed") or 0)
    truths = {row["name"]: row.get("truth") for row in audit.get("datasets", [])}
    tables: dict[str, list[dict[str, Any]]] = {
        key: [] for key in ("blind", "mia", "indicators", "correlation", "heatmap", "conditions", "verdicts")
    }
    for name in tqdm(list(dict.fromkeys(scores["dataset"])), desc="statistics", unit="dataset", disable=None):
        data = _dataset(name, clips, seed)
        top = (models or {}).get(name, {}).get("blind", {})
        blind_rows = blind[blind["dataset"] == name]
        families = {family: data.column(blind_rows, f"{family}_score") for family in FAMILIES}
        found = {family: data.estimate(values) for family, values in families.items()}
        tables["blind"] += [
            _blind_row(name, family, found[family], top.get(family, {}).get("top", [])) for family in FAMILIES
        ]
        part = scores[scores["dataset"] == name]
        for target, rows in part.groupby("target", sort=False):
            cells = _cells(rows)
            mia = [_mia_row(data, str(target), key, cell, fit) for key, cell in cells.items() for fit in FITS]
            tables["mia"] += mia
            tables["conditions"] += _condition_rows(data, str(target), cells, mia)
            tables["indicators"] += _indicator_rows(data, str(target), cells)
            tables["correlation"] += _correlation_rows(data, str(target), cells, families)
            tables["verdicts"].append(_verdict_row(data, str(target), cells, found, truths.get(name)))
    tables["heatmap"] = attack.heatmap(scores, seed)
    return plain(tables)


def build_models(scores: pd.DataFrame, blind: Mapping[str, BlindFit], seed: int = 0) -> dict[str, Any]:
    """Make ``models.json``: what scoring a new clip needs, as plain numbers.

    Parameters
    ----------
    scores : pd.DataFrame
        ``scores.parquet``.
    blind : mapping of str to BlindFit
        Blind baselines per dataset.
    seed : int
        As given to `precompute.attack.membership_scores`.

    Returns
    -------
    dict
        ``{dataset: {target: {"indicators", "folds"}, "blind": {family: {"features", "top", "folds"}},
        "typicality": {"features", "folds"}}}``.
    """
    models = attack.fold_models(scores, seed)
    return {
        name: {
            **targets,
            **({"blind": blind[name].models, "typicality": blind[name].typicality} if name in blind else {}),
        }
        for name, targets in models.items()
    }


_Key = tuple[str, int, str]
"""Condition, realization, scored text."""


def _dataset(name: str, clips: pd.DataFrame, seed: int) -> _Dataset:
    """Order a dataset's clips by id, so that no number depends on the order of the rows."""
    part = clips[clips["dataset"] == name].drop_duplicates("clip_id").sort_values("clip_id")
    labels = part["label"].to_numpy(dtype=int)
    folds = attack.assign_folds(part["clip_id"].tolist(), labels, seed=seed)
    return _Dataset(name, part["clip_id"].to_numpy(), labels, folds, bootstrap_weights(labels, seed=seed))


def _cells(rows: pd.DataFrame) -> dict[_Key, pd.DataFrame]:
    """Rows of one dataset and target by condition, realization and scored text."""
    groups = rows.groupby(["condition", "realization", "scored_text"], sort=False)
    return {(str(key[0]), int(key[1]), str(key[2])): cell for key, cell in groups}


def _fields(found: Estimate, prefix: str = "auc") -> dict[str, float]:
    """Name an estimate's numbers as the columns `auc, auc_low, auc_high` under a prefix."""
    return {prefix: found.auc, f"{prefix}_low": found.low, f"{prefix}_high": found.high}


def _sizes(found: Estimate) -> dict[str, int]:
    """Class sizes as columns."""
    return {"n_member": found.n_member, "n_non_member": found.n_non_member}


def _blind_row(dataset: str, family: str, found: Estimate, top: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One blind family of one dataset."""
    return {
        "dataset": dataset,
        "family": family,
        **_fields(found),
        "auc_low_90": found.low_90,
        "auc_high_90": found.high_90,
        **_sizes(found),
        "method": METHODS["boosted" if family == "boosted" else "linear"],
        "top": list(top),
        "reason": "no clip of this dataset has a text" if not found.n_member and family == "text" else None,
    }


def _mia_row(data: _Dataset, target: str, key: _Key, cell: pd.DataFrame, fit: str) -> dict[str, Any]:
    """Attack on one condition, realization and scored text."""
    condition, realization, text = key
    found = data.estimate(data.column(cell, FITS[fit]))
    nll = data.estimate(-data.column(cell, "nll"))
    tokens = data.column(cell, "n_tokens")
    left_out = ~np.isfinite(data.column(cell, FITS[fit])) & np.isfinite(data.column(cell, "label"))
    written = np.isfinite(tokens)
    return {
        "dataset": data.name,
        "target": target,
        "condition": condition,
        "realization": realization,
        "scored_text": text,
        "fit": fit,
        **_fields(found),
        "se": found.se,
        **_sizes(found),
        "excluded_member": int((left_out & (data.labels == 1)).sum()),
        "excluded_non_member": int((left_out & (data.labels == 0)).sum()),
        **_fields(nll, "nll_auc"),
        "tokens_auc": auc(data.labels[written], tokens[written]),
        **_word_errors(data, [cell]),
        "method": METHODS[fit],
    }


def _word_errors(data: _Dataset, cells: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Mean word error of the generated text by class; NaN where no reference is known."""
    if not all("wer" in cell for cell in cells):
        return {"wer_member": float("nan"), "wer_non_member": float("nan")}
    values = np.vstack([data.column(cell, "wer") for cell in cells])
    means = {}
    for name, label in (("wer_member", 1), ("wer_non_member", 0)):
        known = values[:, data.labels == label]
        known = known[np.isfinite(known)]
        means[name] = float(known.mean()) if len(known) else float("nan")
    return means


def _condition_rows(
    data: _Dataset, target: str, cells: Mapping[_Key, pd.DataFrame], mia: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Make the disentanglement grid: scored text x condition, averaged over realizations, beside the original."""
    groups = dict.fromkeys((condition, text) for condition, _, text in cells)
    heard = {condition: _heard(data, cells, condition) for condition, _ in groups}
    rows = []
    for condition, text in groups:
        found = [cell for (name, _, scored), cell in cells.items() if (name, scored) == (condition, text)]
        origin = cells.get(("original", 0, "generated" if text == "carried" else text))
        for fit, column in FITS.items():
            values = [data.column(cell, column) for cell in found]
            mean, single, drawn = mean_estimate(data.labels, values, data.weights)
            base = None if origin is None or condition == "original" else data.column(origin, column)
            rows.append(
                {
                    "dataset": data.name,
                    "target": target,
                    "condition": condition,
                    "scored_text": text,
                    "fit": fit,
                    **_fields(mean),
                    "sd": float(np.std(single, ddof=1)) if len(single) > 1 else None,
                    "realizations": single,
                    **_sizes(mean),
                    **heard[condition],
                    "readable": _readable(heard, condition),
                    **_against_original(data, values, drawn, base),
                    "method": METHODS[fit],
                    "t_method": METHODS["t"],
                }
            )
    return rows


def _heard(data: _Dataset, cells: Mapping[_Key, pd.DataFrame], condition: str) -> dict[str, float]:
    """Word error of what the target wrote under a condition, over all realizations."""
    written = [cell for (name, _, text), cell in cells.items() if name == condition and text == "generated"]
    return _word_errors(data, written) if written else {"wer_member": float("nan"), "wer_non_member": float("nan")}


def _readable(heard: Mapping[str, Mapping[str, float]], condition: str) -> bool | None:
    """Whether non-members' word error shows that the target can read this audio; None where it is not known."""
    judged = ["original"] if condition in SPEECHLESS else ["original", condition]
    errors = [heard[name]["wer_non_member"] for name in judged if name in heard]
    errors = [error for error in errors if np.isfinite(error)]
    return all(error <= READABLE_WER for error in errors) if errors else None


def _against_original(
    data: _Dataset, values: Sequence[np.ndarray], drawn: np.ndarray, base: np.ndarray | None
) -> dict[str, float | None]:
    """Drop from the original: paired bootstrap difference, and the paper's paired t-test over folds."""
    from scipy import stats

    names = ("difference", "difference_low", "difference_high", "t", "t_p")
    if base is None:
        return dict.fromkeys(names)
    both = np.isfinite(base) & np.all(np.isfinite(np.vstack(values)), axis=0)
    whole = all(np.array_equal(np.isfinite(column), both) for column in (base, *values))
    common = [np.where(both, column, np.nan) for column in (base, *values)]
    swapped = drawn if whole else np.mean([resampled(data.labels, c, data.weights) for c in common[1:]], axis=0)
    gap = swapped - resampled(data.labels, common[0], data.weights)
    difference = float(
        np.mean([auc(data.labels[both], c[both]) for c in common[1:]]) - auc(data.labels[both], common[0][both])
    )
    low, _, _, high = percentiles(gap)
    by_fold = [list(attack.fold_aucs(data.labels, column, data.folds)) for column in common]
    pairs = np.array([by_fold[0], np.mean(by_fold[1:], axis=0)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 2 or np.ptp(pairs[1] - pairs[0]) == 0:
        return dict(zip(names, (difference, low, high, None, None), strict=True))
    test = stats.ttest_rel(pairs[0], pairs[1])
    return dict(zip(names, (difference, low, high, float(test.statistic), float(test.pvalue)), strict=True))


def _indicator_rows(data: _Dataset, target: str, cells: Mapping[_Key, pd.DataFrame]) -> list[dict[str, Any]]:
    """Each indicator alone, with its fixed orientation, on the original audio."""
    rows = []
    for (condition, _, text), cell in cells.items():
        if condition != "original":
            continue
        for name in INDICATORS:
            found = data.estimate(ORIENTATION[name] * data.column(cell, name))
            rows.append(
                {"dataset": data.name, "target": target, "scored_text": text, "indicator": name, **_fields(found)}
            )
    return rows


def _correlation_rows(
    data: _Dataset, target: str, cells: Mapping[_Key, pd.DataFrame], families: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Blind against membership score, over all clips (the paper's) and within class."""
    cell = cells.get(("original", 0, "generated"))
    if cell is None:
        return []
    score = data.column(cell, "mia_score")
    rows = []
    for family, values in families.items():
        pooled, inside = correlation(values, score), within_class(data.labels, values, score)
        rows.append(
            {
                "dataset": data.name,
                "target": target,
                "family": family,
                "pearson": pooled.pearson,
                "pearson_low": pooled.low,
                "pearson_high": pooled.high,
                "pearson_p": pooled.p,
                "spearman": pooled.spearman,
                "n": pooled.n,
                "within": inside.pearson,
                "within_low": inside.low,
                "within_high": inside.high,
            }
        )
    return rows


def _verdict_row(
    data: _Dataset,
    target: str,
    cells: Mapping[_Key, pd.DataFrame],
    blind: Mapping[str, Estimate],
    truth: str | None,
) -> dict[str, Any]:
    """Decide on one dataset and target, and keep the numbers."""
    generated = cells.get(("original", 0, "generated"))
    found = None if generated is None else data.estimate(data.column(generated, "mia_score"))
    texts = [
        (text, cells[("original", 0, text)]) for text in ("generated", "reference") if ("original", 0, text) in cells
    ]
    nll = [(text, data.estimate(-data.column(cell, "nll"))) for text, cell in texts]
    evidence = Evidence(
        dataset=data.name,
        target=target,
        attack=found if found and found.n_member and found.n_non_member else None,
        blind=[(family, value) for family, value in blind.items() if np.isfinite(value.auc)],
        direction=[(text, value) for text, value in nll if np.isfinite(value.auc)],
    )
    decided = decide(evidence)
    shown = asdict(found) if found else {}
    return {
        "dataset": data.name,
        "target": target,
        "phase1": decided.phase1,
        "verdict": decided.verdict,
        "sentence": decided.sentence,
        "reasons": list(decided.reasons),
        "n_member": shown.get("n_member", 0),
        "n_non_member": shown.get("n_non_member", 0),
        "auc": shown.get("auc"),
        "auc_low": shown.get("low"),
        "auc_high": shown.get("high"),
        "blind_family": decided.blind_family,
        "blind_auc": decided.blind.auc if decided.blind else None,
        "blind_low": decided.blind.low if decided.blind else None,
        "blind_high": decided.blind.high if decided.blind else None,
        "direction_auc": decided.direction_auc,
        "truth": truth,
        "trained_members": _trained(data, generated, 1),
        "trained_non_members": _trained(data, generated, 0),
        "method": METHODS["refit"],
    }


def _trained(data: _Dataset, cell: pd.DataFrame | None, label: int) -> bool | None:
    """Whether the target was trained on all clips of a class (True) or on none (False); None if mixed or not known."""
    if cell is None or "trained" not in cell:
        return None
    known = cell.loc[cell["label"] == label, "trained"]
    if not len(known) or known.isna().any():
        return None
    values = set(known.astype(bool))
    return values.pop() if len(values) == 1 else None
