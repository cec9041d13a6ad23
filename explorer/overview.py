"""The Overview page: every dataset and target on one line each, with verdict and truth."""

from __future__ import annotations

from html import escape
from typing import Any

from explorer.catalog import CAPTIONS, Catalog, family_label, said
from explorer.parts import badge, known, link, p_value, shade, table, with_bar
from explorer.terms import term
from precompute.published import table1, table2

LEAD = (
    "A membership score says how sure a model seems of a clip, as if it had met it before. "
    "This page shows, for each dataset and model, whether that score finds training data or only finds that the two "
    "lists of clips differ."
)


TRUTHS = {
    (True, False): "the target was trained on the members",
    (False, True): "the target was trained on the non-members",
    (False, False): "the target was trained on neither class",
    (True, True): "the target was trained on both classes",
}
"""What a target was trained on, (members, non-members), in words."""


def overview(catalog: Catalog) -> str:
    """HTML of the page above the tabs: two sentences, verdicts, and what the audio is."""
    partial = f'<p class="strip">{escape(catalog.partial)}</p>' if catalog.partial else ""
    return (
        '<div class="page"><h1 class="hero">Was this audio in that model’s training data?</h1>'
        f'<p class="lead">{LEAD}</p>{partial}{verdict_table(catalog)}{tested(catalog)}{legend(catalog)}</div>'
    )


def verdict_table(catalog: Catalog) -> str:
    """One row per dataset and target, with interval bars in the cells."""
    rows = [
        _verdict_row(catalog, dataset, catalog.targets[t])
        for dataset in catalog.datasets
        for t in catalog.targets_of(dataset["name"])
    ]
    head = (
        "dataset and target",
        "members + non-members",
        term("membership AUC"),
        term("blind AUC"),
        term("adjusted AUC"),
        "verdict",
        "planted truth",
    )
    return table(
        head,
        rows,
        "AUC from 0 to 1 with its 95% interval; the dashed line is chance. Choose a row to see and hear its clips.",
        "rows",
    )


def _verdict_row(catalog: Catalog, dataset: dict[str, Any], target: dict[str, Any]) -> list[str]:
    row = catalog.verdicts.get((dataset["name"], target["id"]), {})
    address = link("/dataset", dataset=dataset["name"], target=target["id"])
    blind = {"auc": row.get("blind_auc"), "auc_low": row.get("blind_low"), "auc_high": row.get("blind_high")}
    family = family_label(row.get("blind_family") or "", catalog.words(dataset["name"]))
    n = f"{row.get('n_member', dataset['n_member'])} + {row.get('n_non_member', dataset['n_non_member'])}"
    return [
        f'<a href="{address}"><strong>{escape(catalog.title(dataset["name"]))}</strong></a>'
        f'<span class="under">{escape(dataset["name"])}<br>{escape(target["id"])}</span>',
        f'<span class="numbers">{n}</span>',
        with_bar(row, "model"),
        with_bar(blind, "blind", extra=f" {escape(family)}"),
        _adjusted(row),
        badge(row.get("verdict")) + _small(_in_short(row)),
        escape(_truth(dataset, row)),
    ]


def _adjusted(row: dict[str, Any]) -> str:
    """Shift-adjusted AUC with its interval; a word where the bundle has none."""
    value = {"auc": row.get("adjusted_auc"), "auc_low": row.get("adjusted_low"), "auc_high": row.get("adjusted_high")}
    return with_bar(value, "adjusted") if known(value["auc"]) else '<span class="muted">not adjusted</span>'


def _in_short(row: dict[str, Any]) -> str:
    """Give the two numbers that a verdict turns on; the sentence itself stands on the Evidence page."""
    if not known(row.get("p_holm")):
        return escape(said(row))
    sees = f"; would see {row['detectable']:.2f} or more" if known(row.get("detectable")) else ""
    return f"p {'' if row['p_holm'] < 0.001 else '= '}{p_value(row['p_holm'])}{sees}"


def tested(catalog: Catalog) -> str:
    """Say what is tested and how, one click away from the verdicts."""
    rows = [row for row in catalog.rows("verdicts") if known(row.get("p_holm"))]
    if not rows:
        return ""
    draws = sorted(row["draws"] for row in rows)
    said = (
        f"One test per row, of the {term('adjusted AUC')}: members and non-members are weighted until length, sound "
        f"and wording no longer tell them apart ({term('overlap weights')}), and the attack is fitted again under "
        f"these weights. Its {term('p')} comes from labels drawn by the clips’ own properties, {draws[0]} to "
        f"{draws[-1]} times, attack and weights refitted each time; drawing stops early where there is clearly "
        f"nothing. The p shown is corrected over all {rows[0]['tests']} rows ({term('Holm')}). “Would see”: the "
        f"{term('detectable AUC')}."
    )
    return (
        f'<details class="text"><summary>What is tested here, and how</summary><p>{said}</p><p>The Evidence page has '
        "the questions behind each verdict, its controls, and what would change it; the Method page has the decision "
        "as a picture, and how often it is wrong where the truth is known.</p></details>"
    )


def _small(text: str) -> str:
    return f'<span class="under">{text}</span>'


def _truth(dataset: dict[str, Any], row: dict[str, Any]) -> str:
    """Say what is true of this very pair, which depends on what the target was trained on."""
    trained = (row.get("trained_members"), row.get("trained_non_members"))
    if trained in TRUTHS:
        return TRUTHS[trained]
    return str(row.get("truth") or dataset.get("truth") or "not known")


