"""Rows of a large table some at a time: what is made of a part is small, however many clips there are."""

from __future__ import annotations

from collections.abc import Iterator

ROWS_AT_ONCE = 4096
"""Clips that are worked on together."""


def row_parts(n: int) -> Iterator[slice]:
    """Split n rows.

    Parameters
    ----------
    n : int

    Yields
    ------
    slice
        `ROWS_AT_ONCE` rows or what is left, in order; nothing where n is 0.
    """
    for first in range(0, n, ROWS_AT_ONCE):
        yield slice(first, first + ROWS_AT_ONCE)
