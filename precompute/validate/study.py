"""The planted-truth study: does the audit tell the truth, and how often is its sentence wrong."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from precompute.validate import grids, simulated

PUBLISHED = Path(__file__).with_name("study.json")
"""The committed results, which the Method page shows."""

DRAWS = 1000
SMALL, LARGE = 250, 1000
"""Clips per class."""

AT_LARGE = ("S2-0.60", "S5")
"""Worlds that are also drawn at `LARGE`, which is where the bars for power and for telling grids apart lie."""

PAPER_EYES = (0.55, 0.67)
"""Blind AUCs up to which the paper's "about 0.5" may reach: half a tenth, and the highest it treats as clean (66.7)."""

Job = tuple[str, int, int]
"""World, clips per class, number of the draw."""


def jobs(draws: int = DRAWS, worlds: Sequence[str] | None = None, sizes: Sequence[int] | None = None) -> list[Job]:
    """List every draw of the study.

    Parameters
    ----------
    draws : int
        Of each world and size.
    worlds : sequence of str or None
        None takes all.
    sizes : sequence of int or None
        None takes `SMALL` for all worlds and `LARGE` for those in `AT_LARGE`.

    Returns
    -------
    list of (str, int, int)
    """
    known = [*simulated.WORLDS, *grids.WORLDS]
    chosen = known if worlds is None else list(worlds)
    pairs = [(world, n) for n in sizes or (SMALL,) for world in chosen]
    if sizes is None:
        pairs += [(world, LARGE) for world in AT_LARGE if world in chosen]
    return [(world, n, index) for world, n in pairs for index in range(draws)]


def one(job: Job) -> dict[str, Any]:
    """Make one draw, on one thread: the draws are what runs side by side."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return (simulated.audit_draw if job[0] in simulated.WORLDS else grids.read_draw)(*job)


def run(drawn_jobs: Sequence[Job], log: Path, workers: int | None = None) -> list[dict[str, Any]]:
    """Make the draws that the log lacks, appending each as it is done; a stopped study goes on where it was.

    Parameters
    ----------
    drawn_jobs : sequence of Job
    log : Path
        Lines of JSON, one a draw.
    workers : int or None
        Processes; None takes as many as there are cores.

    Returns
    -------
    list of dict
        The wanted draws, old and new, in the order of `drawn_jobs`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    done = {key(row): row for row in read_log(log)}
    missing = [job for job in drawn_jobs if job not in done]
    with (
        log.open("a") as file,
        ProcessPoolExecutor(workers or os.cpu_count()) as pool,
        tqdm(
            total=len(drawn_jobs), initial=len(drawn_jobs) - len(missing), desc="validate", unit="draw", disable=None
        ) as bar,
    ):
        for row in pool.map(one, missing, chunksize=4):
            file.write(json.dumps(row) + "\n")
            file.flush()
            done[key(row)] = row
            bar.update()
    return [done[job] for job in drawn_jobs]


def key(row: Mapping[str, Any]) -> Job:
    """Which draw a line of the log is."""
    return row["world"], row["n_per_class"], row["draw"]


def read_log(log: Path) -> Iterator[dict[str, Any]]:
    """Read the whole lines of a log; what a kill cut off is drawn again, and its rest is taken off the file."""
    if not log.is_file():
        return
    text = log.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        log.write_text(whole)
    for line in whole.splitlines():
        yield json.loads(line)


def summarise(
    rows: Iterable[Mapping[str, Any]],
    command: str,
    trained: Sequence[Mapping[str, Any]] = (),
    embedded: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Count what the study found.

    Parameters
    ----------
    rows : iterable of dict
        Lines of the log.
    command : str
        That makes them again.
    trained : sequence of dict
        Worlds made with trained targets, one entry a seed; no rates are taken from them.
    embedded : sequence of dict
        Adjusted AUCs of a planted shift beside the truth, per target.

    Returns
    -------
    dict
        ``command, versions, rows, trained, embedded``; rows give, per world, size and method, the rates with their 95%
        Clopper-Pearson limits.
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["world"], row["n_per_class"]), []).append(row)
    table: list[dict[str, Any]] = []
    for (name, n), found in groups.items():
        if name in grids.WORLDS:
            table.append(_grid_row(name, n, found))
        else:
            table += [_audit_row(name, n, found), *(_paper_row(name, n, found, eye) for eye in PAPER_EYES)]
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "scikit-learn")}
    return {
        "command": command,
        "versions": versions,
        "rows": table,
        "trained": list(trained),
        "embedded": list(embedded),
    }


