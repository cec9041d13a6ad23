"""Canary: as Cohere Transcribe, with a request that a chat template writes."""

from pathlib import Path

import torch
from transformers import CanaryConfig, CanaryForConditionalGeneration, CanaryProcessor, ParakeetFeatureExtractor

from tests.tiny_families.cohere_asr import ENCODER, plain_ids, plain_logits, request_tokenizer
from tests.tiny_families.parts import louder, save

__all__ = ["OTHER_PROMPT", "build", "plain_ids", "plain_inputs", "plain_logits"]

OTHER_PROMPT = "es"
TEMPLATE = """{%- for item in messages[0]['content'] if item['type'] == 'text' -%}
<|startofcontext|><|startoftranscript|><|emo:undefined|>
{{- '<|' + item['source_language'] + '|><|' + item['target_language'] + '|>' }}
{%- if item['punctuation'] -%}<|pnc|>{%- else -%}<|nopnc|>{%- endif -%}
<|noitn|><|notimestamp|><|nodiarize|>
{%- endfor -%}"""


def build(path: Path) -> Path:
    """Save it."""
    tokenizer = request_tokenizer()
    torch.manual_seed(0)
    decoder = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }
    config = CanaryConfig(
        encoder_config={"model_type": "parakeet_encoder", **ENCODER},
        decoder_config=decoder,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = CanaryForConditionalGeneration(config)
    louder(model, 28, 15, keep=("embed_tokens",))
    extractor = ParakeetFeatureExtractor(feature_size=32)
    return save(model, CanaryProcessor(extractor, tokenizer, chat_template=TEMPLATE), path)


def plain_inputs(processor, audio, prompt):
    """Features of one clip and the request."""
    return processor.apply_transcription_request([audio], source_language=prompt)
