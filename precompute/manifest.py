"""A user's own list of clips: from records of text to cohorts.

Every row names an audio file in ``file_name`` (relative to the list, or absolute: a list on one's own machine is
trusted) and has a ``label`` (``member`` or ``non-member``, 1 or 0, true or false). Optional: ``text``, ``group``,
``start`` and ``end`` in seconds, ``dataset`` (several cohorts in one list), ``language``, ``task`` (``speech``,
``sound`` or ``music``), ``clip_id``. Further columns are ignored. `precompute.records` has the forms a list comes in,
`precompute.check` what can be wrong with its audio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from precompute.clips import Clip, Cohort, InputError
from precompute.records import find_list, read_records

LABELS = {
    **{"member": 1, "1": 1, "1.0": 1, "true": 1},
    **{"non-member": 0, "non_member": 0, "0": 0, "0.0": 0, "false": 0},
}
"""Label words, in lower case; decimals and truth values are what a spreadsheet makes of 1 and 0."""

MIN_PER_CLASS = 20
"""Fewer clips in a class than this carry no ten-fold attack and no verdict."""

STEPS = (
    "the list can be read",
    "every row is understood",
    "every file exists",
    "every clip can be decoded and holds sound",
    f"every dataset has at least {MIN_PER_CLASS} members and {MIN_PER_CLASS} non-members, of two sources each",
    "no recording is listed in both classes, whole, in part or as a copy",
)
"""What a list is checked for, in order; problems begin with ``[number/6]``."""


@dataclass(frozen=True)
class Row:
    """One row of a list that was understood.

    Parameters
    ----------
    number : int
        From 1, the heading not counted.
    dataset : str
    clip : Clip
    label : int
        1 claimed member, 0 claimed non-member.
    """

    number: int
    dataset: str
    clip: Clip
    label: int

    def __str__(self) -> str:
        return f"row {self.number} ({self.clip.clip_id})"


@dataclass
class Problems:
    """Problems found so far, each with the step that found it."""

    found: list[str] = field(default_factory=list)

    def add(self, step: int, sentence: str) -> None:
        """Note a problem of a step, counted from 1."""
        self.found.append(f"[{step}/{len(STEPS)}] {sentence}")


def load_manifest(path: Path | str, columns: Mapping[str, str] | None = None) -> list[Cohort]:
    """Read a list of clips; audio is not opened.

    Parameters
    ----------
    path : Path or str
        A ``.csv``, ``.jsonl`` or ``.parquet`` file; or a folder that holds ``metadata`` in one of these, or the
        subfolders ``member`` and ``non-member``.
    columns : mapping of str to str or None
        What the list calls our columns where it has other names for them; see `precompute.records.parse_columns`.

    Returns
    -------
    list of Cohort
        One per value of ``dataset`` in order of appearance; without that column one, named after the list.

    Raises
    ------
    InputError
        At the first thing wrong that can be seen without decoding audio, naming the row.
    """
    problems = Problems()
    rows = understood_rows(Path(path), problems, columns)
    missing_files(rows, problems)
    for dataset, same in by_dataset(rows).items():
        labels = {row.label for row in same}
        if len(labels) < 2:
            problems.add(5, f"{dataset}: {one_class(labels)}")
    if problems.found:
        first, more = problems.found[0].split("] ", 1)[1], len(problems.found) - 1
        others = f"; {more} more problem(s), `python -m precompute check {path}` lists all" if more else ""
        raise InputError(f"{path}: {first}{others}")
    return [_cohort(name, same, Path(path)) for name, same in by_dataset(rows).items()]


def by_dataset(rows: list[Row]) -> dict[str, list[Row]]:
    """Gather the rows of each dataset, in order of appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.dataset, []).append(row)
    return found


def understood_rows(path: Path, problems: Problems, columns: Mapping[str, str] | None = None) -> list[Row]:
    """Read a list and understand its rows; what cannot be is noted (steps 1 and 2) and left out."""
    try:
        file = find_list(path)
        names, rows, wrong = _read(file, columns, path.resolve().name if path.is_dir() else file.stem)
    except InputError as error:
        problems.add(1, str(error))
        return []
    if not names:
        problems.add(1, f"{file.name} has no rows")
        return []
    missing = [name for name in ("file_name", "label") if name not in names]
    if missing:
        problems.add(
            1,
            f"{file.name} has no column {' and no column '.join(missing)}, only {', '.join(names)}; "
            "say which is which with --columns",
        )
        return []
    for sentence in wrong:
        problems.add(2, sentence)
    repeated_ids(rows, problems)
    return rows


