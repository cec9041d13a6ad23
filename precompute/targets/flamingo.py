"""Audio Flamingo 3 and Music Flamingo, full-size or embedded.

Both cut audio into windows of the front end (30 s in the originals) and write one placeholder per audio token.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from precompute.targets.base import ChatTarget


def fit_windows(audio: np.ndarray, extractor: Any) -> np.ndarray:
    """Keep a window that is too short for one audio token from reaching the model.

    Two frames or fewer make no token. As a whole clip that leaves nothing to listen to, so it is padded with
    silence to three frames; as the last window of a longer clip it adds nothing, so it is cut (Music Flamingo
    would count it as the next clip's first window).

    Parameters
    ----------
    audio : np.ndarray [shape=(n_samples,)]
        16 kHz.
    extractor : WhisperFeatureExtractor
        The front end that cuts audio into windows.

    Returns
    -------
    np.ndarray [shape=(n,)]
    """
    least = 2 * extractor.hop_length + 1
    if len(audio) < least:
        return np.pad(audio, (0, least - len(audio)))
    tail = len(audio) % int(extractor.chunk_length * extractor.sampling_rate)
    return audio[: len(audio) - tail] if 0 < tail < least and tail < len(audio) else audio


class FlamingoTarget(ChatTarget):
    """Audio Flamingo 3 or Music Flamingo; see `ChatTarget`."""

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Adapt audio to the front end; see `fit_windows`."""
        return fit_windows(audio, self.processor.feature_extractor)
