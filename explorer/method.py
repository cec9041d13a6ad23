"""The Method page: what is computed, in what order, and what each word means."""

from __future__ import annotations

from html import escape
from typing import Any

from explorer import study
from explorer.catalog import EITHER, FITS, Catalog, family_label, scored_texts
from explorer.parts import auc, badge, table
from precompute.conditions import CONDITIONS
from precompute.indicators import EXPLANATIONS, EXTRAS, INDICATORS, LABEL_ONLY
from precompute.verdicts import QUESTIONS

VERDICTS = {
    "LEAK": "The score separates the classes after what reaches the model is balanced, in the direction of memory.",
    "REVERSED": "It separates them the other way round: the lists look swapped.",
    "SHIFT ONLY": "The classes differ by themselves, the raw score follows, and nothing is left after balancing.",
    "NOT AUDITABLE": "The classes differ so much that memory cannot be told from the difference.",
    "NO LEAK SEEN": "Nothing was found; the sentence names the smallest leak that would have been found.",
    "UNDECIDED": "Too few clips or too wide intervals for any of these sentences.",
}
PHASES = {
    "CLEAN": "Every blind family’s AUC lies within 0.05 of chance, by interval, not by eye.",
    "SHIFTED": "At least one blind family tells the classes apart without the model.",
    "UNDECIDED": "The intervals allow both.",
}
STEPS = (
    ("1 Blind baselines", "features that never see the model", "Do the two lists differ by themselves?"),
    ("2 Membership score", "30 numbers from the model’s own certainty", "Is the model surer of the members?"),
    ("3 Disentanglement", "other audio, other text, same clips", "Does it hang on sound, words, or length?"),
)


def page(catalog: Catalog) -> str:
    """HTML of the page."""
    return (
        '<div class="page"><h1>How the audit works</h1>'
        '<p class="text lead">Three questions in a row. Each answer limits what the next one may claim.</p>'
        f"{picture()}{_classes()}{_verdicts()}{decision()}{study.section(study.read_study())}{_conditions(catalog)}"
        f"{_indicators()}{_blind(catalog)}{_own()}{_origin(catalog)}</div>"
    )


def picture() -> str:
    """Draw the three phases as one picture."""
    boxes = "".join(
        f'<g transform="translate({2 + 320 * i} 2)"><rect width="288" height="104" rx="8" fill="var(--raised)" '
        f'stroke="var(--line)"/>'
        f'<text class="name" x="16" y="30">{escape(name)}</text><text x="16" y="54">{escape(what)}</text>'
        f'<text class="ask" x="16" y="84">{escape(ask)}</text></g>'
        for i, (name, what, ask) in enumerate(STEPS)
    )
    arrows = "".join(
        f'<path d="M{294 + 320 * i} 54h22m-7 -6l7 6l-7 6" fill="none" stroke="var(--muted)" stroke-width="2"/>'
        for i in range(2)
    )
    said = " Then: ".join(f"{name}: {what}. {ask}" for name, what, ask in STEPS)
    return (
        f'<div class="scroll"><svg class="phases" viewBox="0 0 934 110" '
        f'style="min-width:720px;width:100%;max-width:1000px" role="img" '
        f'aria-label="{escape(said)}">{boxes}{arrows}</svg></div>'
    )


def _classes() -> str:
    return (
        '<h2>Words</h2><p class="text">A <strong>member</strong> is a clip that a list claims was in a target’s '
        "training data, a "
        "<strong>non-member</strong> one that it claims was not. A higher score is more member-like. AUC is how "
        "often a member scores "
        "higher than a non-member: 0.5 is chance, and no AUC is ever turned round after the fact. Nothing here "
        "says that one clip "
        "“was in training”; it says how many known non-members score as high.</p>"
        '<p class="text"><strong>Known limits.</strong> The attack learns any difference between the classes, '
        "whichever way round, so its direction is read from the "
        "average surprise alone. The adjustment knows what its features measure: a difference that reaches the model "
        "and that none of them sees would still look like memory.</p>"
    )


def _verdicts() -> str:
    first = [[badge(word), escape(text)] for word, text in PHASES.items()]
    last = [[badge(word), escape(text)] for word, text in VERDICTS.items()]
    return (
        f"<h2>Verdicts</h2><h3>Of phase 1, on a dataset</h3>{table(('word', 'meaning'), first)}"
        f"<h3>Of the audit, on a dataset and a target</h3>{table(('word', 'meaning'), last)}"
    )


ENDINGS = {
    "scored": ("no", "UNDECIDED"),
    "overlap": ("no", "NOT AUDITABLE"),
    "signal": ("yes: on to 4, no: on to 5", None),
    "direction": ("yes / the other way round / open", "LEAK, REVERSED, UNDECIDED"),
    "groups": ("no", "UNDECIDED"),
    "power": ("no", "UNDECIDED"),
    "shift": ("yes / no", "SHIFT ONLY, NO LEAK SEEN"),
}
"""By question: which answer ends the procedure, and in which words."""

BEFORE = {"groups": "after no in question 3"}
"""By question: what leads to it, where that is not a yes to the one before."""


