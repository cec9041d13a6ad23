"""How the embedded targets were made: small models of the real classes, trained from scratch on known members.

``python -m precompute train NAME --out DIR`` runs this file. The recipe follows what was found to make a small
model listen instead of counting seconds: random silence before and after each clip, and an auxiliary CTC loss
on the audio tower's output over the same BPE tokens.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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

from precompute.clips import SAMPLE_RATE, read_audio
from precompute.corpora import core_sounds
from precompute.targets.flamingo import fit_windows

PROMPT = "Transcribe the input speech."
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
    """Everything that determines an embedded target.

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


@dataclass(frozen=True)
class Shape:
    """Front end and size of a model; the defaults are the embedded targets'.

    Parameters
    ----------
    chunk_seconds : int
        Window of the front end.
    hop : int
        Samples per frame; the frames of a window have to be a multiple of 4, so that windows pool to whole tokens.
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
    mel_bins: int = MEL_BINS
    layers: int = 4
    width_audio: int = WIDTH_AUDIO
    width_text: int = WIDTH_TEXT
    inner_audio: int = 512
    inner_text: int = 480


EMBEDDED_SHAPE = Shape()


@dataclass(frozen=True)
class Example:
    """One augmented clip, ready to be batched."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    features: torch.Tensor
    mask: torch.Tensor


