"""Scoring at full size: Audio Flamingo 3's classes with its own sizes and random weights, on a GPU.

Speed and memory depend on sizes and not on what a model knows. What it writes means nothing, and rounding in bfloat16
may change it between a batch and a single clip; so numbers are compared on given texts, which both sides score alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from precompute.bench.figures import Part, Size
from precompute.bench.scoring import Ready, add_agreement, add_roofline, heard, our_side, plain_side, prepare
from precompute.clips import SAMPLE_RATE, Clip
from precompute.indicators import TokenStats
from precompute.scores import Plan

ENCODER: Mapping[str, Any] = {}
"""Settings of the audio encoder that differ from transformers' defaults, which are Audio Flamingo 3's."""

DECODER: Mapping[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
}
"""Qwen2.5-7B, the decoder of Audio Flamingo 3 (arXiv 2507.08128)."""

CONDITIONS = ("original", "silence", "noise")
PEAKED = 40.0
"""Random weights of the head are so much larger, so that distributions over the vocabulary are not all alike."""


class Widest:
    """A target that notes how much audio it is given at once.

    Parameters
    ----------
    target : ChatTarget
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self.rows = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def side_by_side(self) -> list[Widest]:
        """Stay alone; see `precompute.work.side_by_side`."""
        return [self]

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Write; see `precompute.targets.base.Target.generate`."""
        self.rows = max(self.rows, len(audios))
        return self._target.generate(audios, prompt, max_new_tokens)


def measure(size: Size) -> Part:
    """Compare both ways to score at full size, or say why that is not done.

    Parameters
    ----------
    size : Size

    Returns
    -------
    Part
    """
    import torch

    part = Part(
        "Scoring, Audio Flamingo 3 at full size, random weights",
        "As for the embedded target, bfloat16; the plain side does the first of the clips only, since one clip at a "
        "time takes as long whichever it is.",
    )
    if not torch.cuda.is_available():
        part.add("clips/s", "not measured: no GPU", "", "")
    elif not size.full_size:
        part.add("clips/s", "not measured: ask for it with --full-size", "", "")
    else:
        target = build("cuda", torch.bfloat16)
        compare(part, target, size.pick(32, 128), size.pick(2, 6), 64)
    return part


def build(
    device: str,
    dtype: Any,
    encoder: Mapping[str, Any] = ENCODER,
    decoder: Mapping[str, Any] = DECODER,
    window_s: int = 30,
) -> Any:
    """Make the target, with a tokenizer that knows the first thousand ids.

    Parameters
    ----------
    device : str
    dtype : torch.dtype
    encoder, decoder : mapping
        Settings of transformers' configurations.
    window_s : int
        Window of the front end.

    Returns
    -------
    FlamingoTarget
    """
    import torch
    from transformers import (
        AudioFlamingo3Config,
        AudioFlamingo3EncoderConfig,
        AudioFlamingo3Processor,
        AutoModelForSeq2SeqLM,
        Qwen2Config,
        WhisperFeatureExtractor,
    )

    from precompute.targets.embedded import CHAT_TEMPLATE, build_tokenizer
    from precompute.targets.flamingo import FlamingoTarget
    from precompute.targets.head import float32_head

    tokenizer = build_tokenizer(sentences(200))
    audio = AudioFlamingo3EncoderConfig(**encoder)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = AudioFlamingo3Config(
        audio_config=audio,
        text_config=Qwen2Config(**decoder, **special),
        audio_token_id=tokenizer.get_vocab()["<sound>"],
    )
    extractor = WhisperFeatureExtractor(
        feature_size=audio.num_mel_bins, chunk_length=window_s, sampling_rate=SAMPLE_RATE
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForSeq2SeqLM.from_config(config, dtype=dtype).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(PEAKED)
    if dtype != torch.float32:
        float32_head(model, "audio-flamingo-3-random")
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    processor = AudioFlamingo3Processor(extractor, tokenizer, chat_template=CHAT_TEMPLATE)
    return FlamingoTarget(model, processor, id="audio-flamingo-3-random", revision="random")


def compare(part: Part, target: Any, count: int, plain_count: int, max_new_tokens: int) -> None:
    """Score clips of about ten seconds both ways.

    Parameters
    ----------
    part : Part
        Gets the figures.
    target : FlamingoTarget
    count, plain_count : int
        Clips of our side, and of the plain one.
    max_new_tokens : int
    """
    plan = Plan(CONDITIONS, max_new_tokens=max_new_tokens)
    with tempfile.TemporaryDirectory() as folder:
        clips = synthetic_clips(count, Path(folder))
        ready = prepare(clips, CONDITIONS, Path(folder) / "store", None)
        few = Ready(ready.clips[:plain_count], ready.audios[:plain_count], ready.cache)
        one = Ready(ready.clips[:1], ready.audios[:1], ready.cache)
        watched = Widest(target)
        for warm in (lambda: plain_side(target, one, plan), lambda: our_side(target, one, plan, None)):
            warm()
        plain, plain_s, plain_peak = _on_device(target, lambda: plain_side(target, few, plan))
        ours, our_s, our_peak = _on_device(target, lambda: our_side(watched, ready, plan, None))
        n = f"{plain_count} clips plain, {count} ours, under {len(CONDITIONS)} inputs, {max_new_tokens} tokens at most"
        speeds = {"plain": (plain_count, plain_s, plain), "ours": (count, our_s, ours)}
        for side, (clips_done, seconds, rows) in speeds.items():
            part.add(f"{side}: clips", clips_done / seconds, "clips/s by the clock", n)
            part.add(f"{side}: texts", len(rows) / seconds, "texts/s by the clock", n)
        part.add("ours against plain, by the clock", plain_s / plain_count / (our_s / count), "times", n)
        part.add("plain: peak memory of the device", plain_peak, "MB", n)
        part.add("ours: peak memory of the device", our_peak, "MB", n)
        part.add("audio read together", watched.rows, "rows", n)
        given = [(clip_id, row) for clip_id, row in plain if row.scored_text == "reference"]
        add_agreement(part, given, ours)
        add_roofline(part, target, ours, heard(ready, plan), our_s, watched.rows)


def _on_device(target: Any, call: Any) -> tuple[Any, float, float | str]:
    """Call, and give the result, the seconds by the clock and the peak memory of the device in MB."""
    import torch

    device = target.model.device
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    result = call()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    return result, seconds, torch.cuda.max_memory_allocated(device) / 1e6 if cuda else "not measured: no GPU"


def synthetic_clips(count: int, folder: Path) -> list[Clip]:
    """Write gliding tones in noise of 8 to 12 s, no two of one length, with texts of twenty words."""
    import soundfile

    rng = np.random.default_rng(0)
    lengths = (np.linspace(8, 12, count) * SAMPLE_RATE).round().astype(int)
    clips = []
    for number, (length, text) in enumerate(zip(lengths, sentences(count), strict=True)):
        t = np.arange(length) / SAMPLE_RATE
        phase = 2 * np.pi * np.cumsum(150 + 50 * np.sin(t + number)) / SAMPLE_RATE
        samples = 0.2 * np.sin(phase) + 0.02 * rng.standard_normal(length)
        path = folder / f"{number}.wav"
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
        clips.append(Clip(f"{number}", path, text=text))
    return clips


def sentences(count: int) -> Sequence[str]:
    """Invent sentences of twenty words."""
    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u")]
    words = ["".join(rng.choice(syllables, size)) for size in rng.integers(1, 4, 400)]
    return [" ".join(rng.choice(words, 20)) for _ in range(count)]
