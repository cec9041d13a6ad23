"""Windows of the spectra: sums of cosines."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

HANN = (0.5, 0.5)
BLACKMAN_HARRIS = (0.35875, 0.48829, 0.14128, 0.01168)
"""Harris (1978), four terms: side lobes 92 dB down."""


@lru_cache(maxsize=8)
def cosine_window(size: int, weights: tuple[float, ...]) -> np.ndarray:
    """Make a periodic window, as ``scipy.signal.get_window`` does, without that package's slow import.

    Parameters
    ----------
    size : int
    weights : tuple of float
        Of the cosines of 0, 1, 2, ... periods.

    Returns
    -------
    np.ndarray [shape=(size,)]
        Read-only, the same for every caller.
    """
    phase = np.linspace(-np.pi, np.pi, size + 1)[:-1]
    window = np.zeros(size)
    for periods, weight in enumerate(weights):
        window += weight * np.cos(periods * phase)
    window.flags.writeable = False
    return window
