"""Gemma 4 with an audio tower, shared key-value layers and a window narrower than a prompt."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    Gemma4AudioFeatureExtractor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4VisionConfig,
    PreTrainedTokenizerFast,
)

from tests.tiny_families.parts import byte_level_bpe, louder

SPECIAL = (
    *("<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>"),
    *("<|image|>", "<|image>", "<image|>", "<|audio|>", "<|audio>", "<audio|>", "<|video|>"),
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|turn>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}{{ c['text'] | trim }}{% else %}<|{{ c['type'] }}|>{% endif %}{% endfor %}<turn|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)
AUDIO = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "subsampling_conv_channels": [128, 4],
    "output_proj_dims": 32,
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "global_head_dim": 16,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "sliding_window": 24,
    "hidden_size_per_layer_input": 8,
    "final_logit_softcapping": 30.0,
    "max_position_embeddings": 1024,
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer with the markers of Gemma 4."""
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(SPECIAL),
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        extra_special_tokens={
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
    )


def token_ids(tokenizer: Any) -> dict[str, int]:
    """Markers by the names of the configuration."""
    names = {"image_token_id": "<|image|>", "boi_token_id": "<|image>", "eoi_token_id": "<image|>"}
    names |= {"audio_token_id": "<|audio|>", "boa_token_id": "<|audio>", "eoa_token_index": "<audio|>"}
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()} | {
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video|>")
    }


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "vocab_size_per_layer_input": len(tokenizer)}
    config = Gemma4Config(text_config=text, audio_config=AUDIO, tie_word_embeddings=False, **token_ids(tokenizer))
    model = Gemma4ForConditionalGeneration(config)
    extractor = Gemma4AudioFeatureExtractor()
    return save(model, "Gemma4Processor", extractor, tokenizer, Gemma4VisionConfig().to_dict(), path)


def save(model: Any, name: str, extractor: Any, tokenizer: Any, seeing: dict[str, Any], path: Path) -> Path:
    """Save a model and its processor; the configuration names an image tower like the original's."""
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<eos>", "<turn|>"])
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    louder(model)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    extractor.save_pretrained(path)
    (path / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    settings = json.loads((path / "preprocessor_config.json").read_text())
    (path / "preprocessor_config.json").unlink()
    (path / "processor_config.json").write_text(json.dumps({"processor_class": name, "feature_extractor": settings}))
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "vision_config": seeing}))
    return path


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by the layout written out."""
    text = f"<bos><|turn>user\n<|audio|>{prompt}<turn|>\n<|turn>model\n"
    return processor(text=[text], audio=[audio], return_tensors="pt", add_special_tokens=False)
