"""A stand-in for an image tower: no parameter, and nothing to see.

Kept apart from what uses it because its classes need transformers when they are defined.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoModel, Gemma3nVisionConfig, PreTrainedModel


class NoSightConfig(Gemma3nVisionConfig):
    """Says that there is no image tower; what the embedder of image tokens needs is kept."""

    model_type = "no_sight"


class NoSight(PreTrainedModel):
    """No image tower."""

    config_class = NoSightConfig

    def __init__(self, config: NoSightConfig) -> None:
        super().__init__(config)
        self.post_init()


AutoModel.register(NoSightConfig, NoSight, exist_ok=True)


def without_sight(config: Any) -> Any:
    """Leave the image tower out of a Gemma 3n configuration; its weights are then not read.

    Parameters
    ----------
    config : Gemma3nConfig

    Returns
    -------
    Gemma3nConfig
    """
    seen = config.vision_config
    config.vision_config = NoSightConfig(
        hidden_size=seen.hidden_size,
        vocab_size=seen.vocab_size,
        vocab_offset=seen.vocab_offset,
        rms_norm_eps=seen.rms_norm_eps,
    )
    return config
