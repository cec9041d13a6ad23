"""What a cohort of this size could have seen: said beside every value near chance."""

from __future__ import annotations

import numpy as np

from precompute.statistics.delong import hanley_mcneil

POWER = 0.8
ALPHA = 0.05


def minimal_detectable(se: float, power: float = POWER, alpha: float = ALPHA) -> float:
    """Smallest AUC above one half that a two-sided test would find with the wanted chance: 0.5 + 2.8 se.

    Parameters
    ----------
    se : float
        Standard error of the AUC near one half, after any widening; at least 0.
    power, alpha : float
        In (0, 1).

    Returns
    -------
    float
        At most 1; NaN where `se` is.
    """
    from scipy.special import ndtri

    return float(np.minimum(0.5 + (ndtri(1 - alpha / 2) + ndtri(power)) * se, 1.0))


def clips_for(auc: float, factor: float = 1.0, power: float = POWER, alpha: float = ALPHA) -> int:
    """Clips per class with which a leak of this AUC would be found.

    After Hanley and McNeil (1982): the standard error at one half sets the threshold, that at the AUC
    itself the chance to pass it.

    Parameters
    ----------
    auc : float
        In (0, 1), not one half; below one half counts as far above.
    factor : float
        Widening of the standard error, for trained scores.
    power, alpha : float

    Returns
    -------
    int
        The smallest such number per class, at least 2.

    Raises
    ------
    ValueError
        If the AUC is one half or outside (0, 1).
    """
    from scipy.special import ndtri

    gap = abs(auc - 0.5)
    if not 0 < gap < 0.5:
        raise ValueError(f"no number of clips tells an AUC of {auc} from one half with a given chance")

    def enough(n: int) -> bool:
        null, there = hanley_mcneil(0.5, n, n), hanley_mcneil(0.5 + gap, n, n)
        return bool(factor * (ndtri(1 - alpha / 2) * null + ndtri(power) * there) <= gap)

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_auc(
    n_member: int, n_non_member: int, factor: float = 1.0, power: float = POWER, alpha: float = ALPHA
) -> float:
    """Smallest AUC above one half that this many clips would show, before any score is seen.

    Parameters
    ----------
    n_member, n_non_member : int
        At least 1.
    factor : float
        Widening of the standard error, for trained scores.
    power, alpha : float

    Returns
    -------
    float
        `minimal_detectable` at the standard error of a score without signal; at most 1.
    """
    return minimal_detectable(factor * float(hanley_mcneil(0.5, n_member, n_non_member)), power, alpha)
