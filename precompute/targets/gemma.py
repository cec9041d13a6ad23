"""Gemma 3n and Gemma 4: models that hear and see, whose sight an audit leaves out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.targets.alone import AloneTarget
from precompute.targets.base import ChatTarget
from precompute.targets.fitting import fitted
from precompute.targets.hearing import read_hearing_only
from precompute.targets.loading import Placement, Source, load_model, load_processor

if TYPE_CHECKING:
    from precompute.targets.families import Family

LONGEST = 30 * SAMPLE_RATE
"""Samples that their front ends hear."""


class Gemma4Target(ChatTarget):
    """Gemma 4 in the sizes that hear; see `ChatTarget`."""

    audio_first = True
    closing = "<turn|>"
    processor_class: ClassVar[str] = "Gemma4Processor"

    @classmethod
    def open_processor(cls, source: Source, family: Family) -> Any:
        """Load the processor without its image and video readers."""
        return load_processor(source, family.chat, partial(read_hearing_only, name=cls.processor_class))

    @classmethod
    def open_model(cls, source: Source, family: Family, placement: Placement) -> Any:
        """Load the model without its image tower."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(source.location, **source.where)
        if config.audio_config is None:
            raise InputError(f"{source.id}: no audio support, this size of the model reads and sees only")
        return load_model(source, placement, family.auto_class, config=cls.without_sight(config))

    @classmethod
    def without_sight(cls, config: Any) -> Any:
        """Leave the image tower out of a configuration; its weights are then not read."""
        config.vision_config = None
        return config

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Keep audio between one frame and what the front end hears; see `fitted`."""
        return fitted(audio, self.processor.feature_extractor.frame_length + 1, LONGEST, name=self.id)


class Gemma4UnifiedTarget(Gemma4Target):
    """Gemma 4 without encoders, whose text model reads the samples themselves; see `ChatTarget`."""

    processor_class = "Gemma4UnifiedProcessor"

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Keep audio between one sample and what the model was made for; see `fitted`."""
        return fitted(audio, 1, LONGEST, name=self.id)


class Gemma3nTarget(AloneTarget, Gemma4Target):
    """Gemma 3n; see `ChatTarget`.

    How many frames at the end of a clip count as heard depends on the padding beside it, so clips are read alone.
    """

    closing = "<end_of_turn>"
    processor_class = "Gemma3nProcessor"

    @classmethod
    def without_sight(cls, config: Any) -> Any:
        """Leave the image tower out, which would need the package timm; see `precompute.targets.sightless`."""
        from precompute.targets.sightless import without_sight

        return without_sight(config)
