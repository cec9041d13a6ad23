"""A stream that grows while it is read: the machine that asks puts groups into a feed, Ray Data reads them out of it.

Ray Data starts from a source that can be read again: a task that dies is run once more from its beginning, and a block
lost with its machine is made anew. So groups are numbered, and a number stands for the same group until it is answered.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask


class Feed:
    """Groups that wait to be done, by number, and how often each was begun: a Ray actor on the asking machine."""

    def __init__(self) -> None:
        self._waiting: dict[int, bytes] = {}
        self._put = 0
        self._ended = False
        self._begun: Counter[int] = Counter()
        self._loading = 0
        self._changed = asyncio.Condition()

    async def put(self, group: bytes) -> int:
        """Add a group and return its number, counted from 0."""
        async with self._changed:
            number = self._put
            self._waiting[number] = group
            self._put += 1
            self._changed.notify_all()
        return number

    async def end(self) -> None:
        """Say that no further group comes."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def take(self, number: int) -> bytes | None:
        """Wait for a group; empty where it has been answered since, None where it never comes."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or number < self._put)
        return self._waiting.get(number, b"") if number < self._put else None

    async def drop(self, number: int) -> None:
        """Forget a group, which was answered or is wanted no more."""
        self._waiting.pop(number, None)
        self._begun.pop(number, None)

    async def begin(self, number: int) -> int:
        """Note that a worker begins a group, and return how many have begun it now."""
        self._begun[number] += 1
        return self._begun[number]

    async def load(self) -> int:
        """Note that a worker begins to load the target; return how many have, since one was last done loading."""
        self._loading += 1
        return self._loading

    async def loaded(self) -> None:
        """Note that a worker holds the target."""
        self._loading = 0


class Groups(Datasource):
    """The groups of a feed as a source of Ray Data: one task, which yields each group as it comes.

    Parameters
    ----------
    feed : actor handle of Feed
    """

    def __init__(self, feed: Any) -> None:
        super().__init__()
        self._feed = feed

    @property
    def supports_distributed_reads(self) -> bool:
        """The one task runs beside the feed."""
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        """Nobody knows how much will come."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Give the one task."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [ReadTask(partial(read, self._feed), unknown)]


def read(feed: Any) -> Iterator[pa.Table]:
    """Yield the groups of a feed in order, one row each, until it ends.

    Parameters
    ----------
    feed : actor handle of Feed

    Yields
    ------
    pa.Table
        Columns ``number`` and ``group``.
    """
    for number in itertools.count():
        group = ray.get(feed.take.remote(number))
        if group is None:
            return
        yield pa.table({"number": pa.array([number], pa.int64()), "group": pa.array([group], pa.large_binary())})
