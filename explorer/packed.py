"""A column of numbers in few bytes for the browser: 16 bits a value, in the same order as the numbers themselves."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

TOP = 65534
"""Largest code."""

MISSING = 65535
"""Code of a clip without a value."""

CLOSE = 2e-4
"""Largest difference between a value and what its code stands for; a column that cannot keep it is sent as floats."""

STEEPEST = 17.0
"""Logit that 1 and 0 are taken for: float32 knows nothing between."""


def pack(values: np.ndarray) -> dict[str, Any]:
    """Pack a column.

    Scores in [0, 1] are spaced by their logit, so that those near an end stay apart; others evenly. Values that differ
    keep codes that differ, in the same order: a curve drawn from the codes is the curve of the values.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)]
        NaN where there is none.

    Returns
    -------
    dict
        `kind` (``logit``, ``even`` or ``float``), `low` and `high` (what the codes 0 and `TOP` stand for, in logits for
        the first), and `data`: base64 of little-endian uint16 codes, `MISSING` for NaN, or of float32.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    kind = "logit" if np.all((values[known] >= 0) & (values[known] <= 1)) else "even"
    places = _logit(values[known]) if kind == "logit" else values[known]
    low, high = (float(places.min()), float(places.max())) if len(places) else (0.0, 0.0)
    codes = np.full(len(values), MISSING, dtype="<u2")
    codes[known] = _codes(places, low, high)
    packed = {"kind": kind, "low": low, "high": high, "data": _text(codes)}
    # Where thousands of values crowd into a small part of the range, codes that all differ would move them.
    read = unpack(packed)[known]
    worst = np.max(np.abs(read - values[known]), initial=0.0)
    close = worst <= CLOSE * (1.0 if kind == "logit" else high - low)
    if not close or len(np.unique(read)) < len(np.unique(values[known])):
        return {"kind": "float", "low": low, "high": high, "data": _text(values.astype("<f4"))}
    return packed


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """Give the values of a packed column [shape=(n,)], as the browser reads it."""
    data = base64.b64decode(packed["data"])
    if packed["kind"] == "float":
        return np.frombuffer(data, "<f4").astype(np.float64)
    codes = np.frombuffer(data, "<u2")
    places = packed["low"] + (packed["high"] - packed["low"]) * codes / TOP
    values = 1 / (1 + np.exp(-places)) if packed["kind"] == "logit" else places
    return np.where(codes == MISSING, np.nan, values)


def _codes(places: np.ndarray, low: float, high: float) -> np.ndarray:
    """Whole numbers from 0 to `TOP`, as near to proportional as leaves different places different codes."""
    distinct, which = np.unique(places, return_inverse=True)
    width = (high - low) or 1.0
    codes = np.round((distinct - low) / width * TOP).astype(np.int64)
    if len(distinct) <= TOP + 1:
        at = np.arange(len(distinct))
        codes = np.maximum.accumulate(codes - at) + at
        codes = np.minimum(codes, TOP - at[::-1])
    return codes[which]


def _logit(chances: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.clip(np.log(chances) - np.log1p(-chances), -STEEPEST, STEEPEST)


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
