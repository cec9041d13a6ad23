"""The Evidence page: how a verdict was reached, number by number, and what would change it."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from explorer.catalog import TRANSCRIPTS, Catalog, Words, family_label, said
from explorer.columns import Columns
from explorer.parts import SECTIONS, auc, badge, choices, facts, interval_bar, known, link, p_value, table, with_bar
from explorer.terms import explained, term
from precompute.indicators import EXPLANATIONS
from precompute.statistics.roc import roc_curve
from precompute.verdicts import LEAK, REVERSED

CURVE_POINTS = 120
STRIPS_SHOWN = 6
LEVEL = 0.05
COMPARED = {
    "metadata.duration_s": ("Members are longer", "Members are shorter"),
    "metadata.file_size": ("Members’ files are larger", "Members’ files are smaller"),
    "metadata.word_count": ("Members have more words", "Members have fewer words"),
    "metadata.character_count": ("Members’ {text}s are longer", "Members’ {text}s are shorter"),
}
"""Property to how its difference is said, upwards and downwards; ``{text}`` as in `explorer.catalog.TEXTS`."""


def page(catalog: Catalog) -> str:
    """HTML of the page without the evidence itself: the script asks for that of the pair in the address."""
    options = {
        "dataset": ("Dataset", [(d["name"], catalog.label(d["name"])) for d in catalog.datasets]),
        "target": ("Target", [(t["id"], t["id"]) for t in catalog.targets]),
    }
    return (
        '<div class="page"><h1>Why this verdict, and does it survive a sceptic?</h1>'
        '<p class="text">Every question the audit asked of this dataset and target, in order, with the number that '
        f"answered it.</p>{choices(options)}{SECTIONS}</div>"
    )


def section(catalog: Catalog, columns: Columns, d: int, t: int) -> str:
    """HTML of one pair's evidence, and of what its dataset shows by itself; nothing for a pair that was not run.

    Parameters
    ----------
    catalog : Catalog
    columns : Columns
        For the curves.
    d, t : int
        Numbers of dataset and target.
    """
    if t not in catalog.targets_of(_name(catalog, d)):
        return ""
    return f"{_pair(catalog, columns, d, t)}<section>{separation(catalog, d)}{overlap(catalog, d)}</section>"


def _name(catalog: Catalog, dataset: int) -> str:
    return str(catalog.datasets[dataset]["name"])


def _pair(catalog: Catalog, columns: Columns, d: int, t: int) -> str:
    """Everything about one dataset and target."""
    name, target = _name(catalog, d), catalog.targets[t]["id"]
    row = catalog.verdicts.get((name, target), {})
    address = link("/dataset", dataset=name, target=target)
    return (
        "<section data-grid>"
        f'<p class="lead">{badge(row.get("verdict"))} {escape(said(row))}</p>'
        f'<p><a href="{address}">See and hear its clips, and matched pairs of them</a></p>'
        f'<div class="pair"><div>{steps(row)}{changes(row)}</div>{curves(catalog, columns, d, t)}</div>'
        f"{numbers(row)}{controls(catalog, name, target)}{charts(catalog, name, target)}</section>"
    )


def steps(row: dict[str, Any]) -> str:
    """List the questions of the decision, up to the one that settled it."""
    found = row.get("steps") or []
    if not found:
        return f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in row.get('reasons') or [])}</ul>"
    items = "".join(
        f'<li class="{"yes" if step["answer"] else "no"}"><strong>{escape(step["question"])}</strong> '
        f'<span class="answer">{"yes" if step["answer"] else "no"}</span>'
        f'<span class="under">{escape(step["because"])}</span></li>'
        for step in found
    )
    phase1 = f'<p class="text">{badge(row.get("phase1"))} {escape(row.get("phase1_sentence") or "")}</p>'
    return f'<h2>How it was decided</h2>{phase1}<ol class="steps">{items}</ol><p>So: {badge(row["verdict"])}</p>'


def changes(row: dict[str, Any]) -> str:
    """Say what would change the verdict."""
    found = row.get("changes") or []
    if not found:
        return ""
    return f"<h2>What would change it</h2><ul class='text'>{''.join(f'<li>{escape(item)}</li>' for item in found)}</ul>"


def curves(catalog: Catalog, columns: Columns, d: int, t: int) -> str:
    """Draw raw, blind and adjusted ROC together."""
    row = catalog.verdicts.get((_name(catalog, d), catalog.targets[t]["id"]), {})
    scored = columns.rows(d, t, 0, "generated")
    if scored is None or not known(row.get("adjusted_auc")) or "mia_score_adjusted" not in scored:
        return ""
    labels = columns.clips[d]["label"].to_numpy()
    weights = columns.weights(d)
    family = row.get("blind_family")
    found = [
        ("raw", "model", scored["mia_score"].to_numpy(float), None, auc(row)),
        ("adjusted", "adjusted", scored["mia_score_adjusted"].to_numpy(float), weights, auc(_adjusted(row))),
    ]
    if family in catalog.families:
        blind = {"auc": row.get("blind_auc"), "auc_low": row.get("blind_low"), "auc_high": row.get("blind_high")}
        label = f"blind, {family_label(family, catalog.words(_name(catalog, d)))}"
        found.append((label, "blind", columns.blind_column(d, family), None, auc(blind)))
    lines, notes = "", ""
    for label, kind, score, weight, value in found:
        path = _path(labels, score, weight)
        lines += f'<path class="curve {kind}" d="{path}"><title>{escape(label)} {value}</title></path>'
        notes += f'<span><span class="mark line {kind}"></span>{escape(label)} {value}</span>'
    ticks = "".join(
        f'<text x="{40 + 280 * v:.0f}" y="318" text-anchor="middle">{v:g}</text>'
        f'<text x="34" y="{294 - 280 * v:.0f}" text-anchor="end">{v:g}</text>'
        for v in (0, 0.5, 1)
    )
    title = _finding(row)
    return (
        f'<figure class="card"><figcaption><strong>{escape(title)}</strong></figcaption>'
        f'<svg class="rocs" viewBox="0 0 340 336" role="img" aria-label="{escape(title)}">'
        '<rect x="40" y="10" width="280" height="280" fill="none" class="grid"/>'
        f'<line class="chance" x1="40" y1="290" x2="320" y2="10"/>{ticks}{lines}'
        '<text x="180" y="330" text-anchor="middle">non-members wrongly flagged</text></svg>'
        f'<p class="legend muted rocs-legend">{notes}</p>'
        '<p class="muted small">Upwards: members caught. AUC with its 95% interval.</p>'
        "</figure>"
    )


def _adjusted(row: dict[str, Any]) -> dict[str, Any]:
    return {"auc": row.get("adjusted_auc"), "auc_low": row.get("adjusted_low"), "auc_high": row.get("adjusted_high")}


def _finding(row: dict[str, Any]) -> str:
    """Say in a title what the curves show."""
    low, value, raw = (row.get(name) for name in ("adjusted_low", "adjusted_auc", "auc"))
    if not (known(low) and known(value) and known(raw)):
        return "Raw, adjusted and blind"
    if low > 0.5 or row.get("verdict") in (LEAK, REVERSED):  # type: ignore[operator]
        return "The classes stay apart once what reaches the model is balanced"
    if raw - value > 0.05:  # type: ignore[operator]
        return "What the raw score sees goes with the difference between the lists"
    return "Neither score is clearly above chance"


def _path(labels: np.ndarray, score: np.ndarray, weights: np.ndarray | None) -> str:
    """SVG path of a (weighted) ROC curve, at most `CURVE_POINTS` points."""
    usable = np.isfinite(score)
    labels, score = labels[usable] == 1, score[usable]
    if weights is None:
        false, true, _ = roc_curve(labels.astype(int), score)
    else:
        order = np.argsort(-score, kind="stable")
        w, y = weights[usable][order], labels[order]
        last = np.r_[np.diff(score[order]) != 0, True]  # ties move together
        false, true = (np.r_[0.0, np.cumsum(w * part)[last]] for part in (~y, y))
        false, true = false / false[-1], true / true[-1]
    kept = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).round().astype(int))
    points = (f"{40 + 280 * x:.1f} {290 - 280 * y:.1f}" for x, y in zip(false[kept], true[kept], strict=True))
    return "M" + "L".join(points)


LOW_RATES = (("0.01", "TPR at 1% FPR"), ("0.001", "TPR at 0.1% FPR"))


def numbers(row: dict[str, Any]) -> str:
    """Further numbers of a verdict, each with what it means."""
    if not known(row.get("adjusted_auc")):
        return ""
    lost = f"{row.get('excluded_member', 0)} members, {row.get('excluded_non_member', 0)} non-members"
    uneven = f", Fisher p {_is(row.get('excluded_p'))}" if known(row.get("excluded_p")) else ""
    sees = f"{row['detectable']:.2f} or more" if known(row.get("detectable")) else "not known"
    rows = [
        (term("adjusted AUC"), auc(_adjusted(row))),
        (term("p"), f"{p_value(row.get('p'))} ({row.get('draws')} label draws)"),
        (term("Holm", "p after Holm"), f"{p_value(row.get('p_holm'))} (over {row.get('tests')} verdicts)"),
        (term("detectable AUC"), sees),
        *((term(name), low_rate(row, rate)) for rate, name in LOW_RATES),
        (term("added over blind"), _gain(row)),
        (term("without a score"), lost + uneven),
    ]
    return f"<h2>In numbers</h2>{facts(rows)}"


def low_rate(row: dict[str, Any], rate: str) -> str:
    """Share of members caught at a low false-positive rate, or how many non-members that would take.

    Parameters
    ----------
    row : dict
        Of `verdicts`.
    rate : str
        ``0.01`` or ``0.001``.
    """
    value, needs = row.get(f"tpr_at_{rate}"), row.get(f"tpr_at_{rate}_needs")
    if known(value) and value is not None:
        low, high = row[f"tpr_at_{rate}_low"], row[f"tpr_at_{rate}_high"]
        return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
    return f"needs {needs:,} non-members, there are {row['n_non_member']:,}" if needs else "not known"


def _gain(row: dict[str, Any]) -> str:
    """Gain in AUC over the joint blind score, and the test of it."""
    if not known(row.get("added_gain")):
        return "not known"
    limits = f"[{row['added_gain_low']:+.2f}, {row['added_gain_high']:+.2f}]"
    return f"{row['added_gain']:+.2f} {limits} in AUC, p {_is(row.get('added_p'))}"


def _is(p: float | None) -> str:
    """``= 0.012`` or ``below 0.001``, to stand after a p."""
    return p_value(p) if p is not None and p < 0.001 else f"= {p_value(p)}"


def controls(catalog: Catalog, dataset: str, target: str) -> str:
    """Attacks where there is nothing to find, and beside a target that never met the members."""
    pair, body = {"dataset": dataset, "target": target}, ""
    chosen = [row for row in catalog.rows("controls") if pair.items() <= row.items()]
    if chosen:
        every = catalog.rows("controls")
        lost = sum(not row["held"] for row in every)
        note = (
            f"Of the {len(every)} controls of this bundle {lost} did not hold; by chance alone one in twenty does not."
        )
        rows = [
            [
                escape(row["control"]),
                with_bar(row, "model"),
                "held" if row["held"] else "<strong>not held</strong>",
                escape(row["method"]),
            ]
            for row in chosen
        ]
        body += f"<h2>{term('controls', 'Controls')}</h2>{table(('attack', 'AUC', '0.5 inside?', 'how'), rows, note)}"
    other = [row for row in catalog.rows("reference") if pair.items() <= row.items()]
    if other:
        rows = [[escape(r["kind"]), with_bar(r, "adjusted"), p_value(r.get("p"))] for r in other]
        title = f"{term('reference target', 'Beside the reference target')} {escape(other[0]['reference'])}"
        body += f"<h3>{title}</h3>{table(('what is attacked', 'adjusted AUC', 'p'), rows)}"
    wanted = ("blind features", f"attack on {target}")
    grouped = [r for r in catalog.rows("grouping") if r["dataset"] == dataset and r["features"] in wanted]
    if grouped:
        rows = [
            [escape(r["features"]), str(r["groups"]), f"{r['auc_random']:.2f}", f"{r['auc_grouped']:.2f}"]
            for r in grouped
        ]
        head = ("features", "groups", "random folds", "grouped folds")
        body += f"<h3>Random folds and folds that keep groups whole</h3>{table(head, rows)}"
    return body


def charts(catalog: Catalog, dataset: str, target: str) -> str:
    """Correlation with the blind scores, and every indicator by itself."""
    pair = {"dataset": dataset, "target": target}
    related = [r for r in catalog.rows("correlation") if pair.items() <= r.items() and known(r["pearson"])]
    single = {(r["scored_text"], r["indicator"]): r for r in catalog.rows("indicators") if pair.items() <= r.items()}
    words = catalog.words(dataset)
    return _families(related, words) + _indicators(single, words)


def _families(related: list[dict[str, Any]], words: Words) -> str:
    """How each blind family goes with the membership score, over all clips and within class."""
    if not related:
        return ""
    rows = [
        [escape(family_label(r["family"], words)), _correlation(r, "pearson"), _correlation(r, "within")]
        for r in related
    ]
    note = (
        "From -1 to 1. The paper reads a positive pooled r beside a high blind AUC as a score that follows the shift; "
        "two scores that only share the class difference go together over all clips and not within a class."
    )
    head = ("blind features", term("pooled r"), term("within-class r"))
    return f"<details><summary>Correlation with the blind scores</summary>{table(head, rows, note)}</details>"


def _correlation(row: dict[str, Any], name: str) -> str:
    """Draw a correlation with its interval, and print it."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if not known(value):
        return '<span class="under">not measured</span>'
    limits = f" [{low:+.2f}, {high:+.2f}]" if known(low) and known(high) else ""
    return f'{interval_bar(value, low, high, "model", (-1.0, 1.0), 0.0)}<span class="under">{value:+.2f}{limits}</span>'


