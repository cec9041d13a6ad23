"""Qwen3-ASR with a system turn for the context, even where it is empty."""

from pathlib import Path

import torch
from transformers import (
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRProcessor,
)

from tests.tiny_families.parts import louder, save
from tests.tiny_families.qwen import chat_template, qwen_tokenizer

TOKENS = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
TEMPLATE = chat_template("<|audio_start|><|audio_pad|><|audio_end|>")


def build(path: Path) -> Path:
    """Save it."""
    tokenizer = qwen_tokenizer(TOKENS, plain=("<asr_text>",))
    audio = {
        "num_mel_bins": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "d_model": 64,
        "output_dim": 64,
        "downsample_hidden_size": 8,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
    torch.manual_seed(0)
    config = Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **audio},
        text_config={"model_type": "qwen3", **text},
        audio_token_id=tokenizer.audio_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.pad_token_id, tokenizer.eos_token_id],
    )
    model = Qwen3ASRForConditionalGeneration(config)
    louder(model, 14, 20, keep=("embed_tokens",))  # the head is the embedding
    model.generation_config.eos_token_id = [tokenizer.pad_token_id, tokenizer.eos_token_id]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    extractor = Qwen3ASRFeatureExtractor(feature_size=32)
    return save(model, Qwen3ASRProcessor(extractor, tokenizer, chat_template=TEMPLATE), path)


def plain_inputs(processor, audio, prompt):
    """Inputs of one clip by the processor's own request for a transcript."""
    return processor.apply_transcription_request(audio, prompt=prompt, return_tensors="pt")
