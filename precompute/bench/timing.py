"""Times of two ways to do the same thing, taken in turn, so that a busy machine slows both alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any


@dataclass
class Times:
    """Seconds of each round.

    Parameters
    ----------
    wall, cpu : list of float
        By the clock, and of processor time of this process, its threads and the children it has waited for.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def processor_seconds() -> float:
    """Give the processor time spent so far by this process and the children it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def timed(times: Times, call: Callable[[], Any]) -> Any:
    """Call, and note how long it took."""
    wall, cpu = time.perf_counter(), processor_seconds()
    result = call()
    times.wall.append(time.perf_counter() - wall)
    times.cpu.append(processor_seconds() - cpu)
    return result


def interleaved(
    sides: Mapping[str, Callable[[int], Any]], rounds: int
) -> tuple[dict[str, Times], list[dict[str, Any]]]:
    """Let each side do each round, A B B A A B ...

    Parameters
    ----------
    sides : mapping of str to callable
        Called with the number of the round.
    rounds : int, >= 1

    Returns
    -------
    tuple of (dict of str to Times, list of dict)
        Times by side, and what each side gave back in each round.
    """
    times = {name: Times() for name in sides}
    results = []
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        results.append({name: timed(times[name], partial(sides[name], number)) for name in order})
    return times, results


def ratio(slow: list[float], fast: list[float]) -> float:
    """Give the median over the rounds of how many times as long one side took."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def rate(count: list[int], seconds: list[float]) -> float:
    """Give the median over the rounds of how many were done in a second."""
    return median(n / s for n, s in zip(count, seconds, strict=True))


def per_second(call: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """Repeat a call for a while.

    Parameters
    ----------
    call : callable
    seconds : float
        To spend; the call is made at least three times.

    Returns
    -------
    tuple of (float, int)
        Calls per second by the median call, and how many were made.
    """
    times = Times()
    while len(times.wall) < 3 or sum(times.wall) < seconds:
        timed(times, call)
    return 1 / max(median(times.wall), 1e-9), len(times.wall)
