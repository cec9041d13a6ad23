"""From a bundle's tables to the columns that a page draws, each read when it is asked for and no more than that."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from explorer.catalog import Catalog
from explorer.packed import pack

SCORE_COLUMNS = {"refit": "mia_score", "transfer": "mia_score_transfer"}
SHOWN = ("clip_id", *SCORE_COLUMNS.values(), "mia_score_adjusted", "trained")
TOKEN_LISTS = ("token", "nll", "entropy", "gap")
INPUT = ("condition", "realization", "scored_text")

KEPT_CELLS = 32
"""Cells read last that are kept: their scores alone, some 100 kB each for 5,000 clips."""

KEPT_CLIPS = 64
"""Clips read last that are kept."""


class Columns:
    """Columns of one bundle, every array in the order of its dataset's clips.

    Parameters
    ----------
    catalog : Catalog
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.bundle = catalog.bundle
        self.rows = lru_cache(maxsize=KEPT_CELLS)(self._rows)
        """`_rows`, the last few kept."""
        self.clip_rows = lru_cache(maxsize=KEPT_CLIPS)(self._clip_rows)
        """`_clip_rows`, the last few kept."""
        self.clip_tokens = lru_cache(maxsize=KEPT_CLIPS)(self._clip_tokens)
        """`_clip_tokens`, the last few kept."""

    @cached_property
    def clips(self) -> list[pd.DataFrame]:
        """Clips of each dataset; a row's position is the clip's number on the page."""
        parts = dict(iter(self.bundle.clips.groupby("dataset", sort=False)))
        empty = self.bundle.clips.iloc[:0]
        return [parts.get(row["name"], empty).reset_index(drop=True) for row in self.catalog.datasets]

    @cached_property
    def _blind(self) -> list[pd.DataFrame]:
        """Blind scores and weights of each dataset; the features behind them stay in the file."""
        names = ["clip_id", *(f"{family}_score" for family in self.catalog.families), "overlap_weight"]
        stored = self.bundle.stored("blind")
        return [
            _in_order(stored.part(names, dataset=row["name"]).to_pandas(), clips["clip_id"])
            for row, clips in zip(self.catalog.datasets, self.clips, strict=True)
        ]

    def _names(self, dataset: int, target: int) -> dict[str, str]:
        return {"dataset": self.catalog.datasets[dataset]["name"], "target": self.catalog.targets[target]["id"]}

    def _rows(self, dataset: int, target: int, index: int, text: str) -> pd.DataFrame | None:
        """Score rows in clip order, missing clips as NaN; None where nothing was scored."""
        used = self.catalog.inputs[index]
        key = {"condition": used.condition, "realization": used.realization}
        part = self.bundle.stored("scores").part(SHOWN, **self._names(dataset, target), **key, scored_text=text)
        if part.num_rows:
            return _in_order(part.to_pandas(), self.clips[dataset]["clip_id"])
        if text == "carried" and used.condition == "original":
            return self.rows(dataset, target, index, "generated")
        return None

    def clips_file(self, dataset: int) -> dict[str, Any]:
        """Columns of one dataset: ids, labels, durations, blind scores."""
        clips, blind = self.clips[dataset], self._blind[dataset]
        name = self.catalog.datasets[dataset]["name"]
        return {
            "id": clips["clip_id"].tolist(),
            "label": clips["label"].astype(int).tolist(),
            "duration": numbers(clips["duration_s"], 3),
            "blind": {family: pack(self.blind_column(dataset, family)) for family in self.catalog.families},
            "blind_auc": {r["family"]: _auc(r) for r in self.bundle.results["blind"] if r["dataset"] == name},
            "weight": pack(self.weights(dataset)) if "overlap_weight" in blind else None,
            "pairs": self._pairs(name, clips["clip_id"].tolist()),
        }

    def texts_file(self, dataset: int) -> list[str | None]:
        """Known text of every clip of a dataset, for searching them."""
        return [text if isinstance(text, str) else None for text in self.clips[dataset]["text"]]

    def _pairs(self, name: str, ids: list[str]) -> dict[str, list]:
        """List matched pairs of a dataset, the nearest first: numbers of the members, of the non-members, distances."""
        at = {clip_id: i for i, clip_id in enumerate(ids)}
        rows = [
            (at[row["member"]], at[row["non_member"]], round(row["distance"], 3))
            for row in self.catalog.rows("pairs")
            if row["dataset"] == name and row["member"] in at and row["non_member"] in at
        ]
        names = ("member", "non_member", "distance")
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}

    def scores_file(self, dataset: int, target: int, index: int, text: str, fit: str) -> dict[str, Any]:
        """One column of scores: of a dataset, target, input, scored text and fit, with what belongs beside it."""
        table = self.rows(dataset, target, index, text)
        trained = None if table is None or "trained" not in table else table["trained"]
        return {
            "values": None if table is None else pack(table[SCORE_COLUMNS[fit]].to_numpy(dtype=float)),
            "adjusted": self._adjusted(table, index, text, fit),
            "auc": self._auc_of(dataset, target, index, text, fit),
            "trained": None if trained is None else "".join(_told(value) for value in trained),
        }

    def _adjusted(self, table: pd.DataFrame | None, index: int, text: str, fit: str) -> dict[str, Any] | None:
        """Scores of the attack that was fitted under overlap weights, beside those of the same clips' own text."""
        same = self.catalog.inputs[index].condition == "original" and text != "reference" and fit == "refit"
        if table is None or not same or "mia_score_adjusted" not in table:
            return None
        return pack(table["mia_score_adjusted"].to_numpy(dtype=float))

    def _auc_of(self, dataset: int, target: int, index: int, text: str, fit: str) -> dict[str, Any] | None:
        used = self.catalog.inputs[index]
        key = (*self._names(dataset, target).values(), used.condition, used.realization)
        row = self._mia.get((*key, text, fit))
        if row is None and text == "carried" and used.condition == "original":
            row = self._mia.get((*key, "generated", fit))
        return None if row is None else _auc(row)

    @cached_property
    def _mia(self) -> dict[tuple, dict[str, Any]]:
        names = ("dataset", "target", "condition", "realization", "scored_text", "fit")
        return {tuple(row[name] for name in names): row for row in self.bundle.results["mia"]}

    def blind_column(self, dataset: int, family: str) -> np.ndarray:
        """Blind score of every clip of a dataset [shape=(n_clips,)], NaN where there is none."""
        return self._blind[dataset][f"{family}_score"].to_numpy(dtype=float)

    def weights(self, dataset: int) -> np.ndarray:
        """Overlap weight of every clip of a dataset [shape=(n_clips,)]; all 1 where the bundle has none."""
        table = self._blind[dataset]
        return table["overlap_weight"].to_numpy(dtype=float) if "overlap_weight" in table else np.ones(len(table))

    def _clip_rows(self, dataset: int, target: int, clip: int) -> dict[str, dict[str, Any]]:
        """Give what was written and scored of one clip, by ``input.text``."""
        columns = (*INPUT, "generated_text", "wer", *SCORE_COLUMNS.values())
        key = {**self._names(dataset, target), "clip_id": self.clips[dataset]["clip_id"].iloc[clip]}
        found = self._by_input(self.bundle.stored("scores").part(columns, **key).to_pylist())
        return {name: self._clip_row(row) for name, row in found.items()}

    def clip_indicators(self, dataset: int, target: int, clip: int, index: int, text: str) -> dict[str, float | None]:
        """Give the target's indicators of one clip, input and scored text, by name; empty where it was not scored."""
        used = self.catalog.inputs[index]
        own = "generated" if (text, used.condition) == ("carried", "original") else text
        key = {"condition": used.condition, "realization": used.realization, "scored_text": own}
        key |= {**self._names(dataset, target), "clip_id": self.clips[dataset]["clip_id"].iloc[clip]}
        names = self.catalog.indicators_of(target)
        rows = self.bundle.stored("scores").part(names, **key).to_pylist()
        return {name: number(row.get(name)) for row in rows[:1] for name in names}

    @cached_property
    def _input_numbers(self) -> dict[tuple[str, int], int]:
        return {(i.condition, i.realization): k for k, i in enumerate(self.catalog.inputs)}

    def _by_input(self, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Rows of one clip by ``input.text``; the original's own text serves as its carried text."""
        found = {
            f"{index}.{row['scored_text']}": row
            for row in rows
            if (index := self._input_numbers.get((row["condition"], row["realization"]))) is not None
        }
        if "0.generated" in found:
            found.setdefault("0.carried", found["0.generated"])
        return found

    def _clip_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "wrote": row["generated_text"] if isinstance(row["generated_text"], str) else None,
            "wer": number(row.get("wer")),
            **{fit: number(row[column]) for fit, column in SCORE_COLUMNS.items()},
        }

    def _clip_tokens(self, dataset: int, target: int, clip: int) -> dict[str, dict[str, list]]:
        """Token lists of one clip, by ``input.text``."""
        key = {"clip_id": self.clips[dataset]["clip_id"].iloc[clip], "target": self.catalog.targets[target]["id"]}
        found = self._by_input(self.bundle.stored("tokens").part((*INPUT, *TOKEN_LISTS), **key).to_pylist())
        return {name: {part: _plain_list(row.get(part)) for part in TOKEN_LISTS} for name, row in found.items()}


def _in_order(table: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    """Rows in the order of the clips, missing ones as NaN, without their ids."""
    if len(table) == len(ids) and table["clip_id"].tolist() == ids.tolist():
        return table.drop(columns="clip_id")
    return table.drop_duplicates("clip_id").set_index("clip_id").reindex(ids).reset_index(drop=True)


def _told(trained: Any) -> str:
    """Whether a clip was trained on, as one character: 1, 0, or - where that is not known."""
    return "-" if pd.isna(trained) else "1" if trained else "0"


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
