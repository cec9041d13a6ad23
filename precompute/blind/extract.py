"""Blind features of many clips: each file decoded once, on all cores, looked up and kept by the store's one owner.

Workers decode and measure; they never see the store. What a row is kept under contains the hash of the audio, which is
not known before the file is decoded, so a worker either only names clips (hash) or names and measures them at once. It
is asked to do as the last batch would have needed: an audit over a full cache only names, one over an empty cache
decodes nothing twice, and one that was stopped changes over once.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from precompute import blind, heap
from precompute.blind.acoustic import acoustic_features
from precompute.blind.fingerprint import recording_features
from precompute.blind.metadata import metadata_features
from precompute.blind.recording import as_stored, decode
from precompute.clips import Clip, InputError, content_hash

if TYPE_CHECKING:
    import pandas as pd

    from precompute.store import Store

BATCH = 16
"""Clips a worker is given at once, and rows that are kept together: a stopped audit loses a few batches at most."""

FEW = 128
"""Below so many clips no workers are started: that takes as long as measuring about a hundred clips of ten seconds."""

AHEAD = 2
"""Batches under way for each worker."""

KEPT_BYTES = 2**28
"""Free memory that a worker keeps at most."""


@dataclass(frozen=True)
class Measured:
    """Blind features of one clip.

    Parameters
    ----------
    clip : Clip
    audio_hash : str
        `precompute.clips.content_hash` of what a target hears, by which copies are known.
    features : dict of str to float
        As `precompute.blind.features` gives them.
    """

    clip: Clip
    audio_hash: str
    features: dict[str, float]


_Answer = tuple[str, dict[str, float] | None]
"""What a worker says of a clip: its hash, and its features if it was asked for them."""


def feature_table(
    clips: Sequence[Clip], store: Store, workers: int | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Measure clips into one table, with a progress bar.

    Parameters
    ----------
    clips, store, workers
        As for `measure_clips`.

    Returns
    -------
    tuple of (pd.DataFrame, dict of str to str)
        Features (float32 as in a bundle, 1 kB a clip) indexed by clip_id, in the order of `clips`; and the hash of each
        clip's audio.
    """
    import pandas as pd

    hashes: dict[str, str] = {}
    names: list[str] = []
    values = np.empty((0, 0), dtype=np.float32)
    found = measure_clips(clips, store, workers)
    for row, one in enumerate(tqdm(found, total=len(clips), desc="blind features", unit="clip", disable=None)):
        if not row:
            names = list(one.features)
            values = np.empty((len(clips), len(names)), dtype=np.float32)
        values[row] = [one.features[name] for name in names]
        hashes[one.clip.clip_id] = one.audio_hash
    return pd.DataFrame(values, index=list(hashes), columns=names, copy=False), hashes


def measure_clips(clips: Sequence[Clip], store: Store, workers: int | None = None) -> Iterator[Measured]:
    """Measure clips, doing only what the store lacks.

    Parameters
    ----------
    clips : sequence of Clip
        Unique by clip_id.
    store : Store
        Read and written by this process alone.
    workers : int or None
        Processes; None takes one a core, or none where there are under `FEW` clips. Values do not depend on it.

    Yields
    ------
    Measured
        In the order of `clips`; at most a few batches are in memory.

    Raises
    ------
    InputError
        If a file cannot be read, or a worker was stopped from outside. What was measured before is kept.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if len(clips) >= FEW else 1
    try:
        with _pool(workers) as pool:
            yield from _stream(clips, store, pool, workers)
    except BrokenProcessPool as error:
        raise InputError(
            "a process that measured clips was stopped from outside, for want of memory perhaps; "
            "what was done is kept, and the same command goes on from there"
        ) from error


def measure(clip: Clip) -> Measured:
    """Decode one clip and measure it, without a store; `InputError` where it cannot be read."""
    decoded = decode(clip)
    samples = decoded.heard()
    found = {
        **metadata_features(clip, samples),
        **acoustic_features(samples),
        **recording_features(as_stored(decoded)),
    }
    return Measured(clip, content_hash(samples), found)


def row_key(store: Store, clip: Clip, audio_hash: str) -> str:
    """Name the row of the store that holds a clip's features, by all that determines them."""
    return store.key(
        kind="blind",
        version=blind.VERSION,
        audio=audio_hash,
        size=clip.path.stat().st_size,
        text=clip.text,
        suffix=clip.path.suffix,
        span=[clip.start, clip.end],
    )


def _stream(clips: Sequence[Clip], store: Store, pool: Executor, workers: int) -> Iterator[Measured]:
    """Keep the workers busy, look rows up, and put what is new into the store."""
    task: Callable[[list[Clip]], list[_Answer]]
    waiting: deque[tuple[list[Clip], Future[list[_Answer]]]] = deque()
    remaining = iter(clips)
    ahead, task = 1, _named  # the first batch alone shows whether there is anything in the store
    while True:
        while len(waiting) < ahead and (batch := list(islice(remaining, BATCH))):
            waiting.append((batch, pool.submit(task, batch)))
        if not waiting:
            return
        batch, future = waiting.popleft()
        answers = future.result()
        keys = [row_key(store, clip, name) for clip, (name, _) in zip(batch, answers, strict=True)]
        kept = [store.get(key) for key in keys]
        lacking = [index for index, row in enumerate(kept) if row is None]
        ahead, task = (AHEAD * workers if workers > 1 else 1), _measured if lacking else _named
        unmeasured = [index for index in lacking if answers[index][1] is None]
        if unmeasured:
            late = pool.submit(_measured, [batch[index] for index in unmeasured]).result()
            for index, answer in zip(unmeasured, late, strict=True):
                answers[index] = answer
        store.put_many({keys[index]: {"features": json.dumps(answers[index][1])} for index in lacking})
        for clip, row, (name, found) in zip(batch, kept, answers, strict=True):
            yield Measured(clip, name, found or {} if row is None else json.loads(str(row["features"])))


def _named(clips: list[Clip]) -> list[_Answer]:
    """Hash what a target hears of each clip."""
    return [(content_hash(decode(clip).heard()), None) for clip in clips]


def _measured(clips: list[Clip]) -> list[_Answer]:
    """Hash and measure each clip, from one decoding."""
    found = [measure(clip) for clip in clips]
    return [(one.audio_hash, one.features) for one in found]


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Open worker processes, or for one worker none; leaving waits for the batches under way and drops the others."""
    from threadpoolctl import threadpool_limits

    if workers == 1:
        with threadpool_limits(1):  # threads of matrix products would only add to the cost of small ones
            yield _Here()
        return
    # Spawned, not forked: this process may hold a model and its threads.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        _start_all(pool, workers)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _Here(Executor):
    """Stand in for worker processes: does what is submitted at once, in this one."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _start_all(pool: ProcessPoolExecutor, workers: int) -> None:
    """Start every worker now; none of them sees Ctrl-C, which is this process's to handle.

    An executor starts workers as work comes, and waits for ever for one that it starts while another is killed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        for _ in range(workers):
            pool.submit(int)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Set a worker up: one thread for matrix products, memory reused, no life after the process that started it."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    heap.keep(KEPT_BYTES)  # asking for it anew for every clip is a fifth of the time
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the parent is gone, even killed, and end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
