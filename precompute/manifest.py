"""A user's own list of clips: reading it, and finding everything wrong with it before a GPU is spent.

The Hugging Face AudioFolder convention: CSV, JSONL or Parquet with a column ``file_name`` (relative to the list,
or absolute: a list on one's own machine is trusted) and ``label`` (``member`` or ``non-member``, 1 or 0), or a
folder with such a list named ``metadata``. Optional: ``text``, ``group``, ``start`` and ``end`` in seconds,
``dataset`` (several cohorts in one list), ``language``, ``task`` (``speech``, ``sound`` or ``music``), ``clip_id``. Further
columns are ignored.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from precompute.clips import Clip, Cohort, InputError, content_hash, read_audio

LABELS = {"member": 1, "1": 1, "1.0": 1, "non-member": 0, "0": 0, "0.0": 0}
"""Label words, in lower case; decimals are what a spreadsheet makes of 1 and 0."""

MIN_PER_CLASS = 20
"""Fewer clips in a class than this carry no ten-fold attack and no verdict."""

STEPS = (
    "the list can be read",
    "every row is understood",
    "every file exists",
    "every clip can be decoded and holds sound",
    f"every dataset has at least {MIN_PER_CLASS} members and {MIN_PER_CLASS} non-members",
    "no audio is listed in both classes",
)
"""What `check` goes through, in order; its problems begin with ``[number/6]``."""


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


def load_manifest(path: Path | str) -> list[Cohort]:
    """Read a list of clips; audio is not opened.

    Parameters
    ----------
    path : Path or str
        A ``.csv``, ``.jsonl`` or ``.parquet`` file, or a folder that holds ``metadata`` in one of these.

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
    rows = understood_rows(Path(path), problems)
    missing_files(rows, problems)
    for dataset in dict.fromkeys(row.dataset for row in rows):
        labels = {row.label for row in rows if row.dataset == dataset}
        if len(labels) < 2:
            problems.add(5, f"{dataset}: {_one_class(labels)}")
    if problems.found:
        first, more = problems.found[0].split("] ", 1)[1], len(problems.found) - 1
        others = f"; {more} more problem(s), `python -m precompute check {path}` lists all" if more else ""
        raise InputError(f"{path}: {first}{others}")
    return [
        _cohort(name, [row for row in rows if row.dataset == name], Path(path))
        for name in dict.fromkeys(row.dataset for row in rows)
    ]


def check(path: Path | str, progress: Callable[[list[Row]], Any] | None = None) -> list[str]:
    """Find everything wrong with a list of clips, audio included.

    Parameters
    ----------
    path : Path or str
        As in `load_manifest`.
    progress : callable or None
        Wraps the list of rows while their audio is read; None for a tqdm bar, silent where stderr is no terminal.

    Returns
    -------
    list of str
        One sentence per problem, beginning with the step of `STEPS` that found it and naming the row; empty where
        the list can be audited.
    """
    problems = Problems()
    rows = understood_rows(Path(path), problems)
    present = missing_files(rows, problems)
    hashes = decoded_hashes(present, problems, progress or _bar)
    for dataset in dict.fromkeys(row.dataset for row in rows):
        same = [row for row in rows if row.dataset == dataset]
        small_classes(dataset, same, problems)
        duplicates_between_classes(same, hashes, problems)
    return sorted(problems.found, key=lambda problem: int(problem[1 : problem.index("/")]))


def understood_rows(path: Path, problems: Problems) -> list[Row]:
    """Read a list and understand its rows; what cannot be is noted (steps 1 and 2) and left out."""
    try:
        file = _list_file(path)
        records = list(_records(file))
    except InputError as error:
        problems.add(1, str(error))
        return []
    if not records:
        problems.add(1, f"{file.name} has no rows")
        return []
    default = path.name if path.is_dir() else file.stem
    columns = dict.fromkeys(name for _, record in records for name in record)
    missing = [name for name in ("file_name", "label") if name not in columns]
    if missing:
        problems.add(1, f"{file.name} has no column {' and no column '.join(missing)}, only {', '.join(columns)}")
        return []
    rows: list[Row] = []
    for number, record in records:
        try:
            rows.append(_row(number, record, file.parent, default))
        except InputError as error:
            problems.add(2, f"row {number} ({record.get('file_name') or 'no file_name'}): {error}")
    repeated_ids(rows, problems)
    return rows


def repeated_ids(rows: list[Row], problems: Problems) -> None:
    """Note ids that repeat in a dataset, or name other audio in another (step 2)."""
    first: dict[tuple[str, str], Row] = {}
    elsewhere: dict[str, Row] = {}
    for row in rows:
        twin = first.setdefault((row.dataset, row.clip.clip_id), row)
        elder = elsewhere.setdefault(row.clip.clip_id, row)
        if twin is not row:
            problems.add(2, f"{row}: has the same clip_id as row {twin.number}")
        elif (elder.clip.path, elder.clip.start, elder.clip.end) != (row.clip.path, row.clip.start, row.clip.end):
            problems.add(2, f"{row}: row {elder.number} gives the same clip_id to other audio")