def _indicators(single: dict[tuple[str, str], dict[str, Any]], words: Words) -> str:
    """Each indicator alone, the clearest first: on the target's own text, and on the known one."""
    own = [row for (text, _), row in single.items() if text == "generated" and known(row["auc"])]
    if not own:
        return ""
    names = [row["indicator"] for row in sorted(own, key=lambda row: -row["auc"])]
    rows = [
        [
            explained(f"<code>{escape(name)}</code>", EXPLANATIONS.get(name, name)),
            *(_indicator(single.get((text, name))) for text in ("generated", "reference")),
        ]
        for name in names
    ]
    clear = sum(_clear(row) for row in own)
    note = f"Sign fixed beforehand: above 0.5 is surer of members. Filled: {term('q')} below 0.05, over both texts."
    return (
        f"<details><summary>{clear} of {len(own)} indicators separate the classes by themselves</summary>"
        f"{table(('indicator', 'on its own text', f'on the known {words.text}'), rows, note, 'dense')}</details>"
    )


def _clear(row: dict[str, Any]) -> bool:
    """Whether a difference holds after looking at all of them."""
    return not known(row.get("q")) or row["q"] < LEVEL


def _indicator(row: dict[str, Any] | None) -> str:
    if not row or not known(row["auc"]):
        return '<span class="under">not measured</span>'
    bar = interval_bar(row["auc"], row["auc_low"], row["auc_high"], "model" if _clear(row) else "model open")
    return f'<span class="one-line">{bar}<span class="numbers small">{auc(row)}</span></span>'


