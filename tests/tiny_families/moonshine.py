"""Moonshine; its published folders have the audio processor of Wav2Vec2 and a Llama-like tokenizer."""

from pathlib import Path

import torch
from transformers import MoonshineConfig, MoonshineForConditionalGeneration, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from tests.tiny_families.parts import louder, save, spaced_bpe

OTHER_PROMPT = ""


def build(path: Path) -> Path:
    """Save it."""
    tokenizer = spaced_bpe()
    torch.manual_seed(0)
    config = MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        pad_head_dim_to_multiple_of=8,
        max_position_embeddings=194,
        pad_token_id=2,
    )
    model = MoonshineForConditionalGeneration(config)
    louder(model, 14, 20, keep=("embed_tokens",))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    return save(model, Wav2Vec2Processor(extractor, tokenizer), path)


def plain_inputs(processor, audio, prompt):
    """Samples of one clip, at least as many as make a frame."""
    return processor(audio, sampling_rate=16_000, return_tensors="pt")


def plain_ids(model, inputs, steps):
    """What transformers' own decoding writes after the start token."""
    return model.generate(**inputs, max_new_tokens=steps, do_sample=False)[0, 1:].tolist()


def plain_logits(model, inputs, ids):
    """Logits that predict `ids`, by one forward pass without a cache."""
    whole = torch.tensor([[model.config.decoder_start_token_id, *ids]])
    with torch.inference_mode():
        return model(**inputs, decoder_input_ids=whole, use_cache=False).logits[0, :-1]
