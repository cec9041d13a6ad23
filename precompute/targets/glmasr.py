"""GLM-ASR: audio before text, and one placeholder per audio token, of which very short audio would have none."""

from __future__ import annotations

import numpy as np

from precompute.targets.base import ChatTarget
from precompute.targets.fitting import fitted

LEAST_FRAMES = 7
"""Frames that make one audio token: halved by a convolution, then joined by fours."""


class GlmAsrTarget(ChatTarget):
    """GLM-ASR; see `ChatTarget`. Every window of its encoder is filled up with silence, so padding is never heard."""

    audio_first = True
    closing = "<|user|>"  # by the convention of GLM's chat models: a turn ends where the next one would begin

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Follow audio too short for one audio token by silence."""
        return fitted(audio, (LEAST_FRAMES - 1) * self.processor.feature_extractor.hop_length + 1)
