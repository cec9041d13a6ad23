"""Whether clips were lost unevenly between the classes, which alone can make or hide a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Missing:
    """Clips lost by class.

    Parameters
    ----------
    member, non_member : int
        Lost clips.
    n_member, n_non_member : int
        All clips, lost or not.
    p : float
        Fisher's exact test, two-sided, of equal shares; NaN where a class is empty.
    """

    member: int
    non_member: int
    n_member: int
    n_non_member: int
    p: float


def missingness(labels: np.ndarray, lost: np.ndarray) -> Missing:
    """Count what was lost in each class and test whether it was evenly.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,)]
        1 member, 0 non-member.
    lost : np.ndarray [shape=(n,)], bool
        Clips that could not be decoded, heard or scored.

    Returns
    -------
    Missing

    Raises
    ------
    ValueError
        If the arrays differ in length.
    """
    from scipy.stats import fisher_exact

    member, lost = np.asarray(labels) == 1, np.asarray(lost, dtype=bool)
    if member.shape != lost.shape:
        raise ValueError(f"{member.shape} labels do not fit {lost.shape} clips")
    sizes = int(member.sum()), int((~member).sum())
    gone = int((member & lost).sum()), int((~member & lost).sum())
    table = [[part, size - part] for part, size in zip(gone, sizes, strict=True)]
    return Missing(*gone, *sizes, float(fisher_exact(table).pvalue) if all(sizes) else float("nan"))
