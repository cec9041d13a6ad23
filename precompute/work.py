"""What a target is asked to do, and doing it fast: in batches of like length, within the memory there is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError, sound_id
from precompute.indicators import TokenStats
from precompute.targets.base import Target
from precompute.targets.loading import is_small

T = TypeVar("T")

FIRST_ROWS = 128
"""Clips of a first batch on a GPU where no size is given: it says when they are too many."""

SMALL_ROWS = 64
"""The same for a small model on a CPU: twice as many are no faster there, and several batches are under way at once."""

CAUTIOUS_ROWS = 16
"""The same for a large model on a CPU, where the system ends a process that wants too much, and for an endpoint."""

MOST_ROWS = 256
"""Largest batch that is tried on a device with memory to spare."""

TEXTS_AT_ONCE = 32
"""Given texts scored together: of like length, so that little is read that only fills up."""

GROW_BELOW = 0.4
"""Share of the device's memory at whose peak a batch may be doubled."""


@dataclass(frozen=True)
class Work:
    """One text to get from a target.

    Parameters
    ----------
    key : str
        Of its row in the store.
    audio : np.ndarray [shape=(n_samples,)]
        16 kHz mono float32; of equal audio best one array, made by `precompute.clips.fixed`.
    prompt : str
    max_new_tokens : int
    ids : tuple of int or None
        Text to score; None lets the target write.
    """

    key: str
    audio: np.ndarray
    prompt: str
    max_new_tokens: int
    ids: tuple[int, ...] | None = None


@dataclass
class Heard:
    """One distinct audio, and all that is asked about it.

    Parameters
    ----------
    audio : np.ndarray [shape=(n_samples,)]
    prompt : str
    max_new_tokens : int
    writes : str or None
        Key of the text the target is to write.
    texts : list of (str, tuple of int)
        Key and ids of each text to score.
    """

    audio: np.ndarray
    prompt: str
    max_new_tokens: int
    writes: str | None = None
    texts: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)


@dataclass
class BatchSize:
    """How many clips are read together: given, or found from the memory there is.

    Parameters
    ----------
    rows : int
        Clips of a batch.
    fixed : bool
        Whether `rows` was given; out of memory it shrinks all the same.
    """

    rows: int = FIRST_ROWS
    fixed: bool = False

    @classmethod
    def of(cls, asked: int | None, target: Target) -> BatchSize:
        """Batch size asked for; None follows the memory of the target's device."""
        if asked is not None:
            return cls(asked, fixed=True)
        model = getattr(target, "model", None)
        if model is not None and model.device.type == "cuda":
            return cls(FIRST_ROWS)
        return cls(SMALL_ROWS if model is not None and is_small(model) else CAUTIOUS_ROWS)

    def shrink(self, failed: int) -> None:
        """Note that `failed` clips were too many."""
        self.rows, self.fixed = max(1, failed // 2), True

    def grow(self, peak: float | None) -> None:
        """Note the peak share of the device's memory under a full batch; None where that is not known."""
        if not self.fixed and peak is not None and peak < GROW_BELOW:
            self.rows = min(MOST_ROWS, 2 * self.rows)


class Waiting:
    """What is yet to be read, given out in batches; several threads may ask.

    Parameters
    ----------
    works : iterable of Work
        All are held at once, to be sorted.
    """

    def __init__(self, works: Iterable[Work]) -> None:
        self._left = heard_once(works)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, rows: int) -> list[Heard]:
        """Take the next batch of at most so many rows; see `next_batch`."""
        with self._lock:
            batch, self._left = next_batch(self._left, rows)
        return batch

    def coming(self, rows: int) -> list[Heard]:
        """Say what `take` would give."""
        return next_batch(self._left, rows)[0]


def execute(target: Target, works: Iterable[Work], size: BatchSize | None = None) -> Iterator[dict[str, TokenStats]]:
    """Do works in batches of like length; each distinct audio is read once for all that is asked about it.

    Parameters
    ----------
    target : Target
    works : iterable of Work
    size : BatchSize or None
        Changed in place as the memory tells.

    Yields
    ------
    dict of str to TokenStats
        By key, a batch at a time, in no order to rely on.

    Raises
    ------
    InputError
        If one clip alone needs more memory than there is.
    """
    size, waiting = size or BatchSize(), Waiting(works)
    _prepare(target, waiting.coming(size.rows))
    while batch := waiting.take(size.rows):
        _prepare(target, waiting.coming(size.rows))
        yield _done(target, batch, size)


