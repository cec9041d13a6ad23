"""Stable Audio Open through diffusers: captions to sound at 44.1 kHz.

Every caption gets the same number of seconds, so that a clip's length is not carried over. diffusers is an optional
package; the pipeline's scheduler draws its noise with torchsde.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from precompute.clips import InputError
from precompute.conditions.voices.base import Voice, number
from precompute.conditions.voices.models import ModelEngine, checked_options

NEGATIVE_PROMPT = "Low quality."
"""As in the model's own example."""


class StableAudio(ModelEngine):
    """An `Engine` on a `StableAudioPipeline`.

    Parameters
    ----------
    name, where, device : str
        See `ModelEngine`.
    seconds, guidance : float
    steps : int
    """

    packages = ("diffusers", "torchsde")
    gpu_dtype = "float16"
    described_by = "model_index.json"
    unwanted = ("model.safetensors",)  # the whole model once more, for another program

    def __init__(self, name: str, where: str, device: str, seconds: float, steps: int, guidance: float) -> None:
        super().__init__(name, where, device)
        self.seconds = seconds
        self.steps = steps
        self.guidance = guidance

    def load(self) -> Any:
        """Load the pipeline."""
        import torch
        from diffusers import StableAudioPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        pipeline = StableAudioPipeline.from_pretrained(
            self.folder,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,  # what it does without another optional package anyhow, less the warning
            dtype=getattr(torch, self.dtype),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def rendered(self, loaded: Any, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Render a caption from noise drawn on the CPU, which does not depend on the device."""
        import torch

        longest = loaded.tokenizer.model_max_length
        count = len(loaded.tokenizer(text).input_ids)
        if count > longest:
            raise InputError(f"{self.name}: the caption {text[:60]!r} has {count} tokens, more than {longest}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torchsde")  # of rounding at the ends of its interval
            sound = loaded(
                text,
                negative_prompt=NEGATIVE_PROMPT,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                audio_end_in_s=self.seconds,
                generator=torch.Generator("cpu").manual_seed(voice.seed),
            ).audios[0]
        return sound.float().cpu().numpy().mean(axis=0), int(loaded.vae.config.sampling_rate)


def open_engine(where: str, options: tuple[str, ...], device: str) -> StableAudio:
    """Give the `Engine`; `where` is a folder or hub id."""
    chosen = checked_options("stable-audio", options)
    seconds = number("stable-audio", chosen, "seconds", 1, 47)
    steps = number("stable-audio", chosen, "steps", 2, 1000)
    guidance = number("stable-audio", chosen, "guidance", 1, 100)
    return StableAudio("stable-audio", where, device, seconds, round(steps), guidance)
