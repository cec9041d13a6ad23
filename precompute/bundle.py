"""The published artefact: a folder that pandas alone can read and anybody may open without risk.

Tables are Parquet, everything else JSON, audio FLAC. Nothing in it is ever executed on reading.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from precompute.clips import Clip, InputError
from precompute.stored import Stored
from precompute.tables import ORIGINAL, Scores, scores_of

SCHEMA = 1
"""Version of the layout below; a bundle of another version is refused."""

REQUIRED_COLUMNS: dict[str, tuple[str, ...]] = {
    "clips": ("clip_id", "dataset", "label", "trained", "text", "duration_s", "group"),
    "scores": (
        *("clip_id", "dataset", "label", "target", "condition", "realization", "scored_text"),
        *("generated_text", "n_tokens", "nll", "mia_score", "mia_score_transfer"),
    ),
    "blind": ("clip_id", "dataset", "metadata_score", "text_score", "acoustic_score", "joint_score"),
    "tokens": ("clip_id", "target", "condition", "realization", "scored_text"),
}
"""Table name to the columns every reader may rely on; `write_bundle` and `read_bundle` check them."""

REQUIRED_KEYS: dict[str, tuple[str, ...]] = {
    "audit": ("schema", "targets", "datasets", "conditions"),
    "results": ("blind", "mia", "correlation", "heatmap", "conditions", "verdicts"),
    "models": (),
}
"""JSON file name to the keys every reader may rely on."""


EXACT = dict.fromkeys(("PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW"), ("int16", "PCM_16")) | {
    "PCM_24": ("int32", "PCM_24")
}
"""Source format to the integers that hold it and the FLAC depth that keeps it, where integers can."""


@dataclass
class Bundle:
    """A bundle read from disk: what is small at once, large tables when asked for, in parts or as a whole.

    Parameters
    ----------
    path : Path
    audit : dict
        Targets, datasets, conditions, seeds, versions: how the audit was made.
    clips : pd.DataFrame
        A row per dataset and clip.
    results : dict
        Every table and verdict, with n and intervals.
    """

    path: Path
    audit: dict[str, Any]
    clips: pd.DataFrame
    results: dict[str, Any]
    _late: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def scores(self) -> pd.DataFrame:
        """A row per dataset, clip, target, condition, realization and scored text. Read whole, once, on demand."""
        return self._whole("scores")

    @property
    def blind(self) -> pd.DataFrame:
        """A row per dataset and clip: blind scores and the features behind them. Read whole, once, on demand."""
        return self._whole("blind")

    def tokens(self) -> pd.DataFrame:
        """Token table: a row per scored text with lists of token text, nll, entropy and gap. Read once, on demand."""
        return self._whole("tokens")

    def stored(self, name: str) -> Stored:
        """Open a table, ``scores``, ``blind`` or ``tokens``, to read parts of it.

        Raises
        ------
        InputError
            If it is missing or damaged, or a column is absent.
        """
        if f"{name}.parquet" not in self._late:
            self._late[f"{name}.parquet"] = _open_table(self.path, name)
        return self._late[f"{name}.parquet"]

    def models(self) -> dict[str, Any]:
        """Fold models as plain numbers, what scoring a new clip needs. Read once, on demand."""
        if "models" not in self._late:
            self._late["models"] = _read_json(self.path, "models")
        return self._late["models"]

    def _whole(self, name: str) -> pd.DataFrame:
        if name not in self._late:
            self._late[name] = _read_table(self.path, name)
        return self._late[name]


def is_complete(path: Path | str) -> bool:
    """Say whether a folder holds a bundle that was written to its end."""
    return (Path(path) / "audit.json").is_file()


def read_bundle(path: Path | str) -> Bundle:
    """Read a bundle and check that it is whole.

    Parameters
    ----------
    path : Path or str
        Its folder.

    Returns
    -------
    Bundle

    Raises
    ------
    InputError
        If a file is missing or damaged, the schema is another, or a column or key is absent.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(
            f"{path}: there is no bundle here; make one with `python -m precompute audit ... --out {path}`"
        )
    audit = _read_json(path, "audit")
    if audit["schema"] != SCHEMA:
        raise InputError(f"{path}: has schema {audit['schema']!r} and this version reads schema {SCHEMA}; audit again")
    clips = _read_table(path, "clips")
    large = {f"{name}.parquet": _open_table(path, name) for name in ("scores", "blind")}
    return Bundle(path, audit, clips, _read_json(path, "results"), dict(large))


