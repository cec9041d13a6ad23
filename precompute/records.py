"""The forms a list of clips comes in, each read to the same thing: numbered records of text.

CSV, JSONL and Parquet in the Hugging Face AudioFolder convention; a folder with such a list named ``metadata``, or with
the subfolders ``member`` and ``non-member``; and the audio inside a Parquet table, which is written out to files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from precompute.clips import InputError
from precompute.corpora.home import data_home

COLUMNS = ("file_name", "label", "text", "group", "start", "end", "dataset", "language", "task", "clip_id")
"""Columns that are understood; others are ignored."""

AUDIO_COLUMNS = ("audio", "path")
"""What may stand for ``file_name``: the audio column of the Hugging Face hub, and a plain name for it."""

CLASS_FOLDERS = {"member": "member", "members": "member", "non-member": "non-member", "non-members": "non-member"}
"""Names of subfolders, in lower case and with hyphens, that say which class their clips are in."""

AUDIO_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64")
"""Endings of files that libsndfile decodes, for folders that have no list."""

SIGNATURES = (
    *((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"FORM", ".aiff"), (b"ID3", ".mp3")),
    *((bytes([0xFF, second]), ".mp3") for second in (0xFB, 0xFA, 0xF3, 0xF2)),
)
"""First bytes of encoded audio, and the ending that goes with them."""

BATCH = 64
"""Rows of a Parquet table in memory at once: they may hold audio."""


def parse_columns(text: str) -> dict[str, str]:
    """Understand ``--columns``: which columns of a list hold what.

    Parameters
    ----------
    text : str
        ``file_name=wav,text=sentence,label=in_train``: ours before the equals sign, the list's after it.

    Returns
    -------
    dict of str to str
        Key of `COLUMNS` to name in the list.

    Raises
    ------
    InputError
        If it is not of that form.
    """
    columns: dict[str, str] = {}
    for part in text.split(","):
        ours, sign, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and sign and theirs):
            raise InputError(f"--columns: {part.strip()!r} is not of the form OURS=THEIRS, such as text=sentence")
        if ours not in COLUMNS:
            raise InputError(f"--columns: there is no column {ours} (there are {', '.join(COLUMNS)})")
        if ours in columns:
            raise InputError(f"--columns: {ours} is given twice")
        columns[ours] = theirs
    return columns


def find_list(path: Path) -> Path:
    """Find the list itself: the file, ``metadata`` in the folder, or the folder where its subfolders say the class.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is none.
    """
    if path.is_dir():
        for ending in READERS:
            if (path / f"metadata{ending}").is_file():
                return path / f"metadata{ending}"
        if class_folders(path):
            return path
        raise InputError(
            "is a folder without metadata.csv, metadata.jsonl or metadata.parquet, and without the subfolders member "
            "and non-member"
        )
    if not path.is_file():
        raise InputError("there is no such file")
    if path.suffix.lower() not in READERS:
        raise InputError(f"{path.name} is not a list of clips: its name has to end in {', '.join(READERS)}")
    return path


def read_records(file: Path, columns: Mapping[str, str] | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a list.

    Parameters
    ----------
    file : Path
        From `find_list`.
    columns : mapping of str to str or None
        From `parse_columns`; columns that are not in it have their own names.

    Yields
    ------
    tuple of (int, dict of str to str)
        Number from 1, and the row's cells as text by the names of `COLUMNS`, empty where nothing is given. Audio that
        the table itself holds has been written to a file, and ``called`` is what the table calls it.

    Raises
    ------
    InputError
        If the list cannot be read, or lacks a column that `columns` names.
    """
    reader = _read_folder if file.is_dir() else READERS[file.suffix.lower()]
    try:
        for number, record in enumerate(reader(file), start=1):
            yield number, _cells(number, _renamed(file, record, columns or {}))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file.name} cannot be read ({error})") from error


def _renamed(file: Path, record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Give a record the names of `COLUMNS`."""
    for ours, theirs in columns.items():
        if theirs not in record and file.suffix.lower() != ".jsonl":  # lines of JSON leave out what they do not know
            raise InputError(f"{file.name} has no column {theirs} to take as {ours}, only {', '.join(record)}")
    named = {name: value for name, value in record.items() if name not in columns}
    named |= {ours: record.get(theirs) for ours, theirs in columns.items()}
    if "file_name" not in named:
        audio = next((name for name in AUDIO_COLUMNS if name in named), None)
        if audio is not None:
            named["file_name"] = named[audio]
    return named


def _cells(number: int, record: Mapping[str, Any]) -> dict[str, str]:
    """Text of a record's cells; an audio column that holds bytes or a path becomes a file name."""
    audio = record.get("file_name")
    cells = {name: _cell(value) for name, value in record.items() if name != "file_name"}
    if not isinstance(audio, Mapping):
        return cells if "file_name" not in record else {**cells, "file_name": _cell(audio)}
    path = _cell(audio.get("path"))
    if not audio.get("bytes"):
        return {**cells, "file_name": path}
    return {**cells, "file_name": str(written_out(audio["bytes"], path)), "called": path or f"row-{number}"}


def written_out(data: bytes, name: str) -> Path:
    """Write encoded audio to a file of its own, once.

    Parameters
    ----------
    data : bytes
        The content of an audio file.
    name : str
        What it was called, for its ending; may be empty.

    Returns
    -------
    Path
        Under `precompute.corpora.home.data_home`, named by its content, so that equal audio is one file.
    """
    ending = next((ending for start, ending in SIGNATURES if data.startswith(start)), "")
    ending = ending or next((ending for ending in AUDIO_ENDINGS if name.lower().endswith(ending)), ".audio")
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    path = data_home() / "lists" / digest[:2] / f"{digest}{ending}"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Moved into its place when whole: a file that is there is never half of one.
    handle, partial = tempfile.mkstemp(prefix=f".{digest}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def _cell(value: Any) -> str:
    """Text of a cell, however the format typed it; empty for a missing value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()


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
    """Rows of a Parquet table, a batch at a time; class numbers of a Hugging Face table become their names."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        classes = _class_names(table.schema_arrow.metadata or {})
        for batch in table.iter_batches(BATCH):
            for record in batch.to_pylist():
                yield {name: _class_name(value, classes.get(name)) for name, value in record.items()}


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Names behind the numbers of ClassLabel columns, which ``datasets`` keeps beside the schema.

    They matter: a folder of ``member`` and ``non-member`` that went through ``datasets`` numbers them 0 and 1.
    """
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _class_name(value: Any, names: list[str] | None) -> Any:
    """Name of a class number; `datasets` writes -1 where there is none."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def class_folders(folder: Path) -> dict[Path, str]:
    """Subfolders that say which class their clips are in, by the label word they stand for."""
    named = {path: path.name.lower().replace("_", "-") for path in sorted(folder.iterdir()) if path.is_dir()}
    return {path: CLASS_FOLDERS[name] for path, name in named.items() if name in CLASS_FOLDERS}


def _read_folder(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of a folder without a list: every audio file in the subfolders of the classes, at any depth."""
    for subfolder, label in class_folders(folder).items():
        for path in sorted(subfolder.rglob("*")):
            if path.suffix.lower() in AUDIO_ENDINGS and path.is_file():
                yield {"file_name": path.relative_to(folder).as_posix(), "label": label}


READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""File ending to reader."""
