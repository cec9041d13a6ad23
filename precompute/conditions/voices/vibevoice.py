"""VibeVoice through transformers: English and Chinese, no reference transcript. Its scheduler comes from diffusers.

As in transformers' documentation of the model: the reference sits in the speaker's own turn, beside the text.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from precompute.clips import InputError
from precompute.conditions.voices.base import Voice
from precompute.conditions.voices.models import ModelEngine, checked_options, load_whole, refuse_special
from precompute.conditions.voices.pocket_tts import borrowed_voice

SLOWEST = 5.0
"""Characters a second; a model that has not ended by then will not end by itself (its own limit is 90 minutes)."""

PAUSE_SECONDS = 3.0


class VibeVoice(ModelEngine):
    """An `Engine` on a `VibeVoiceForConditionalGeneration`: tokens are chosen greedily, sound is drawn from noise."""

    packages = ("transformers", "diffusers")
    gpu_dtype = "bfloat16"

    def load(self) -> Any:
        """Load model and processor."""
        return load_whole(self, "VibeVoiceForConditionalGeneration")

    def rendered(self, loaded: Any, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Speak a text; `InputError` where the model ends before it has begun."""
        model, processor = loaded
        extractor = processor.feature_extractor
        rate, plain = extractor.sampling_rate, refuse_special(self.name, text, processor.tokenizer)
        sound = borrowed_voice(self.name, voice.reference, rate)
        content = [{"type": "text", "text": plain}, {"type": "audio", "audio": sound}]
        inputs = processor.apply_chat_template(
            [{"role": "0", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self.device, model.dtype)
        frames = math.ceil((len(plain) / SLOWEST + PAUSE_SECONDS) * rate / extractor.pad_to_multiple_of)
        made = model.generate(**inputs, max_new_tokens=frames, do_sample=False, return_dict_in_generate=True)
        if made.audio[0] is None:
            raise InputError(f"{self.name} wrote no audio for the text {text[:60]!r}")
        return made.audio[0].float().cpu().numpy().reshape(-1), rate


def open_engine(where: str, options: tuple[str, ...], device: str) -> VibeVoice:
    """Give the `Engine`; `where` is a folder or hub id."""
    checked_options("vibevoice", options)
    return VibeVoice("vibevoice", where, device)
