"""Intervals of what is measured on clips, by resampling clips or the groups that they come from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from precompute.clips import Clip

DRAWS = 500
"""Bootstrap resamples of an interval."""

ENOUGH_GROUPS = 20
"""Groups from which an interval resamples whole groups; with fewer it resamples clips."""


def units_of(clips: Sequence[Clip]) -> list[Hashable]:
    """Say which clips are resampled together: those of one group where there are enough groups, else each alone."""
    groups = {clip.group for clip in clips if clip.group}
    if len(groups) < ENOUGH_GROUPS:
        return list(range(len(clips)))
    return [clip.group or index for index, clip in enumerate(clips)]


def typical(
    how: Callable[[np.ndarray], np.floating], values: np.ndarray, units: Sequence[Hashable], seed: int
) -> dict[str, float] | None:
    """Mean or median of the finite values, with its interval.

    Parameters
    ----------
    how : callable
        ``np.mean`` or ``np.median``.
    values : np.ndarray [shape=(n,)]
    units : sequence of hashable
        One per value.
    seed : int

    Returns
    -------
    dict or None
        See `interval`; None where no value is finite.
    """
    finite = np.isfinite(values)
    kept = [unit for unit, good in zip(units, finite, strict=True) if good]
    return interval(lambda rows: float(how(values[finite][rows])), kept, seed)


def interval(statistic: Callable[[np.ndarray], float], units: Sequence[Hashable], seed: int) -> dict[str, float] | None:
    """Evaluate a statistic and its 95% percentile bootstrap interval.

    Parameters
    ----------
    statistic : callable
        Row numbers, possibly repeated, to a number.
    units : sequence of hashable
        One per row; rows that share a unit are drawn together.
    seed : int

    Returns
    -------
    dict or None
        `value`, `low`, `high`; None without a row.
    """
    if not units:
        return None
    low, high = np.percentile([statistic(rows) for rows in resamples(units, seed)], [2.5, 97.5])
    value = statistic(np.arange(len(units)))
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def resamples(units: Sequence[Hashable], seed: int) -> Iterator[np.ndarray]:
    """Draw `DRAWS` sets of row numbers, units with replacement and rows of a unit together."""
    codes = np.unique(np.array([str(unit) for unit in units]), return_inverse=True)[1]
    count = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    if count == len(units):
        yield from rng.integers(count, size=(DRAWS, count))
        return
    rows_of = [np.flatnonzero(codes == code) for code in range(count)]
    for _ in range(DRAWS):
        yield np.concatenate([rows_of[i] for i in rng.integers(count, size=count)])