def legend(catalog: Catalog) -> str:
    """Say in a few words what kind of sound and of targets these are."""
    if any(d["name"].startswith("synthetic-") for d in catalog.datasets):
        sound = "These datasets are synthetic: sound and scores were invented to try the page out."
    else:
        captioned = [d for d in catalog.datasets if catalog.words(d["name"]) == CAPTIONS]
        made = [d["name"] for d in captioned if "SYNTHETIC" in d.get("title", "")]
        parts = ["Recorded speech is real"] if len(captioned) < len(catalog.datasets) else []
        parts += [f"the sounds of {' and '.join(made)} are SYNTHETIC and so are their captions"] if made else []
        parts.append("what stands in for a clip (resynthesis, silence, noise) is made by rule and called so")
        sound = "; ".join(parts) + "."
        sound = sound[0].upper() + sound[1:]
    return (
        f'<p class="muted small text">{sound} An <em>embedded</em> target is a small model of a real '
        f"architecture, trained here on "
        "known clips, so that the truth is known. <em>Planted truth</em> is what was done on purpose; the audit "
        "never sees it.</p>"
    )


def heatmaps(catalog: Catalog) -> str:
    """Cross-dataset heatmap of every target: membership on the diagonal, domain off it."""
    rows = catalog.bundle.results["heatmap"]
    names = [dataset["name"] for dataset in catalog.datasets]
    grids = "".join(_heatmap(catalog, target["id"], names, rows) for target in catalog.targets)
    return (
        '<div class="page"><h2>Does the score find memory, or only another dataset?</h2>'
        '<p class="text">On the diagonal, members of a dataset against its own non-members. Off it, members of '
        "one dataset "
        "against members of another: there is no membership to find there, so a value far from 0.5 means that the "
        f"indicators tell datasets apart.</p>{grids or _nothing()}</div>"
    )


def _nothing() -> str:
    return '<p class="note">This bundle holds no heatmap.</p>'


def _heatmap(catalog: Catalog, target: str, names: list[str], rows: list[dict[str, Any]]) -> str:
    cells = {(row["row"], row["column"]): row for row in rows if row["target"] == target}
    if not cells:
        return ""
    head = "".join(f'<th scope="col">{escape(catalog.title(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(catalog.title(a))}</th>'
        + "".join(_heat_cell(cells.get((a, b))) for b in names)
        + "</tr>"
        for a in names
    )
    return (
        f'<h3>{escape(target)}</h3><div class="scroll"><table class="grid-table"><thead><tr><td></td>{head}</tr>'
        f"</thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _heat_cell(row: dict[str, Any] | None) -> str:
    if not row or not known(row.get("auc")):
        reason = escape(str((row or {}).get("reason") or "this pair was not run"))
        return f'<td class="blank"><span class="under">not measured: {reason}</span></td>'
    strength, tone = shade(row["auc"])
    kind = "membership" if row["kind"] == "membership" else "domain"
    return (
        f'<td class="cell {kind}" style="--shade:{strength};--tone:{tone}"><strong>{row["auc"]:.2f}</strong>'
        f'<span class="under">[{row["auc_low"]:.2f}, {row["auc_high"]:.2f}]<br>{kind}, {row["n_row"]} + '
        f"{row['n_column']}</span></td>"
    )


def published() -> str:
    """Give the paper's two tables as published."""
    return (
        '<div class="page"><h2>What the paper reports</h2>'
        '<p class="text">Membership Inference Attacks against Large Audio Language Models, arXiv 2603.28378v2. '
        "Its 8B targets and its "
        "corpora, for comparison: none of these values was measured here. r is the Pearson correlation of "
        "membership and "
        f"blind scores.</p>{_table1(table1())}{_table2(table2())}</div>"
    )


def _table1(published_rows: list[dict[str, Any]]) -> str:
    found = {(row["dataset"], row["model"], row["quantity"]): row for row in published_rows}
    rows = [
        [escape(dataset), escape(model), f"{found[dataset, model, 'attack']['auc']:.3f}"]
        + [_with_r(found.get((dataset, model, family))) for family in ("metadata", "text", "acoustic")]
        for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in published_rows)
    ]
    head = ("dataset", "target", "membership AUC", "metadata", "text", "acoustic")
    return "<h3>Table 1: membership AUC beside blind AUC</h3>" + table(head, rows)


def _with_r(row: dict[str, Any] | None) -> str:
    return f"{row['auc']:.3f}" + _small(f"r {row['r']:.2f}") if row else "not reported"


def _table2(published_rows: list[dict[str, Any]]) -> str:
    conditions = ("original", "silence", "noise", "resynthesis")
    found = {(row["dataset"], row["model"], row["condition"]): row for row in published_rows}
    rows = [
        [escape(dataset), escape(model), *(_with_sd(found.get((dataset, model, name))) for name in conditions)]
        for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in published_rows)
    ]
    return "<h3>Table 2: membership AUC by audio condition</h3>" + table(("dataset", "target", *conditions), rows)


def _with_sd(row: dict[str, Any] | None) -> str:
    if not row:
        return "not reported"
    return f"{row['auc']:.3f}" + (f" ± {row['sd']:.3f}" if row["sd"] is not None else "")
