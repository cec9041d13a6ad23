"""GLM-ASR with windows of three seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GlmAsrConfig,
    GlmAsrForConditionalGeneration,
    GlmAsrProcessor,
    PreTrainedTokenizerFast,
    WhisperFeatureExtractor,
)

from tests.tiny_families.parts import byte_level_bpe, louder, save

SPECIAL = ("<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|begin_of_audio|>", "<|end_of_audio|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' %}<|begin_of_audio|><|pad|><|end_of_audio|><|user|>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(2)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(SPECIAL), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    extractor = WhisperFeatureExtractor(feature_size=32, hop_length=300, n_fft=512, chunk_length=3)
    processor = GlmAsrProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE, max_audio_len=60)
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|user|>"])
    config = GlmAsrConfig(
        audio_config={
            "num_mel_bins": 32,
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 80,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "eos_token_id": ends,
            "bos_token_id": None,
            "pad_token_id": ends[0],
        },
        audio_token_id=tokenizer.convert_tokens_to_ids("<|pad|>"),
        tie_word_embeddings=False,
    )
    model = GlmAsrForConditionalGeneration(config)
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = ends[0]
    louder(model)
    return save(model, processor, path)


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by transformers' own transcription request."""
    return processor.apply_transcription_request(audio, prompt=prompt)