def _read(file: Path, columns: Mapping[str, str] | None, default: str) -> tuple[dict[str, None], list[Row], list[str]]:
    """Names of all columns, the rows that can be understood, and what is wrong with the others.

    Rows are understood as they are read: what is read is several times as large as what is kept of it.
    """
    folder = file if file.is_dir() else file.parent
    names: dict[str, None] = {}
    rows: list[Row] = []
    wrong: list[str] = []
    paths: dict[str, Path] = {}
    for number, record in read_records(file, columns):
        names |= dict.fromkeys(record)
        try:
            rows.append(_row(number, record, folder, default, paths))
        except InputError as error:
            wrong.append(f"row {number} ({record.get('file_name') or 'no file_name'}): {error}")
    return names, rows, wrong


def repeated_ids(rows: list[Row], problems: Problems) -> None:
    """Note ids that repeat in a dataset, or name other audio in another (step 2)."""
    first: dict[tuple[str, str], Row] = {}
    elsewhere: dict[str, Row] = {}
    for row in rows:
        twin = first.setdefault((row.dataset, row.clip.clip_id), row)
        elder = elsewhere.setdefault(row.clip.clip_id, row)
        if twin is not row:
            problems.add(2, f"{row}: has the same clip_id as row {twin.number}; a column clip_id tells them apart")
        elif (elder.clip.path, elder.clip.start, elder.clip.end) != (row.clip.path, row.clip.start, row.clip.end):
            problems.add(2, f"{row}: row {elder.number} gives the same clip_id to other audio")


def missing_files(rows: list[Row], problems: Problems) -> list[Row]:
    """Note rows whose file does not exist (step 3); give back the others."""
    for row in rows:
        if not row.clip.path.is_file():
            problems.add(3, f"{row}: there is no file {row.clip.path}")
    return [row for row in rows if row.clip.path.is_file()]


def one_class(labels: set[int]) -> str:
    """Say which class is missing."""
    return f"has only {'members' if 1 in labels else 'non-members'}, and an audit compares both"


def _cohort(name: str, rows: list[Row], path: Path) -> Cohort:
    """Gather the rows of one dataset."""
    return Cohort(
        name,
        tuple(row.clip for row in rows),
        tuple(row.label for row in rows),
        title=name,
        description=f"{len(rows)} clips listed in {path.name}; what is member and what is not is as the list claims.",
    )


def _row(number: int, record: Mapping[str, str], folder: Path, default: str, paths: dict[str, Path]) -> Row:
    """Understand one row, or say in an `InputError` what is wrong; `paths`: of files met before, one for all clips."""
    if not record.get("file_name"):
        raise InputError("has no file_name")
    label = LABELS.get(record.get("label", "").lower())
    if label is None:
        raise InputError(f"label {record.get('label', '')!r} is none of member, non-member, 1, 0")
    start, end = _seconds(record, "start"), _seconds(record, "end")
    if end is not None and end <= (start or 0.0):
        raise InputError(f"ends at {end:g} s, not after its start at {start or 0:g} s")
    clip = Clip(
        record.get("clip_id") or _default_id(Path(record.get("called") or record["file_name"]), folder, start, end),
        paths.setdefault(record["file_name"], folder / record["file_name"]),
        text=record.get("text") or None,
        group=record.get("group") or None,
        start=start,
        end=end,
        language=record.get("language", "").lower() or None,
        task=record.get("task", "").lower() or "speech",
    )
    return Row(number, record.get("dataset") or default, clip, label)


def _default_id(file_name: Path, folder: Path, start: float | None, end: float | None) -> str:
    """Name a clip by its path as seen from the list, and by its span where it has one."""
    path = file_name.relative_to(folder) if file_name.is_relative_to(folder) else file_name
    if start is None and end is None:
        return path.as_posix()
    return f"{path.as_posix()}#{start or 0:g}-{'end' if end is None else f'{end:g}'}"


def _seconds(record: Mapping[str, str], name: str) -> float | None:
    """Read a time in seconds; None where there is none."""
    if not record.get(name):
        return None
    try:
        seconds = float(record[name])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{name} {record[name]!r} is not a number of seconds from the beginning")
    return seconds
