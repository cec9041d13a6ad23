"""The C library's heap: what it keeps for itself of the memory that a program has freed.

glibc gives freed memory back to the system only from the end of a heap. A few small results that outlive a chunk of
clips hold all of the chunk's memory behind them, and a process that works for a night grows without holding anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Options of glibc's ``mallopt``, by their numbers in ``malloc.h``."""

LARGE = 2**20
"""Bytes of an array from which it has memory of its own, which goes back to the system with it."""

FREE_AT_END = 2**23
"""Freed bytes at the end of the heap that are kept for what comes next."""


EVERY = 0.3
"""Seconds after which freed memory is given back again: it takes some milliseconds, and what is asked for in between
makes holes resident that hold nothing."""


def give_back() -> None:
    """Give freed memory back to the system, from the middle of heaps too."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # only glibc has it
        trim(0)


@contextlib.contextmanager
def given_back(every: float = EVERY) -> Iterator[None]:
    """Give freed memory back to the system again and again, as long as this lasts.

    A heap of many hours is full of holes, and new memory goes to another hole each time: without this all of them are
    resident before long, whatever is held.

    Parameters
    ----------
    every : float
        Seconds.
    """
    done = threading.Event()

    def run() -> None:
        while not done.wait(every):
            give_back()

    thread = threading.Thread(target=run, name="heap", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def share() -> None:
    """Let all threads share one heap, for each of its own keeps what others could use, and keep large arrays out of it.

    By itself glibc puts arrays of up to 32 MB into the heap once it has seen some freed, and they leave holes.

    torch asks for pages of 2 MB where the system has them: half as many are then handed out, and zeroed, one by one.
    pyarrow, which holds every text of a table, takes its memory from this heap too: its own allocator asks for pages of
    2 MB for what is far smaller, and keeps them.

    It has to be called before a second thread has asked for memory, and numpy starts threads when it is imported.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch with its first tensor
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read by pyarrow when it is imported
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):  # only glibc has it
        set_option(M_ARENA_MAX, 1)
        set_option(M_MMAP_THRESHOLD, LARGE)
        set_option(M_TRIM_THRESHOLD, FREE_AT_END)


def keep(most: int) -> None:
    """Let the C library keep what is freed for what comes next: asking the system anew takes time.

    Parameters
    ----------
    most : int
        Bytes that are kept at most.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):  # only glibc has it
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            set_option(option, most)
