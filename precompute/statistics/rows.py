"""Rows of a large table some at a time: what is made of a part is small, however many clips there are."""

from __future__ import annotations

from collections.abc import Iterator

ROWS_AT_ONCE = 4096
"""Clips that are worked on together."""

NUMBERS_AT_ONCE = 2**16
"""Numbers of a part that is made again and again: under `precompute.heap.LARGE`, from which memory is asked for."""


def row_parts(n: int, width: int = 1) -> Iterator[slice]:
    """Split n rows.

    Parameters
    ----------
    n : int
    width : int
        Numbers of a row, where what is made of a part is made again and again.

    Yields
    ------
    slice
        `ROWS_AT_ONCE` rows, fewer where they hold more than `NUMBERS_AT_ONCE`, or what is left, in order; nothing where
        n is 0.
    """
    rows = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(1, width)))
    for first in range(0, n, rows):
        yield slice(first, first + rows)
