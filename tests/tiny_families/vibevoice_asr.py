"""VibeVoice-ASR: two causal tokenizers of audio, 3,200 samples a frame, before a Qwen2."""

from pathlib import Path

import torch
from transformers import (
    Qwen2TokenizerFast,
    VibeVoiceAcousticTokenizerFeatureExtractor,
    VibeVoiceAsrConfig,
    VibeVoiceAsrForConditionalGeneration,
    VibeVoiceAsrProcessor,
)

from precompute.clips import resample
from precompute.targets.vibevoice import frame
from tests.tiny_families import parts
from tests.tiny_families.parts import byte_level_bpe, louder, save, vocabulary_and_merges

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|image_pad|>",
)
TEMPLATE = """<|im_start|>system
You are a helpful assistant that transcribes audio input into text output in JSON format.<|im_end|>
{%- for message in messages if message['role'] == 'user' -%}
{%- set texts = message['content'] | selectattr('type', 'equalto', 'text') | list -%}
{{ '\\n' }}<|im_start|>user{{ '\\n' }}<|object_ref_start|><|box_start|><|object_ref_end|>
This is a <|AUDIO_DURATION|> seconds audio, {% if texts -%}
with extra info: {{ texts[0]['text'] }}{{ '\\n\\n' }}Please
{%- else -%}
please
{%- endif %} transcribe it with these keys: Start time, End time, Speaker ID, Content<|im_end|>{{ '\\n' }}
{%- endfor -%}"""


def build(path: Path) -> Path:
    """Save it; the acoustic tokenizer has noise to add, as in the original."""
    tokenizer = qwen_tokenizer()
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    audio = {
        "model_type": "vibevoice_acoustic_tokenizer_encoder",
        "num_filters": 2,
        "downsampling_ratios": [20, 16, 10],  # to the same 3,200 samples in fewer steps
        "depths": [1, 1, 1, 1],
        "ffn_expansion": 2,
    }
    torch.manual_seed(1)
    config = VibeVoiceAsrConfig(
        acoustic_tokenizer_encoder_config={**audio, "hidden_size": 8},
        semantic_tokenizer_encoder_config={**audio, "hidden_size": 16},
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        },
        audio_token_id=ids["<|box_start|>"],
        audio_bos_token_id=ids["<|object_ref_start|>"],
        audio_eos_token_id=ids["<|object_ref_end|>"],
    )
    model = VibeVoiceAsrForConditionalGeneration(config)
    louder(model, 8)
    model.generation_config.eos_token_id = ids["<|endoftext|>"]
    model.generation_config.pad_token_id = ids["<|image_pad|>"]
    extractor = VibeVoiceAcousticTokenizerFeatureExtractor()
    return save(model, VibeVoiceAsrProcessor(extractor, tokenizer, chat_template=TEMPLATE), path)


def qwen_tokenizer() -> Qwen2TokenizerFast:
    vocabulary, merges = vocabulary_and_merges(byte_level_bpe(SPECIAL))
    tokenizer = Qwen2TokenizerFast(vocab=vocabulary, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    return tokenizer


def plain_inputs(processor, audio, prompt):
    """Request of one clip, and the frame in which the model puts what was said."""
    audio = resample(audio, 16_000, 24_000)
    (request,) = processor.apply_transcription_request([audio], prompt=[prompt or None], tokenize=False)
    return {**processor(text=[request + frame(len(audio) / 24_000)], audio=[audio]), "sample": False}


def plain_ids(model, inputs, steps):
    """What transformers' own greedy decoding writes, up to the end of the turn."""
    written = model.generate(**inputs, max_new_tokens=steps, do_sample=False)
    return written[0, inputs["input_ids"].shape[1] :].tolist()


plain_logits = parts.plain_logits
