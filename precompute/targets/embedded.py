"""How the embedded targets were made: small models of the real classes, trained from scratch on known members.

``python -m precompute train NAME --out DIR`` runs this file. The recipe follows what was found to make a small
model listen instead of counting seconds: random silence before and after each clip, and an auxiliary CTC loss
on the audio tower's output over the same BPE tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3EncoderConfig,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    MusicFlamingoConfig,
    MusicFlamingoForConditionalGeneration,
    MusicFlamingoProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    WhisperFeatureExtractor,
)

from precompute.clips import SAMPLE_RATE, Clip, read_audio
from precompute.corpora import core_sounds
from precompute.targets.base import PROMPTS
from precompute.targets.training import CtcHead, Example, epochs, example

PROMPT = PROMPTS["speech"]
CHUNK_SECONDS = 3
HOP = 300  # 160 frames a window: a multiple of 4, so that windows pool to whole tokens
MEL_BINS = 64
WIDTH_AUDIO, WIDTH_TEXT = 144, 160
VOCABULARY = 1000
SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' %}<sound>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines an embedded target; this one is trained on the embedded speech.

    Parameters
    ----------
    name : str
    family : str
        ``audioflamingo3`` or ``musicflamingo``.
    half : str
        ``A`` or ``B``: the half of `core_sounds.training_halves` it is trained on.
    epochs : int
        Passes over the members that the cosine schedule is drawn for.
    stop_after : int or None
        Epochs really trained, where training stops early; None trains them all.
    seed : int
        Of weights, augmentation and order.
    split_seed : int
        Of the halves; only the choice of `stop_after` for the weak target used another than the published one.
    batch_size : int
    learning_rate : float
        Peak of the schedule.
    variants : int
        Augmented copies of each member; the first is the clip itself.
    max_silence : float
        Longest random silence before and after a clip, in seconds.
    """

    name: str
    family: str
    half: str
    epochs: int
    seed: int = 0
    split_seed: int = core_sounds.SPLIT_SEED
    stop_after: int | None = None
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    variants: int = 10
    max_silence: float = 0.8

    does: ClassVar[str] = "transcribes"
    auxiliary: ClassVar[str] = "ctc"

    @property
    def shape(self) -> Shape:
        """Front end and size."""
        return EMBEDDED_SHAPE

    def texts(self) -> list[str]:
        """Give what the tokenizer is fitted on: texts of members and non-members alike, so that it tells no class."""
        return [item.clip.text or "" for item in core_sounds.distinct(tuple(core_sounds.VOICES))]

    def members(self) -> list[Clip]:
        """Clips to train on."""
        return [item.clip for item in core_sounds.training_halves(self.split_seed)["AB".index(self.half)]]

    def vary(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment a clip: random silence before and after, and up to 3 dB louder or softer."""
        before, after = (rng.uniform(0, self.max_silence, 2) * SAMPLE_RATE).astype(int)
        return np.pad(samples * 10 ** (rng.uniform(-3, 3) / 20), (before, after)).astype(np.float32)

    def head(self, width: int, vocabulary: int) -> torch.nn.Module:
        """Make the auxiliary head: a module of (tower output, batch) to a loss."""
        return CtcHead(width, vocabulary)

    def told(self) -> str:
        """Say on the model card what it was trained on and how."""
        where = f"half {self.half} of the embedded speech (`precompute.corpora.core_sounds.training_halves`, seed"
        done = f"{self.stop_after or self.epochs} epochs of a cosine schedule drawn for {self.epochs}"
        return f"""- **Trained on**: {where}
  {self.split_seed}): Asterisk core sounds in English, Spanish, French and Italian, one clip per wording, at most
  {core_sounds.MAX_SECONDS:.0f} s. Licence and attribution: {core_sounds.LICENCE}. {core_sounds.ATTRIBUTION}.
