"""Voxtral with a small vocabulary in the format of mistral-common."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor
from transformers.tokenization_mistral_common import MistralCommonBackend

from tests.tiny_families.parts import byte_level_bpe, louder, save

SPECIAL = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 5: "[AVAILABLE_TOOLS]", 6: "[/AVAILABLE_TOOLS]"}
SPECIAL |= {7: "[TOOL_RESULTS]", 8: "[/TOOL_RESULTS]", 9: "[TOOL_CALLS]", 10: "[IMG]", 11: "<pad>", 12: "[IMG_BREAK]"}
SPECIAL |= {13: "[IMG_END]", 14: "[PREFIX]", 15: "[MIDDLE]", 16: "[SUFFIX]", 17: "[SYSTEM_PROMPT]"}
SPECIAL |= {18: "[/SYSTEM_PROMPT]", 19: "[TOOL_CONTENT]", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 32: "[ARGS]"}
SPECIAL |= {33: "[CALL_ID]", 34: "[TRANSCRIBE]"}
SPECIALS = 35
MELS = 32
PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def pieces() -> list[bytes]:
    """Byte-level pieces: all bytes, then the merges of a tokenizer fitted on a few sentences."""
    core = byte_level_bpe()
    merged = [token for token, _ in sorted(core.get_vocab().items(), key=lambda item: item[1])]
    words = [core.decoder.decode([token]).encode() for token in merged]
    return list(dict.fromkeys([bytes([one]) for one in range(256)] + [word for word in words if b"\xef" not in word]))


def write_vocabulary(path: Path) -> Path:
    """Write ``tekken.json``, mistral-common's own format, with the originals' special tokens and audio settings."""
    words = pieces()
    specials = [SPECIAL.get(rank, f"<SPECIAL_{rank}>") for rank in range(SPECIALS)]
    file = path / "tekken.json"
    file.write_text(
        json.dumps(
            {
                "config": {
                    "pattern": PATTERN,
                    "num_vocab_tokens": len(words),
                    "default_vocab_size": len(words) + SPECIALS,
                    "default_num_special_tokens": SPECIALS,
                    "version": "v11",
                },
                "vocab": [
                    {"rank": rank, "token_bytes": base64.b64encode(word).decode(), "token_str": None}
                    for rank, word in enumerate(words)
                ],
                "special_tokens": [
                    {"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(specials)
                ],
                "audio": {
                    "sampling_rate": 16_000,
                    "frame_rate": 12.5,
                    "chunk_length_s": 30.0,
                    "audio_encoding_config": {"num_mel_bins": MELS, "hop_length": 160, "window_size": 400},
                },
            }
        )
    )
    return file


def build(path: Path) -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    torch.manual_seed(0)
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = MistralCommonBackend(tokenizer_path=str(write_vocabulary(path)))
    config = VoxtralConfig(
        audio_config={
            "num_mel_bins": MELS,
            "hidden_size": 16,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
        },
        audio_token_id=24,
    )
    model = VoxtralForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    louder(model, head=2)
    with torch.no_grad():  # most of the 375 audio tokens are silence: attention has to be sharp to find the rest
        for layer in model.model.language_model.layers:
            layer.self_attn.q_proj.weight.mul_(30)
    return save(model, VoxtralProcessor(WhisperFeatureExtractor(feature_size=MELS), tokenizer), path)


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by transformers' own transcription request."""
    return processor.apply_transcription_request(audio, model_id="tiny", sampling_rate=16_000, format="wav")
