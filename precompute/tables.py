"""Tables that are too large to be held: scored rows, cell by cell, and blind features, column by column.

Scored rows are written to Arrow files as they come and read back one cell at a time. A cell holds the rows of one
dataset, target, condition, realization and scored text: an audit of many clips has millions of rows, and no step needs
more than a cell of them at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from precompute.clips import Cohort

Key = tuple[str, int, str]
"""Condition, realization, scored text."""

ORIGINAL: Key = ("original", 0, "generated")
KNOWN: Key = ("original", 0, "reference")
"""Original audio, and the text that is known of it."""
FLUSHED_ROWS = 512
"""Rows of a cell that are held before they are written."""

TEXTS = ("clip_id", "target", "condition", "scored_text", "generated_text")
TOKEN_KEYS = ("clip_id", "target", "condition", "realization", "scored_text")
TOKEN_LISTS = ("token", "nll", "entropy", "gap")


class Scores(Protocol):
    """Scored rows of an audit."""

    def pairs(self) -> list[tuple[str, str]]:
        """Every dataset and target that has rows, by dataset."""

    def cells(self, dataset: str, target: str) -> Mapping[Key, pd.DataFrame]:
        """Rows of one dataset and target by cell, read when asked for."""


class Frame:
    """Scored rows in one table.

    Parameters
    ----------
    rows : pd.DataFrame
        Rows of ``scores.parquet``.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows

    def pairs(self) -> list[tuple[str, str]]:
        """Give every dataset and target, datasets in order of appearance."""
        found = self.rows[["dataset", "target"]].drop_duplicates()
        return [(str(name), str(t)) for name, part in found.groupby("dataset", sort=False) for t in part["target"]]

    def cells(self, dataset: str, target: str) -> Mapping[Key, pd.DataFrame]:
        """Split the rows of one dataset and target by cell."""
        rows = self.rows[(self.rows["dataset"] == dataset) & (self.rows["target"] == target)]
        return cells_of(rows)


