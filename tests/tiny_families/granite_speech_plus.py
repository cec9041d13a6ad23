"""Granite Speech Plus, whose projector reads several encoder layers; without a LoRA adapter."""

from pathlib import Path

import torch
from transformers import GraniteSpeechPlusConfig, GraniteSpeechPlusForConditionalGeneration

from tests.tiny_families import granite_speech, parts
from tests.tiny_families.granite_speech import ENCODER, plain_inputs, plain_logits

__all__ = ["build", "plain_inputs", "plain_logits"]


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    processor = granite_speech.make_processor()
    encoder = {**ENCODER, "cat_hidden_layers": [1]}
    config = GraniteSpeechPlusConfig(
        encoder_config=encoder, has_lora_adapter=False, **granite_speech.settings(processor.tokenizer, width=64)
    )
    model = GraniteSpeechPlusForConditionalGeneration(config)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    parts.louder(model, keep=("rel_pos_emb",), head=3 * granite_speech.SCALE)
    return parts.save(model, processor, path)
