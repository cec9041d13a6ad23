"""Qwen3-Omni: a thinker of experts, talker and vocoder in one checkpoint, as on the hub."""

from pathlib import Path

import torch
from transformers import (
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeForConditionalGeneration,
    Qwen3OmniMoeProcessor,
    WhisperFeatureExtractor,
)

from tests.tiny_families.parts import louder, plain_inputs_audio_first, save
from tests.tiny_families.qwen import MROPE, OMNI_3_TOKENS, chat_template, qwen_tokenizer
from tests.tiny_families.qwen2_5_omni import processor_of, start_ids

TEMPLATE = chat_template("<|audio_start|><|audio_pad|><|audio_end|>")
AUDIO = {
    "num_mel_bins": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "d_model": 64,
    "output_dim": 64,
    "downsample_hidden_size": 8,
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "moe_intermediate_size": 48,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "rope_parameters": {**MROPE, "mrope_interleaved": True},
    "tie_word_embeddings": False,
}
VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
}
SPEAKER = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
EXPERTS = {
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 2,
    "num_experts_per_tok": 1,
}
VOCODER = {
    "codebook_size": 60,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "decoder_dim": 16,
    "upsample_rates": [2],
    "upsampling_ratios": [2],
    "num_quantizers": 2,
}


def build(path: Path) -> Path:
    """Save the whole model and its processor."""
    tokenizer = qwen_tokenizer(OMNI_3_TOKENS)
    torch.manual_seed(0)
    config = Qwen3OmniMoeConfig(
        thinker_config={
            "audio_config": AUDIO,
            "text_config": {**TEXT, "vocab_size": len(tokenizer)},
            "vision_config": VISION,
            **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("audio", "image", "video")},
            **start_ids(tokenizer),
        },
        talker_config={
            "text_config": {**SPEAKER, **EXPERTS, "rope_parameters": MROPE},
            "code_predictor_config": {**SPEAKER, "num_code_groups": 2},
            "thinker_hidden_size": 64,
            "num_code_groups": 2,
            "accept_hidden_layer": 1,
            "spatial_merge_size": 2,
        },
        code2wav_config=VOCODER,
    )
    model = Qwen3OmniMoeForConditionalGeneration(config)
    louder(model.thinker, 8, keep=("embed_tokens",))
    for part in (model, model.thinker):
        part.generation_config.eos_token_id = tokenizer.eos_token_id
        part.generation_config.pad_token_id = tokenizer.pad_token_id
    extractor = WhisperFeatureExtractor(feature_size=32)
    return save(model, processor_of(Qwen3OmniMoeProcessor, extractor, tokenizer, TEMPLATE), path)


plain_inputs = plain_inputs_audio_first


def plain_logits(model, inputs, ids):
    """Logits that predict `ids`, by one forward pass without a cache, the clip encoded beside one of a second.

    The encoder pads to the longest chunk there is. Alone, a clip of less than a second would have a shorter one than in
    most batches.
    """
    core = model.model
    whole = torch.cat([inputs["input_ids"], torch.as_tensor([ids])], dim=1)
    frames = int(inputs["feature_attention_mask"].sum())
    both = torch.nn.functional.pad(inputs["input_features"][0, :, :frames], (0, 100))
    with torch.inference_mode():
        heard = core.audio_tower(both, feature_lens=torch.tensor([frames, 100])).last_hidden_state
        embedded = core.get_input_embeddings()(whole)
        places = whole == model.config.audio_token_id
        embedded[places] = heard[: places.sum()]
        hidden = core.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return model.lm_head(hidden)[0, -len(ids) - 1 : -1]
