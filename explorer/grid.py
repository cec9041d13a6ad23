"""The Conditions page: scored text by audio condition, and what that allows to say."""

from __future__ import annotations

from html import escape
from typing import Any

from explorer.catalog import CAPTIONS, FITS, TRANSCRIPTS, Catalog, Words, input_key, input_label, scored_texts
from explorer.parts import SECTIONS, auc, choices, known, link, shade
from precompute.claims import EXPLANATIONS

COLLAPSED = 0.55
"""A row has collapsed where the upper bound of its AUC lies below this (method.md, phase 3)."""

SPOKEN = ("original", "resynthesis")
"""Conditions with something to take in, where what the target writes can be right or wrong."""

BINDING = ("silence_fixed", "noise_fixed", "resynthesis")


UNREAD = {
    TRANSCRIPTS: "Word error: members / non-members. “Cannot read” means that the target gets more than 80% of "
    "non-members’ words wrong in this audio, so that its own text says nothing about memory there.",
    CAPTIONS: "“Own caption nearer” is how often what the target writes for a non-member has fewer word errors against "
    "that clip’s caption than against another non-member’s; one half is chance. Where the interval reaches it the "
    "target “cannot make out” this audio, and its own text says nothing about memory there.",
}
"""What is said below a grid of what the target cannot take in."""


def page(catalog: Catalog) -> str:
    """HTML of the page without a grid: the script asks for the one of the choices in the address."""
    options = {
        "dataset": ("Dataset", [(d["name"], catalog.label(d["name"])) for d in catalog.datasets]),
        "target": ("Target", [(t["id"], t["id"]) for t in catalog.targets]),
        "fit": ("Attack", [(name, label) for name, (label, _) in FITS.items()]),
    }
    return (
        '<div class="page"><h1>What does the score hang on: sound, words, or length?</h1>'
        '<p class="text">Each column swaps the audio, each row scores another text. Shade is the distance from '
        "0.5, which is chance. "
        "Choose a cell to hear its clips.</p>"
        f"{choices(options)}{SECTIONS}</div>"
    )


def section(catalog: Catalog, dataset: str, target: str, fit: str) -> str:
    """HTML of one grid; nothing for a pair that was not run.

    Parameters
    ----------
    catalog : Catalog
    dataset, target : str
    fit : str
        Key of `FITS`.
    """
    if (dataset, target) not in catalog.pairs:
        return ""
    cells, words = cells_of(catalog, dataset, target, fit), catalog.words(dataset)
    conditions = [c for c in catalog.bundle.audit["conditions"] if any(key[1] == c["name"] for key in cells)]
    head = "".join(
        f'<th scope="col" title="{escape(c["description"])}">{escape(input_label(c["name"], 0, 1, words))}</th>'
        for c in conditions
    )
    body = "".join(
        f'<tr><th scope="row" title="{escape(why)}">{escape(label)}<span class="under">{escape(why)}</span></th>'
        + "".join(_cell(cells.get((text, c["name"])), c, dataset, target, text, fit, words) for c in conditions)
        + "</tr>"
        for text, (label, why) in scored_texts(words).items()
    )
    return (
        "<section data-grid>"
        f"{_claims(catalog, dataset, target) or _meaning(cells, _blind(catalog, dataset, target), words)}"
        f'<div class="scroll"><table class="grid-table"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f'<p class="muted small text">{escape(FITS[fit][1])} Intervals are 95%; ± is the standard deviation '
        f"over {words.others}. {UNREAD[words]}</p></section>"
    )


def _claims(catalog: Catalog, dataset: str, target: str) -> str:
    """Sentences that the audit stands by, each with what it means; empty for a bundle made before there were any."""
    rows = [r for r in catalog.bundle.results.get("claims", []) if (r["dataset"], r["target"]) == (dataset, target)]
    return "".join(
        f'<p class="lead">{escape(r["sentence"][:1].upper() + r["sentence"][1:])}</p>'
        f'<p class="muted small text">{escape(EXPLANATIONS.get(r["claim"], ""))}</p>'
        for r in rows
    )


def _meaning(cells: dict[tuple[str, str], dict[str, Any]], blind: dict[str, Any], words: Words) -> str:
    return f'<p class="lead">{escape(meaning(cells, blind, words))}</p>'


def _blind(catalog: Catalog, dataset: str, target: str) -> dict[str, Any]:
    """Strongest blind AUC, as the verdict of the pair names it."""
    row = catalog.verdicts.get((dataset, target), {})
    return {"auc": row.get("blind_auc"), "auc_low": row.get("blind_low"), "auc_high": row.get("blind_high")}


