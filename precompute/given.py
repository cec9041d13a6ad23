"""Scores made elsewhere: the same statistics and verdicts for them as for targets scored here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from precompute.clips import Clip, Cohort, InputError
from precompute.indicators import EXTRAS, INDICATORS

GIVEN = "given scores"
"""Family of a target whose scores were made elsewhere; nothing is trained on them here."""


def given_scores(path: Path, cohorts: Sequence[Cohort]) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    """Read scores made elsewhere: the rows of ``scores.parquet`` they stand for, and a description per target.

    Parameters
    ----------
    path : Path
        CSV with `clip_id` (or `file_name`, the end of the clip's path) and `score`, higher more member-like; `target`
        names several in one file, `dataset` restricts a row to one.
    cohorts : sequence of Cohort

    Returns
    -------
    list of (pd.DataFrame, dict)
        Indicators are NaN; `mia_score` is the score as given.

    Raises
    ------
    InputError
        If the file or a column is missing, a score is no number, a row names no clip of the lists, or a clip of the
        lists has two scores of one target.
    """
    try:
        table = pd.read_csv(path, dtype={"clip_id": str, "file_name": str, "target": str})
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from error
    key = next((name for name in ("clip_id", "file_name") if name in table), None)
    if key is None or "score" not in table:
        raise InputError(f"{path}: needs the columns clip_id (or file_name) and score; it has {', '.join(table)}")
    score = pd.to_numeric(table["score"], errors="coerce")
    if (bad := score.isna() & table["score"].notna()).any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{path}, row {row + 2}: the score {table['score'].iloc[row]!r} is not a number")
    table = table.assign(score=score, target=table["target"].fillna(path.stem) if "target" in table else path.stem)
    found = []
    for name, part in table.groupby("target", sort=False):
        rows = [_given_rows(path, part, key, cohort) for cohort in cohorts]
        scored = pd.concat(rows, ignore_index=True).assign(target=str(name))
        if scored["mia_score"].notna().sum() == 0:
            raise InputError(f"{path}: no row of {name} names a clip of the given lists")
        found.append((scored, given_description(str(name), path)))
    return found


def _given_rows(path: Path, part: pd.DataFrame, key: str, cohort: Cohort) -> pd.DataFrame:
    """Rows of one target and cohort, every clip of the cohort once; NaN where the file has no score for it."""
    if "dataset" in part:
        part = part[part["dataset"].isna() | (part["dataset"] == cohort.name)]
    if part[key].duplicated().any():
        raise InputError(f"{path}: {part[key][part[key].duplicated()].iloc[0]!r} has two scores of one target")
    scores = dict(zip(part[key], part["score"], strict=True))
    named: dict[str, str] = {}

    def value(clip: Clip) -> float:
        for name in _names(clip, key):
            if name in scores:
                if named.setdefault(name, clip.clip_id) != clip.clip_id:
                    raise InputError(f"{path}: {name!r} stands for two clips, {named[name]} and {clip.clip_id}")
                return float(scores[name])
        return float("nan")

    frame = pd.DataFrame({"clip_id": [c.clip_id for c in cohort.clips], "dataset": cohort.name, "label": cohort.labels})
    fixed = {"condition": "original", "realization": 0, "scored_text": "generated", "generated_text": ""}
    numbers = dict.fromkeys(("n_tokens", *INDICATORS, *EXTRAS, "wer"), float("nan"))
    values = [value(clip) for clip in cohort.clips]
    frame = frame.assign(**fixed, **numbers, mia_score=values, mia_score_transfer=values)
    return frame.assign(trained=pd.array([pd.NA] * len(frame), dtype="boolean"))


def _names(clip: Clip, key: str) -> list[str]:
    """Names a row may call a clip by: its id, or any end of its path, the longest first."""
    if key == "clip_id":
        return [clip.clip_id]
    parts = clip.path.parts
    return [str(clip.path), *("/".join(parts[start:]) for start in range(len(parts)))]


def given_description(name: str, path: Path) -> dict[str, Any]:
    """Describe a target known by its scores alone, for ``audit.json``."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return {
        "id": name,
        "revision": digest,
        "dtype": "not known",
        "family": GIVEN,
        "prompt": "not known",
        "max_new_tokens": None,
        "decoding": "scores made elsewhere, taken as they are",
        "trained_on": None,
        "half": None,
    }
