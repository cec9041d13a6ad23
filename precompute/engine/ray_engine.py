"""The ray engine: works go out to workers that each hold the target, token statistics come back.

One Ray Data pipeline runs from entering the engine to leaving it, so that a worker loads the target once: a feed of
groups (`precompute.engine.feed`), mapped over a pool of actors (`precompute.engine.worker`), read by a thread here.
Ray restarts a worker that is lost and gives it its groups again. The store stays with the caller, its only writer.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from precompute.clips import InputError
from precompute.engine.cluster import LOCAL, connect, find_address, pipeline, room
from precompute.engine.groups import groups, windows
from precompute.engine.wire import pack_heard, unpack_stats
from precompute.engine.worker import WorkerTarget
from precompute.indicators import TokenStats
from precompute.work import Heard, Work

AHEAD = 3
"""Groups on their way per worker: one in work, one at the worker already, one to come."""

PATIENCE = 600.0
"""Seconds without any answer, at least, after which groups are given out once more (backup tasks, as in MapReduce: Dean
and Ghemawat 2004). Ray holds the groups of a worker whose machine is lost until there is another machine for it."""

CLOSING = 20.0
"""Seconds that Ray Data gets to end its threads here."""

GOES_ON = "what was scored is kept, and the same command goes on"


@dataclass(eq=False)
class _Sent:
    """A group that is out.

    Parameters
    ----------
    works : list of Heard
    at : float
        When it was first given out, by the monotonic clock.
    numbers : list of int
        Its numbers in the feed; more than one where it was given out again.
    """

    works: list[Heard]
    at: float
    numbers: list[int] = field(default_factory=list)


class RayEngine:
    """Does works on a Ray cluster. Use it in a ``with`` statement, for all works of one target.

    Parameters
    ----------
    load : WorkerTarget
        How workers get the target, and which one it has to be.
    workers : int or None
        None is as many as the cluster has room for now.
    gpus_per_worker : float or None
        None is one where the cluster has GPUs and `load` does not ask for the CPU, else none.
    address : str or None
        Of a running cluster, one of whose machines this is: ``auto`` or ``host:port``. None takes the environment
        variable ``RAY_ADDRESS``, and without it starts a cluster on this machine, which ends with the engine.
    patience : float
        See `PATIENCE`.

    Notes
    -----
    The first work starts or finds the cluster: an audit whose cache holds everything needs none.
    """

    def __init__(
        self,
        load: WorkerTarget,
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        address: str | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._load = load.located()
        self._workers = workers
        self._gpus = gpus_per_worker
        self._address = find_address(address)
        self._patience = patience
        self._longest = 0.0  # seconds that a group was out, loading aside
        self._loaded: float | None = None  # when the first answer came
        self._ours = False
        self._feed: Any = None
        self._reader: threading.Thread | None = None
        self._answers: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()

    @property
    def workers(self) -> int:
        """How many workers there are; known once there was a first work."""
        assert self._workers is not None
        return self._workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, works: Iterable[Work]) -> Iterator[dict[str, TokenStats]]:
        """Do works, whose answers come in any order while later works are still being made.

        One run at a time. A run that is given up leaves the engine usable.

        Parameters
        ----------
        works : iterable of Work
            Every key once. Consumed in this thread, a few groups ahead of the workers and no further, so that memory
            does not grow with their number; it must not wait for answers of the same run. Works on one audio that
            follow each other closely are done together.

        Yields
        ------
        dict of str to TokenStats
            By key, a group at a time, each key once.

        Raises
        ------
        InputError
            As a worker raised it, or where workers cannot go on: because Ray is not installed, no cluster is at the
            address or it has no room for a worker, say.
        """
        works = iter(works)
        first = next(works, None)
        if first is None:
            return
        if self._feed is None:
            self._start()
        works = itertools.chain([first], works)
        out: dict[int, _Sent] = {}
        try:
            for group in self._grouped(works):
                while len({id(sent) for sent in out.values()}) >= AHEAD * self.workers:
                    yield from self._answer(out)
                self._send(_Sent(group, time.monotonic()), out)
                while not self._answers.empty():
                    yield from self._answer(out)
            while out:
                yield from self._answer(out)
        finally:
            for number in out:
                self._feed.drop.remote(number)

    def _grouped(self, works: Iterable[Work]) -> Iterator[list[Heard]]:
        for window in windows(works, self.workers):
            yield from groups(window, self.workers)

    def _send(self, sent: _Sent, out: dict[int, _Sent]) -> None:
        """Give a group out, for the first time or again."""
        import ray

        try:
            number = ray.get(self._feed.put.remote(pack_heard(sent.works)))
        except ray.exceptions.RayError as error:
            raise lost(error) from error
        sent.numbers.append(number)
        out[number] = sent

    def _answer(self, out: dict[int, _Sent]) -> Iterator[dict[str, TokenStats]]:
        """Wait for an answer; where none comes, give out again what is out: its worker may be lost for good."""
        try:
            answer = self._answers.get(timeout=max(self._patience, 4 * self._longest))
        except queue.Empty:
            if self.workers > 1 and self._loaded:  # before, workers load the target
                for waiting in {id(one): one for one in out.values()}.values():
                    self._send(waiting, out)
            return
        if isinstance(answer, BaseException):
            self._answers.put(answer)  # a later run meets it too
            if is_bug(answer):
                raise answer
            raise lost(answer) from answer
        sent = out.get(answer["number"])
        if sent is None:  # answered before, or asked by a run that was given up
            return
        if answer["problem"] is not None:
            raise InputError(answer["problem"])
        for number in sent.numbers:
            out.pop(number)
            self._feed.drop.remote(number)
        self._loaded = self._loaded or answer["at"]
        if sent.at > self._loaded:
            self._longest = max(self._longest, answer["at"] - sent.at)
        yield unpack_stats(answer["stats"])

    def _start(self) -> None:
        """Start or find the cluster; start the feed, the pipeline and the thread that reads it."""
        self._ours = connect(self._address, self._workers)
        self._gpus, self._workers = room(self._load, self._gpus, self._workers, self._address == LOCAL)
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from precompute.engine.feed import Feed

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._feed = ray.remote(Feed).options(num_cpus=0, scheduling_strategy=here).remote()
        dataset = pipeline(self._feed, self._load, self.workers, self._gpus or 0.0)
        self._reader = threading.Thread(target=self._read, args=(dataset,), name="ray-answers", daemon=True)
        self._reader.start()

    def _read(self, dataset: Any) -> None:
        """Pass answers on as they come, and at last what ended the pipeline."""
        try:
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in table.to_pylist():
                    self._answers.put({**row, "at": time.monotonic()})
            self._answers.put(RuntimeError("the pipeline has ended"))
        except Exception as error:  # told to the thread that asks
            self._answers.put(error)

    def _stop(self) -> None:
        """End what this engine started: its actors, and the cluster where it is ours."""
        feed, reader, ours = self._feed, self._reader, self._ours
        self._feed, self._reader, self._ours = None, None, False
        if feed is None and not ours:
            return
        import ray

        try:
            if feed is not None:
                ray.kill(feed)  # the pipeline cannot go on without it, and takes its workers along
            if reader is not None:
                reader.join(CLOSING)
        finally:
            if ours:
                ray.shutdown()


def is_bug(error: BaseException) -> bool:
    """Whether code of ours failed in a worker, rather than a worker or a machine."""
    import ray

    return isinstance(error, ray.exceptions.RayTaskError)


def lost(error: BaseException) -> InputError:
    """Put what keeps workers from going on into one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # Ray says first what happened; where a worker could not be built, the reason is the last line of a traceback.
    reason = lines[-1] if "creation task" in lines[0] else lines[0]
    return InputError(f"the workers cannot go on ({reason.rstrip('.')}); {GOES_ON}")
