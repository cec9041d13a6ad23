"""Moonshine Streaming, whose encoder sees 16 frames back and 4 ahead."""

from pathlib import Path

import torch
from transformers import (
    MoonshineStreamingConfig,
    MoonshineStreamingEncoderConfig,
    MoonshineStreamingForConditionalGeneration,
    MoonshineStreamingProcessor,
    Wav2Vec2FeatureExtractor,
)

from tests.tiny_families.moonshine import plain_ids, plain_logits
from tests.tiny_families.parts import louder, save, spaced_bpe

__all__ = ["OTHER_PROMPT", "build", "plain_ids", "plain_inputs", "plain_logits"]

OTHER_PROMPT = ""


def build(path: Path) -> Path:
    """Save it; encoder and decoder differ in width, as in the published medium size."""
    tokenizer = spaced_bpe()
    torch.manual_seed(1)
    encoder = MoonshineStreamingEncoderConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_windows=((16, 4), (16, 0)),
    )
    config = MoonshineStreamingConfig(
        encoder_config=encoder,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        decoder_start_token_id=1,
    )
    model = MoonshineStreamingForConditionalGeneration(config)
    louder(model, 8, 4, keep=("pos_emb",))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    return save(model, MoonshineStreamingProcessor(extractor, tokenizer), path)


def plain_inputs(processor, audio, prompt):
    """Samples of one clip, in whole frames."""
    return processor(audio, sampling_rate=16_000)
