"""Gemma 3n with shared key-value layers, a window narrower than a prompt, and a configuration that names its sight."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    Gemma3nAudioFeatureExtractor,
    Gemma3nConfig,
    Gemma3nForConditionalGeneration,
    Gemma3nProcessor,
    PreTrainedTokenizerFast,
)
from transformers.image_processing_base import ImageProcessingMixin

from precompute.targets.sightless import without_sight
from tests.tiny_families.parts import byte_level_bpe, louder

SPECIAL = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_audio>", "<start_of_image>")
SEEN = ("<end_of_image>", "<image_soft_token>", "<unused_image>")
HEARD = ("<end_of_audio>", "<audio_soft_token>", "<unused_audio>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' %}<audio_soft_token>{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
HEARD_TOKENS = 48
AUDIO = {
    "hidden_size": 32,
    "conf_num_attention_heads": 4,
    "conf_num_hidden_layers": 2,
    "sscp_conv_channel_size": [8, 4],
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "sliding_window": 24,
    "hidden_size_per_layer_input": 8,
    "altup_num_inputs": 2,
    "laurel_rank": 4,
    "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    "max_position_embeddings": 1024,
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer whose image and audio tokens come last, in this order."""
    core = byte_level_bpe(SPECIAL)
    core.add_special_tokens([*SEEN, *HEARD])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        extra_special_tokens={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "audio_token": "<audio_soft_token>",
            "boa_token": "<start_of_audio>",
            "eoa_token": "<end_of_audio>",
        },
    )


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    token_id = tokenizer.get_vocab()
    words = token_id[SEEN[0]]
    ends = [token_id["<eos>"], token_id["<end_of_turn>"]]
    config = Gemma3nConfig(
        audio_config={**AUDIO, "vocab_size": len(HEARD), "vocab_offset": token_id[HEARD[0]]},
        vision_config={"hidden_size": 16, "vocab_size": len(SEEN), "vocab_offset": words},
        text_config={**TEXT, "vocab_size": len(tokenizer), "vocab_size_per_layer_input": words},
        audio_soft_tokens_per_image=HEARD_TOKENS,
        boi_token_id=token_id["<start_of_image>"],
        eoi_token_id=token_id["<end_of_image>"],
        image_token_id=token_id["<image_soft_token>"],
        boa_token_id=token_id["<start_of_audio>"],
        eoa_token_id=token_id["<end_of_audio>"],
        audio_token_id=token_id["<audio_soft_token>"],
        tie_word_embeddings=False,
    )
    seeing = config.vision_config.to_dict()
    model = Gemma3nForConditionalGeneration(without_sight(config))
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = token_id["<pad>"]
    louder(model)
    model.save_pretrained(path)
    Gemma3nProcessor(
        Gemma3nAudioFeatureExtractor(),
        ImageProcessingMixin(image_processor_type="SiglipImageProcessor"),
        tokenizer,
        chat_template=CHAT_TEMPLATE,
        audio_seq_length=HEARD_TOKENS,
    ).save_pretrained(path)
    file = path / "config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "vision_config": seeing}))
    return path


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by the layout written out."""
    text = f"<bos><start_of_turn>user\n<audio_soft_token>{prompt}<end_of_turn>\n<start_of_turn>model\n"
    return processor(text=[text], audio=[audio], return_tensors="pt", add_special_tokens=False)
