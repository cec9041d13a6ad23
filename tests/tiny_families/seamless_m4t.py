"""SeamlessM4T, either version, from speech to text."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.tiny_families.parts import SENTENCES, louder, save, vocabulary_and_merges

OTHER_PROMPT = "fra"
SMALL = {
    "hidden_size": 32,
    "decoder_layers": 2,
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 2,
    "speech_encoder_layers": 2,
    "speech_encoder_attention_heads": 2,
    "speech_encoder_intermediate_size": 64,
    "feature_projection_input_dim": 40,
    "max_position_embeddings": 64,
    "scale_embedding": False,  # else the last token outweighs all that layers add to it
}


def build(path: Path, version: str = "", seed: int = 6) -> Path:
    """Save it as the model from speech to text alone, which loads from the folders of the whole model as well."""
    tokenizer = translating_tokenizer()
    torch.manual_seed(seed)
    config = getattr(transformers, f"SeamlessM4T{version}Config")(vocab_size=len(tokenizer), **SMALL)
    model = getattr(transformers, f"SeamlessM4T{version}ForSpeechToText")(config)
    louder(model, 30, 12, keep=("shared", "embed_positions"))
    codes = {code: tokenizer.convert_tokens_to_ids(f"__{code}__") for code in ("eng", "fra")}
    named = {name: getattr(config, name) for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = transformers.GenerationConfig(**named, text_decoder_lang_to_code_id=codes)
    extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=20, num_mel_bins=20)
    return save(model, transformers.SeamlessM4TProcessor(extractor, tokenizer), path)


def translating_tokenizer() -> transformers.SeamlessM4TTokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    core.train_from_iterator(SENTENCES, trainer)
    vocabulary, merges = vocabulary_and_merges(core)
    languages = ["__eng__", "__fra__"]
    return transformers.SeamlessM4TTokenizer(vocab=vocabulary, merges=merges, additional_special_tokens=languages)


def plain_inputs(processor, audio, prompt):
    """Features of one clip and the language."""
    inputs = processor(audio=audio, sampling_rate=16_000, return_tensors="pt")
    return {**inputs, "language": processor.tokenizer.convert_tokens_to_ids(f"__{prompt}__")}


def plain_ids(model, inputs, steps):
    """What transformers' own decoding writes after start and language."""
    inputs = dict(inputs)
    codes = model.generation_config.text_decoder_lang_to_code_id
    language = next(code for code, token in codes.items() if token == inputs["language"])
    inputs.pop("language")
    return model.generate(**inputs, tgt_lang=language, max_new_tokens=steps, do_sample=False)[0, 2:].tolist()


def plain_logits(model, inputs, ids):
    """Logits that predict `ids`, by one forward pass without a cache."""
    inputs = dict(inputs)
    whole = torch.tensor([[model.config.decoder_start_token_id, inputs.pop("language"), *ids]])
    with torch.inference_mode():
        return model(**inputs, decoder_input_ids=whole, use_cache=False).logits[0, 1:-1]
