"""How fast everything is, measured: ``python -m precompute bench``.

Every comparison is made in one run, on the same inputs, the sides in turn; every figure says what it was taken from,
and the report says on which machine.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from precompute.bench.figures import Figure, Part, Size
from precompute.clips import InputError

PARTS: dict[str, str] = {
    "scoring": "precompute.bench.scoring:measure",
    "full-size": "precompute.bench.full_size:measure",
    "precision": "precompute.bench.precision:measure",
    "features": "precompute.bench.features:measure",
    "statistics": "precompute.bench.tables:measure_statistics",
    "cache": "precompute.bench.tables:measure_cache",
    "bundle": "precompute.bench.tables:measure_bundle",
    "explorer": "precompute.bench.pages:measure",
    "memory": "precompute.bench.memory:measure",
}
"""What can be measured, and by what."""

ASKED_FOR = ("memory",)
"""Parts that take long, measured only by name or by ``--memory``."""

NOT_QUICK = ("explorer",)
"""Parts that ``--quick`` leaves out unless they are named."""


def run(options: Namespace) -> dict[str, Any]:
    """Measure.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``memory``, ``full_size`` (bool), ``only`` (names of `PARTS` with commas between, or None) and
        ``bundle`` (Path or None).

    Returns
    -------
    dict
        ``machine`` (see `precompute.bench.machine.describe`), ``quick``, and ``parts``: by name, ``title``, ``how``
        and ``figures``, each with ``what, value, unit, n``.

    Raises
    ------
    InputError
        If a part has no such name, or what it needs is missing.
    """
    from tqdm import tqdm

    from precompute.bench.machine import describe

    wanted = chosen(options.only, options.quick, options.memory)
    size = Size(options.quick, options.bundle, options.full_size)
    machine = describe()
    parts: dict[str, Part] = {}
    for name in tqdm(wanted, desc="bench", unit="part", disable=None):
        module, _, function = PARTS[name].partition(":")
        parts[name] = getattr(importlib.import_module(module), function)(size)
    return {"machine": machine, "quick": size.quick, "parts": {name: asdict(part) for name, part in parts.items()}}


def chosen(only: str | None, quick: bool = False, memory: bool = False) -> list[str]:
    """Choose what to measure, in the order of `PARTS`.

    Parameters
    ----------
    only : str or None
        Names with commas between; None takes what is measured by default.
    quick, memory : bool

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a name is none of `PARTS`.
    """
    if only is None:
        left_out = {*(() if memory else ASKED_FOR), *(NOT_QUICK if quick else ())}
        return [name for name in PARTS if name not in left_out]
    names = {name.strip() for name in only.split(",")} | ({"memory"} if memory else set())
    for name in sorted(names):
        if name not in PARTS:
            raise InputError(f"--only {only}: nothing called {name!r} is measured (there are {', '.join(PARTS)})")
    return [name for name in PARTS if name in names]


def printed(found: dict[str, Any]) -> str:
    """Put a report into words and columns.

    Parameters
    ----------
    found : dict
        From `run`.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    from precompute.bench.machine import sentence

    lines = [sentence(found["machine"])]
    for part in found["parts"].values():
        figures = [Figure(**figure) for figure in part["figures"]]
        lines += ["", part["title"], part["how"]]
        rows = [(one.what, f"{_number(one.value)} {one.unit}".strip(), one.n) for one in figures]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines += [f"  {what:<{widths[0]}}  {value:<{widths[1]}}  {n}".rstrip() for what, value, n in rows]
    return "\n".join(lines) + "\n"


def _number(value: float | str) -> str:
    """Print a value with three digits that mean something."""
    if isinstance(value, str):
        return value
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.1e}"
