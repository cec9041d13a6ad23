"""Pocket TTS (Kyutai) through transformers: small enough for a CPU, one model per language, no reference transcript.

Layout of a conversation after transformers' own processor: the voice first, then the text; long texts are cut by
`PocketTTSProcessor.split_text` into chunks of at most 50 tokens, as the original program does.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np

from precompute.conditions.voices.base import EngineFailed, Reference, Voice
from precompute.conditions.voices.models import (
    ModelEngine,
    checked_options,
    load_whole,
    model_folder,
    refuse_special,
    revision_of,
)
from precompute.conditions.voices.references import borrowed


class PocketTTS(ModelEngine):
    """An `Engine` on a `PocketTTSForConditionalGeneration`."""

    def identity(self) -> dict[str, str]:
        """As any model's, and the revision of the audio tokenizer, which may live elsewhere."""
        return {**super().identity(), "codec": self.codec_revision}

    def load(self) -> Any:
        """Load model and processor; the processor's audio tokenizer goes to the same device."""
        model, processor = load_whole(self, "PocketTTSForConditionalGeneration")
        if processor.audio_tokenizer is None:
            raise EngineFailed(f"{self.name}: {self.where} has no audio tokenizer, so no voice can be borrowed with it")
        processor.audio_tokenizer.to(self.device).eval()
        return model, processor

    def rendered(self, loaded: Any, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Speak chunk by chunk; sampling is asked for, since without it the model draws nothing at all."""
        import torch

        model, processor = loaded
        rate = processor.feature_extractor.sampling_rate
        sound = borrowed_voice(self.name, voice.reference, rate)
        spoken = []
        for chunk in processor.split_text(refuse_special(self.name, text, processor.tokenizer)):
            content = [{"type": "audio", "audio": sound}, {"type": "text", "text": chunk}]
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
            ).to(self.device)
            made = model.generate(**inputs, do_sample=True, return_dict_in_generate=True)
            spoken += processor.decode(made.audio_latents, made.audio_latents_mask)
        return torch.cat(spoken).float().cpu().numpy(), rate

    @functools.cached_property
    def codec_revision(self) -> str:
        """Revision of the audio tokenizer, read from where the processor takes it."""
        try:
            config = json.loads((self.folder / "processor_config.json").read_text())
            where = str(config["audio_tokenizer"]["audio_tokenizer_name_or_path"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineFailed(f"{self.name}: {self.where} does not say which audio tokenizer it uses") from error
        return revision_of(model_folder(self.name, where), where)


def borrowed_voice(name: str, reference: Reference | None, rate: int) -> np.ndarray:
    """Read a reference at the model's rate; `EngineFailed` where none is named."""
    if reference is None:
        raise EngineFailed(f"{name} borrows a voice: name reference voices with --reference-voices")
    return borrowed(reference, rate, rate)[0]


def open_engine(where: str, options: tuple[str, ...], device: str) -> PocketTTS:
    """Give the `Engine`; `where` is a folder or hub id."""
    checked_options("pocket-tts", options)
    return PocketTTS("pocket-tts", where, device)