def separation(catalog: Catalog, d: int) -> str:
    """Say which property separates the classes without the model, in words and as a picture."""
    rows = [row for row in catalog.rows("properties") if row["dataset"] == _name(catalog, d)]
    if not rows:
        return ""
    words = catalog.words(_name(catalog, d))
    rows = [{**row, "words": row["words"].replace(TRANSCRIPTS.text, words.text)} for row in rows]
    strips = "".join(_strip(row) for row in ([row for row in rows if row["q"] < LEVEL] or rows)[:STRIPS_SHOWN])
    return (
        f"<h2>{escape(difference(rows, words))}</h2><p class='muted small text'>What tells the classes apart without "
        "the model, one property at a time: middle half of the clips as a bar, 5% to 95% as a line, the median as a "
        f"dot; members above. AUC: how often a member has more of it; {term('q')} over all properties.</p>"
        f"<div class='strips'>{strips}</div>"
    )


def difference(rows: list[dict[str, Any]], words: Words = TRANSCRIPTS) -> str:
    """Say the clearest difference with both medians, or that there is none.

    Parameters
    ----------
    rows : list of dict
        Of `properties`, the clearest first.
    words : Words
        Of the dataset.

    Returns
    -------
    str
    """
    row = next((row for row in rows if row["q"] < LEVEL), None)
    if row is None:
        return "No single property separates the classes after correction"
    medians = f"{amount(row, 'member')} against {amount(row, 'non_member')} (median)"
    up = row["auc"] >= 0.5
    if row["property"] in COMPARED:
        return f"{COMPARED[row['property']][0 if up else 1].format(text=words.text)}: {medians}"
    return f"Members have {'more' if up else 'less'} of this: {row['words']}, {medians}"


