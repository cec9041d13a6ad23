"""``results.json`` of the SYNTHETIC bundle: AUCs of its invented scores, in every table that the pages read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from precompute.indicators import INDICATORS, ORIENTATION
from precompute.statistics.intervals import Estimate
from precompute.statistics.roc import auc
from precompute.verdicts import Evidence, decide

FITS = {"refit": "mia_score", "transfer": "mia_score_transfer"}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
METHOD = "invented scores; 95% interval: Hanley and McNeil (1982)"
CONTROLS = ("random labels", "members against members", "non-members against non-members")
SHOWN_PROPERTIES = 12


class Findings:
    """Tables of an audit, filled dataset by dataset and cell by cell.

    Parameters
    ----------
    targets : sequence of str
    """

    def __init__(self, targets: Sequence[str]) -> None:
        self.targets = list(targets)
        names = ("blind", "properties", "adjustment", "pairs", "mia", "indicators", "correlation", "heatmap")
        further = ("conditions", "claims", "controls", "grouping", "reference", "verdicts")
        self.found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*names, *further)}
        self.members: dict[str, dict[str, np.ndarray]] = {target: {} for target in targets}

    def dataset(self, name: str, clips: pd.DataFrame, blind: pd.DataFrame, families: Sequence[str]) -> None:
        """Begin a dataset; the cells that follow are of it."""
        self.name, self.clips, self.blind, self.families = name, clips, blind, families
        self.labels = clips["label"].to_numpy()
        self.weights = blind["overlap_weight"].to_numpy(float)
        self.estimates = {f: estimate(self.labels, blind[f"{f}_score"].to_numpy(float)) for f in families}
        top = [{"feature": "acoustic.invented_000", "weight": 0.5}, {"feature": "metadata.duration_s", "weight": 0.2}]
        self.found["blind"] += [
            {"dataset": name, "family": f, **fields(e), "method": METHOD, "top": top} for f, e in self.estimates.items()
        ]
        features = [column for column in blind if str(column).startswith(("metadata.", "acoustic."))]
        self.found["properties"] += [self._property(str(column)) for column in features[:SHOWN_PROPERTIES]]
        self.found["adjustment"].append(self._adjustment())
        member, other = (clips.loc[self.labels == label, "clip_id"].tolist() for label in (1, 0))
        self.found["pairs"] += [
            {"dataset": name, "member": a, "non_member": b, "distance": 0.1 + i / 1000}
            for i, (a, b) in enumerate(zip(member, other, strict=False))
        ]

    def cell(self, rows: pd.DataFrame) -> None:
        """Add one target, input and scored text."""
        first = rows.iloc[0]
        key = {name: first[name] for name in ("target", "condition", "realization", "scored_text")}
        key["realization"] = int(key["realization"])
        wer = rows["wer"].groupby(rows["label"]).mean()
        for fit, column in FITS.items():
            found = estimate(self.labels, rows[column].to_numpy(float))
            self.found["mia"].append(
                {
                    **{"dataset": self.name, **key, "fit": fit, **fields(found), "se": found.se, "method": METHOD},
                    **{"excluded_member": 0, "excluded_non_member": 0, "tokens_auc": 0.5, "nll_auc": 0.5},
                    **{"wer_member": float(wer[1]), "wer_non_member": float(wer[0])},
                }
            )
        if key["condition"] == "original" and key["scored_text"] != "carried":
            self._indicators(rows, key["target"], key["scored_text"])
        if key["condition"] == "original" and key["scored_text"] == "generated":
            self._headline(rows, key["target"])

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every table, complete."""
        groups: dict[tuple, list[dict[str, Any]]] = {}
        for row in self.found["mia"]:
            names = ("dataset", "target", "condition", "scored_text", "fit")
            groups.setdefault(tuple(row[name] for name in names), []).append(row)
        self.found["conditions"] = [_condition(rows) for rows in groups.values()]
        self.found["heatmap"] = [
            {
                **{"target": target, "row": a, "column": b, "kind": "membership" if a == b else "domain"},
                **{"auc": value, "auc_low": value - 0.02, "auc_high": value + 0.02, "n_row": n, "n_column": n},
            }
            for target, found in self.members.items()
            for a in found
            for b in found
            if (n := len(found[a]))
            and (value := 0.5 + 0.4 * np.tanh(found[a].mean() - found[b].mean() + 0.2 * (a == b)))
        ]
        return self.found

    def _property(self, column: str) -> dict[str, Any]:
        values = self.blind[column].to_numpy(float)
        found = estimate(self.labels, values)
        return {
            **{"dataset": self.name, "property": column, "words": f"invented measure ({column})", "unit": ""},
            **{**fields(found), "q": 0.001 if abs(found.auc - 0.5) > 3 * found.se else 0.4},
            "member_quantiles": np.quantile(values[self.labels == 1], QUANTILES).tolist(),
            "non_member_quantiles": np.quantile(values[self.labels == 0], QUANTILES).tolist(),
        }

    def _adjustment(self) -> dict[str, Any]:
        weights = [self.weights[self.labels == label] for label in (0, 1)]
        other, member = (float(w.sum() ** 2 / (w**2).sum()) for w in weights)
        return {
            **{"dataset": self.name, "n_member": len(weights[1]), "n_non_member": len(weights[0]), "lost": None},
            **{"design": "Invented groups hold both classes.", "largest_difference_before": 0.9},
            **{"effective_member": member, "effective_non_member": other, "largest_difference": 0.02},
            **{"balance_before": self.estimates["joint"].auc, "balance": 0.51, "balance_expected": 0.5},
        }

    def _indicators(self, rows: pd.DataFrame, target: str, text: str) -> None:
        for name in INDICATORS:
            found = estimate(self.labels, ORIENTATION[name] * rows[name].to_numpy(float))
            q = 0.001 if abs(found.auc - 0.5) > 3 * found.se else 0.4
            key = {"dataset": self.name, "target": target, "scored_text": text, "indicator": name}
            self.found["indicators"].append({**key, **fields(found), "p": q / 2, "q": q})

    def _headline(self, rows: pd.DataFrame, target: str) -> None:
        """Everything that rests on the original audio and the target's own text."""
        pair = {"dataset": self.name, "target": target}
        raw, low = estimate(self.labels, rows["mia_score"].to_numpy(float)), rows["mia_score_adjusted"].to_numpy(float)
        self.members[target][self.name] = rows.loc[rows["label"] == 1, "mia_score"].dropna().to_numpy(float)
        for family in self.families:
            r = float(rows["mia_score"].corr(self.blind[f"{family}_score"]))
            limits = {f"{name}{end}": r + by for name in ("pearson", "within") for end, by in _AROUND.items()}
            self.found["correlation"].append({**pair, "family": family, **limits, "n": len(rows)})
        self.found["controls"] += [
            {**pair, "control": name, "auc": 0.5, "auc_low": 0.47, "auc_high": 0.53, "held": True, "method": "invented"}
            for name in CONTROLS
        ]
        self.found["claims"].append({**pair, "claim": "open", "sentence": "open: invented, so nothing is settled."})
        self.found["verdicts"].append(self._verdict(pair, raw, estimate(self.labels, low, self.weights)))

    def _verdict(self, pair: dict[str, str], raw: Estimate, adjusted: Estimate) -> dict[str, Any]:
        """Decide as an audit does; p-values and draws are invented."""
        p = {"p": 0.0005, "p_holm": 0.008} if adjusted.low > 0.5 else {"p": 0.4, "p_holm": 0.9}
        known = {**pair, **p, "tests": len(self.targets), "draws": 999}
        found = decide(
            Evidence(
                **known,  # type: ignore[arg-type]
                attack=raw,
                adjusted=adjusted,
                lost=None,
                enough_groups=True,
                groups="No groups.",
                blind=list(self.estimates.items()),
                direction=[("generated", raw)],
            )
        )
        blind = fields(found.blind, "blind") if found.blind else {}
        return {
            **known,
            **{"phase1": found.phase1, "verdict": found.verdict, "sentence": found.sentence},
            **{"phase1_sentence": found.phase1_sentence, "changes": list(found.changes)},
            "reasons": [found.phase1_sentence, *(step.because for step in found.steps)],
            "steps": [asdict(step) for step in found.steps],
            **{**fields(raw), "detectable": found.detectable, "direction_auc": found.direction_auc},
            **{**fields(adjusted, "adjusted"), "adjusted_se": adjusted.se},
            **{"blind_family": found.blind_family, **blind},
            **{"excluded_member": 25, "excluded_non_member": 25, "excluded_p": 1.0, "factor": 1.1},
            **{"added_gain": 0.1, "added_gain_low": 0.05, "added_gain_high": 0.15, "added_p": 0.0004},
            **{"tpr_at_0.01": 0.12, "tpr_at_0.01_low": 0.09, "tpr_at_0.01_high": 0.15, "tpr_at_0.01_needs": 1000},
            **{"tpr_at_0.001": None, "tpr_at_0.001_needs": 10000, "truth": None},
            **{"trained_members": bool(self.clips["trained"].any()), "trained_non_members": False},
        }


