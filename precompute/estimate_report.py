"""The price of an audit, for people."""

from __future__ import annotations

from collections.abc import Sequence

from precompute.estimate import Cell, Estimate, TargetPrice
from precompute.shares import Share


def printed(estimate: Estimate) -> str:
    """Print an estimate.

    Parameters
    ----------
    estimate : Estimate

    Returns
    -------
    str
        Datasets, then scored texts by target, dataset and condition, then targets, disk and what is not counted.
    """
    parts = [datasets_table(estimate.shares), cells_table(estimate), targets_table(estimate), *totals(estimate)]
    return "\n\n".join(part for part in parts if part)


def datasets_table(shares: Sequence[Share]) -> str:
    """Print what every dataset brings, and where those are that are not here."""
    rows = [["dataset", "members", "non-members", "clips", "lengths", "with text", "hours"]]
    away = []
    for share in shares:
        most = "" if share.here else "to "
        counts = (share.members, share.non_members, share.clips)
        rows.append(
            [
                share.dataset,
                *(f"{count:,}" for count in counts),
                *(f"{most}{count:,}" for count in (share.lengths, share.with_text)),
                f"{'' if share.here else 'about '}{share.seconds / 3600:.2f}",
            ]
        )
        if not share.here:
            read = f"; about {size(share.download_bytes)} to read" if share.download_bytes else ""
            away.append(f"{share.dataset}: {share.where}{read}; licence: {share.licence}")
    note = "Clips are those that no dataset above has; so are their distinct lengths, and those with a text."
    return "\n".join([aligned(rows), note, *away])


def cells_table(estimate: Estimate) -> str:
    """Print scored texts by target, dataset and condition, with the time where there is a rate."""
    conditions = list(dict.fromkeys(cell.condition for cell in estimate.cells))
    by_dataset = {share.dataset: [c for c in estimate.cells if c.dataset == share.dataset] for share in estimate.shares}
    gated = {share.dataset: share.gated for share in estimate.shares}
    rows = [["target", "dataset", *conditions, "texts", "inputs", "time", "gated"]]
    for target in estimate.targets:
        for dataset, cells in by_dataset.items():
            texts = [texts_of(target, cell) for cell in cells]
            rows.append(
                [
                    target.target,
                    dataset,
                    *(f"{count:,}" for count in texts),
                    f"{sum(texts):,}",
                    f"{sum(cell.inputs for cell in cells):,}",
                    hours(None if target.rate is None else sum(texts) / target.rate.texts_per_second),
                    gates(target, gated[dataset]),
                ]
            )
    if len(rows) == 1:
        return ""
    return f"{aligned(rows)}\nA column of a condition counts scored texts, its realizations together."


def gates(target: TargetPrice, dataset: bool) -> str:
    """Say which of a target and a dataset is gated."""
    words = ["dataset"] if dataset else []
    if target.place.gated:
        words.append("target")
    elif target.place.gated is None and not target.place.here:
        words.append("target not known")
    return ", ".join(words) or "no"


def texts_of(target: TargetPrice, cell: Cell) -> int:
    """Scored texts of a cell: an endpoint scores what it writes and no text it is given."""
    return cell.generated if target.target.startswith("api:") else cell.texts


def targets_table(estimate: Estimate) -> str:
    """Print what every target costs, a few lines each."""
    lines = []
    for target in estimate.targets:
        place = target.place.words
        if target.place.download_bytes:
            place += f", {size(target.place.download_bytes)} to download"
        written = f"at most {target.most_tokens:,} tokens written"
        if target.tokens is not None:
            written += f", about {target.tokens:,.0f} as measured"
        lines.append(f"{target.target}: {place}; {target.texts:,} texts of {target.inputs:,} inputs; {written}")
        if target.rate is None:
            lines.append(f"    {target.why}")
        else:
            lines.append(
                f"    {hours(target.seconds)} at {target.rate.texts_per_second:.3g} texts/s ({target.rate.how})"
            )
        if target.kept:
            lines.append(f"    of the texts under the clips' own audio the cache holds {target.kept:.0%} already")
    return "\n".join(lines)


def totals(estimate: Estimate) -> list[str]:
    """Print sums, disk, a million clips and what is not counted."""
    blind = "" if estimate.blind_seconds is None else f", {hours(estimate.blind_seconds)} of it for blind features"
    time = f"time: {hours(estimate.seconds)}" + ("" if estimate.seconds is None else f" in all{blind}")
    disk, million = estimate.disk, estimate.million()
    parts = {"audio": disk.audio, "tables": disk.tables, "cache": disk.cache, "corpora to fetch": disk.corpora}
    bytes_ = ", ".join(f"{size(count)} of {what}" for what, count in parts.items() if count)
    lines = [
        f"{estimate.clips:,} clips, {estimate.texts:,} scored texts",
        time,
        f"disk: about {size(disk.total)}: {bytes_}",
        f"a million clips of this kind (all of it is linear): {million['texts']:,.0f} texts, "
        f"time {hours(million['seconds'])}, {size(million['bytes'] or 0.0)}",
    ]
    return ["\n".join(lines), "\n".join(f"note: {note}" for note in estimate.notes)]


def hours(seconds: float | None) -> str:
    """Print seconds as hours, two digits that count: ``4.4 h``; ``not known`` for None."""
    if seconds is None:
        return "not known"
    value = seconds / 3600
    return f"{value:,.0f} h" if value >= 10 else f"{value:.2g} h"


def size(count: float) -> str:
    """Print bytes with a decimal unit: ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns: numbers to the right, words to the left, the last column as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = [all(row[column].removesuffix(" h")[-1:].isdigit() for row in rows[1:]) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