def execute_together(
    targets: Sequence[Target], works: Iterable[Work], size: BatchSize
) -> Iterator[dict[str, TokenStats]]:
    """Do works as `execute` does, ahead of whoever takes the results, on every core that is of use.

    Parameters
    ----------
    targets : sequence of Target
        One, or one target several times over, for a thread each.
    works : iterable of Work
    size : BatchSize

    Yields
    ------
    dict of str to TokenStats
    """
    if len(targets) == 1:
        yield from ahead(execute(targets[0], works, size))
        return
    waiting = Waiting(works)
    rows = -(-len(waiting) // len(targets))  # few works are shared out too

    def batches(target: Target) -> Iterator[dict[str, TokenStats]]:
        while batch := waiting.take(min(size.rows, rows)):
            yield _done(target, batch, size)

    yield from ahead(*(batches(target) for target in targets))


def side_by_side(target: Target) -> list[Target]:
    """Give a target as often as it is of use at the same time, for `execute_together`; most are so once.

    Parameters
    ----------
    target : Target

    Returns
    -------
    list of Target
    """
    several = getattr(target, "side_by_side", None)
    return [target] if several is None else several()


def _done(target: Target, batch: list[Heard], size: BatchSize) -> dict[str, TokenStats]:
    """Do a batch, and learn from the memory it took."""
    done = _within_memory(target, batch, size)
    size.grow(_peak_share(target) if len(batch) == size.rows else None)
    _forget(target)  # nothing that was read is asked about again
    return done


def ahead(*results: Iterator[T]) -> Iterator[T]:
    """Let each result be made, in another thread, while the one before it is used.

    Parameters
    ----------
    *results : iterator
        One thread each.

    Yields
    ------
    object
        The same results, of each iterator in the same order; an error comes where it was raised.
    """
    end = object()
    coming = {_in_thread(partial(next, one, end)): one for one in results}
    while coming:
        future = next(iter(wait(coming, return_when=FIRST_COMPLETED).done))
        one = coming.pop(future)
        result = future.result()
        del future  # what it holds is used up by the time the next is there: two at once are enough
        if result is not end:
            coming[_in_thread(partial(next, one, end))] = one
            yield cast(T, result)
        del result


def _in_thread(call: Callable[[], T]) -> Future[T]:
    """Call in a thread that nobody waits for when the program is interrupted."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, name="ahead", daemon=True).start()
    return found


def heard_once(works: Iterable[Work]) -> list[Heard]:
    """Collect works by distinct audio, prompt and length of answer; the longest audio comes first.

    A batch too large for the memory then fails at the start of a night and not at its end.
    """
    found: dict[tuple[str, int | str, int], Heard] = {}
    for work in works:
        place = (work.prompt, sound_id(work.audio), work.max_new_tokens)
        heard = found.setdefault(place, Heard(work.audio, work.prompt, work.max_new_tokens))
        if work.ids is None:
            heard.writes = work.key
        else:
            heard.texts.append((work.key, work.ids))
    return sorted(found.values(), key=lambda heard: -len(heard.audio))


def next_batch(waiting: Sequence[Heard], rows: int) -> tuple[list[Heard], list[Heard]]:
    """Take the longest audio and those next to it in length that share its prompt; give back what is left."""
    if not waiting:
        return [], []
    same = [(heard.prompt, heard.max_new_tokens) == (waiting[0].prompt, waiting[0].max_new_tokens) for heard in waiting]
    taken = set([index for index, fits in enumerate(same) if fits][:rows])
    return (
        [heard for index, heard in enumerate(waiting) if index in taken],
        [heard for index, heard in enumerate(waiting) if index not in taken],
    )


def _prepare(target: Target, batch: Sequence[Heard]) -> None:
    """Let the front end run ahead of the device, where the target can."""
    prepare = getattr(target, "prepare", None)
    if batch and prepare is not None:
        prepare([heard.audio for heard in batch], batch[0].prompt)


def _within_memory(target: Target, batch: list[Heard], size: BatchSize) -> dict[str, TokenStats]:
    """Do a batch; out of memory, do its halves, and keep later batches as small."""
    try:
        return _answers(target, batch, size.rows)
    except (MemoryError, RuntimeError) as error:  # torch raises a plain RuntimeError on a CPU
        if not out_of_memory(error):
            raise
        if len(batch) == size.rows == 1:
            seconds = len(batch[0].audio) / SAMPLE_RATE
            raise InputError(f"{target.id}: one clip of {seconds:.1f} s needs more memory than there is") from error
    _free(target)
    if len(batch) == 1:  # one audio under many texts
        size.shrink(size.rows)
        return _within_memory(target, batch, size)
    size.shrink(len(batch))
    middle = len(batch) // 2
    return _within_memory(target, batch[:middle], size) | _within_memory(target, batch[middle:], size)


def _answers(target: Target, batch: Sequence[Heard], rows: int) -> dict[str, TokenStats]:
    """Let the target write where it is to write, then score the given texts under the same audio, a part at a time.

    Silence of one length is one audio however many clips are that long, and what is read of it is copied per text.
    """
    prompt = batch[0].prompt
    writing = [heard for heard in batch if heard.writes is not None]
    wrote = target.generate([heard.audio for heard in writing], prompt, batch[0].max_new_tokens) if writing else []
    found = {str(heard.writes): stats for heard, stats in zip(writing, wrote, strict=True)}
    texts: list[tuple[np.ndarray, str, tuple[int, ...]]] = []
    for heard in batch:
        own = found.get(str(heard.writes))
        for key, ids in heard.texts:
            if own is not None and tuple(own.ids.tolist()) == ids:  # it wrote this very text: one pass told all
                found[key] = own
            else:
                texts.append((heard.audio, key, ids))
    texts.sort(key=lambda text: -len(text[2]))
    most = min(rows, TEXTS_AT_ONCE)
    for first in range(0, len(texts), most):
        part = texts[first : first + most]
        scored = target.score([audio for audio, _, _ in part], prompt, [ids for _, _, ids in part])
        found |= {key: stats for (_, key, _), stats in zip(part, scored, strict=True)}
    return found


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is about memory, of a GPU or of the machine.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _free(target: Target) -> None:
    """Give back what the target remembers, so that smaller batches have the whole memory."""
    import torch

    _forget(target)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _forget(target: Target) -> None:
    if forget := getattr(target, "forget", None):
        forget()


def _peak_share(target: Target) -> float | None:
    """Largest share of its GPU's memory that was in use since the last call; None for a target not on one GPU."""
    import torch

    device = getattr(getattr(target, "model", None), "device", None)
    if device is None or device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device) / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.reset_peak_memory_stats(device)
    return peak