def _audit_row(name: str, n: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Count what this audit said of one world and size."""
    world = simulated.WORLDS[name]
    leaks = [row["verdict"] == "LEAK" for row in rows]
    # "A leak of AUC x would have been seen" is about the AUC that this attack has, which is logged as the truth.
    missed = [row["verdict"] == "NO LEAK SEEN" and row["detectable"] <= row["adjusted"][3] for row in rows]
    wrong = [row["verdict"] in world.wrong or (world.leaks and miss) for row, miss in zip(rows, missed, strict=True)]
    shifted = [row["phase1"] == "SHIFTED" for row in rows]
    return {
        **_head(world, n, rows, "audit"),
        **rate("false_leak", [] if world.leaks else leaks),
        **rate("power", leaks if world.leaks else []),
        **rate("wrong", wrong),
        **rate("false_shifted", [] if world.shift else shifted),
        **rate("coverage_raw", [_covers(row["raw"]) for row in rows]),
        **rate("coverage_adjusted", [_covers(row["adjusted"]) for row in rows]),
        "verdicts": dict(Counter(row["verdict"] for row in rows)),
        "phase1": dict(Counter(row["phase1"] for row in rows)),
    }


def _paper_row(name: str, n: int, rows: Sequence[Mapping[str, Any]], eye: float) -> dict[str, Any]:
    """Apply the paper's rule to the same draws: blind AUC up to `eye` by eye, and a t-test over folds below 0.05."""
    world = simulated.WORLDS[name]
    leaks = [row["paper"][0] <= eye and row["paper"][1] < 0.05 for row in rows]
    unread = [row["paper"][0] > eye for row in rows]
    said = Counter(
        "LEAK" if leak else "shifted" if shift else "no leak" for leak, shift in zip(leaks, unread, strict=True)
    )
    # It has no word for "cannot be told": a leak it lets pass counts as wrong, and so does a shift that is not there.
    wrong = [
        (not leak) if world.leaks else (leak or (shift and not world.shift))
        for leak, shift in zip(leaks, unread, strict=True)
    ]
    return {
        **_head(world, n, rows, f"paper {eye}"),
        **rate("false_leak", [] if world.leaks else leaks),
        **rate("power", leaks if world.leaks else []),
        **rate("wrong", wrong),
        **rate("false_shifted", [] if world.shift else unread),
        **rate("coverage_raw", []),
        **rate("coverage_adjusted", []),
        "verdicts": dict(said),
        "phase1": {},
    }


def _grid_row(name: str, n: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Count how phase 3 read one world and size; power is the share rightly told apart."""
    world = grids.WORLDS[name]
    right = [bool(row["right"]) for row in rows]
    return {
        **_head(world, n, rows, "audit"),
        **rate("false_leak", []),
        **rate("power", right),
        **rate("wrong", [bool(set(world.never) & set(row["claims"])) for row in rows]),
        **rate("false_shifted", []),
        **rate("coverage_raw", []),
        **rate("coverage_adjusted", []),
        "verdicts": dict(Counter(" + ".join(row["claims"]) for row in rows)),
        "phase1": {},
    }


def _head(world: Any, n: int, rows: Sequence[Any], method: str) -> dict[str, Any]:
    """Columns that say what a row is."""
    return {
        "world": world.name,
        "description": world.description,
        "expected": world.expected,
        "n_per_class": n,
        "effect": getattr(world, "leak", None),
        "draws": len(rows),
        "method": method,
    }


def _covers(found: Sequence[float]) -> bool:
    """Whether an interval holds the truth."""
    _, low, high, truth = found
    return low <= truth <= high


def rate(name: str, hits: Sequence[bool]) -> dict[str, float | None]:
    """Share of hits with its 95% Clopper-Pearson limits; None throughout where there is nothing to count.

    Parameters
    ----------
    name : str
        Of the column.
    hits : sequence of bool

    Returns
    -------
    dict
        ``name, name_low, name_high``.
    """
    from scipy.stats import binomtest

    if not hits:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    limits = binomtest(sum(hits), len(hits)).proportion_ci()
    values = (sum(hits) / len(hits), float(limits.low), float(limits.high))
    return dict(zip((name, f"{name}_low", f"{name}_high"), (round(value, 4) for value in values), strict=True))


def printed(study: Mapping[str, Any]) -> str:
    """Print the study as an aligned table.

    Parameters
    ----------
    study : mapping
        From `summarise`.

    Returns
    -------
    str
        Ends with a line break.
    """
    head = (
        "world",
        "n/class",
        "draws",
        "method",
        "false LEAK",
        "power",
        "wrong",
        "false SHIFTED",
        "cover raw",
        "cover adj.",
    )
    names = ("false_leak", "power", "wrong", "false_shifted", "coverage_raw", "coverage_adjusted")
    lines = [list(head)]
    for row in study["rows"]:
        cells = [row["world"], str(row["n_per_class"]), str(row["draws"]), row["method"]]
        lines.append(cells + [_percent(row, name) for name in names])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines) + "\n"


def _percent(row: Mapping[str, Any], name: str) -> str:
    """Print ``4.1% [3.0, 5.5]``; ``-`` where there is nothing to count."""
    if row[name] is None:
        return "-"
    return f"{100 * row[name]:.1f}% [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"
