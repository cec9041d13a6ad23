"""The tables of the paper (arXiv 2603.28378v2) as published, to stand beside an audit's own numbers."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

MODELS = {"af3": "Audio Flamingo 3", "mf": "Music Flamingo"}
"""Keys of the published models and their names."""


@lru_cache(maxsize=2)
def _read(name: str) -> dict[str, Any]:
    """One published table as it lies beside this module."""
    path = Path(__file__).parent / "published_tables" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def table1() -> list[dict[str, Any]]:
    """Table 1: membership and blind AUCs and their correlation.

    Returns
    -------
    list of dict
        `dataset, model, quantity, auc, r`: `quantity` is ``attack`` or a blind family; `auc` in [0, 1]; `r` is None for
        the attack.
    """
    rows = []
    for row in _read("table1")["rows"]:
        for key, model in MODELS.items():
            rows.append(
                {"dataset": row["dataset"], "model": model, "quantity": "attack", "auc": row["mia_auc"][key] / 100}
            )
            rows[-1]["r"] = None
            for family, value in row["blind"].items():
                blind = {"dataset": row["dataset"], "model": model, "quantity": family}
                rows.append({**blind, "auc": value["auc"] / 100, "r": value[f"r_{key}"]})
    return rows


def table2() -> list[dict[str, Any]]:
    """Table 2: membership AUC under each audio condition.

    Returns
    -------
    list of dict
        `dataset, model, condition, auc, sd`: `auc` and `sd` in [0, 1], `sd` over three realizations or None.
    """
    rows = []
    for row in _read("table2")["rows"]:
        for condition in ("original", "silence", "noise", "resynthesis"):
            for key, model in MODELS.items():
                value = (row[condition] or {}).get(key)
                if value is None:
                    continue
                auc, sd = (value["auc"], value["sd"] / 100) if isinstance(value, dict) else (value, None)
                rows.append(
                    {"dataset": row["dataset"], "model": model, "condition": condition, "auc": auc / 100, "sd": sd}
                )
    return rows


def sources() -> dict[str, str]:
    """Where each table was published."""
    return {name: _read(name)["source"] for name in ("table1", "table2")}


def coincides(dataset: str, published: str) -> bool:
    """Whether an audited dataset is the published one, by name without case, spaces and punctuation.

    Parameters
    ----------
    dataset : str
        Name of the audited list, which may go on (``librispeech-test``).
    published : str
        Name in the paper.
    """
    return _letters(dataset).startswith(_letters(published))


def _letters(name: str) -> str:
    """Letters and digits of a name, lower case."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())
