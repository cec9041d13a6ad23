"""A bundle's results as the paper's Table 1 and Table 2, with verdicts: text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from precompute import published
from precompute.clips import InputError
from precompute.conditions.fidelity import fidelity_lines

if TYPE_CHECKING:
    from precompute.bundle import Bundle

FAMILIES = ("metadata", "text", "acoustic", "fingerprint", "joint", "boosted")
COLUMNS_PER_BLOCK = 3
"""Targets side by side in one table; more go into a further table, so that lines stay within 140 columns."""

PROPERTIES_SHOWN = 3

LEGEND = "AUC with 95% interval; 1 = member, higher = more member-like; r = Pearson, blind against membership score."
CSV_COLUMNS = (
    *("table", "dataset", "target", "family", "condition", "realization", "scored_text", "fit", "indicator", "row"),
    *("column", "quantity", "value", "low", "high", "n_member", "n_non_member", "method"),
)

Rows = list[list[str]]


def render(bundle: Bundle, format: str = "text") -> str:
    """Print a bundle's results.

    Parameters
    ----------
    bundle : Bundle
        `audit` and `results` are read.
    format : str
        ``text``, ``markdown``, ``csv`` (one number a line) or ``json`` (``results.json`` itself).

    Returns
    -------
    str
        Ends with a line break.

    Raises
    ------
    InputError
        If the format is another.
    """
    writers: dict[str, Callable[[Bundle], str]] = {
        "text": lambda b: _document(b, _aligned, "{}\n" + "-" * 100),
        "markdown": lambda b: _document(b, _markdown, "## {}"),
        "csv": lambda b: _csv(b.results),
        "json": lambda b: json.dumps(b.results, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    if format not in writers:
        raise InputError(f"{format!r} is not a report format; there are {', '.join(writers)}")
    return writers[format](bundle)


def _document(bundle: Bundle, table: Callable[[Rows], str], heading: str) -> str:
    """Tables, verdicts and published values, one after the other."""
    results = bundle.results
    datasets = list(dict.fromkeys(row["dataset"] for row in results["verdicts"]))
    targets = list(dict.fromkeys(row["target"] for row in results["verdicts"]))
    parts = [heading.format("Table 1: membership inference and blind baselines"), LEGEND]
    blocks = [targets[i : i + COLUMNS_PER_BLOCK] for i in range(0, len(targets), COLUMNS_PER_BLOCK)]
    parts += [table(_table1(results, datasets, block)) for block in blocks]
    parts += [heading.format("Verdicts, adjusted for what reaches the model"), table(_summary(results["verdicts"]))]
    notes = (_methods(results), *_access(results["verdicts"]), *_footnotes(results["verdicts"]))
    parts += [paragraph for paragraph in notes if paragraph]
    parts.append(heading.format("Table 2: audio condition x scored text"))
    parts.append(
        "Refit attack AUC with 95% interval, then transfer (fitted on original audio); sd over realizations;\n"
        "difference from the original (refit, paired). WER: mean word error of what the target wrote, members /\n"
        "non-members; own: of captions, how often the one written for a non-member is nearer to its own than to\n"
        "another's, chance 0.50. * marks audio that the target cannot take in, where generated and carried rows carry\n"
        "no claim.\n"
        "p: paired t-test over folds, as in the paper (too small; for comparison only)."
    )
    for dataset in datasets:
        for target in targets:
            rows = _table2(results, dataset, target)
            if len(rows) > 1:
                parts.append(f"{dataset} x {target}\n\n{table(rows)}")
    if heard := fidelity_lines(results.get("fidelity") or []):
        parts += [heading.format("How faithful the resyntheses are"), "\n".join(heard)]
    for title, rows in (
        ("What phase 3 supports", _claims(results)),
        ("Shift adjustment", _adjustment(results)),
        ("What separates the classes without the model", _properties(results)),
        ("What the score adds to the joint blind score", _added(results)),
        ("Controls", _controls(results)),
        ("Beside a reference target", _reference(results)),
        ("Random folds and folds by group", _grouping(results)),
    ):
        if len(rows) > 1:
            parts += [heading.format(title), table(rows)]
    parts.append(heading.format("Verdicts in sentences"))
    parts += [_verdict(row) for row in results["verdicts"]]
    compared = [line for dataset in datasets for line in _published(dataset)]
    if compared:
        parts.append(heading.format(f"Published values ({published.sources()['table1'].split(',')[0]})"))
        parts.append(table([["dataset", "model", "quantity", "AUC", "r"], *compared]))
    return "\n\n".join(parts) + "\n"


def _table1(results: Mapping[str, Any], datasets: Sequence[str], targets: Sequence[str]) -> Rows:
    """Per dataset a line for the attack and one per blind family; the targets' columns hold AUC, then r."""
    attack = {(row["dataset"], row["target"]): row for row in results["verdicts"]}
    blind = {(row["dataset"], row["family"]): row for row in results["blind"]}
    r = {(row["dataset"], row["target"], row["family"]): row for row in results["correlation"]}
    rows = [["dataset", "n", "family", "blind AUC", *targets]]
    for dataset in datasets:
        cells = [attack.get((dataset, target), {}) for target in targets]
        size = next((f"{row['n_member']} + {row['n_non_member']}" for row in cells if row), "")
        rows.append([dataset, size, "attack", "", *(interval(row, "auc", "auc_low", "auc_high") for row in cells)])
        for family in FAMILIES:
            found = blind.get((dataset, family), {})
            values = [_correlation(r.get((dataset, target, family), {})) for target in targets]
            rows.append(["", "", family, interval(found, "auc", "auc_low", "auc_high"), *values])
    return rows