def decision() -> str:
    """Draw the decision procedure: its questions in order, and where each can end."""
    items = "".join(
        f'<li data-before="{BEFORE.get(name, "yes")}"><span class="step">{number}</span><span>{escape(question)}</span>'
        f'<span class="ends">{escape(ENDINGS[name][0])} {_words(ENDINGS[name][1])}</span></li>'
        for number, (name, question) in enumerate(QUESTIONS.items(), 1)
    )
    return (
        "<h2>How a verdict is decided</h2><p class='text'>One question after the other; the first answer that ends it "
        f"gives the verdict.</p><ol class='endings'>{items}</ol>"
    )


def _words(words: str | None) -> str:
    """Badges of the verdicts in which a question can end."""
    return " ".join(badge(word) for word in words.split(", ")) if words else ""


def _conditions(catalog: Catalog) -> str:
    used = {row["name"]: row for row in catalog.bundle.audit["conditions"]}
    rows = [
        [
            f"<code>{escape(name)}</code>",
            escape(condition.description),
            str(condition.realizations),
            "yes" if name in used else "no",
        ]
        for name, condition in CONDITIONS.items()
    ]
    texts = [[escape(label), escape(why)] for label, why in scored_texts(EITHER).values()]
    fits = [[escape(label), escape(why)] for label, why in FITS.values()]
    return (
        f"<h2>Audio conditions</h2>{table(('name', 'what is heard', 'versions', 'in this bundle'), rows)}"
        f"<h2>Which text is scored</h2>{table(('text', 'meaning'), texts)}<h2>How the attack is "
        f"used</h2>{table(('way', 'meaning'), fits)}"
    )


def _indicators() -> str:
    def rows(names: tuple[str, ...]) -> list[list[str]]:
        return [[f"<code>{escape(name)}</code>", escape(EXPLANATIONS.get(name, ""))] for name in names]

    return (
        f"<h2>The {len(INDICATORS)} indicators</h2><p class='text'>From the next-token probabilities of the "
        f"scored text. A standardised logistic regression over "
        "them, always fitted on other clips than it scores, is the membership score.</p>"
        f"<details><summary>All {len(INDICATORS)}, one sentence "
        f"each</summary>{table(('name', 'meaning'), rows(INDICATORS))}</details>"
        f"<details><summary>Stored beside them, not part of the "
        f"score</summary>{table(('name', 'meaning'), rows(EXTRAS))}</details>"
        "<details><summary>In their place where a target gives its text and no "
        f"probability</summary>{table(('name', 'meaning'), rows(LABEL_ONLY))}</details>"
    )


def _blind(catalog: Catalog) -> str:
    rows = [
        [
            escape(catalog.title(row["dataset"])),
            escape(family_label(row["family"], catalog.words(row["dataset"]))),
            auc(row),
            f"{row['n_member']} + {row['n_non_member']}",
            escape(", ".join(_feature(item) for item in (row.get("top") or [])[:4])),
        ]
        for row in catalog.bundle.results["blind"]
    ]
    head = ("dataset", "blind features", "AUC", "members + non-members", "what tells them apart most")
    return (
        f"<h2>Blind baselines of this bundle</h2><details><summary>Every dataset and "
        f"family</summary>{table(head, rows)}</details>"
    )


def _feature(item: dict[str, Any]) -> str:
    return f"{item.get('feature')} ({item.get('weight', 0):+.2f})"


def _own() -> str:
    return (
        '<h2>Audit your own model</h2><p class="text">Write a list of clips: <code>file_name</code>, '
        "<code>label</code> (member or non-member), and where you have them "
        "<code>text</code> and <code>group</code> (speaker or source). Members and non-members should come from "
        "the same source, drawn at random.</p>"
        "<pre><code>python -m precompute check my.csv\n"
        "python -m precompute audit --dataset my.csv --target MODEL_FOLDER_OR_HUB_ID --out my-bundle\n"
        "python -m precompute report my-bundle\n"
        "python app.py --bundle my-bundle</code></pre>"
        '<p class="text">An interrupted audit goes on where it was. The bundle is a folder of tables and FLAC '
        "files; nothing in it is ever executed.</p>"
    )


def _origin(catalog: Catalog) -> str:
    audit = catalog.bundle.audit
    datasets = [
        [
            escape(catalog.title(d["name"])),
            escape(d.get("description", "")),
            escape(str(d.get("licence", "not stated"))),
            escape(str(d.get("attribution", "not stated"))),
        ]
        for d in catalog.datasets
    ]
    targets = [
        [
            escape(t["id"]),
            escape(str(t.get("family", ""))),
            escape(str(t.get("revision", ""))[:12]),
            escape(str(t.get("dtype", ""))),
            escape(" / ".join(dict.fromkeys(t.get("prompts", {"": t.get("prompt", "")}).values()))),
            escape(str(t.get("trained_on") or "not known")),
        ]
        for t in catalog.targets
    ]
    versions = ", ".join(f"{name} {value}" for name, value in audit.get("versions", {}).items())
    made = (
        f"Made {audit.get('created', 'at an unknown time')}, seed {audit.get('seed', 'not stated')}, "
        f"protocol {audit.get('protocol', 'not stated')}. {catalog.partial} {versions}"
    )
    return (
        f"<h2>Where the sound and the targets come "
        f"from</h2>{table(('dataset', 'what it is', 'licence', 'attribution'), datasets)}"
        f"<h3>Targets</h3>{table(('target', 'family', 'revision', 'precision', 'prompt', 'trained on'), targets)}"
        f'<p class="muted small">{escape(made)}</p>'
    )
