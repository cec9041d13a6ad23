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
    ("?", "this list"),
)


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


def interval_bar(value: float | None, low: float | None, high: float | None, kind: str) -> str:
    """AUC and its interval as a small bar from 0 to 1 with chance marked.

    Parameters
    ----------
    value, low, high : float or None
        In [0, 1].
    kind : {"model", "blind"}
        Colour: the model's is ink, blind things are violet.
    """
    if not (known(value) and known(low) and known(high)):
        return ""
    x = [4 + 124 * float(v) for v in (value, low, high)]  # type: ignore[arg-type]
    return (
        f'<svg class="interval {kind}" viewBox="0 0 132 20" aria-hidden="true"><line class="base" x1="4" '
        f'x2="128" y1="10" y2="10"/>'
        f'<line class="chance" x1="66" x2="66" y1="2" y2="18"/><line class="whisker" x1="{x[1]:.1f}" '
        f'x2="{x[2]:.1f}" y1="10" y2="10"/>'
        f'<circle class="value" cx="{x[0]:.1f}" cy="10" r="4"/></svg>'
    )


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
