"""Phi-4-multimodal: a LoRA adapter for speech in a folder of its own, and a processor that also sees."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.targets.adapters import has_adapter
from precompute.targets.alone import AloneTarget
from precompute.targets.fitting import fitted
from precompute.targets.hearing import read_hearing_only
from precompute.targets.loading import Placement, Source, first_line, load_model, load_processor, quiet_loading

if TYPE_CHECKING:
    from precompute.targets.families import Family

ADAPTER = "speech-lora"
"""Folder of the adapter, beside the model's files."""


class Phi4MultimodalTarget(AloneTarget):
    """Phi-4-multimodal; see `ChatTarget`.

    In a batch its encoder adds 1 to the attention of real frames instead of hiding the padding, so clips are read
    alone. Without the speech adapter the model answers that it cannot hear.
    """

    audio_first = True
    closing = "<|end|>"
    together = 40 * SAMPLE_RATE  # longer audio is cut into windows, which transformers 5.23 can do for one clip only

    @classmethod
    def open_processor(cls, source: Source, family: Family) -> Any:
        """Load the processor without its image reader."""
        return load_processor(source, family.chat, partial(read_hearing_only, name="Phi4MultimodalProcessor"))

    @classmethod
    def open_model(cls, source: Source, family: Family, placement: Placement) -> Any:
        """Load the model and put its speech adapter to work."""
        from safetensors import SafetensorError

        if not has_adapter(source, ADAPTER):
            raise InputError(f"{source.id}: it listens through an adapter in its folder {ADAPTER}, which is missing")
        model = load_model(source, placement, family.auto_class)
        try:
            with quiet_loading():
                model.load_adapter(source.location, adapter_kwargs={"subfolder": ADAPTER, **source.where})
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{source.id}: its adapter {ADAPTER} cannot be loaded ({first_line(error)})") from error
        model.enable_adapters()
        return model.eval()

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Follow audio shorter than one frame by silence."""
        return fitted(audio, self.processor.audio_processor.win_length)