def missing_files(rows: list[Row], problems: Problems) -> list[Row]:
    """Note rows whose file does not exist (step 3); give back the others."""
    for row in rows:
        if not row.clip.path.is_file():
            problems.add(3, f"{row}: there is no file {row.clip.path}")
    return [row for row in rows if row.clip.path.is_file()]


def decoded_hashes(rows: list[Row], problems: Problems, progress: Callable[[list[Row]], Any]) -> dict[int, str]:
    """Decode every clip once (step 4).

    Returns
    -------
    dict of int to str
        Row number to content hash at the file's own rate, of rows that hold sound.
    """
    import soundfile

    hashes = {}
    for row in progress(rows):
        try:
            # At its own rate: a WAV and its FLAC copy agree to the bit, and nothing is resampled for nothing.
            samples = read_audio(row.clip, soundfile.info(row.clip.path).samplerate)
        except (InputError, soundfile.LibsndfileError) as error:
            problems.add(4, f"{row}: {error}")
            continue
        if not samples.any():
            problems.add(4, f"{row}: is digital silence from beginning to end")
        else:
            hashes[row.number] = content_hash(samples)
    return hashes


def small_classes(dataset: str, rows: list[Row], problems: Problems) -> None:
    """Note a dataset with one class, or with too few clips in one (step 5)."""
    counts = {1: sum(row.label for row in rows), 0: sum(1 - row.label for row in rows)}
    if not all(counts.values()):
        first = rows[0]
        problems.add(5, f"{dataset} (from row {first.number}): {_one_class({row.label for row in rows})}")
    for label, name in ((1, "members"), (0, "non-members")):
        if 0 < counts[label] < MIN_PER_CLASS:
            listed = ", ".join(str(row.number) for row in rows if row.label == label)
            problems.add(5, f"{dataset}: only {counts[label]} {name} (rows {listed}), at least {MIN_PER_CLASS} needed")


def duplicates_between_classes(rows: list[Row], hashes: dict[int, str], problems: Problems) -> None:
    """Note non-members whose decoded audio is also listed as a member (step 6)."""
    members: dict[str, Row] = {}
    for row in rows:
        if row.label == 1 and row.number in hashes:
            members.setdefault(hashes[row.number], row)
    for row in rows:
        twin = members.get(hashes.get(row.number, ""))
        if row.label == 0 and twin is not None:
            problems.add(6, f"{row}: listed as non-member, holds the same audio as {twin}, listed as member")


def _one_class(labels: set[int]) -> str:
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


def _list_file(path: Path) -> Path:
    """Find the list itself: the file, or ``metadata`` in the folder."""
    if path.is_dir():
        found = [path / f"metadata{ending}" for ending in READERS if (path / f"metadata{ending}").is_file()]
        if not found:
            raise InputError("is a folder without metadata.csv, metadata.jsonl or metadata.parquet")
        return found[0]
    if not path.is_file():
        raise InputError("there is no such file")
    if path.suffix.lower() not in READERS:
        raise InputError(f"{path.name} is not a list of clips: its name has to end in {', '.join(READERS)}")
    return path


def _records(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Read rows as text, numbered from 1."""
    try:
        for number, record in enumerate(READERS[file.suffix.lower()](file), start=1):
            yield number, {name: _cell(value) for name, value in record.items()}
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file.name} cannot be read ({error})") from error


def _read_csv(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a comma-separated file with a heading."""
    # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for number, record in enumerate(csv.DictReader(lines, strict=True), start=1):
            if None in record:
                raise InputError(f"{file.name}: row {number} has more cells than the heading; quote text with commas")
            yield record


def _read_jsonl(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file with one JSON object per line."""
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate((line for line in lines if line.strip()), start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{file.name}: row {number} is not JSON ({error})") from error
            if not isinstance(record, dict):
                raise InputError(f"{file.name}: row {number} is not a JSON object")
            yield record


def _read_parquet(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet table."""
    import pyarrow.parquet

    yield from pyarrow.parquet.read_table(file).to_pylist()


READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""File ending to reader."""


def _cell(value: Any) -> str:
    """Text of a cell, however the format typed it; empty for a missing value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()


def _row(number: int, record: dict[str, str], folder: Path, default: str) -> Row:
    """Understand one row, or say in an `InputError` what is wrong with it."""
    if not record.get("file_name"):
        raise InputError("has no file_name")
    label = LABELS.get(record.get("label", "").lower())
    if label is None:
        raise InputError(f"label {record.get('label', '')!r} is none of member, non-member, 1, 0")
    start, end = _seconds(record, "start"), _seconds(record, "end")
    if end is not None and end <= (start or 0.0):
        raise InputError(f"ends at {end:g} s, not after its start at {start or 0:g} s")
    file_name = Path(record["file_name"])
    clip = Clip(
        record.get("clip_id") or _default_id(file_name, folder, start, end),
        folder / file_name,
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


def _seconds(record: dict[str, str], name: str) -> float | None:
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


def _bar(rows: list[Row]) -> Any:
    """Progress over rows, on stderr where it is a terminal."""
    from tqdm import tqdm

    return tqdm(rows, desc="reading audio", unit="clip", disable=None)
