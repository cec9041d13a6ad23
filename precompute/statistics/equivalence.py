"""Two one-sided tests of an AUC around chance: what "no difference" takes, and how many clips it needs.

Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15: a cohort is shown to be near chance only by
rejecting both "at least the margin below" and "at least the margin above". A large p of an ordinary test shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARGIN = 0.05
"""Distance from an AUC of one half that still counts as no difference."""

LEVEL = 0.05


@dataclass(frozen=True)
class Tost:
    """Two one-sided tests around one half.

    Parameters
    ----------
    p_low : float
        Of an AUC at or below one half minus the margin.
    p_high : float
        Of an AUC at or above one half plus the margin.
    p : float
        The larger: small where the AUC lies inside the margin on both sides.
    low_90, high_90 : float
        90% interval; inside the margin exactly where `p` is below 0.05.
    """

    p_low: float
    p_high: float
    p: float
    low_90: float
    high_90: float


def tost(auc: float, se: float, margin: float = MARGIN) -> Tost:
    """Test whether an AUC is within the margin of one half.

    Parameters
    ----------
    auc : float
        In [0, 1].
    se : float
        Above 0, after any widening for training; `delong.floored` where the scores show no spread.
    margin : float
        Above 0.

    Returns
    -------
    Tost
        NaN throughout where `auc` or `se` is.

    Raises
    ------
    ValueError
        If the standard error is 0 or below, which would make anything certain.
    """
    from scipy.special import ndtr, ndtri

    if se <= 0:
        raise ValueError("a standard error of 0 tests nothing; floor it first")
    p_low, p_high = float(ndtr(-(auc - 0.5 + margin) / se)), float(ndtr((auc - 0.5 - margin) / se))
    reach = float(ndtri(1 - LEVEL)) * se
    return Tost(p_low, p_high, float(np.maximum(p_low, p_high)), auc - reach, auc + reach)


def power_of(
    n: float, se: float, n_at_se: float, margin: float = MARGIN, true: float = 0.5, families: int = 1
) -> float:
    """Chance that every family is found inside the margin with `n` clips per class.

    Parameters
    ----------
    n : float
        Clips per class.
    se : float
        Standard error of the AUC at `n_at_se` clips per class, after any widening; taken to fall as 1 / sqrt(n).
    n_at_se : float
    margin : float
    true : float
        The AUC there really is, the same for every family.
    families : int
        All must pass (intersection-union, no correction). Counted as independent, the worst case of families that go
        together.

    Returns
    -------
    float
        In [0, 1].
    """
    from scipy.special import ndtr, ndtri

    here = se * np.sqrt(n_at_se / n)
    gap, z = abs(true - 0.5), ndtri(1 - LEVEL)
    single = ndtr((margin - gap) / here - z) + ndtr((margin + gap) / here - z) - 1.0
    return float(max(single, 0.0) ** families)


def clips_needed(
    se: float, n: float, margin: float = MARGIN, power: float = 0.8, true: float = 0.5, families: int = 1
) -> int:
    """Clips per class with which every family would come out inside the margin with the wanted chance.

    Parameters
    ----------
    se : float
        Standard error of the AUC at `n` clips per class, after any widening.
    n : float
        Clips per class now; for unequal classes their harmonic mean.
    margin, true, families
        As for `power_of`.
    power : float
        In (0, 1).

    Returns
    -------
    int
        The smallest such number.

    Raises
    ------
    ValueError
        If the standard error is not above 0, or the true AUC not inside the margin: no number of clips would do.
    """
    from scipy.optimize import brentq

    if not se > 0:
        raise ValueError(f"a standard error of {se} says nothing about more clips")
    if not abs(true - 0.5) < margin:
        raise ValueError(f"an AUC of {true} is not inside the margin; no number of clips shows that it is")

    def short(log_n: float) -> float:
        return power_of(np.exp(log_n), se, n, margin, true, families) - power

    wanted = int(np.ceil(np.exp(brentq(short, np.log(1e-6), np.log(1e12)))))
    # The root is good to about 1e-12 of its logarithm, so it may lie just above a whole number that already suffices.
    return wanted - 1 if wanted > 1 and power_of(wanted - 1, se, n, margin, true, families) >= power else wanted
