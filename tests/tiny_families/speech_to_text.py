"""Speech2Text, English-only or multilingual, with a tokenizer of SentencePiece."""

import io
import json
from pathlib import Path

import sentencepiece
import torch
from transformers import (
    Speech2TextConfig,
    Speech2TextFeatureExtractor,
    Speech2TextForConditionalGeneration,
    Speech2TextProcessor,
    Speech2TextTokenizer,
)
from transformers.models.speech_to_text.tokenization_speech_to_text import MUSTC_LANGS

from tests.tiny_families.moonshine import plain_ids
from tests.tiny_families.parts import SENTENCES, louder, save

__all__ = ["OTHER_PROMPT", "build", "plain_ids", "plain_inputs", "plain_logits"]

OTHER_PROMPT = ""


def build(path: Path, multilingual: bool = False) -> Path:
    """Save it."""
    path.mkdir()
    tokenizer = speech_tokenizer(path, multilingual)
    torch.manual_seed(0)
    config = Speech2TextConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        conv_channels=32,
        input_feat_per_channel=20,
        max_source_positions=600,
        max_target_positions=64,
    )
    model = Speech2TextForConditionalGeneration(config)
    louder(model, 28, 10, keep=("embed_tokens",))
    extractor = Speech2TextFeatureExtractor(feature_size=20, num_mel_bins=20)
    return save(model, Speech2TextProcessor(extractor, tokenizer), path)


def speech_tokenizer(path: Path, multilingual: bool) -> Speech2TextTokenizer:
    """Fit it on lower-case text, as the one for LibriSpeech is."""
    languages = [f"<lang:{code}>" for code in MUSTC_LANGS] if multilingual else []
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([sentence.lower() for sentence in SENTENCES]),
        model_writer=model,
        vocab_size=100 + len(languages),
        pad_id=1,
        bos_id=0,
        eos_id=2,
        unk_id=3,
        user_defined_symbols=languages,
        minloglevel=2,
    )
    (path / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = {pieces.id_to_piece(index): index for index in range(len(pieces))}
    (path / "vocab.json").write_text(json.dumps(names))
    files = (str(path / "vocab.json"), str(path / "sentencepiece.bpe.model"))
    return Speech2TextTokenizer(*files, lang_codes="mustc" if multilingual else None)


def plain_inputs(processor, audio, prompt):
    """Features of one clip."""
    return processor(audio, sampling_rate=16_000, return_tensors="pt")


def plain_logits(model, inputs, ids):
    """Logits that predict `ids`, by one forward pass without a cache."""
    whole = torch.tensor([[model.config.decoder_start_token_id, *ids]])
    with torch.inference_mode():
        return model(**inputs, decoder_input_ids=whole, use_cache=False).logits[0, :-1]