def cells_of(catalog: Catalog, dataset: str, target: str, fit: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of the grid by (scored text, condition); the original's own text serves as its carried text."""
    found = {
        (row["scored_text"], row["condition"]): row
        for row in catalog.bundle.results["conditions"]
        if (row["dataset"], row["target"], row["fit"]) == (dataset, target, fit)
    }
    if ("generated", "original") in found:
        found.setdefault(("carried", "original"), found["generated", "original"])
    return found


def _cell(
    row: dict[str, Any] | None,
    condition: dict[str, Any],
    dataset: str,
    target: str,
    text: str,
    fit: str,
    words: Words,
) -> str:
    if not row or not known(row.get("auc")):
        return '<td class="blank">not scored</td>'
    strength, tone = shade(row["auc"])
    address = link(
        "/dataset",
        **{"dataset": dataset, "target": target, "text": text, "fit": fit},
        condition=input_key(condition["name"], 0, condition["realizations"]),
    )
    lines = [f"[{row['auc_low']:.2f}, {row['auc_high']:.2f}]" if known(row.get("auc_low")) else ""]
    values = [f"{value:.2f}" for value in row.get("realizations") or [] if known(value)]
    if known(row.get("sd")):
        lines.append(f"± {row['sd']:.2f} ({', '.join(values)})")
    if condition["name"] in SPOKEN:
        lines.append(taken_in(row))
    if row.get("readable") is False and text != "reference":
        lines.append(f"{words.unread} {'this audio' if condition['name'] in SPOKEN else 'the original'}")
    title = (
        f"{input_label(condition['name'], 0, 1, words)}, {scored_texts(words)[text][0]}: AUC {auc(row)}, "
        f"{row['n_member']} members, {row['n_non_member']} non-members, {row.get('method', '')}."
    )
    return (
        f'<td class="cell" style="--shade:{strength};--tone:{tone}" title="{escape(title)}"><a href="{address}">'
        f"<strong>{row['auc']:.2f}</strong>"
        f'<span class="under">{"<br>".join(line for line in lines if line)}</span></a></td>'
    )


def taken_in(row: dict[str, Any]) -> str:
    """Say how right what the target wrote is: of captions how often its own is nearest, else the word error.

    Parameters
    ----------
    row : dict
        Of `conditions`.

    Returns
    -------
    str
        Empty where neither is known.
    """
    if known(row.get("own_caption")):
        limits = f"[{100 * row['own_caption_low']:.0f}, {100 * row['own_caption_high']:.0f}]"
        return f"own caption nearer {100 * row['own_caption']:.0f}% {limits}"
    if known(row.get("wer_non_member")):
        return f"word error {100 * row['wer_member']:.0f}% / {100 * row['wer_non_member']:.0f}%"
    return ""


def meaning(
    cells: dict[tuple[str, str], dict[str, Any]], blind: dict[str, Any] | None = None, words: Words = TRANSCRIPTS
) -> str:
    """Say what the grid shows, claiming only what a row could have contradicted.

    Parameters
    ----------
    cells : dict
        As from `cells_of`.
    blind : dict or None
        Strongest blind AUC of the dataset: `auc`, `auc_low`, `auc_high`.
    words : Words
        Of the dataset.

    Returns
    -------
    str
        Binding to the voice is claimed only where there is something to collapse, the target reads the audio, and the
        reference row, which could have shown memory of the words alone, collapses too.
    """
    original = cells.get(("generated", "original"))
    if not original or not known(original.get("auc_low")):
        return "The original audio was not scored here, so there is nothing to compare with."
    reference = [cells[key] for name in BINDING if (key := ("reference", name)) in cells]
    start = f"With the original audio the AUC is {auc(original)}"
    if original["auc_low"] <= 0.5:
        return (
            f"Nothing to collapse: {start[0].lower()}{start[1:]}, which does not lie above chance, so the other "
            f"columns "
            f"cannot show what a memory hangs on. {_known_text(cells, words)}"
        ).strip()
    if blind and known(blind.get("auc_high")) and original["auc_low"] <= blind["auc_high"]:
        return (
            f"{start}, not clearly above the {auc(blind)} that blind features reach, so a change across the "
            f"columns may "
            "be one of the shift between the lists and not of a memory."
        )
    return f"{start}. {_binding(cells, reference, words)}"


def _known_text(cells: dict[tuple[str, str], dict[str, Any]], words: Words) -> str:
    """Say where the reference row separates the classes although the model's own text does not."""
    row = cells.get(("reference", "original"))
    if not row or not known(row.get("auc_low")) or row["auc_low"] <= 0.5:
        return ""
    return f"On the known {words.text}, a stronger setting, the classes do separate: {auc(row)}."


def _binding(cells: dict[tuple[str, str], dict[str, Any]], reference: list[dict[str, Any]], words: Words) -> str:
    """Say what the reference row allows, given that there is something to collapse."""
    if not reference:
        return (
            f"The known {words.text} was not scored, so this grid cannot tell a bound {words.source} from a known text."
        )
    strongest = max(reference, key=lambda row: row["auc"])
    where = input_label(strongest["condition"], 0, 1, words)
    if strongest["auc_low"] > 0.5:
        return (
            f"The text itself is known: on the {words.text} the score still separates the classes under {where} "
            f"({auc(strongest)}), so a collapse in the rows above does not mean that the memory is bound to the "
            f"{words.source}."
        )
    if any((row := cells.get(("generated", name))) and row.get("readable") is False for name in SPOKEN):
        return (
            f"This target {words.unread} the original or {words.other}, so a collapse of its own text says nothing "
            "about what the memory hangs on."
        )
    if all(known(row.get("auc_high")) and row["auc_high"] < COLLAPSED for row in reference):
        return (
            f"Without the recording nothing is left, not even on the known {words.text} (at most "
            f"{strongest['auc_high']:.2f} under {where}): consistent with memory bound to the recording."
        )
    return (
        f"The {words.text} row could still hide a memory of the words (up to {strongest['auc_high']:.2f} under "
        f"{where}), so no claim of binding is made."
    )
