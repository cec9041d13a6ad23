"""Gemma 4 without encoders: raw samples are projected into the text model."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma4UnifiedAudioFeatureExtractor,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    Gemma4UnifiedVisionConfig,
)

from tests.tiny_families import gemma4
from tests.tiny_families.gemma4 import plain_inputs

__all__ = ["build", "plain_inputs"]

UNUSED = ("hidden_size_per_layer_input",)


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    tokenizer = gemma4.make_tokenizer()
    text: dict[str, Any] = {name: value for name, value in gemma4.TEXT.items() if name not in UNUSED}
    text |= {"vocab_size": len(tokenizer), "num_kv_shared_layers": 0}
    config = Gemma4UnifiedConfig(
        text_config=text, audio_config={}, tie_word_embeddings=False, **gemma4.token_ids(tokenizer)
    )
    model = Gemma4UnifiedForConditionalGeneration(config)
    extractor = Gemma4UnifiedAudioFeatureExtractor()
    seeing = Gemma4UnifiedVisionConfig().to_dict()
    return gemma4.save(model, "Gemma4UnifiedProcessor", extractor, tokenizer, seeing, path)
