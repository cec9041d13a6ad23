"""Phi-4-multimodal with its speech adapter in a folder of its own, like its original."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from transformers import (
    Phi4MultimodalConfig,
    Phi4MultimodalFeatureExtractor,
    Phi4MultimodalForCausalLM,
    Phi4MultimodalProcessor,
    PreTrainedTokenizerFast,
)
from transformers.image_processing_base import ImageProcessingMixin

from precompute.targets.phi4 import ADAPTER
from tests.tiny_families.parts import byte_level_bpe, louder

SPECIAL = ("<|endoftext|>", "<|image|>", "<|audio|>", "<|end|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}{{ c['text'] }}{% else %}<|{{ c['type'] }}|>{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
AUDIO = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_blocks": 2,
    "num_attention_heads": 4,
    "ext_pw_out_channel": 32,
    "depthwise_separable_out_channel": 32,
    "nemo_conv_channels": 16,
    "bias_max_distance": 50,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "crop_size": 28,
}


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(1)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(SPECIAL),
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<|image|>", "audio_token": "<|audio|>"},
    )
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|end|>"])
    config = Phi4MultimodalConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=ends[0],
        eos_token_id=ends,
        pad_token_id=ends[0],
        audio_config={**AUDIO, "audio_token_id": tokenizer.convert_tokens_to_ids("<|audio|>")},
        vision_config={**VISION, "image_token_id": tokenizer.convert_tokens_to_ids("<|image|>")},
    )
    model = Phi4MultimodalForCausalLM(config)
    louder(model, keep=("bias_values",))
    model.save_pretrained(path)
    add_speech(model, path)
    seeing = ImageProcessingMixin(image_processor_type="Phi4MultimodalImageProcessor")  # itself it needs torchvision
    processor = Phi4MultimodalProcessor(
        seeing, Phi4MultimodalFeatureExtractor(), tokenizer, chat_template=CHAT_TEMPLATE
    )
    processor.save_pretrained(path)
    return path


def add_speech(model: Any, path: Path) -> None:
    """Save a random adapter where the original has its own."""
    model.add_adapter(LoraConfig(r=2, target_modules=r".*\.layers\.\d+\.self_attn\.(qkv_proj|o_proj)"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora" in name:
                weight.normal_(0, 0.3)
    model.save_pretrained(str(path / ADAPTER))


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by the layout written out."""
    text = f"<|user|><|audio|>{prompt}<|end|><|assistant|>"
    return processor(text=[text], audio=[audio], return_tensors="pt", sampling_rate=16_000)
