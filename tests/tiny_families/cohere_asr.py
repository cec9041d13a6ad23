"""Cohere Transcribe: a Parakeet encoder and a decoder that is asked for a language."""

from pathlib import Path

import torch
from transformers import (
    CohereAsrConfig,
    CohereAsrFeatureExtractor,
    CohereAsrForConditionalGeneration,
    CohereAsrProcessor,
)

from tests.tiny_families.parts import louder, save, spaced_bpe

OTHER_PROMPT = "es"
SPECIAL = (
    "<unk>",
    "<|startoftranscript|>",
    "<|endoftext|>",
    "<pad>",
    "<|nospeech|>",
    "<|pnc|>",
    "<|nopnc|>",
    "<|startofcontext|>",
    "<|noitn|>",
    "<|notimestamp|>",
    "<|nodiarize|>",
    "<|emo:undefined|>",
    "<|en|>",
    "<|es|>",
)
ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_mel_bins": 32,
    "subsampling_conv_channels": 16,
    "conv_kernel_size": 5,
    "scale_input": False,
}


def build(path: Path) -> Path:
    """Save it."""
    tokenizer = request_tokenizer()
    torch.manual_seed(0)
    config = CohereAsrConfig(
        encoder_config={"model_type": "parakeet_encoder", **ENCODER},
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("▁"),
    )
    model = CohereAsrForConditionalGeneration(config)
    louder(model, 8, 4, keep=())
    extractor = CohereAsrFeatureExtractor(feature_size=32)
    return save(model, CohereAsrProcessor(extractor, tokenizer), path)


def request_tokenizer():
    """Tokenizer with the marks of a request."""
    tokenizer = spaced_bpe(SPECIAL)
    tokenizer.pad_token = "<pad>"
    return tokenizer


def plain_inputs(processor, audio, prompt):
    """Features of one clip and the request."""
    inputs = processor(audio, language=prompt, sampling_rate=16_000)
    inputs.pop("audio_chunk_index")
    return inputs


def plain_ids(model, inputs, steps):
    """What transformers' own decoding writes after the request."""
    written = model.generate(**inputs, max_new_tokens=steps, do_sample=False)
    return written[0, inputs["decoder_input_ids"].shape[1] :].tolist()


def plain_logits(model, inputs, ids):
    """Logits that predict `ids`, by one forward pass without a cache."""
    inputs = dict(inputs)
    whole = torch.cat([inputs.pop("decoder_input_ids"), torch.tensor([ids])], dim=1)
    with torch.inference_mode():
        return model(**inputs, decoder_input_ids=whole, use_cache=False).logits[0, -len(ids) - 1 : -1]