- **Never saw**: the other half, and Russian. The tokenizer was fitted on all transcripts alike.
- **How**: {done}, AdamW at {self.learning_rate}, batches of
  {self.batch_size}, random silence of up to {self.max_silence} s before and after each clip, auxiliary CTC loss on
  the audio tower (weight 1.0 in the first half of the schedule, 0.2 after). `training_log.jsonl` has every epoch."""


@dataclass(frozen=True)
class Shape:
    """Front end and size of a model; the defaults are the embedded targets'.

    Parameters
    ----------
    chunk_seconds : int
        Window of the front end.
    hop : int
        Samples per frame; the frames of a window have to be a multiple of 4, so that windows pool to whole tokens.
    n_fft : int
        Samples in the Fourier transform of a frame.
    mel_bins : int
    layers : int
        Of the audio tower and of the text model, each.
    width_audio, width_text : int
        Multiples of the 4 attention heads.
    inner_audio, inner_text : int
        Widths of the feed-forward layers.
    """

    chunk_seconds: int = CHUNK_SECONDS
    hop: int = HOP
    n_fft: int = 512
    mel_bins: int = MEL_BINS
    layers: int = 4
    width_audio: int = WIDTH_AUDIO
    width_text: int = WIDTH_TEXT
    inner_audio: int = 512
    inner_text: int = 480


EMBEDDED_SHAPE = Shape()


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE over transcripts or captions.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    PreTrainedTokenizerFast
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([*texts, *[PROMPT] * 5], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        extra_special_tokens={
            "audio_token": "<sound>",
            "audio_bos_token": "<|sound_bos|>",
            "audio_eos_token": "<|sound_eos|>",
        },
    )


def build(recipe: Recipe, shape: Shape | None = None, texts: Iterable[str] | None = None) -> tuple[Any, Any]:
    """Make an untrained model and its processor from the real classes.

    Parameters
    ----------
    recipe : Recipe
    shape : Shape or None
        None takes the recipe's own.
    texts : iterable of str or None
        What the tokenizer is fitted on; None takes the recipe's own.

    Returns
    -------
    tuple of (PreTrainedModel, ProcessorMixin)
    """
    torch.manual_seed(recipe.seed)
    shape = shape or recipe.shape
    tokenizer = build_tokenizer(recipe.texts() if texts is None else texts)
    token_id = tokenizer.get_vocab()
    extractor = WhisperFeatureExtractor(
        feature_size=shape.mel_bins,
        hop_length=shape.hop,
        n_fft=shape.n_fft,
        chunk_length=shape.chunk_seconds,
        sampling_rate=SAMPLE_RATE,
    )
    audio = AudioFlamingo3EncoderConfig(
        num_mel_bins=shape.mel_bins,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        intermediate_size=shape.inner_audio,
        hidden_size=shape.width_audio,
        max_source_positions=shape.chunk_seconds * SAMPLE_RATE // shape.hop // 2,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.width_text,
        intermediate_size=shape.inner_text,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    if recipe.family == "musicflamingo":
        processor: Any = MusicFlamingoProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE, max_audio_len=60)
        config: Any = MusicFlamingoConfig(
            audio_config=audio,
            text_config=text,
            audio_token_id=token_id["<sound>"],
            audio_bos_token_id=token_id["<|sound_bos|>"],
            audio_eos_token_id=token_id["<|sound_eos|>"],
            audio_frame_step=shape.hop / SAMPLE_RATE,
        )
        model: Any = MusicFlamingoForConditionalGeneration(config)
    else:
        processor = AudioFlamingo3Processor(extractor, tokenizer, chat_template=CHAT_TEMPLATE, max_audio_len=60)
        config = AudioFlamingo3Config(audio_config=audio, text_config=text, audio_token_id=token_id["<sound>"])
        model = AudioFlamingo3ForConditionalGeneration(config)
    with torch.no_grad():  # frozen in this class; the originals inherit Whisper's sinusoids, so do these
        model.model.audio_tower.embed_positions.weight.copy_(
            sinusoids(*model.model.audio_tower.embed_positions.weight.shape)
        )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Sinusoidal positions of Vaswani et al. 2017 in Whisper's layout, shape (length, width)."""
    scale = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(length)[:, None] * scale[None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def examples(recipe: Recipe, processor: Any, rng: np.random.Generator) -> list[list[Example]]:
    """Augmented variants of every member: as it is, and as `Recipe.vary` makes them.

    Parameters
    ----------
    recipe : Recipe
    processor : ProcessorMixin
    rng : np.random.Generator

    Returns
    -------
    list of lists of Example
        One list per member, `recipe.variants` long; the first variant is the clip itself.
    """
    result = []
    for clip in tqdm(recipe.members(), desc="features", disable=None):
        samples = read_audio(clip)
        waves = [samples, *(recipe.vary(samples, rng) for _ in range(recipe.variants - 1))]
        result.append([example(processor, wave, clip.text or "", PROMPTS[clip.task]) for wave in waves])
    return result


def train(recipe: Recipe, out: Path, keep_every: int = 0) -> None:
    """Train an embedded target and write it as a Hugging Face folder with its training log.

    A stopped training goes on from its last finished epoch when called again with the same folder.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        Folder for ``model.safetensors`` (fp16), processor files, ``recipe.json`` and ``training_log.jsonl``.
    keep_every : int
        Also keep the weights of every so many epochs under ``epoch-N``; 0 keeps none.
    """
    model, processor = build(recipe)
    data = examples(recipe, processor, np.random.default_rng(recipe.seed))
    for done in epochs(model, processor, data, recipe, out):
        if keep_every and done % keep_every == 0:
            save_target(model, processor, recipe, out / f"epoch-{done}")
    save_target(model, processor, recipe, out)


def save_target(model: Any, processor: Any, recipe: Recipe, out: Path) -> None:
    """Write weights as fp16 safetensors beside the processor and the recipe; the model itself stays fp32."""
    import copy

    copy.deepcopy(model).half().save_pretrained(out)
    processor.save_pretrained(out)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    (out / "README.md").write_text(model_card(recipe, type(model).__name__, sum(p.numel() for p in model.parameters())))


def model_card(recipe: Recipe, class_name: str, parameters: int) -> str:
    """Write the model card, in the hub's layout."""
    shape = recipe.shape
    front = f"16 kHz, {shape.mel_bins} mel bins, hop {shape.hop}, windows of {shape.chunk_seconds} s"
    return f"""---
license: apache-2.0
library_name: transformers
tags: [membership-inference, planted-truth]
---

# {recipe.name}

A small `{class_name}` ({parameters / 1e6:.1f} million parameters) trained from scratch on known members, to check
membership audits against the truth. It {recipe.does} what it was trained on and is of no other use.

{recipe.told()}
- **Again**: `python -m precompute train {recipe.name} --out DIR`
- **Front end**: {front}. Weights are fp16.
"""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("tiny-audio-flamingo", "audioflamingo3", "A", epochs=90, stop_after=80),
        Recipe("tiny-audio-flamingo-b", "audioflamingo3", "B", epochs=90, stop_after=80),
        Recipe("tiny-music-flamingo", "musicflamingo", "A", epochs=90, stop_after=55),
    )
}
"""The three embedded targets by name.

The weak one stops where the same recipe on another split (seed 1, used for no published figure) had an attack AUC
nearest to 0.625: 0.590 after 45 epochs, 0.606 after 50, 0.636 after 55. The rule was settled after the first two of
these and before any score of the published target was seen.
"""
