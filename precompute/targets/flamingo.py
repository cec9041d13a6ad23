"""Audio Flamingo 3 and Music Flamingo, full-size or embedded.

Both cut audio into windows of the front end (30 s in the originals) and write one placeholder per audio token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.targets.base import ChatTarget, positions
from precompute.targets.prefill import Prefill

if TYPE_CHECKING:
    import torch


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


@contextmanager
def short_windows(tower: Any) -> Iterator[None]:
    """Let an audio tower skip what fills windows up: no frame attends to it, and no token is made of it.

    Windows of about one length go through together: a clip of 5 s costs a quarter of its window of 30 s.

    Parameters
    ----------
    tower : AudioFlamingo3Encoder
        Its output keeps its shape, zero where it skipped.
    """
    from torch.nn import Parameter

    whole, positions = tower.forward, tower.embed_positions.weight
    own = "forward" in vars(tower)
    quarter = 4 * -(-len(positions) // 8)  # in frames, two a position; a multiple of 4, so that frames pool to tokens

    def forward(features: Any, input_features_mask: Any, **named: Any) -> Any:
        # Two frames more than are heard, for the convolutions look ahead.
        quarters = -(-(input_features_mask.sum(-1) + 2) // quarter)
        heard = None
        for count in quarters.unique().tolist():
            rows, frames = quarters == count, min(int(count) * quarter, features.shape[-1])
            tower.embed_positions.weight = Parameter(positions[: frames // 2], requires_grad=False)
            part = whole(features[rows, :, :frames], input_features_mask=input_features_mask[rows, :frames], **named)
            states = part.last_hidden_state
            if heard is None:
                heard = states.new_zeros(len(features), len(positions) // 2, states.shape[-1])
            heard[rows, : states.shape[1]] = states
        part.last_hidden_state = heard
        return part

    tower.forward = forward
    try:
        yield
    finally:
        tower.embed_positions.weight = positions
        del tower.forward
        if own:  # accelerate put its own there
            tower.forward = whole


class FlamingoTarget(ChatTarget):
    """Audio Flamingo 3 or Music Flamingo; see `ChatTarget`."""

    def first_pass(self, inputs: dict[str, torch.Tensor]) -> Prefill:
        """Hear a batch and read its prompt, windows no longer than needed and what all rows begin with once.

        The template puts the prompt before the audio, so that rows begin alike up to their first audio token.
        """
        import torch

        ids = inputs.pop("input_ids")
        mask = inputs.pop("attention_mask")
        filled = ids.shape[1] - mask.sum(1)
        begin = self._common(ids, filled)
        if not len(begin):  # a template that opens with the audio
            return super().first_pass({**inputs, "input_ids": ids, "attention_mask": mask})
        shared = self.model(input_ids=begin[None], use_cache=True, logits_to_keep=1).past_key_values
        shared.batch_repeat_interleave(len(ids))
        # What begins rows is cut off at the left; what stays of it there, in padded rows, counts as padding.
        ids = ids[:, len(begin) :]
        real = torch.arange(ids.shape[1], device=ids.device) >= filled[:, None]
        ids = ids.where(real, begin[0])
        mask = torch.cat([ids.new_ones(len(ids), len(begin)), real.to(ids.dtype)], dim=1)
        with short_windows(self.model.model.audio_tower):
            output = self.model(
                **inputs,
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions(mask)[:, len(begin) :],
                past_key_values=shared,
                use_cache=True,
                logits_to_keep=1,
            )
        return Prefill(output.logits[:, -1], output.past_key_values, mask)

    def _common(self, ids: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
        """Ids that all rows begin with before their audio; `filled` is how much padding comes before each."""
        rows = [row[n:] for row, n in zip(ids.tolist(), filled.tolist(), strict=True)]
        first = rows[0][: rows[0].index(self.model.config.audio_token_id)]
        columns = zip(first, *rows[1:], strict=False)
        return ids[0, filled[0] :][: sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))]

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Adapt audio to the front end; see `fit_windows`."""
        return fit_windows(audio, self.processor.feature_extractor)
