"""Qwen2-Audio with a window of 8 s and the chat template that its processor class has."""

from pathlib import Path

import torch
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from tests.tiny_families.parts import louder, plain_inputs_audio_first, save
from tests.tiny_families.qwen import qwen_tokenizer

TOKENS = {"audio_token": "<|AUDIO|>", "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>"}


def build(path: Path) -> Path:
    """Save it."""
    tokenizer = qwen_tokenizer(TOKENS)
    audio = {
        "num_mel_bins": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "d_model": 64,
        "max_source_positions": 400,
    }
    text = {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
    }
    torch.manual_seed(0)
    config = Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", **audio},
        text_config=text,
        audio_token_index=tokenizer.audio_token_id,
    )
    model = Qwen2AudioForConditionalGeneration(config)
    louder(model, 8, keep=("embed_tokens", "embed_positions"))
    model.generation_config.eos_token_id = [tokenizer.pad_token_id, tokenizer.eos_token_id]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    extractor = WhisperFeatureExtractor(feature_size=32, chunk_length=8)
    return save(model, Qwen2AudioProcessor(extractor, tokenizer), path)


plain_inputs = plain_inputs_audio_first
