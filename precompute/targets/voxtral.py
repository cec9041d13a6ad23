"""Voxtral, whose prompts are laid out by the package mistral-common: a transcription request, or a chat."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.targets.base import PROMPTS, ChatTarget, checked
from precompute.targets.fitting import fitted

TRANSCRIBE = "[TRANSCRIBE]"
"""The prompt that stands for the transcription request: the token which that request ends with, after the audio."""


class VoxtralTarget(ChatTarget):
    """Voxtral; see `ChatTarget`.

    With the prompt `TRANSCRIBE` it is asked for a transcript in the language it hears, without words; with any other
    prompt it is asked in a chat, audio first. Both ways audio is handed over with 16 bits a sample.
    """

    audio_first = True

    def __init__(
        self, model: Any, processor: Any, *, id: str, revision: str, prompts: Mapping[str, str] = PROMPTS
    ) -> None:
        if type(processor.tokenizer).__name__ != "MistralCommonBackend":
            raise InputError(f"{id}: its prompts are laid out by the package mistral-common, which is missing")
        super().__init__(model, processor, id=id, revision=revision, prompts=prompts)

    def inputs(self, audios: Sequence[np.ndarray], prompt: str) -> Any:
        """Prepare a batch; see `ChatTarget.inputs`."""
        clips = [self.fit(checked(audio)) for audio in audios]
        if prompt == TRANSCRIBE:
            return self.processor.apply_transcription_request(
                clips, model_id=self.id, sampling_rate=SAMPLE_RATE, format=["wav"] * len(clips)
            )
        self.check_prompt(prompt)
        return self.processor.apply_chat_template([self.conversation(clip, prompt) for clip in clips])

    def conversation(self, audio: np.ndarray, prompt: str) -> list[dict[str, Any]]:
        """Put one clip, as a file, and the prompt into chat turns."""
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, audio, SAMPLE_RATE, format="wav", subtype="PCM_16")
        content = [
            {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()},
            {"type": "text", "text": prompt},
        ]
        return [{"role": "user", "content": content}]

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Follow empty audio by silence: a file has to have a sample."""
        return fitted(audio, 1)

    def encode(self, text: str) -> list[int]:
        """Return the ids that the model would have to write for `text`; see `ChatTarget.encode`."""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.end_ids[0]]