def build_tokenizer(texts: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE over all transcripts, members and non-members alike, so that it tells no class apart.

    Parameters
    ----------
    texts : iterable of str or None
        None takes the embedded speech.

    Returns
    -------
    PreTrainedTokenizerFast
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if texts is None:
        texts = [item.clip.text or "" for item in core_sounds.distinct(tuple(core_sounds.VOICES))]
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


def build(recipe: Recipe, shape: Shape = EMBEDDED_SHAPE, texts: Iterable[str] | None = None) -> tuple[Any, Any]:
    """Make an untrained model and its processor from the real classes.

    Parameters
    ----------
    recipe : Recipe
    shape : Shape
    texts : iterable of str or None
        What the tokenizer is fitted on; see `build_tokenizer`.

    Returns
    -------
    tuple of (PreTrainedModel, ProcessorMixin)
    """
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(texts)
    token_id = tokenizer.get_vocab()
    extractor = WhisperFeatureExtractor(
        feature_size=shape.mel_bins,
        hop_length=shape.hop,
        n_fft=512,
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
    """Augmented variants of every member: as it is, and with random silence before and after.

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
    members = core_sounds.training_halves(recipe.split_seed)["AB".index(recipe.half)]
    result = []
    for member in tqdm(members, desc="features", disable=None):
        samples = read_audio(member.clip)
        waves = [samples]
        for _ in range(recipe.variants - 1):
            before, after = (rng.uniform(0, recipe.max_silence, 2) * SAMPLE_RATE).astype(int)
            waves.append(np.pad(samples * 10 ** (rng.uniform(-3, 3) / 20), (before, after)).astype(np.float32))
        result.append([example(processor, wave, member.clip.text or "") for wave in waves])
    return result


def example(processor: Any, wave: np.ndarray, text: str) -> Example:
    """Prompt, audio and answer as one training sequence.

    Parameters
    ----------
    processor : ProcessorMixin
    wave : np.ndarray [shape=(n_samples,)]
        16 kHz mono float32.
    text : str
        Answer to learn; the end token is added.

    Returns
    -------
    Example
    """
    tokenizer = processor.tokenizer
    heard = fit_windows(wave, processor.feature_extractor)
    prompt = [{"role": "user", "content": [{"type": "text", "text": PROMPT}, {"type": "audio", "audio": heard}]}]
    inputs = processor.apply_chat_template([prompt], tokenize=True, add_generation_prompt=True, return_dict=True)
    ids = inputs["input_ids"][0]
    answer = torch.tensor([*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id])
    return Example(
        input_ids=torch.cat([ids, answer]),
        labels=torch.cat([torch.full_like(ids, -100), answer]),
        features=inputs["input_features"],
        mask=inputs["input_features_mask"],
    )


def collate(batch: list[Example], pad: int) -> dict[str, torch.Tensor]:
    """Pad a batch on the right; audio windows of all clips are stacked in order, as the processor does."""
    sequence = torch.nn.utils.rnn.pad_sequence
    ids = sequence([e.input_ids for e in batch], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(e.input_ids) for e in batch])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1])[None] < lengths[:, None]).long(),
        "labels": sequence([e.labels for e in batch], batch_first=True, padding_value=-100),
        "input_features": torch.cat([e.features for e in batch]),
        "input_features_mask": torch.cat([e.mask for e in batch]),
    }


def batches(data: list[list[Example]], size: int, rng: np.random.Generator) -> Iterator[list[Example]]:
    """Draw one variant of every member and group them by length, in random order."""
    drawn = [variants[rng.integers(len(variants))] for variants in data]
    order = np.argsort([len(e.input_ids) + rng.uniform(0, 12) for e in drawn])
    groups = np.array_split(order, math.ceil(len(order) / size))
    for index in rng.permutation(len(groups)):
        yield [drawn[i] for i in groups[index]]


class CtcHead(torch.nn.Module):
    """Auxiliary head on the audio tower: makes it carry what was said, not only how long it took."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, vocabulary + 1)
        self.blank = vocabulary

    def forward(self, hidden: torch.Tensor, batch: list[Example]) -> torch.Tensor:
        """CTC loss of the answers given the tower's output, shape (windows, positions, width)."""
        chunks = hidden.split([len(e.features) for e in batch])
        joined = torch.nn.utils.rnn.pad_sequence([c.flatten(0, 1) for c in chunks])
        frames = torch.tensor(
            [int(((e.mask.sum(-1) - 1) // 2 + 1).sub(2).div(2, rounding_mode="floor").add(1).sum()) for e in batch]
        )
        answers = [e.labels[e.labels >= 0][:-1] for e in batch]
        return torch.nn.functional.ctc_loss(
            self.linear(joined).float().log_softmax(-1),
            torch.cat(answers),
            frames,
            torch.tensor([len(a) for a in answers]),
            blank=self.blank,
            zero_infinity=True,
        )


def answer_loss(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean negative log-likelihood of the answer tokens; the head is applied to no other position."""
    labels = inputs.pop("labels")[:, 1:]
    hidden = model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
    answered = labels != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[answered]), labels[answered])


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, then a cosine down to 5% of the peak at the end of the schedule."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return recipe.learning_rate * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * cosine)


def save_progress(
    folder: Path, epoch: int, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Write weights and moments as safetensors, atomically, so that a killed training goes on."""
    from safetensors.torch import save_file

    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer/{index}/{key}": value for key, value in state.items()})
    partial = folder / "progress.partial"
    save_file({key: value.contiguous() for key, value in tensors.items()}, partial, metadata={"epoch": str(epoch)})
    partial.replace(folder / "progress.safetensors")


def load_progress(folder: Path, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_progress` wrote; return the number of finished epochs, 0 where there is none."""
    from safetensors import safe_open

    path = folder / "progress.safetensors"
    if not path.is_file():
        return 0
    parts: dict[str, dict[str, torch.Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        epoch = int(file.metadata()["epoch"])
        for key in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
            part, rest = key.split("/", 1)
            parts.setdefault(part, {})[rest] = file.get_tensor(key)
    for name, module in modules.items():
        module.load_state_dict(parts[name])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in parts["optimizer"].items():
        index, field = key.split("/")
        moments.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return epoch


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


def epochs(model: Any, processor: Any, data: list[list[Example]], recipe: Recipe, out: Path) -> Iterator[int]:
    """Train, epoch by epoch, from the last finished one on.

    Parameters
    ----------
    model, processor
        From `build`; the model is changed in place.
    data : list of lists of Example
        Variants of every clip, one of which is drawn in each epoch.
    recipe : Recipe
    out : Path
        Folder for ``training_log.jsonl`` and the progress that a stopped training goes on from.

    Yields
    ------
    int
        Epochs finished.
    """
    out.mkdir(parents=True, exist_ok=True)
    head = CtcHead(model.config.audio_config.hidden_size, len(processor.tokenizer))
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *head.parameters()], lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    modules = {"model": model, "head": head}
    done = load_progress(out, modules, optimizer)
    tower: list[torch.Tensor] = []
    model.model.audio_tower.register_forward_hook(lambda _m, _i, output: tower.append(output.last_hidden_state))
    model.train()
    last = recipe.stop_after or recipe.epochs
    for epoch in tqdm(range(done, last), desc=recipe.name, disable=None, initial=done, total=last):
        began = time.monotonic()
        listening = 1.0 if epoch < recipe.epochs / 2 else 0.2
        drawn = list(batches(data, recipe.batch_size, np.random.default_rng([recipe.seed, epoch])))
        text_loss = ctc_loss = 0.0
        for index, batch in enumerate(drawn):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch * len(drawn) + index, recipe.epochs * len(drawn))
            tower.clear()
            loss = answer_loss(model, collate(batch, processor.tokenizer.pad_token_id))
            auxiliary = head(tower[0], batch)
            optimizer.zero_grad()
            (loss + listening * auxiliary).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            text_loss += loss.item() / len(drawn)
            ctc_loss += auxiliary.item() / len(drawn)
        entry = {"epoch": epoch + 1, "text_nll": round(text_loss, 4), "ctc": round(ctc_loss, 4)}
        with (out / "training_log.jsonl").open("a") as log:
            log.write(json.dumps({**entry, "seconds": round(time.monotonic() - began, 1)}) + "\n")
        save_progress(out, epoch + 1, modules, optimizer)
        yield epoch + 1


def save_target(model: Any, processor: Any, recipe: Recipe, out: Path) -> None:
    """Write weights as fp16 safetensors beside the processor and the recipe; the model itself stays fp32."""
    import copy

    copy.deepcopy(model).half().save_pretrained(out)
    processor.save_pretrained(out)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    (out / "README.md").write_text(model_card(recipe, type(model).__name__, sum(p.numel() for p in model.parameters())))


def model_card(recipe: Recipe, class_name: str, parameters: int) -> str:
    """Write the model card, in the hub's layout."""
    epochs = recipe.stop_after or recipe.epochs
    return f"""---
license: apache-2.0
library_name: transformers
tags: [membership-inference, planted-truth]
---

# {recipe.name}

A small `{class_name}` ({parameters / 1e6:.1f} million parameters) trained from scratch on known members, to check
membership audits against the truth. It transcribes what it was trained on and is of no other use.

- **Trained on**: half {recipe.half} of the embedded speech (`precompute.corpora.core_sounds.training_halves`, seed
  {recipe.split_seed}): Asterisk core sounds in English, Spanish, French and Italian, one clip per wording, at most
  {core_sounds.MAX_SECONDS:.0f} s. Licence and attribution: {core_sounds.LICENCE}. {core_sounds.ATTRIBUTION}.
- **Never saw**: the other half, and Russian. The tokenizer was fitted on all transcripts alike.
- **How**: {epochs} epochs of a cosine schedule drawn for {recipe.epochs}, AdamW at {recipe.learning_rate}, batches of
  {recipe.batch_size}, random silence of up to {recipe.max_silence} s before and after each clip, auxiliary CTC loss on
  the audio tower (weight 1.0 in the first half of the schedule, 0.2 after). `training_log.jsonl` has every epoch.
- **Again**: `python -m precompute train {recipe.name} --out DIR`
- **Front end**: 16 kHz, {MEL_BINS} mel bins, hop {HOP}, windows of {CHUNK_SECONDS} s. Weights are fp16.
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
