"""Audio brought to a length that a front end can take."""

from __future__ import annotations

import logging

import numpy as np

from precompute.clips import SAMPLE_RATE

log = logging.getLogger(__name__)


def fitted(audio: np.ndarray, least: int, longest: int | None = None, *, name: str = "") -> np.ndarray:
    """Follow audio that is too short by silence; cut audio that is too long, and say so in the log.

    Parameters
    ----------
    audio : np.ndarray [shape=(n_samples,)]
    least : int
        Fewest samples that the front end can take.
    longest : int or None
        Most samples that are heard; None is no limit.
    name : str
        Of the target, for the log.

    Returns
    -------
    np.ndarray [shape=(n,)]
    """
    if longest is not None and len(audio) > longest:
        log.warning("%s: only the first %.0f s of a clip are heard", name, longest / SAMPLE_RATE)
        return audio[:longest]
    return np.pad(audio, (0, max(0, least - len(audio))))
