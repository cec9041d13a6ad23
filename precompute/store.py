"""The cache of what costs time: one row per scored input, kept for ever, safe to hand to somebody else.

diskcache does the storing, with three changes. It never evicts. It never executes what a row claims to be:
by default it unserialises any object and opens any file a row names (CVE-2025-69872), here a row is plain bytes
inside the database or it is refused. And one process writes at a time, since two audits that fill one cache
do the same work twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import diskcache
import numpy as np
from diskcache.core import MODE_RAW
from safetensors import SafetensorError
from safetensors.numpy import load, save

from precompute.clips import InputError

LAYOUT = 2
"""Part of every key: raised when rows are laid out in another way, so that older rows are not found."""

CACHED_PAGES = 2**9
"""Pages of 4 kB of the database that SQLite keeps in memory: rows are looked up once."""

Value = Mapping[str, np.ndarray | str]
"""What a row holds: named arrays of numbers and named texts."""


class BytesDisk(diskcache.Disk):
    """Storage of bytes under text, inside the database; no other kind of row is written or read."""

    def put(self, key: Any) -> tuple[str, bool]:
        """Accept a text key as it is."""
        if type(key) is not str:
            raise TypeError(f"a cache key is text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Give back a text key; refuse a serialised one."""
        if type(key) is not str or not raw:
            raise self._refusal("a key that is not text")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, memoryview]:
        """Accept bytes, to be kept in the row itself."""
        if type(value) is not bytes:
            raise TypeError(f"a cache value is bytes, not {type(value).__name__}")
        return len(value), MODE_RAW, None, sqlite3.Binary(value)

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> bytes:
        """Give back bytes kept in the row; refuse objects to unserialise and files to open."""
        if filename is not None:
            raise self._refusal("a row that points to a file")
        if mode != MODE_RAW or type(value) is not bytes:
            raise self._refusal("a row that is not plain bytes")
        return value

    def remove(self, file_path: Any) -> None:
        """Refuse to delete: no row of ours has a file."""
        raise self._refusal("a row that points to a file")

    def _refusal(self, what: str) -> InputError:
        return InputError(f"{self._directory}: this cache holds {what}, which this program never writes; delete it")


class Store:
    """A folder of results, by key. Use it in a ``with`` statement.

    Parameters
    ----------
    folder : Path or str
        Created where missing; on a local disk, for SQLite's locks do not hold on network file systems.

    Raises
    ------
    InputError
        On entry, if another process has it open or it is not a cache of ours.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "writer.lock").open("a+")
        except OSError as error:
            raise InputError(f"{self.folder}: cannot hold a cache ({error})") from error
        try:
            self._claim()
            # A large size limit besides "none", so that no future default of diskcache starts to cull.
            self._cache = diskcache.Cache(
                str(self.folder),
                disk=BytesDisk,
                eviction_policy="none",
                cull_limit=0,
                size_limit=2**62,
                statistics=0,
                sqlite_cache_size=CACHED_PAGES,
                sqlite_mmap_size=0,  # pages mapped count as memory of this process, the more the larger the file
            )
        except BaseException as error:
            self._lock.close()
            if isinstance(error, (sqlite3.Error, diskcache.Timeout, TypeError, AttributeError)):
                raise self._unusable(error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.close()
        self._lock.close()

    def __contains__(self, key: str) -> bool:
        return key in self._cache

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, key: str) -> dict[str, np.ndarray | str] | None:
        """Look a row up.

        Parameters
        ----------
        key : str
            See `key`.

        Returns
        -------
        dict or None
            As it was put; None where there is no such row.

        Raises
        ------
        InputError
            If the row is damaged or not of our making. It is not taken for missing: a disk that damages one row
            may have damaged others.
        """
        try:
            data = self._cache.get(key)
        except (sqlite3.Error, diskcache.Timeout) as error:
            raise self._unusable(error) from error
        if data is None:
            return None
        try:
            return _decode(data)
        except (ValueError, KeyError, zlib.error, SafetensorError) as error:
            raise self._unusable(f"row {key} is damaged") from error

    def put_many(self, rows: Mapping[str, Value]) -> None:
        """Keep rows, all or none of them: a process killed here loses this call's rows and no others.

        Parameters
        ----------
        rows : mapping of str to mapping
            Key to named arrays (any dtype but objects) and texts.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        encoded = {key: _encode(value) for key, value in rows.items()}
        try:
            with self._cache.transact():
                for key, data in encoded.items():
                    self._cache.set(key, data)
        except (sqlite3.Error, diskcache.Timeout, OSError) as error:
            raise self._unusable(error) from error

    @staticmethod
    def key(**parts: Any) -> str:
        """Name a row by all that determines it.

        Parameters
        ----------
        **parts : str, number, bool, None, or lists and mappings of these
            In any order.

        Returns
        -------
        str
            40 hexadecimal digits; equal parts give equal keys on any machine.
        """
        text = json.dumps(
            {"layout": LAYOUT, **parts}, sort_keys=True, ensure_ascii=True, allow_nan=False, default=_scalar
        )
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def _claim(self) -> None:
        """Take the writer's lock, which the system releases when this process ends, however it ends."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            raise InputError(
                f"{self.folder}: another audit (process {holder}) is writing to this cache; "
                "wait until it ends, or give this one a --cache of its own"
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _unusable(self, reason: object) -> InputError:
        return InputError(
            f"{self.folder}: this cache cannot be used ({reason}); delete it or name another with --cache"
        )


def _scalar(value: Any) -> Any:
    """Turn a numpy scalar into the number it is; refuse whatever has no one spelling."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be part of a cache key")


def _encode(value: Value) -> bytes:
    """Pack named arrays and texts into compressed safetensors bytes."""
    arrays = {}
    for name, item in value.items():
        if isinstance(item, str):
            arrays[f"text.{name}"] = np.frombuffer(item.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        elif np.asarray(item).dtype.hasobject:
            raise TypeError(f"{name}: objects cannot be kept, for they could not be read back safely")
        else:
            arrays[f"array.{name}"] = np.asarray(item, order="C")
    return zlib.compress(save(arrays), level=1)


def _decode(data: bytes) -> dict[str, np.ndarray | str]:
    """Unpack what `_encode` packed."""
    found: dict[str, np.ndarray | str] = {}
    for member, array in load(zlib.decompress(data)).items():
        kind, name = member.split(".", 1)
        found[name] = array.tobytes().decode("utf-8", "surrogatepass") if kind == "text" else array
    return found
