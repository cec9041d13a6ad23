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

if TYPE_CHECKING:
    from precompute.bundle import Bundle

FAMILIES = ("metadata", "text", "acoustic", "joint", "boosted")
COLUMNS_PER_BLOCK = 3
"""Targets side by side in one table; more go into a further table, so that lines stay within 140 columns."""

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
    parts.append(heading.format("Table 2: audio condition x scored text"))
    parts.append(
        "Refit attack AUC with 95% interval, then transfer (fitted on original audio); sd over realizations;\n"
        "difference from the original (refit, paired). WER: mean word error of what the target wrote, members /\n"
        "non-members; * marks audio that the target cannot read, where generated and carried rows carry no claim.\n"
        "p: paired t-test over folds, as in the paper (too small; for comparison only)."
    )
    for dataset in datasets:
        for target in targets:
            rows = _table2(results, dataset, target)
            if len(rows) > 1:
                parts.append(f"{dataset} x {target}\n\n{table(rows)}")
    parts.append(heading.format("Verdicts"))
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
                "<0.001" if (row["t_p"] or 1.0) < 0.001 else number(row["t_p"], 3),
            ]
        )
    return rows


def _verdict(row: Mapping[str, Any]) -> str:
    """Print the sentence, phase 1 and, where it is known, the truth, in lines of readable length."""
    lines = [row["sentence"], f"  {row['reasons'][0]}" if row["reasons"] else f"  Phase 1 is {row['phase1']}."]
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