def write_bundle(
    path: Path | str,
    *,
    audit: Mapping[str, Any],
    clips: pd.DataFrame,
    scores: pd.DataFrame | Scores,
    blind: pd.DataFrame,
    tokens: pd.DataFrame | Path,
    models: Mapping[str, Any],
    results: Mapping[str, Any],
) -> Bundle:
    """Write a bundle, replacing one that is there.

    Every file is written beside its place and then moved into it, ``audit.json`` last, so that a bundle with an
    ``audit.json`` is a whole one. Audio is written separately, by `write_audio` and `write_original`.

    Parameters
    ----------
    path : Path or str
        Folder, created where missing.
    audit, models, results : mapping
        Plain numbers, text, lists and mappings; numpy values are converted, NaN and infinity become null.
        ``schema`` is set here.
    clips, blind : pd.DataFrame
        With the columns of `REQUIRED_COLUMNS`; float64 is stored as float32.
    scores : pd.DataFrame or Scores
        Likewise; written a cell at a time, a row group each.
    tokens : pd.DataFrame or Path
        Likewise; a Parquet file is moved into the bundle.

    Returns
    -------
    Bundle
        As `read_bundle` gives it.

    Raises
    ------
    InputError
        If a column or key is missing.
    """
    path = Path(path)
    tables = {"clips": clips, "blind": blind, **({} if isinstance(tokens, Path) else {"tokens": tokens})}
    documents: dict[str, Any] = {"models": models, "results": results, "audit": {**audit, "schema": SCHEMA}}
    for name, table in tables.items():
        _require(path, f"{name}.parquet", REQUIRED_COLUMNS[name], table.columns)
    for name, document in documents.items():
        _require(path, f"{name}.json", REQUIRED_KEYS[name], document)
    scores = scores_of(scores)
    # Cells of one file have one layout, though only original audio has an adjusted score, and few targets label scores.
    columns = list(dict.fromkeys(name for pair in scores.pairs() for name in scores.cells(*pair)[ORIGINAL]))
    _require(path, "scores.parquet", REQUIRED_COLUMNS["scores"], columns)
    path.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        _compact(table).to_parquet(path / f"{name}.parquet.part", compression="zstd", index=False)
    _write_scores(path / "scores.parquet.part", scores, columns)
    if isinstance(tokens, Path):
        shutil.move(tokens, path / "tokens.parquet.part")
    for name, document in documents.items():
        text = json.dumps(plain(document), ensure_ascii=False, allow_nan=False, indent=None if name == "models" else 1)
        (path / f"{name}.json.part").write_text(text, encoding="utf-8")
    (path / "audit.json").unlink(missing_ok=True)
    for file in (*(f"{name}.parquet" for name in REQUIRED_COLUMNS), *(f"{name}.json" for name in documents)):
        (path / f"{file}.part").replace(path / file)
    return read_bundle(path)


def _write_scores(path: Path, scores: Scores, columns: list[str]) -> None:
    """Write a row group for every cell, so that a reader can take one and leave the others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        file: Any = None
        for pair in scores.pairs():
            for cell in scores.cells(*pair).values():
                whole = _compact(cell.reindex(columns=columns))
                if file is None:
                    schema = pa.Table.from_pandas(whole, preserve_index=False).schema.remove_metadata()
                    file = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
                file.write_table(pa.Table.from_pandas(whole, schema=file.schema, preserve_index=False))


def plain(value: Any) -> Any:
    """Turn a nested value into what JSON can hold.

    Parameters
    ----------
    value : Any
        Mappings, sequences, numpy arrays and scalars, paths, pandas missing values.

    Returns
    -------
    Any
        Dicts with text keys, lists, text, numbers, booleans and None; NaN and infinity become None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    return None if value is pd.NA or value is pd.NaT else value


def audio_name(clip_id: str) -> str:
    """Name a clip's audio file, without its ending.

    Parameters
    ----------
    clip_id : str
        Anything, slashes and dots included.

    Returns
    -------
    str
        Letters, digits, ``-`` and ``_``, at most 80: the readable end of the id and ten digits of its hash,
        so that two ids never share a file and no id leaves the folder.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", clip_id).strip("-")[-60:]
    return f"{readable}_{hashlib.blake2b(clip_id.encode(), digest_size=5).hexdigest()}"


def audio_file(bundle_path: Path | str, clip_id: str, condition: str = "original", realization: int = 0) -> Path:
    """Path of a clip's audio under one condition, whether or not it has been written.

    Parameters
    ----------
    bundle_path : Path or str
    clip_id : str
    condition : str
        A condition's name; several realizations have a folder each, ``resynthesis-0`` and so on.
    realization : int

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If `condition` is not a plain word, since it becomes a folder.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+", condition):
        raise InputError(f"{condition!r} is not the name of a condition")
    folder = f"{condition}-{int(realization)}" if condition == "resynthesis" else condition
    return Path(bundle_path) / "audio" / folder / f"{audio_name(clip_id)}.flac"


