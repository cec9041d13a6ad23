"""What travels between the machine that asks and its workers, as Arrow tables in bytes: nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from precompute.indicators import STATISTICS, TokenStats
from precompute.work import Heard, Work

_TEXT = pa.struct([("key", pa.string()), ("ids", pa.list_(pa.int64()))])
_HEARD = pa.schema(
    [
        ("audio", pa.large_binary()),
        ("prompt", pa.string()),
        ("max_new_tokens", pa.int64()),
        ("writes", pa.string()),
        ("texts", pa.list_(_TEXT)),
    ]
)
_STATS = pa.schema(
    [
        ("key", pa.string()),
        ("ids", pa.list_(pa.int64())),
        ("numbers", pa.large_binary()),
        ("tokens", pa.list_(pa.string())),
        ("text", pa.string()),
    ]
)


def pack_heard(group: Sequence[Heard]) -> bytes:
    """Pack audio and all that is asked about it.

    Parameters
    ----------
    group : sequence of Heard

    Returns
    -------
    bytes
        For `unpack_works`.
    """
    rows = [
        {
            "audio": np.ascontiguousarray(heard.audio, dtype="<f4").tobytes(),
            "prompt": heard.prompt,
            "max_new_tokens": heard.max_new_tokens,
            "writes": heard.writes,
            "texts": [{"key": key, "ids": list(ids)} for key, ids in heard.texts],
        }
        for heard in group
    ]
    return _pack(rows, _HEARD)


def unpack_works(data: bytes) -> list[Work]:
    """Restore what `pack_heard` packed, as works.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    list of Work
        Works on one audio share one array.
    """
    works = []
    for row in _unpack(data, _HEARD):
        audio = np.frombuffer(row["audio"], dtype="<f4").astype(np.float32)
        asked = (audio, row["prompt"], row["max_new_tokens"])
        if row["writes"] is not None:
            works.append(Work(row["writes"], *asked))
        works += [Work(text["key"], *asked, tuple(text["ids"])) for text in row["texts"]]
    return works


def pack_stats(found: Mapping[str, TokenStats]) -> bytes:
    """Pack token statistics by key.

    Parameters
    ----------
    found : mapping of str to TokenStats

    Returns
    -------
    bytes
        For `unpack_stats`.
    """
    rows = [
        {
            "key": key,
            "ids": stats.ids.tolist(),
            "numbers": stats.numbers.astype("<f4").tobytes(),
            "tokens": list(stats.tokens),
            "text": stats.text,
        }
        for key, stats in found.items()
    ]
    return _pack(rows, _STATS)


def unpack_stats(data: bytes) -> dict[str, TokenStats]:
    """Restore what `pack_stats` packed.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    dict of str to TokenStats
    """
    return {
        row["key"]: TokenStats.from_numbers(
            ids=np.asarray(row["ids"], dtype=np.int64),
            numbers=np.frombuffer(row["numbers"], dtype="<f4").astype(np.float32).reshape(-1, len(STATISTICS)),
            tokens=tuple(row["tokens"]),
            text=row["text"],
        )
        for row in _unpack(data, _STATS)
    }


def _pack(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """Lay rows out as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_pylist(list(rows), schema=schema))
    return sink.getvalue().to_pybytes()


def _unpack(data: bytes, schema: pa.Schema) -> list[dict[str, Any]]:
    """Read the rows of an Arrow stream of a known layout."""
    with pa.ipc.open_stream(data) as stream:
        table = stream.read_all()
    if table.schema != schema:
        raise ValueError(f"rows of another layout: {table.schema.names}")
    return table.to_pylist()
