"""From a bundle's tables to the columns that a page draws: one file per dataset, one per dataset, target and input."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from explorer.catalog import FITS, TEXTS, Catalog
from precompute.indicators import INDICATORS

SCORE_COLUMNS = {"refit": "mia_score", "transfer": "mia_score_transfer"}
KEYS = ["dataset", "target", "condition", "realization", "scored_text"]
TOKEN_LISTS = ("token", "nll", "entropy", "gap")


class Columns:
    """Columns of one bundle, every array in the order of its dataset's clips.

    Parameters
    ----------
    catalog : Catalog
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.bundle = catalog.bundle

    @cached_property
    def clips(self) -> list[pd.DataFrame]:
        """Clips of each dataset; a row's position is the clip's number on the page."""
        parts = dict(iter(self.bundle.clips.groupby("dataset", sort=False)))
        empty = self.bundle.clips.iloc[:0]
        return [parts.get(row["name"], empty).reset_index(drop=True) for row in self.catalog.datasets]

    @cached_property
    def _blind(self) -> list[pd.DataFrame]:
        parts = dict(iter(self.bundle.blind.groupby("dataset", sort=False)))
        empty = self.bundle.blind.iloc[:0]
        return [
            parts.get(row["name"], empty).set_index("clip_id").reindex(clips["clip_id"])
            for row, clips in zip(self.catalog.datasets, self.clips, strict=True)
        ]

    @cached_property
    def _groups(self) -> dict[tuple, np.ndarray]:
        return self.bundle.scores.groupby(KEYS, sort=False, observed=True).indices

    def rows(self, dataset: int, target: int, index: int, text: str) -> pd.DataFrame | None:
        """Score rows in clip order, missing clips as NaN; None where nothing was scored."""
        used = self.catalog.inputs[index]
        names = (self.catalog.datasets[dataset]["name"], self.catalog.targets[target]["id"])
        found = self._groups.get((*names, used.condition, used.realization, text))
        if found is None and text == "carried" and used.condition == "original":
            found = self._groups.get((*names, used.condition, used.realization, "generated"))
        if found is None:
            return None
        table = self.bundle.scores.iloc[found].drop_duplicates("clip_id").set_index("clip_id")
        return table.reindex(self.clips[dataset]["clip_id"])

    def clips_file(self, dataset: int) -> dict[str, Any]:
        """Columns of one dataset: ids, labels, texts, durations, blind scores."""
        clips, blind = self.clips[dataset], self._blind[dataset]
        name = self.catalog.datasets[dataset]["name"]
        return {
            "id": clips["clip_id"].tolist(),
            "label": clips["label"].astype(int).tolist(),
            "text": [text if isinstance(text, str) else None for text in clips["text"]],
            "duration": numbers(clips["duration_s"], 3),
            "blind": {family: numbers(blind[f"{family}_score"], 4) for family in self.catalog.families},
            "blind_auc": {r["family"]: _auc(r) for r in self.bundle.results["blind"] if r["dataset"] == name},
            "weight": numbers(blind["overlap_weight"], 4) if "overlap_weight" in blind else None,
            "pairs": self._pairs(name, clips["clip_id"].tolist()),
        }

    def _pairs(self, name: str, ids: list[str]) -> list[list[float]]:
        """List matched pairs of a dataset: number of the member, of the non-member, distance."""
        at = {clip_id: i for i, clip_id in enumerate(ids)}
        return [
            [at[row["member"]], at[row["non_member"]], round(row["distance"], 3)]
            for row in self.catalog.rows("pairs")
            if row["dataset"] == name and row["member"] in at and row["non_member"] in at
        ]

    def scores_file(self, dataset: int, target: int, index: int) -> dict[str, Any]:
        """Columns of one dataset, target and input: membership scores by scored text and fit."""
        tables = {text: self.rows(dataset, target, index, text) for text in TEXTS}
        found = {text: table for text, table in tables.items() if table is not None}
        trained = next((table["trained"] for table in found.values() if "trained" in table), None)
        return {
            "scores": {
                text: {fit: numbers(table[SCORE_COLUMNS[fit]], 7) for fit in FITS} for text, table in found.items()
            },
            "adjusted": self._adjusted(found) if self.catalog.inputs[index].condition == "original" else None,
            "auc": self._aucs(dataset, target, index),
            "trained": None if trained is None else [None if pd.isna(value) else bool(value) for value in trained],
        }

    @staticmethod
    def _adjusted(found: dict[str, pd.DataFrame]) -> list[float | None] | None:
        """Scores of the attack that was fitted under overlap weights; None in a bundle without it."""
        table = found.get("generated")
        return numbers(table["mia_score_adjusted"], 4) if table is not None and "mia_score_adjusted" in table else None

    def _aucs(self, dataset: int, target: int, index: int) -> dict[str, dict[str, Any]]:
        used = self.catalog.inputs[index]
        wanted = {
            "dataset": self.catalog.datasets[dataset]["name"],
            "target": self.catalog.targets[target]["id"],
            "condition": used.condition,
            "realization": used.realization,
        }
        found: dict[str, dict[str, Any]] = {}
        for row in self.bundle.results["mia"]:
            if all(row[key] == value for key, value in wanted.items()):
                found.setdefault(row["scored_text"], {})[row["fit"]] = _auc(row)
        if used.condition == "original" and "generated" in found:
            found.setdefault("carried", found["generated"])
        return found

    def blind_column(self, dataset: int, family: str) -> np.ndarray:
        """Blind score of every clip of a dataset [shape=(n_clips,)], NaN where there is none."""
        return self._blind[dataset][f"{family}_score"].to_numpy(dtype=float)

    def weights(self, dataset: int) -> np.ndarray:
        """Overlap weight of every clip of a dataset [shape=(n_clips,)]; all 1 where the bundle has none."""
        table = self._blind[dataset]
        return table["overlap_weight"].to_numpy(dtype=float) if "overlap_weight" in table else np.ones(len(table))

    @cached_property
    def _clip_groups(self) -> dict[tuple[str, str, str], np.ndarray]:
        keys = ["dataset", "target", "clip_id"]
        return self.bundle.scores.groupby(keys, sort=False, observed=True).indices

    def clip_rows(self, dataset: int, target: int, clip: int) -> dict[str, dict[str, Any]]:
        """Everything scored of one clip, by ``input.text``."""
        names = (self.catalog.datasets[dataset]["name"], self.catalog.targets[target]["id"])
        nothing = np.empty(0, dtype=int)
        rows = self._clip_groups.get((*names, self.clips[dataset]["clip_id"].iloc[clip]), nothing)
        found: dict[str, dict[str, Any]] = {}
        for row in self.bundle.scores.iloc[rows].to_dict("records"):
            index = self._input_numbers.get((row["condition"], row["realization"]))
            if index is not None:
                found[f"{index}.{row['scored_text']}"] = self._clip_row(row)
        if "0.generated" in found:
            found.setdefault("0.carried", found["0.generated"])
        return found

    @cached_property
    def _input_numbers(self) -> dict[tuple[str, int], int]:
        return {(i.condition, i.realization): k for k, i in enumerate(self.catalog.inputs)}

    def _clip_row(self, row: dict[Hashable, Any]) -> dict[str, Any]:
        return {
            "wrote": row["generated_text"] if isinstance(row["generated_text"], str) else None,
            "wer": number(row.get("wer")),
            **{fit: number(row[column]) for fit, column in SCORE_COLUMNS.items()},
            "indicators": [number(row.get(name)) for name in INDICATORS],
        }

    @cached_property
    def _token_rows(self) -> dict[tuple[str, str], np.ndarray]:
        return self.bundle.tokens().groupby(["clip_id", "target"], sort=False, observed=True).indices

    def clip_tokens(self, dataset: int, target: int, clip: int) -> dict[str, dict[str, list]]:
        """Token lists of one clip, by ``input.text``."""
        names = (self.clips[dataset]["clip_id"].iloc[clip], self.catalog.targets[target]["id"])
        found: dict[str, dict[str, list]] = {}
        for row in self.bundle.tokens().iloc[self._token_rows.get(names, [])].to_dict("records"):
            index = self._input_numbers.get((row["condition"], row["realization"]))
            if index is not None:
                found[f"{index}.{row['scored_text']}"] = {name: _plain_list(row.get(name)) for name in TOKEN_LISTS}
        if "0.generated" in found:
            found.setdefault("0.carried", found["0.generated"])
        return found


def number(value: Any) -> float | None:
    """Plain number, or None where there is none."""
    return None if value is None or pd.isna(value) or not np.isfinite(value) else round(float(value), 7)


def numbers(values: pd.Series, digits: int) -> list[float | None]:
    """Plain numbers rounded to `digits`, None where there is none."""
    array = values.to_numpy(dtype=float, na_value=np.nan)
    return [value if np.isfinite(value) else None for value in np.round(array, digits).tolist()]


def _plain_list(values: Any) -> list:
    if values is None:
        return []
    return [value if isinstance(value, str) else number(value) for value in values]


def _auc(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row.get(key) for key in ("auc", "auc_low", "auc_high", "n_member", "n_non_member", "method")}


def as_json(value: Any) -> str:
    """Compact JSON that holds no NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
