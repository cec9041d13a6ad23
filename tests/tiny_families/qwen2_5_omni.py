"""Qwen2.5-Omni: thinker, talker and vocoder in one checkpoint, as on the hub."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
    WhisperFeatureExtractor,
)
from transformers.image_processing_base import ImageProcessingMixin

from precompute.targets.hearing import hearing_only
from tests.tiny_families.parts import louder, save
from tests.tiny_families.qwen import MROPE, OMNI_TOKENS, chat_template, qwen_tokenizer

TEMPLATE = chat_template("<|audio_bos|><|AUDIO|><|audio_eos|>", "You are a helpful assistant.")
AUDIO = {
    "num_mel_bins": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "d_model": 64,
    "max_source_positions": 100,
    "output_dim": 64,
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": MROPE,
    "tie_word_embeddings": False,
}
VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "fullatt_block_indexes": [0],
}
TALKER = {
    "vocab_size": 60,
    "embedding_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "rope_parameters": MROPE,
}
DIT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 16,
    "emb_dim": 16,
    "num_embeds": 60,
    "mel_dim": 16,
    "enc_emb_dim": 16,
    "enc_dim": 16,
    "enc_channels": [16, 16, 16, 16, 48],
    "enc_attention_channels": 8,
    "enc_se_channels": 8,
    "enc_res2net_scale": 2,
    "look_ahead_layers": [0],
    "look_backward_layers": [0],
}
VOCODER = {
    "mel_dim": 16,
    "upsample_initial_channel": 16,
    "upsample_rates": [2],
    "upsample_kernel_sizes": [4],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
}


def model_and_processor() -> tuple[Any, Any]:
    """Make the whole model and its processor."""
    tokenizer = qwen_tokenizer(OMNI_TOKENS)
    torch.manual_seed(0)
    config = Qwen2_5OmniConfig(
        thinker_config={
            "audio_config": AUDIO,
            "text_config": {**TEXT, "vocab_size": len(tokenizer)},
            "vision_config": VISION,
            **{f"{name}_token_index": getattr(tokenizer, f"{name}_token_id") for name in ("audio", "image", "video")},
            **start_ids(tokenizer),
        },
        talker_config=TALKER,
        token2wav_config={"dit_config": DIT, "bigvgan_config": VOCODER},
    )
    model = Qwen2_5OmniForConditionalGeneration(config)
    louder(model.thinker, 8, keep=("embed_tokens",))
    for part in (model, model.thinker):
        part.generation_config.eos_token_id = tokenizer.eos_token_id
        part.generation_config.pad_token_id = tokenizer.pad_token_id
    extractor = WhisperFeatureExtractor(feature_size=32, chunk_length=10)  # 300 in the original
    return model, processor_of(Qwen2_5OmniProcessor, extractor, tokenizer, TEMPLATE)


def start_ids(tokenizer: Any) -> dict[str, int]:
    """What an Omni configuration calls the tokens before audio and images."""
    return {
        "audio_start_token_id": tokenizer.audio_bos_token_id,
        "vision_start_token_id": tokenizer.vision_bos_token_id,
    }


def processor_of(kind: Any, extractor: Any, tokenizer: Any, template: str) -> Any:
    """Make an Omni processor; the parts that see, one of which needs torchvision, are there in name only."""
    processor = hearing_only(kind)(None, None, extractor, tokenizer, chat_template=template)
    processor.image_processor = ImageProcessingMixin(image_processor_type="Qwen2VLImageProcessor")
    processor.video_processor = ImageProcessingMixin(video_processor_type="Qwen2VLVideoProcessor")
    return processor


def build(path: Path) -> Path:
    """Save the whole model and its processor."""
    return save(*model_and_processor(), path)
