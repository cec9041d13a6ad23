"""Whisper, multilingual or English-only, with a window of 8 s."""

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from tests.tiny_families.parts import byte_level_bpe, louder, save, vocabulary_and_merges

LANGUAGES = ("en", "es", "fr", "ru")
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
OTHER_PROMPT = "names: Ada, Grace"


def build(path: Path, multilingual: bool = True) -> Path:
    """Save it with the generation config that the originals have: forced ids, suppressed ids and all."""
    tokenizer = whisper_tokenizer()
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=20,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=400,
        max_target_positions=64,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    louder(model, 24, 20, keep=("embed_tokens", "embed_positions"))
    with torch.no_grad():
        model.model.decoder.embed_positions.weight.mul_(20)  # learned, so that a position is more than a rounding
    model.generation_config = generation_config(ids, multilingual)
    extractor = WhisperFeatureExtractor(feature_size=20, chunk_length=8)
    return save(model, WhisperProcessor(extractor, tokenizer), path)


def whisper_tokenizer() -> WhisperTokenizer:
    """Make a tokenizer whose special tokens come after all others, as in the originals."""
    vocabulary, merges = vocabulary_and_merges(byte_level_bpe())
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    return tokenizer


def generation_config(ids: dict[str, int], multilingual: bool) -> GenerationConfig:
    """As in the folders of the originals."""
    end = ids["<|endoftext|>"]
    config = GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"], bos_token_id=end, eos_token_id=end, pad_token_id=end
    )
    config.is_multilingual = multilingual
    config.no_timestamps_token_id = ids["<|notimestamps|>"]
    config.prev_sot_token_id = ids["<|startofprev|>"]
    config.suppress_tokens = [*range(20, 60), *(ids[token] for token in SPECIAL[1:])]
    config.begin_suppress_tokens = [*range(60, 70), end]
    if multilingual:
        config.lang_to_id = {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES}
        config.task_to_id = {task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")}
    return config


def plain_inputs(processor, audio, prompt):
    """Features of one clip, and the prompt where it is no task, as Whisper takes it."""
    inputs = processor(audio, sampling_rate=16_000, return_tensors="pt")
    if prompt not in ("", "transcribe"):
        inputs["prompt_ids"] = torch.as_tensor(processor.get_prompt_ids(prompt))
    return inputs


def plain_ids(model, inputs, steps):
    """What transformers' own decoding writes where nothing is suppressed."""
    task = {"task": "transcribe"} if model.generation_config.is_multilingual else {}
    written = model.generate(
        **inputs,
        **task,
        max_new_tokens=steps,
        do_sample=False,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        force_unique_generate_call=True,
    )
    return written[0, forced(model, inputs).shape[1] :].tolist()


def plain_logits(model, inputs, ids):
    """Logits that predict `ids`, by one forward pass without a cache."""
    whole = torch.cat([forced(model, inputs), torch.as_tensor([ids])], dim=1)
    with torch.inference_mode():
        logits = model(input_features=inputs["input_features"], decoder_input_ids=whole, use_cache=False).logits
    return logits[0, -len(ids) - 1 : -1]


def forced(model, inputs):
    """Forced tokens of one clip, shape (1, k), written down from the model's documentation."""
    config = model.generation_config
    language = []
    if config.is_multilingual:
        detected = model.detect_language(inputs["input_features"], generation_config=config)
        language = [int(detected[0]), config.task_to_id["transcribe"]]
    before = inputs["prompt_ids"].tolist() if "prompt_ids" in inputs else []
    return torch.tensor([[*before, config.decoder_start_token_id, *language, config.no_timestamps_token_id]])
