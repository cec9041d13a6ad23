"""Cutting a stream of works into groups, each a load for one worker: several batches of audio of like length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from precompute.work import Heard, Work, heard_once

GROUP_CLIPS = 128
"""Most distinct audio in a group: a few batches, so that a worker can sort them and little is lost with a worker."""

GROUP_BYTES = 2**26
"""Audio of a group, in bytes, beyond which it takes no more; half an hour of audio is 115 MB."""


def windows(works: Iterable[Work], workers: int) -> Iterator[list[Work]]:
    """Gather works until there is a full group for each worker; the last window holds what is left.

    Parameters
    ----------
    works : iterable of Work
        Consumed only as far as the window that is asked for.
    workers : int

    Yields
    ------
    list of Work
        Never empty.
    """
    window: list[Work] = []
    audio: dict[int, int] = {}
    for work in works:
        window.append(work)
        audio[id(work.audio)] = work.audio.nbytes  # one array is one array as long as the window holds it
        if len(audio) >= workers * GROUP_CLIPS or sum(audio.values()) >= workers * GROUP_BYTES:
            yield window
            window, audio = [], {}
    if window:
        yield window


def groups(works: Iterable[Work], workers: int) -> list[list[Heard]]:
    """Divide works evenly among workers, all that is asked about one audio together.

    Parameters
    ----------
    works : iterable of Work
    workers : int

    Returns
    -------
    list of list of Heard
        Audio of like length, longest first; at most `GROUP_CLIPS` in a group, and about `GROUP_BYTES`.
    """
    heard = heard_once(works)
    most = min(GROUP_CLIPS, math.ceil(len(heard) / workers))
    found: list[list[Heard]] = []
    size = 0
    for one in heard:
        if not found or len(found[-1]) == most or size >= GROUP_BYTES:
            found.append([])
            size = 0
        found[-1].append(one)
        size += one.audio.nbytes
    return found