def cells_of(rows: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Rows of one dataset and target by condition, realization and scored text."""
    groups = rows.groupby(["condition", "realization", "scored_text"], sort=False)
    return {(str(key[0]), int(key[1]), str(key[2])): cell for key, cell in groups}


def part_of(cells: Mapping[Key, pd.DataFrame], key: Key, names: Collection[str]) -> pd.DataFrame:
    """Take some columns of a cell, those that it has, beside `clip_id`; of a file no other column is read."""
    if isinstance(cells, _Cells):
        return cells.part(key, names)
    return _only(cells[key], names)


def _only(rows: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    return rows[["clip_id", *(name for name in names if name in rows)]]


def chosen(
    cells: Mapping[Key, pd.DataFrame], condition: str, scored_text: str, names: Collection[str]
) -> list[pd.DataFrame]:
    """Take some columns of all cells of one condition and scored text, a realization each; see `part_of`."""
    return [part_of(cells, key, names) for key in cells if (key[0], key[2]) == (condition, scored_text)]


def scores_of(scores: pd.DataFrame | Scores) -> Scores:
    """Take a table of scored rows for what it is."""
    return Frame(scores) if isinstance(scores, pd.DataFrame) else scores


def without(scores: pd.DataFrame | Scores, targets: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of dataset and target but for some targets."""
    return [pair for pair in scores_of(scores).pairs() if pair[1] not in targets]


class Writer:
    """Writes rows of one layout to a file as they come.

    Parameters
    ----------
    path : Path
    lists : bool
        Whether the columns of `TOKEN_LISTS` hold lists (rows of ``tokens.parquet``, in Parquet) or numbers (a cell, in
        Arrow's own format: a Parquet file remembers a kilobyte of each column of each group of rows until it is whole).
    """

    def __init__(self, path: Path, lists: bool = False) -> None:
        self._path, self._lists = path, lists
        self._held: list[Mapping[str, Any]] = []
        self._schema: Any = None
        self._file: Any = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row; rows are written in groups."""
        self._held.append(row)
        if len(self._held) >= FLUSHED_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is held, and end the file."""
        self._flush()
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._held:
            return
        if self._file is None:
            self._schema = pa.schema([(name, self._type(name)) for name in self._held[0]])
            self._file = self._opened()
        schema = self._schema
        columns = [pa.array([row[f.name] for row in self._held], f.type, from_pandas=True) for f in schema]
        self._file.write_table(pa.Table.from_arrays(columns, schema=schema))
        self._held = []

    def _opened(self) -> Any:
        from pyarrow import ipc
        from pyarrow.parquet import ParquetWriter

        if self._lists:
            return ParquetWriter(self._path, self._schema, compression="zstd")
        return ipc.new_file(self._path, self._schema, options=ipc.IpcWriteOptions(compression="zstd"))

    def _type(self, column: str) -> Any:
        import pyarrow as pa

        if self._lists and column in TOKEN_LISTS:
            return pa.list_(pa.string() if column == "token" else pa.float32())
        types = dict.fromkeys(TEXTS, pa.string()) | {"realization": pa.int64(), "trained": pa.bool_()}
        return types.get(column, pa.float64())


class Scored:
    """Scored rows of an audit, in a folder with a file for each cell.

    Parameters
    ----------
    folder : Path
        Of this audit alone; emptied by whoever made it.
    cohorts : sequence of Cohort
        Which clips stand in which dataset, under which label: rows are kept once for all datasets that share a clip.
    """

    def __init__(self, folder: Path, cohorts: Sequence[Cohort]) -> None:
        self._folder = folder
        self._lists = {
            cohort.name: pd.DataFrame(
                {"clip_id": [c.clip_id for c in cohort.clips], "dataset": cohort.name, "label": cohort.labels}
            )
            for cohort in cohorts
        }
        self._ids = {name: pd.Index(rows["clip_id"]) for name, rows in self._lists.items()}
        self._keys: dict[str, list[Key]] = {}
        self._added: dict[tuple[str, str, Key], pd.DataFrame] = {}
        self._given: dict[tuple[str, str], pd.DataFrame] = {}

    def write(self, target: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows of one target, each to its cell.

        Parameters
        ----------
        target : str
        rows : iterable of mapping
            Rows of ``scores.parquet`` without dataset and label.
        """
        writers: dict[Key, Writer] = {}
        number = len(self._keys)
        try:
            for row in rows:
                key = (str(row["condition"]), int(row["realization"]), str(row["scored_text"]))
                if key not in writers:
                    writers[key] = Writer(self._path(number, len(writers)))
                writers[key].add(row)
        finally:
            for writer in writers.values():
                writer.close()
        self._keys[target] = list(writers)

    def give(self, target: str, rows: pd.DataFrame) -> None:
        """Take scores of a target that were made elsewhere."""
        for dataset, part in rows.groupby("dataset", sort=False):
            self._given[str(dataset), target] = part

    def add(self, dataset: str, target: str, key: Key, columns: pd.DataFrame) -> None:
        """Add columns, indexed by clip_id, to a cell."""
        columns = columns.reindex(self._ids[dataset])  # all cells of a dataset share one index
        known = self._added.get((dataset, target, key))
        self._added[dataset, target, key] = columns if known is None else known.join(columns)

    def pairs(self) -> list[tuple[str, str]]:
        """Give every dataset and target; see `Scores`."""
        given = list(dict.fromkeys(target for _, target in self._given))
        return [(dataset, target) for dataset in self._lists for target in [*self._keys, *given]]

    def cells(self, dataset: str, target: str) -> Mapping[Key, pd.DataFrame]:
        """Give the cells of one dataset and target; see `Scores`."""
        given = self._given.get((dataset, target))
        return _Cells(self, dataset, target, self._keys[target] if given is None else list(cells_of(given)))

    def cell(self, dataset: str, target: str, key: Key, names: Collection[str] | None = None) -> pd.DataFrame:
        """Read one cell, with every column added to it, or those of its columns that are named."""
        if (dataset, target) in self._given:
            rows = cells_of(self._given[dataset, target])[key]
        else:
            number = list(self._keys).index(target)
            at = self._keys[target].index(key)
            kept = self._read_file(number, at, names)
            rows = _beside(self._lists[dataset], kept)
        added = self._added.get((dataset, target, key))
        rows = rows if added is None else _beside(rows, added.reset_index(names="clip_id"))
        return rows if names is None else _only(rows, names)

    def column(self, target: str, key: Key, name: str) -> pd.Series:
        """Read one column of one target's cell for all clips, indexed by clip_id."""
        path = self._path(list(self._keys).index(target), self._keys[target].index(key))
        return pd.read_feather(path, columns=["clip_id", name]).set_index("clip_id")[name]

    def word_errors(self, dataset: str) -> pd.DataFrame:
        """Read the word error of every text that a target wrote about a dataset, with what names its row."""
        parts = []
        for target, keys in self._keys.items():
            for condition, realization, text in keys:
                if text != "generated":
                    continue
                part = self._lists[dataset].join(self.column(target, (condition, realization, text), "wer"), "clip_id")
                parts.append(part.assign(target=target, condition=condition, realization=realization, scored_text=text))
        return pd.concat(parts, ignore_index=True)

    def _path(self, target: int, cell: int) -> Path:
        return self._folder / f"{target}-{cell}.arrow"

    def _read_file(self, target: int, cell: int, names: Collection[str] | None = None) -> pd.DataFrame:
        from pyarrow import ipc

        path, wanted = self._path(target, cell), None
        if names is not None:
            with ipc.open_file(path) as file:
                wanted = [name for name in file.schema.names if name in {"clip_id", *names}]
        rows = pd.read_feather(path, columns=wanted)
        if "n_tokens" in rows:
            rows["n_tokens"] = rows["n_tokens"].astype("Int64" if rows["n_tokens"].isna().any() else "int64")
        return rows.astype({"trained": "boolean"}) if "trained" in rows else rows


def _beside(rows: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Put columns of `more` beside those of the same clips; clips that it lacks are left out.

    As a merge does, but that copies both tables, and a cell of many clips is large. Nothing is copied where clips are
    in one order, as those of added columns are; each table once where they are not, as those of a file.
    """
    places = pd.Index(more["clip_id"]).get_indexer(rows["clip_id"])
    if not np.array_equal(places, np.arange(len(more))):
        rows, more = rows[places >= 0], more.take(places[places >= 0])
    more = more.drop(columns="clip_id")
    return pd.concat([rows.reset_index(drop=True), more.reset_index(drop=True)], axis=1)


class _Cells(Mapping[Key, pd.DataFrame]):
    """Cells of one dataset and target, each read when asked for."""

    def __init__(self, scored: Scored, dataset: str, target: str, keys: Sequence[Key]) -> None:
        self._scored, self._of, self._keys = scored, (dataset, target), list(keys)

    def __getitem__(self, key: Key) -> pd.DataFrame:
        if key not in self._keys:
            raise KeyError(key)
        return self._scored.cell(*self._of, key)

    def part(self, key: Key, names: Collection[str]) -> pd.DataFrame:
        """Read some columns of a cell; see `part_of`."""
        return self._scored.cell(*self._of, key, names)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class Columns(Mapping[str, pd.Series]):
    """A table in a file, of which a column is read when asked for.

    Parameters
    ----------
    path : Path
        Written by `keep`.
    """

    def __init__(self, path: Path) -> None:
        from pyarrow import ipc

        self._path = path
        with ipc.open_file(path) as file:
            self._names = list(file.schema.names)

    @classmethod
    def keep(cls, path: Path, table: pd.DataFrame) -> Columns:
        """Write a table, whose index is not kept, to a file of Arrow's own format."""
        table.to_feather(path)
        return cls(path)

    def __getitem__(self, name: str) -> pd.Series:
        if name not in self._names:
            raise KeyError(name)
        return pd.read_feather(self._path, columns=[name])[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def whole(self) -> pd.DataFrame:
        """Read all columns."""
        return pd.read_feather(self._path)


def rows_of(scores: Scores) -> Iterator[pd.DataFrame]:
    """Every row, a cell at a time, by dataset and target."""
    for dataset, target in scores.pairs():
        yield from scores.cells(dataset, target).values()
