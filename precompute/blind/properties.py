"""Which single property of the clips separates the classes, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from precompute.blind.fingerprint import EXPLANATIONS, UNITS
from precompute.statistics.delong import delong, interval
from precompute.statistics.roc import auc

PROPERTIES = 12
"""So many separating properties are named, the clearest first."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_METADATA = {
    "duration_s": ("length", "s"),
    "file_size": ("size of the file", "bytes"),
    "word_count": ("words of the transcript", "words"),
    "character_count": ("characters of the transcript", "characters"),
    "sample_rate": ("sample rate of the file", "Hz"),
    "channels": ("channels of the file", "channels"),
    "bit_rate": ("bits per second of the file", "bit/s"),
}
_ACOUSTIC = {
    "centroid": ("centre of the spectrum", "Hz"),
    "bandwidth": ("width of the spectrum", "Hz"),
    "rolloff": ("frequency under which 85% of the spectrum lies", "Hz"),
    "rms": ("level", "amplitude"),
    "zero_crossings": ("changes of sign", "per sample"),
    "f0": ("pitch", "Hz"),
}
_SUMMARIES = {
    "mean": "mean over frames",
    "sd": "variation over frames",
    "p10": "lowest tenth of frames",
    "p50": "middle frame",
    "p90": "highest tenth of frames",
}


def words(name: str) -> tuple[str, str]:
    """Say what a blind feature is.

    Parameters
    ----------
    name : str
        With its prefix: ``metadata.``, ``acoustic.`` or ``fingerprint.``.

    Returns
    -------
    tuple of str
        Fragment of a sentence, and unit (empty for a pure number); an unknown name stands for itself.
    """
    if name in EXPLANATIONS:
        return EXPLANATIONS[name], UNITS[name]
    family, _, short = name.partition(".")
    if family == "metadata" and short.startswith("container_"):
        return f"whether the file is of type {short.removeprefix('container_')}", "yes/no"
    if family == "metadata" and short in _METADATA:
        return _METADATA[short]
    series, _, summary = short.rpartition("_")
    if family == "acoustic" and summary in _SUMMARIES:
        how = _SUMMARIES[summary]
        if series.startswith("mfcc_"):
            number = int(series.removeprefix("mfcc_"))
            what = "loudness" if number == 0 else f"shape of the spectrum, coefficient {number}"
            return f"{what} (MFCC {number}, {how})", "dB"
        if series in _ACOUSTIC:
            return f"{_ACOUSTIC[series][0]} ({how})", _ACOUSTIC[series][1]
    return name, ""


def separating_properties(table: pd.DataFrame, labels: np.ndarray, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Find which single properties separate the classes.

    Parameters
    ----------
    table : pd.DataFrame
        One row per clip.
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    columns : sequence of str
        Blind features to compare; values that are not finite are left out, and a column without both classes with them.

    Returns
    -------
    list of dict
        At most `PROPERTIES`, by distance of the AUC from 0.5: `property, words, unit, auc` (ties half; above 0.5 is
        higher in members), `auc_low, auc_high` (95%, DeLong), `q` (Benjamini-Hochberg over all columns, of the
        Mann-Whitney test), `member_quantiles, non_member_quantiles` (at `QUANTILES`), `n_member, n_non_member`.
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    labels = np.asarray(labels)
    found, chances = [], []
    for name in columns:
        values, known, member, other = _finite(table[name], labels)
        if not (len(member) and len(other)):
            continue
        constant = member.min() == member.max() == other.min() == other.max()
        chances.append(1.0 if constant else float(mannwhitneyu(member, other, method="asymptotic").pvalue))
        found.append((name, auc(known, values)))
    adjusted = false_discovery_control(chances) if chances else []
    rows = []
    for position in sorted(range(len(found)), key=lambda i: -abs(found[i][1] - 0.5))[:PROPERTIES]:
        name, value = found[position]
        values, known, member, other = _finite(table[name], labels)
        low, high = interval(value, delong(known, values).se, len(member), len(other))
        text, unit = words(name)
        rows.append(
            {
                "property": name,
                "words": text,
                "unit": unit,
                "auc": value,
                "auc_low": low,
                "auc_high": high,
                "q": float(adjusted[position]),
                "member_quantiles": np.quantile(member, QUANTILES).tolist(),
                "non_member_quantiles": np.quantile(other, QUANTILES).tolist(),
                "n_member": len(member),
                "n_non_member": len(other),
            }
        )
    return rows


def _finite(column: pd.Series, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give the finite values of a column, their labels, and the values of members and of non-members."""
    values = column.to_numpy(dtype=float)
    usable = np.isfinite(values)
    values, known = values[usable], labels[usable]
    return values, known, values[known == 1], values[known == 0]
