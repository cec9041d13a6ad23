"""Small pieces of HTML that several pages share. Everything that comes from a bundle is escaped here."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

NAV = (
    ("Overview", "/"),
    ("Dataset", "/dataset"),
    ("Evidence", "/evidence"),
    ("Conditions", "/conditions"),
    ("Score a clip", "/score"),
    ("Method", "/method"),
)
KEYS = (
    ("Space", "play or pause"),
    ("1 – 9", "condition, in the order of the buttons"),
    ("← →", "previous, next clip of the filter"),
    ("↑ ↓ Enter", "in the table: choose a row, open its clip"),
    ("/", "search"),
    ("Esc", "close the clip"),
    ("n p", "in the matched pairs: next, previous pair"),
    ("?", "this list"),
)


SECTIONS = (
    '<div data-part="sections" aria-live="polite"></div><p class="note" data-part="none" hidden>This target was not '
    "run on this dataset. Choose another pair above.</p>"
)
"""Where a page's script puts the section that the choices ask for."""


def known(value: Any) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def auc(row: dict[str, Any] | None, name: str = "auc") -> str:
    """``0.73 [0.68, 0.78]``, as far as the row knows.

    Parameters
    ----------
    row : dict or None
        With ``name``, ``name_low``, ``name_high``.
    name : str
    """
    if not row or not known(row.get(name)):
        return "not measured"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return f"{row[name]:.2f}" + (f" [{low:.2f}, {high:.2f}]" if known(low) and known(high) else "")


def badge(word: str | None) -> str:
    """Verdict badge: colour and word."""
    text = word or "NO VERDICT"
    return f'<span class="badge {escape(text.lower().replace(" ", "-"))}">{escape(text)}</span>'


def interval_bar(
    value: float | None,
    low: float | None,
    high: float | None,
    kind: str,
    span: tuple[float, float] = (0.0, 1.0),
    chance: float = 0.5,
) -> str:
    """Value and its interval as a small bar with chance marked.

    Parameters
    ----------
    value, low, high : float or None
        Within `span`.
    kind : str
        Colour: ``model`` is ink, ``blind`` violet, ``adjusted`` ink and hollow; a further word ``open``: hollow.
    span : (float, float)
        Ends of the bar.
    chance : float
        Where the dashed line stands.
    """
    if not (known(value) and known(low) and known(high)):
        return ""
    x = [4 + 124 * (float(v) - span[0]) / (span[1] - span[0]) for v in (value, low, high, chance)]  # type: ignore[arg-type]
    return (
        f'<svg class="interval {kind}" viewBox="0 0 132 20" aria-hidden="true"><line class="base" x1="4" '
        f'x2="128" y1="10" y2="10"/>'
        f'<line class="chance" x1="{x[3]:.1f}" x2="{x[3]:.1f}" y1="2" y2="18"/><line class="whisker" x1="{x[1]:.1f}" '
        f'x2="{x[2]:.1f}" y1="10" y2="10"/>'
        f'<circle class="value" cx="{x[0]:.1f}" cy="10" r="4"/></svg>'
    )


def with_bar(row: dict[str, Any] | None, kind: str, name: str = "auc", extra: str = "") -> str:
    """Interval bar of an AUC with its numbers, and ready HTML, below it."""
    row = row or {}
    bar = interval_bar(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"), kind)
    return f'{bar}<span class="under">{auc(row, name)}{extra}</span>'


def p_value(p: float | None) -> str:
    """``0.012``, ``0.30`` or ``below 0.001``."""
    if not known(p) or p is None:
        return "not tested"
    return "below 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Term and value beside each other; ready HTML in both."""
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def choices(options: dict[str, tuple[str, list[tuple[str, str]]]]) -> str:
    """Row of selectors.

    Parameters
    ----------
    options : dict
        Name of the part to (label, list of (value, text)).
    """
    selects = "".join(
        f'<label>{escape(label)} <select data-part="{name}">'
        + "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in rows)
        + "</select></label>"
        for name, (label, rows) in options.items()
    )
    return f'<form class="choices" onsubmit="return false" aria-label="What is shown">{selects}</form>'


def link(page: str, **query: str) -> str:
    """Address of a page with its choices, escaped for an attribute."""
    return escape(f"{page}?{urlencode(query)}" if query else page)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", kind: str = "") -> str:
    """Table of ready HTML cells.

    Parameters
    ----------
    head : sequence of str
    rows : sequence of sequence of str
    caption : str
        Read by screen readers, shown small.
    kind : str
        Further class of the table; ``rows`` makes the first cell's link fill its row.
    """
    labels = [escape(re.sub(r"<[^>]*>", "", cell)) for cell in head]
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in zip(labels, row, strict=True))
        + "</tr>"
        for row in rows
    )
    title = f'<caption class="muted small">{caption}</caption>' if caption else ""
    return (
        f'<div class="scroll"><table class="stack {kind}">{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def shade(value: float) -> tuple[int, str]:
    """Strength in percent and colour of a cell, by distance from 0.5: vermillion above, blue below."""
    return min(62, round(124 * abs(value - 0.5))), "var(--member)" if value >= 0.5 else "var(--nonmember)"


def header(active: str) -> str:
    """Top of every page: name, pages, keys, theme; and the dialog of keys."""
    links = "".join(
        f'<a href="{path}" data-carry="{path}"{" aria-current=page" if path == active else ""}>{escape(name)}</a>'
        for name, path in NAV
    )
    keys = "".join(f"<dt><kbd>{escape(key)}</kbd></dt><dd>{escape(what)}</dd>" for key, what in KEYS)
    return (
        '<header class="page top"><a class="brand" href="/">Audio membership audit</a>'
        f'<nav aria-label="Pages">{links}</nav>'
        '<button type="button" class="quiet" data-keys aria-label="Keyboard shortcuts">? keys</button>'
        '<button type="button" class="quiet" data-theme-switch>Dark</button>'
        f'<dialog class="keys" aria-label="Keyboard shortcuts"><strong>Keys on the Dataset page</strong><dl>{keys}</dl>'
        '<button type="button">Close</button></dialog></header>'
    )
