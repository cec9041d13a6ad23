"""Fun-ASR-Nano with three encoder layers, the last of them for time stamps, which no transcript sees."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    FunAsrNanoConfig,
    FunAsrNanoFeatureExtractor,
    FunAsrNanoForConditionalGeneration,
    FunAsrNanoProcessor,
    PreTrainedTokenizerFast,
)

from tests.tiny_families.parts import byte_level_bpe, louder, save

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>")
CHAT_TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}context: {{ c['text'] }}\n{% endif %}{% endfor %}"
    "transcribe: {% for c in m['content'] %}{% if c['type'] == 'audio' %}<|object_ref_start|>{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(SPECIAL), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    processor = FunAsrNanoProcessor(FunAsrNanoFeatureExtractor(), tokenizer, chat_template=CHAT_TEMPLATE)
    config = FunAsrNanoConfig(
        audio_config={
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_timestamp_prediction_layers": 1,
            "max_position_embeddings": 257,
        },
        adaptor_config={
            "hidden_size": 64,
            "num_attention_heads": 4,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "projector_hidden_size": 64,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 1024,
        },
        audio_token_id=tokenizer.convert_tokens_to_ids("<|object_ref_start|>"),
        tie_word_embeddings=False,
    )
    model = FunAsrNanoForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    louder(model)
    return save(model, processor, path)


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by transformers' own transcription request."""
    return processor.apply_transcription_request(audio, prompt=prompt or None)