def write_audio(
    bundle_path: Path | str,
    clip_id: str,
    condition: str,
    realization: int,
    samples: np.ndarray,
    sample_rate: int,
    subtype: str = "PCM_16",
) -> Path:
    """Write a clip's audio as FLAC, lossless at the depth of `subtype`.

    Parameters
    ----------
    bundle_path, clip_id, condition, realization
        See `audio_file`.
    samples : np.ndarray [shape=(n,) or (n, channels)]
        Float in [-1, 1] (louder is clipped) or integer.
    sample_rate : int
        In Hz.
    subtype : {"PCM_16", "PCM_24"}

    Returns
    -------
    Path
        The file, moved into place when it was whole.
    """
    import soundfile

    path = audio_file(bundle_path, clip_id, condition, realization)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    soundfile.write(part, samples, sample_rate, format="FLAC", subtype=subtype)
    part.replace(path)
    return path


def write_original(bundle_path: Path | str, clip: Clip) -> Path:
    """Copy a clip as recorded, at its own rate and with its channels, into a bundle.

    Parameters
    ----------
    bundle_path : Path or str
    clip : Clip

    Returns
    -------
    Path
        A FLAC file: exact for sources of 8, 16 and 24 bits, rounded to 24 bits for the rest.

    Raises
    ------
    InputError
        If the clip cannot be read.
    """
    import soundfile

    try:
        with soundfile.SoundFile(clip.path) as file:
            rate, dtype, subtype = file.samplerate, *EXACT.get(file.subtype, ("float64", "PCM_24"))
            first = min(file.frames, round((clip.start or 0.0) * rate))
            last = file.frames if clip.end is None else min(file.frames, round(clip.end * rate))
            file.seek(first)
            samples = file.read(max(0, last - first), dtype=dtype)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{clip.path}: cannot be read as audio ({error})") from error
    return write_audio(bundle_path, clip.clip_id, "original", 0, samples, rate, subtype)


def _compact(table: pd.DataFrame) -> pd.DataFrame:
    """Store decimals as float32, in columns and in lists, and ``trained`` as true, false or missing."""
    columns: dict[str, Any] = {}
    for name, column in table.items():
        if name == "trained":
            columns[str(name)] = column.astype("boolean")
        elif column.dtype == np.float64:
            columns[str(name)] = column.astype(np.float32)
        elif column.dtype == object and any(_holds_floats(item) for item in column):
            columns[str(name)] = [np.asarray(item, dtype=np.float32) for item in column]
        else:
            columns[str(name)] = column
    return pd.DataFrame(columns, index=table.index)


def _holds_floats(item: Any) -> bool:
    """Say whether a cell is a list or an array whose first value is a float."""
    return isinstance(item, (list, tuple, np.ndarray)) and len(item) > 0 and isinstance(item[0], (float, np.floating))


def _require(path: Path, file: str, wanted: tuple[str, ...], found: Any) -> None:
    """Refuse a table or document that lacks what readers rely on."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(f"{path}: {file} lacks {', '.join(missing)}")


def _read_table(path: Path, name: str) -> pd.DataFrame:
    """Read and check one Parquet table."""
    with _readable(path, f"{name}.parquet"):
        table = pd.read_parquet(path / f"{name}.parquet")
    _require(path, f"{name}.parquet", REQUIRED_COLUMNS[name], table.columns)
    return table


def _open_table(path: Path, name: str) -> Stored:
    """Open and check one Parquet table without reading a row of it."""
    with _readable(path, f"{name}.parquet"):
        table = Stored(path / f"{name}.parquet")
    _require(path, f"{name}.parquet", REQUIRED_COLUMNS[name], table.columns)
    return table


@contextlib.contextmanager
def _readable(path: Path, file: str) -> Iterator[None]:
    """Say in one sentence that a file is missing or damaged."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: is not a whole bundle, {file} is missing; run its audit again") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {file} cannot be read ({error})") from error


def _read_json(path: Path, name: str) -> dict[str, Any]:
    """Read and check one JSON document."""
    with _readable(path, f"{name}.json"):
        document = json.loads((path / f"{name}.json").read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise InputError(f"{path}: {name}.json does not hold a mapping")
    _require(path, f"{name}.json", REQUIRED_KEYS[name], document)
    return document


def prompt_of(audit: Mapping[str, Any], dataset: str, target: str) -> str:
    """Give the prompt a target was asked with about the clips of a dataset.

    Parameters
    ----------
    audit : mapping
        Contents of ``audit.json``.
    dataset, target : str
        A name and an id that stand in it.

    Returns
    -------
    str
    """
    described = next(row for row in audit["targets"] if row["id"] == target)
    task = next((row.get("task", "speech") for row in audit["datasets"] if row["name"] == dataset), "speech")
    return str(described.get("prompts", {}).get(task, described["prompt"]))
