"""Granite Speech with a LoRA adapter and scaled logits, like its originals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechFeatureExtractor,
    GraniteSpeechForConditionalGeneration,
    GraniteSpeechProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from precompute.targets.granite import SYSTEM
from tests.tiny_families import parts

SPECIAL = ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|audio|>")
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|start_of_role|>system<|end_of_role|>Today's Date: "
    "{{ strftime_now('%B %d, %Y') }}.<|end_of_text|>\n{% endif %}"
    "{% for m in messages %}<|start_of_role|>{{ m['role'] }}<|end_of_role|>{{ m['content'] }}<|end_of_text|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
SCALE = 2.0
ENCODER = {
    "input_dim": 160,
    "num_layers": 2,
    "hidden_dim": 32,
    "feedforward_mult": 2,
    "num_heads": 4,
    "output_dim": 16,
    "context_size": 20,
    "max_pos_emb": 32,
    "conv_kernel_size": 7,
}


def make_processor() -> GraniteSpeechProcessor:
    """Make the real processor around a small tokenizer."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=parts.byte_level_bpe(SPECIAL),
        eos_token="<|end_of_text|>",
        pad_token="<|end_of_text|>",
        extra_special_tokens={"audio_token": "<|audio|>"},
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return GraniteSpeechProcessor(GraniteSpeechFeatureExtractor(), tokenizer)


def settings(tokenizer: Any, width: int = 32) -> dict[str, Any]:
    """Configuration, `width` being what the projector reads."""
    return {
        "text_config": {
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "logits_scaling": SCALE,
            "attention_multiplier": 0.25,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        "projector_config": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "encoder_hidden_size": width,
            "cross_attention_frequency": 1,
            "vocab_size": 8,
            "max_position_embeddings": 8,
        },
        "audio_token_index": tokenizer.convert_tokens_to_ids("<|audio|>"),
        "tie_word_embeddings": False,
    }


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    processor = make_processor()
    config = GraniteSpeechConfig(encoder_config=ENCODER, **settings(processor.tokenizer))
    model = GraniteSpeechForConditionalGeneration(config)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    parts.louder(model, keep=("rel_pos_emb",), head=3 * SCALE)
    model.save_pretrained(path)
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora" in name:
                weight.normal_(0, 0.3)
    PreTrainedModel.save_pretrained(model, str(path))  # the adapter alone; the class's own way saves all once more
    processor.save_pretrained(path)
    return path


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip as in the family's own examples."""
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"<|audio|>{prompt}"}]
    text = processor.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return processor(text, audio, return_tensors="pt")


def plain_logits(model: Any, inputs: Any, ids: Sequence[int]) -> torch.Tensor:
    """Logits that predict `ids`, divided as ``GraniteForCausalLM`` divides them."""
    return parts.plain_logits(model, inputs, ids) / SCALE