def amount(row: dict[str, Any], which: str, at: int = 2) -> str:
    """Print one quantile with its unit and the digits that count: ``3.12 s``, ``31,200 bytes``."""
    medians = [row[f"{name}_quantiles"][2] for name in ("member", "non_member")]
    digits = 5 if len({f"{value:.3g}" for value in medians}) < len(set(medians)) else 3
    value = float(f"{row[f'{which}_quantiles'][at]:.{digits}g}")
    return f"{value:,.0f} {row['unit']}".strip() if abs(value) >= 1000 else f"{value:.{digits}g} {row['unit']}".strip()


def _strip(row: dict[str, Any]) -> str:
    """Quantiles of both classes on one scale."""
    ends = [
        (row[f"{which}_quantiles"][at], amount(row, which, at)) for which in ("member", "non_member") for at in (0, 4)
    ]
    (low, least), (high, most) = min(ends), max(ends)
    span = (high - low) or 1.0
    lines = ""
    for y, which in ((12, "member"), (30, "non_member")):
        x = [8 + 284 * (value - low) / span for value in row[f"{which}_quantiles"]]
        lines += (
            f'<g class="{which.replace("_", "")}"><line x1="{x[0]:.1f}" x2="{x[4]:.1f}" y1="{y}" y2="{y}"/>'
            f'<line class="half" x1="{x[1]:.1f}" x2="{x[3]:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{x[2]:.1f}" cy="{y}" r="4.5"/></g>'
        )
    label = f"{row['words']}: members {amount(row, 'member')}, non-members {amount(row, 'non_member')} (medians)"
    words = row["words"][:1].upper() + row["words"][1:]
    return (
        f'<figure class="card"><figcaption>{escape(words)}<span class="muted">{escape(amount(row, "member"))} against '
        f"{escape(amount(row, 'non_member'))}; AUC {auc(row)}, q {_is(row['q'])}</span></figcaption>"
        f'<svg viewBox="0 0 300 56" role="img" aria-label="{escape(label)}">{lines}'
        f'<text x="8" y="52">{escape(least)}</text>'
        f'<text x="292" y="52" text-anchor="end">{escape(most)}</text></svg></figure>'
    )


def overlap(catalog: Catalog, d: int) -> str:
    """Say what the adjustment had to work with, and what it left of the difference."""
    row = next((row for row in catalog.rows("adjustment") if row["dataset"] == _name(catalog, d)), None)
    if not row:
        return ""
    rows = (
        (
            term("effective sample size"),
            f"{row['effective_member']:.0f} of {row['n_member']} members, "
            f"{row['effective_non_member']:.0f} of {row['n_non_member']} non-members",
        ),
        (
            term("balance"),
            f"told apart with AUC {row['balance_before']:.2f} before, {row['balance']:.2f} after "
            f"({row['balance_expected']:.2f} expected of balanced classes)",
        ),
        (
            term("largest difference"),
            f"{row['largest_difference_before']:.2f} SD before, {row['largest_difference']:.2f} SD after",
        ),
        (term("groups and copies"), escape(row["design"])),
    )
    state = f"Not auditable: {row['lost']}." if row["lost"] else "Like can be compared with like."
    title = f"After the adjustment by {term('overlap weights')}"
    return f'<h2>{title}</h2><p class="text">{escape(state)}</p>{facts(rows)}'
