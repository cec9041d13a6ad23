"""Principal directions of a table of numbers, in memory that does not grow with its rows."""

from __future__ import annotations

import numpy as np

ROWS_AT_ONCE = 4096
"""Rows that are taken into the triangle together."""


def principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values and right singular vectors, from the triangle of a QR decomposition.

    The triangle is built of some rows at a time (Demmel et al. 2012, on tall and narrow matrices): it has the
    directions of all of them, and is small.

    Parameters
    ----------
    rows : np.ndarray [shape=(n, f)]
        Centred.

    Returns
    -------
    tuple of np.ndarray [shape=(k,)] and [shape=(k, f)]
        k is the smaller of n and f; the largest value comes first.
    """
    triangle = np.zeros((0, rows.shape[1]))
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = np.vstack([triangle, rows[first : first + ROWS_AT_ONCE]])
        triangle = np.asarray(np.linalg.qr(part, mode="r"))
    _, singular, directions = np.linalg.svd(triangle, full_matrices=False)
    return singular, directions
