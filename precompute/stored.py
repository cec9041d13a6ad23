"""A large Parquet table read in parts: only the row groups that can hold what is asked, only the columns asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

REPEATED = ("dataset", "target", "condition", "scored_text", "clip_id")
"""Columns of few or often repeated texts, held as numbers of a list of them while rows are chosen."""

SEARCHED = "clip_id"
"""Column whose row groups are looked up in an index where their borders say little."""

SCANNED = 48
"""Row groups that are read without an index."""

ROWS = 65_536
"""Rows that are held at a time."""


class Stored:
    """One Parquet file.

    Rows that are asked for by the value of a column are looked for in the row groups whose smallest and largest value
    allow it. In a file with a row group for each cell of an audit that is the cell; in one with a single row group, or
    with clips in no order, more is read, a group at a time, and the answer is the same.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError or ValueError
        If the file is missing or is no Parquet.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        names = pq.read_schema(path).names
        self._file = pq.ParquetFile(path, read_dictionary=[name for name in REPEATED if name in names])
        self._lock = Lock()
        self._borders: dict[str, list[tuple[Any, Any] | None]] = {}
        self._index: dict[Any, list[int]] | None = None
        self.columns: list[str] = list(names)
        self.groups_read = 0
        """Row groups read so far, columns of one group counted once for each reading."""

    def part(self, columns: Sequence[str], **equal: Any) -> pa.Table:
        """Read some columns of the rows in which other columns have given values.

        Parameters
        ----------
        columns : sequence of str
            Those the file has not are left out.
        **equal
            Column to value.

        Returns
        -------
        pa.Table
            Rows in the order of the file; texts as plain texts.
        """
        import pyarrow as pa

        wanted = [name for name in columns if name in self.columns]
        with self._lock:
            parts = [part for group in self._groups(equal) for part in self._chosen(group, wanted, equal)]
        table = pa.concat_tables(parts) if parts else self._file.schema_arrow.empty_table().select(wanted)
        for at, name in enumerate(table.column_names):
            if pa.types.is_dictionary(table.schema.field(name).type):
                table = table.set_column(at, name, table.column(name).cast(pa.string()))
        return table

    def distinct(self, *names: str) -> list[tuple[Any, ...]]:
        """Give every combination of values that some columns have, in order of appearance.

        Parameters
        ----------
        *names : str
            Read from the borders of a row group where these are one value, else from its rows.
        """
        found: dict[tuple[Any, ...], None] = {}
        with self._lock:
            borders = [self._borders_of(name) for name in names]
            for group in range(self._file.num_row_groups):
                ends = [border[group] for border in borders]
                if all(end is not None and end[0] == end[1] for end in ends):
                    found[tuple(end[0] for end in ends if end is not None)] = None
                    continue
                for table in self._read(group, list(names)):
                    rows = table.group_by(list(names), use_threads=False).aggregate([])
                    found |= dict.fromkeys(zip(*(rows.column(name).to_pylist() for name in names), strict=True))
        return list(found)

    def prepare(self) -> None:
        """Make the index now, where one will be needed; else it is made when first needed."""
        if self._file.num_row_groups > SCANNED:
            with self._lock:
                self._searched()

    def _groups(self, equal: Mapping[str, Any]) -> list[int]:
        """Row groups that can hold rows of these values."""
        groups = list(range(self._file.num_row_groups))
        for name, value in equal.items():
            borders = self._borders_of(name)
            groups = [g for g in groups if (ends := borders[g]) is None or ends[0] <= value <= ends[1]]
        if SEARCHED in equal and (self._index is not None or len(groups) > SCANNED):
            found = set(self._searched().get(equal[SEARCHED], []))
            groups = [group for group in groups if group in found]
        return groups

    def _borders_of(self, name: str) -> list[tuple[Any, Any] | None]:
        """Smallest and largest value of a column in each row group; None where the file does not say."""
        if name not in self._borders:
            metadata, at, groups = self._file.metadata, self.columns.index(name), range(self._file.num_row_groups)
            # Columns before a list have one leaf each, so their place in the schema is their place in the file.
            flat = metadata.schema.column(at).path == name
            kept = [metadata.row_group(group).column(at).statistics if flat else None for group in groups]
            self._borders[name] = [(s.min, s.max) if s is not None and s.has_min_max else None for s in kept]
        return self._borders[name]

    def _searched(self) -> dict[Any, list[int]]:
        """Index of `SEARCHED`: value to the row groups that hold it. Made once, from that column alone."""
        if self._index is None:
            self._index = {}
            for group in range(self._file.num_row_groups):
                parts = [table.column(SEARCHED).unique().to_pylist() for table in self._read(group, [SEARCHED])]
                for value in {value for part in parts for value in part}:
                    self._index.setdefault(value, []).append(group)
        return self._index

    def _chosen(self, group: int, columns: Sequence[str], equal: Mapping[str, Any]) -> Iterator[pa.Table]:
        """Rows of one group that have the values asked for."""
        import pyarrow.compute as pc

        open_ = [name for name, value in equal.items() if self._borders_of(name)[group] != (value, value)]
        for table in self._read(group, list(dict.fromkeys([*columns, *open_]))):
            for name in open_:
                table = table.filter(pc.equal(table.column(name), equal[name]))
            if table.num_rows:
                yield table.select(list(columns))

    def _read(self, group: int, columns: list[str]) -> Iterator[pa.Table]:
        """Read columns of one group, some rows at a time: a large group takes no more memory than a small one."""
        import pyarrow as pa

        self.groups_read += 1
        batches = self._file.iter_batches(ROWS, row_groups=[group], columns=columns, use_threads=False)
        return (pa.Table.from_batches([batch]) for batch in batches)