_AROUND = {"": 0.0, "_low": -0.03, "_high": 0.03}


def estimate(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Estimate:
    """AUC of the finite scores with the standard error of Hanley and McNeil (1982).

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    scores : np.ndarray [shape=(n,)]
    weights : np.ndarray [shape=(n,)] or None
        Of the clips; None weights them equally.
    """
    kept = np.isfinite(scores)
    y, values = labels[kept] == 1, scores[kept]
    area = auc(y.astype(int), values) if weights is None else weighted_auc(y, values, weights[kept])
    n, m = int(y.sum()), int((~y).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = float(np.sqrt((area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)))
    wide, narrow = 1.96 * error, 1.645 * error
    return Estimate(area, area - wide, area + wide, area - narrow, area + narrow, error, n, m)


def weighted_auc(members: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """AUC in which a pair counts by the product of its weights."""
    codes = np.unique(scores, return_inverse=True)[1]
    mine = np.bincount(codes, weights * members)
    other = np.bincount(codes, weights * ~members)
    below = np.cumsum(other) - other / 2
    return float(mine @ below / (mine.sum() * other.sum()))


def fields(found: Estimate, prefix: str = "auc") -> dict[str, Any]:
    """Name an estimate's numbers as a table's columns; under another prefix the AUC's is ``prefix_auc``."""
    name = prefix if prefix == "auc" else f"{prefix}_auc"
    sizes = {"n_member": found.n_member, "n_non_member": found.n_non_member} if prefix == "auc" else {}
    return {name: found.auc, f"{prefix}_low": found.low, f"{prefix}_high": found.high, **sizes}


def _speechless(condition: str) -> bool:
    """Whether a condition has nothing to read, so that it is judged by the original, which is read."""
    return condition.startswith(("silence", "noise"))


def _condition(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One cell of the disentanglement grid, over its realizations."""
    names = ("auc", "auc_low", "auc_high", "wer_member", "wer_non_member")
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    values = [row["auc"] for row in rows]
    kept = ("dataset", "target", "condition", "scored_text", "fit", "n_member", "n_non_member", "method")
    return {
        **{name: rows[0][name] for name in kept},
        **mean,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "realizations": values,
        "readable": mean["wer_non_member"] <= 0.8 or _speechless(rows[0]["condition"]),
    }