def _summary(verdicts: Sequence[Mapping[str, Any]]) -> Rows:
    """One line a verdict, with what a table of a paper needs."""
    rows = [
        ["dataset", "target", "n", "raw AUC", "adjusted AUC", "p (Holm)", "sees", "TPR at 1% FPR", "phase 1", "verdict"]
    ]
    for row in verdicts:
        needs = row.get("tpr_at_0.01_needs")
        low = interval(row, "tpr_at_0.01", "tpr_at_0.01_low", "tpr_at_0.01_high")
        rows.append(
            [
                row["dataset"],
                row["target"],
                f"{row['n_member']} + {row['n_non_member']}",
                interval(row, "auc", "auc_low", "auc_high"),
                interval(row, "adjusted_auc", "adjusted_low", "adjusted_high"),
                p_value(row.get("p_holm")),
                number(row.get("detectable")),
                f"needs {needs:,} n" if low == "-" and needs else low,
                row["phase1"],
                row["verdict"],
            ]
        )
    return rows


def _methods(results: Mapping[str, Any]) -> str:
    """Say in one paragraph what was done, with the numbers of this audit."""
    rows = [row for row in results["verdicts"] if row.get("p_holm") is not None]
    if not rows:
        return ""
    draws = sorted(row["draws"] for row in rows)
    largest = max((row["factor"] for row in rows if row.get("factor")), default=1.0)
    text = (
        "Methods. Per dataset and target a logistic regression over 30 indicators of the output distribution "
        "was fitted out of fold (10 folds; clips of one group, wording or recording share one). Adjusted: the "
        "same under overlap weights from a propensity cross-fitted on what reaches the model (length, sound "
        f"at 16 kHz, wording). p: labels drawn from that propensity, attack and weights refitted ({draws[0]} "
        f"to {draws[-1]} draws, sequential), Holm over {len(rows)} verdicts. Intervals: 95%, weighted DeLong "
        f"on the logit scale, widened for training by the deviation under redrawn labels (up to {largest:.2f} "
        "times without a signal). sees: smallest AUC found with a power of 80%. TPR at 1% FPR is shown from "
        "1,000 non-members on."
    )
    return textwrap.fill(text, 110)


