"""The planted-truth study on the Method page: how often the audit is wrong, and the paper's rule beside it."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from explorer.parts import known, table

FILE = Path(__file__).parents[1] / "precompute" / "validate" / "study.json"
RULES = {"audit": "model", "paper 0.67": "blind open"}
"""Rules that the picture shows, and their colours."""


def read_study(file: Path = FILE) -> dict[str, Any] | None:
    """Read the study.

    Parameters
    ----------
    file : Path
        As ``python -m precompute validate --publish`` writes it.

    Returns
    -------
    dict or None
        None where it was not run.
    """
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def section(study: dict[str, Any] | None) -> str:
    """HTML of the study, or a sentence where it was not run.

    Parameters
    ----------
    study : dict or None
        As from `read_study`.
    """
    title = "<h2>How often is the audit itself wrong?</h2>"
    if not study:
        how = "<code>python -m precompute validate</code>"
        return f"{title}<p class='note'>The planted-truth study was not run: {how}.</p>"
    return (
        f"{title}<p class='text'>Worlds with known answers, drawn again and again, audited like a dataset, and judged "
        "by the paper’s rule on the same draws (blind AUC up to 0.67 taken for “about 0.5” by eye, as the paper does, "
        "and p below 0.05 in a t-test over folds). Simulated worlds are tables of numbers without sound; worlds with "
        f"trained targets are named below. Made by <code>{escape(study['command'])}</code>.</p>"
        f"{picture(study['rows'])}{_details(study)}{_trained(study.get('trained', []))}"
        f"{_embedded(study.get('embedded', []))}"
    )


def picture(rows: list[dict[str, Any]]) -> str:
    """Draw false LEAKs and power of every world, with 95% intervals, for this audit and for the paper's rule.

    Parameters
    ----------
    rows : list of dict
        One per world, size and rule.
    """
    worlds: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        worlds.setdefault((row["world"], row["n_per_class"]), {})[row["method"]] = row
    cells = [
        [
            f"{escape(found['audit']['description'][:1].upper() + found['audit']['description'][1:])}"
            f'<span class="under">{escape(world)}, {n} clips per class, {found["audit"]["draws"]} draws</span>',
            _rates(found, "false_leak"),
            _rates(found, "power"),
        ]
        for (world, n), found in worlds.items()
        if "audit" in found
    ]
    head = ("world", "LEAK said where nothing leaked", "LEAK said where there is one, or the grid read right")
    note = (
        "Filled: this audit. Hollow, violet: the paper’s rule. From 0 to 100%, with 95% intervals (Clopper and "
        "Pearson); the line on the left picture is 5%."
    )
    return table(head, cells, note, "study")


def _rates(found: dict[str, dict[str, Any]], name: str) -> str:
    """One dot and interval per rule, one below the other, with the numbers."""
    shown = [(rule, found[rule]) for rule in RULES if rule in found and known(found[rule].get(name))]
    if not shown:
        return '<span class="muted small">does not apply</span>'
    five = '<line class="five" x1="14" x2="14" y1="0" y2="36"/>' if name == "false_leak" else ""
    marks = ""
    for at, (rule, row) in enumerate(shown):
        x, y = [4 + 200 * row[key] for key in (name, f"{name}_low", f"{name}_high")], 10 + 16 * at
        marks += (
            f'<g class="interval {RULES[rule]}"><line class="base" x1="4" x2="204" y1="{y}" y2="{y}"/>'
            f'<line class="whisker" x1="{x[1]:.1f}" x2="{x[2]:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="value" cx="{x[0]:.1f}" cy="{y}" r="4"/></g>'
            f'<text x="212" y="{y + 4}">{_percent(row, name)}</text>'
        )
    return f'<svg class="rates" viewBox="0 0 330 36">{five}{marks}</svg>'


def _details(study: dict[str, Any]) -> str:
    """Every world, size and method with its rates."""
    names = ("false_leak", "power", "wrong", "false_shifted", "coverage_raw", "coverage_adjusted")
    rows = [
        [
            f"<strong>{escape(r['world'])}</strong><span class='under'>{escape(r['description'])}</span>",
            str(r["n_per_class"]),
            str(r["draws"]),
            escape("this audit" if r["method"] == "audit" else f"paper, up to {r['method'].split()[1]}"),
            *(_percent(r, name) for name in names),
        ]
        for r in study["rows"]
    ]
    head = (
        *("world", "clips per class", "draws", "rule", "false LEAK", "LEAK or right reading"),
        *("wrong", "false SHIFTED", "raw interval covers", "adjusted interval covers"),
    )
    return f"<details><summary>Every world, size and rule</summary>{table(head, rows)}</details>"


def _trained(rows: list[dict[str, Any]]) -> str:
    """Worlds with targets that were trained for them."""
    if not rows:
        return ""
    cells = [
        [
            f"{escape(r['world'])}, seed {r['seed']}",
            escape(r["expected"]),
            "".join(f"<span class='under'>{escape(sentence)}</span>" for sentence in r["sentences"]),
            "right" if r["right"] else "WRONG",
        ]
        for r in rows
    ]
    return "<h3>Worlds with trained targets</h3>" + table(("world", "what is true", "what the audit said", ""), cells)


def _embedded(rows: list[dict[str, Any]]) -> str:
    """Check the adjustment where the planted shift is known."""
    if not rows:
        return ""
    cells = [
        [
            escape(r["target"]),
            f"{r['raw']:.2f}",
            f"{r['adjusted_auc']:.2f} [{r['adjusted_low']:.2f}, {r['adjusted_high']:.2f}]",
            f"{r['truth']:.2f}",
        ]
        for r in rows
    ]
    return (
        "<h3>The adjustment where the shift is known</h3><p class='muted small text'>core-both is drawn from the clips "
        "of core-clean with a known chance e: its adjusted AUC should be that of core-clean weighted by e (1 − e).</p>"
        + table(("target", "raw AUC, core-both", "adjusted AUC, core-both", "truth, core-clean reweighted"), cells)
    )


def _percent(row: dict[str, Any], name: str) -> str:
    if not known(row.get(name)):
        return "–"
    return f"{100 * row[name]:.1f}% [{100 * row[f'{name}_low']:.1f}, {100 * row[f'{name}_high']:.1f}]"
