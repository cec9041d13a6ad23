"""Principal directions of a table of numbers, in memory that does not grow with its rows."""

from __future__ import annotations

import numpy as np

from precompute.statistics.rows import row_parts


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
    for part in row_parts(len(rows)):
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, rows[part]]), mode="r"))
    _, singular, directions = np.linalg.svd(triangle, full_matrices=False)
    return singular, directions