def _access(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Targets that were audited without their weights, and what is not known of them."""
    known = {row["target"]: row["access"] for row in verdicts if row.get("access")}
    if not known:
        return []
    lines = [f"{target}: access: {access}." for target, access in known.items()]
    return [
        textwrap.fill("Audited without weights, with fewer indicators than the 30 and so with weaker evidence:", 110)
        + "".join(f"\n{textwrap.fill(line, 110, subsequent_indent='  ')}" for line in lines)
    ]


def _footnotes(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Clips that could not be scored, by class, and whether that was even."""
    notes = [
        f"{row['dataset']} x {row['target']}: {row['excluded_member']} members and {row['excluded_non_member']} "
        f"non-members could not be scored (Fisher p = {p_value(row.get('excluded_p'))})."
        for row in verdicts
        if row.get("excluded_member") or row.get("excluded_non_member")
    ]
    return ["\n".join(notes)] if notes else []


def _claims(results: Mapping[str, Any]) -> Rows:
    """List what the grid of each dataset and target supports."""
    return [["dataset", "target", "phase 3"]] + [
        [row["dataset"], row["target"], row["claim"]] for row in results.get("claims", [])
    ]


def _adjustment(results: Mapping[str, Any]) -> Rows:
    """Effective sizes and balance of every dataset."""
    rows = [
        ["dataset", "n", "effective n", "told apart before", "after", "expected after", "largest difference", "usable"]
    ]
    for row in results.get("adjustment", []):
        rows.append(
            [
                row["dataset"],
                f"{row['n_member']} + {row['n_non_member']}",
                f"{row['effective_member']:.0f} + {row['effective_non_member']:.0f}",
                number(row["balance_before"]),
                number(row["balance"]),
                number(row["balance_expected"]),
                f"{row['largest_difference_before']:.2f} to {row['largest_difference']:.2f} sd",
                "no" if row["lost"] else "yes",
            ]
        )
    return rows


def _properties(results: Mapping[str, Any]) -> Rows:
    """List the clearest single properties of every dataset, those that separate the classes after correction."""
    rows = [["dataset", "property", "members", "non-members", "unit", "AUC", "q"]]
    seen: dict[str, int] = {}
    for row in results.get("properties", []):
        if row["q"] >= 0.05:
            continue
        seen[row["dataset"]] = seen.get(row["dataset"], 0) + 1
        if seen[row["dataset"]] <= PROPERTIES_SHOWN:
            medians = (f"{row[f'{name}_quantiles'][2]:.3g}" for name in ("member", "non_member"))
            value = interval(row, "auc", "auc_low", "auc_high")
            rows.append([row["dataset"], row["words"], *medians, row["unit"], value, p_value(row["q"])])
    return rows


def _added(results: Mapping[str, Any]) -> Rows:
    """Gain in AUC over the joint blind score alone, and the likelihood-ratio test of it."""
    return [["dataset", "target", "gain in AUC", "p"]] + [
        [
            row["dataset"],
            row["target"],
            interval(row, "added_gain", "added_gain_low", "added_gain_high", sign="+"),
            p_value(row["added_p"]),
        ]
        for row in results["verdicts"]
        if row.get("added_gain") is not None
    ]


def _controls(results: Mapping[str, Any]) -> Rows:
    """Attacks where there is nothing to find."""
    return [["dataset", "target", "control", "AUC", "held"]] + [
        [
            row["dataset"],
            row["target"],
            row["control"],
            interval(row, "auc", "auc_low", "auc_high"),
            "yes" if row["held"] else "no",
        ]
        for row in results.get("controls", [])
    ]


def _reference(results: Mapping[str, Any]) -> Rows:
    """Score less a reference target's score of the same clip."""
    return [["dataset", "target", "reference", "what", "adjusted AUC", "p"]] + [
        [
            row["dataset"],
            row["target"],
            row["reference"],
            row["kind"],
            interval(row, "auc", "auc_low", "auc_high"),
            p_value(row["p"]),
        ]
        for row in results.get("reference", [])
    ]


def _grouping(results: Mapping[str, Any]) -> Rows:
    """Random folds beside folds that keep groups whole."""
    return [["dataset", "features", "groups", "random folds", "grouped folds"]] + [
        [row["dataset"], row["features"], str(row["groups"]), number(row["auc_random"]), number(row["auc_grouped"])]
        for row in results.get("grouping", [])
    ]


def _table2(results: Mapping[str, Any], dataset: str, target: str) -> Rows:
    """Lay out the disentanglement grid of one dataset and target."""
    rows = [["scored text", "condition", "refit AUC", "sd", "transfer AUC", "difference", "WER m / n", "p"]]
    found = [row for row in results["conditions"] if (row["dataset"], row["target"]) == (dataset, target)]
    transfer = {(row["scored_text"], row["condition"]): row for row in found if row["fit"] == "transfer"}
    order = {text: i for i, text in enumerate(("generated", "carried", "reference"))}
    for row in sorted((r for r in found if r["fit"] == "refit"), key=lambda r: order.get(r["scored_text"], 9)):
        other = transfer.get((row["scored_text"], row["condition"]), {})
        errors = [row["wer_member"], row["wer_non_member"]]
        heard = "-" if None in errors else f"{errors[0]:.2f} / {errors[1]:.2f}"
        heard += f", own {row['own_caption']:.2f}" if row.get("own_caption") is not None else ""
        heard += "*" if row["readable"] is False else ""
        rows.append(
            [
                row["scored_text"],
                row["condition"],
                interval(row, "auc", "auc_low", "auc_high"),
                number(row["sd"]),
                interval(other, "auc", "auc_low", "auc_high"),
                interval(row, "difference", "difference_low", "difference_high", sign="+"),
                heard,
                p_value(row["t_p"]),
            ]
        )
    return rows


def _verdict(row: Mapping[str, Any]) -> str:
    """Print the sentence, phase 1 and, where it is known, the truth, in lines of readable length."""
    lines = [row["sentence"], f"  {row['reasons'][0]}" if row["reasons"] else f"  Phase 1 is {row['phase1']}."]
    lines += [f"  Would change it: {change}" for change in row.get("changes", [])]
    if row.get("truth"):
        lines.append(f"  Planted truth: {row['truth']}")
    trained = {True: "was trained on all", False: "was trained on none", None: None}[row.get("trained_members")]
    if trained:
        lines.append(f"  {row['target']} {trained} of the claimed members.")
    return "\n".join(textwrap.fill(line, 110, subsequent_indent="  ") for line in lines)


def _published(dataset: str) -> Rows:
    """Find the paper's values for a dataset of the same name."""
    rows = [
        [row["dataset"], row["model"], row["quantity"], f"{row['auc']:.3f}", number(row["r"])]
        for row in published.table1()
        if published.coincides(dataset, row["dataset"])
    ]
    for row in published.table2():
        if published.coincides(dataset, row["dataset"]) and row["condition"] != "original":
            spread = "" if row["sd"] is None else f" (sd {row['sd']:.3f})"
            rows.append([row["dataset"], row["model"], f"attack, {row['condition']}", f"{row['auc']:.3f}{spread}", "-"])
    return rows


def interval(row: Mapping[str, Any], value: str, low: str, high: str, sign: str = "") -> str:
    """Print ``0.93 [0.92, 0.94]`` from three columns of a row; ``-`` where there is no value.

    Parameters
    ----------
    row : mapping
    value, low, high : str
        Names of the columns.
    sign : str
        ``+`` prints signs.
    """
    if row.get(value) is None:
        return "-"
    if row.get(low) is None or row.get(high) is None:
        return format(row[value], f"{sign}.2f")
    return f"{row[value]:{sign}.2f} [{row[low]:{sign}.2f}, {row[high]:{sign}.2f}]"


def p_value(p: float | None) -> str:
    """Print a p-value, ``<0.001`` where it is smaller, ``-`` where there is none."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def number(value: float | None, digits: int = 2) -> str:
    """Print a number, ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def _correlation(row: Mapping[str, Any]) -> str:
    """Print r with its interval."""
    text = interval(row, "pearson", "pearson_low", "pearson_high", sign="+")
    return text if text == "-" else f"r {text}"


def _aligned(rows: Rows) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _markdown(rows: Rows) -> str:
    """Make a Markdown table; a bar inside a cell is escaped."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _csv(results: Mapping[str, Any]) -> str:
    """Long form: every number of every table on a line of its own, with its interval where it has one."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for table, rows in results.items():
        for row in rows:
            for name, value in row.items():
                if name in CSV_COLUMNS or name.endswith(("_low", "_high", "_low_90", "_high_90")):
                    continue
                number_like = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not number_like and name not in ("verdict", "phase1", "sentence"):
                    continue
                stem = "blind" if name == "blind_auc" else name
                limits = {"low": row.get(f"{stem}_low", ""), "high": row.get(f"{stem}_high", "")}
                writer.writerow({**row, "table": table, "quantity": name, "value": value, **limits})
    return out.getvalue()
