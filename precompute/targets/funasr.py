"""Fun-ASR-Nano, whose chat template writes the request itself."""

from __future__ import annotations

import numpy as np

from precompute.targets.alone import AloneTarget
from precompute.targets.fitting import fitted


class FunAsrTarget(AloneTarget):
    """Fun-ASR-Nano; see `ChatTarget`. The prompt is context that may help (names, a topic), empty by default.

    In a batch the adaptor behind its encoder attends to padding, so clips are read alone.
    """

    audio_first = True

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Keep audio between one frame and the encoder's last position; see `fitted`."""
        front = self.processor.feature_extractor
        milliseconds = front.frame_length, front.frame_shift
        frame, hop = (length * front.sampling_rate // 1000 for length in milliseconds)
        steps = self.model.config.audio_config.max_position_embeddings - 1  # positions count from one
        return fitted(audio, frame, (steps * front.stride_lfr - 1) * hop + frame, name=self.id)
