"""Qwen2-Audio, the thinkers of Qwen2.5-Omni and Qwen3-Omni, and Qwen3-ASR.

In batches of clips of different length, the front ends of the last two let a clip's features depend on the others: the
frames at its end see the padding, their number is rounded another way, and convolutions run past the end of a chunk.
So each clip is prepared alone, and the batch is put together from what came out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from precompute.clips import InputError
from precompute.targets.base import ChatTarget, positions
from precompute.targets.fitting import fitted
from precompute.targets.hearing import read_hearing_only
from precompute.targets.loading import Placement, Source, load_processor
from precompute.targets.prefill import Prefill

if TYPE_CHECKING:
    import torch

    from precompute.targets.families import Family

LANGUAGE_TOKENS = 12
"""Most tokens that Qwen3-ASR is given to name the language."""


class QwenTarget(ChatTarget):
    """What the Qwen families share; see `ChatTarget`.

    Positions count tokens one by one in all three dimensions of the Omni models' rotary embedding, as their own
    ``get_rope_index`` has it where there is neither image nor video; they are given explicitly, so that no offset that
    the model keeps from an earlier batch takes part.
    """

    alone: ClassVar[bool] = False
    """Whether a clip's features would depend on the rest of a batch, so that each has to be prepared alone."""

    @property
    def least(self) -> int:
        """Fewest samples that can be heard; shorter audio is followed by silence."""
        return 1

    @property
    def longest(self) -> int | None:
        """Most samples that can be heard; longer audio is cut, and a line in the log says so. None is no limit."""
        return None

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Keep audio within `least` and `longest`."""
        return fitted(audio, self.least, self.longest, name=self.id)

    def inputs(self, audios: Sequence[np.ndarray], prompt: str) -> Any:
        """Prepare a batch, each clip alone where the family needs it; see `ChatTarget.inputs`."""
        prepare = super().inputs
        if not self.alone:
            return prepare(audios, prompt)
        return joined([prepare([audio], prompt) for audio in audios], self.tokenizer.pad_token_id)

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Run the prompt and the audio through the model; only the last position is spread over the vocabulary."""
        inputs = self.inputs(audios, prompt).to(self.model.device, self.model.dtype)
        mask = inputs["attention_mask"]
        output = self.model.model(**inputs, position_ids=positions(mask), use_cache=True)
        logits = self.model.get_output_embeddings()(output.last_hidden_state[:, -1])
        return Prefill(logits, output.past_key_values, mask)


class Qwen2AudioTarget(QwenTarget):
    """Qwen2-Audio, which hears one window of 30 s."""

    audio_first = True

    @property
    def least(self) -> int:
        """Seven frames, which make two tokens: the class takes a lone placeholder for one that is not written out."""
        return 6 * self.processor.feature_extractor.hop_length + 1

    @property
    def longest(self) -> int:
        """One window of the front end."""
        return self.processor.feature_extractor.n_samples


class QwenOmniTarget(QwenTarget):
    """The thinker of Qwen2.5-Omni, from a checkpoint of the whole model or of the thinker alone.

    Talker and vocoder are not loaded. The prompt comes before the audio, as in the authors' cookbook of audio tasks.
    """

    processor_class: ClassVar[str] = "Qwen2_5OmniProcessor"

    @property
    def least(self) -> int:
        """Three frames: fewer make no token."""
        return 2 * self.processor.feature_extractor.hop_length + 1

    @property
    def longest(self) -> int | None:
        """One window of the front end, five minutes."""
        return self.processor.feature_extractor.n_samples

    @classmethod
    def open_processor(cls, source: Source, family: Family) -> Any:
        """Load the processor without the parts that see, one of which would need torchvision."""
        return load_processor(source, family.chat, partial(read_hearing_only, name=cls.processor_class))

    def front_end(self, audios: Sequence[np.ndarray]) -> dict[str, Any]:
        """Pad to what the last frame of the longest clip looks ahead, and not to five minutes.

        Frames beyond a clip's own are dropped either way, so the numbers are the same, in a hundredth of the time.
        """
        extractor = self.processor.feature_extractor
        frames = -(-(max(map(len, audios)) + extractor.n_fft) // extractor.hop_length)
        return {"max_length": min(frames * extractor.hop_length, extractor.n_samples)}


class Qwen3OmniTarget(QwenOmniTarget):
    """The thinker of Qwen3-Omni; the prompt comes after the audio, as in the authors' evaluation of it."""

    processor_class = "Qwen3OmniMoeProcessor"
    audio_first = True
    alone = True

    @property
    def least(self) -> int:
        """One Fourier window, which has to fit into the audio."""
        return self.processor.feature_extractor.n_fft

    @property
    def longest(self) -> None:
        """No limit: audio is heard in windows of a few seconds, as many as it takes."""
        return None

    def front_end(self, audios: Sequence[np.ndarray]) -> dict[str, Any]:
        """Leave it as it is: it pads to the longest clip."""
        return {}

    def inputs(self, audios: Sequence[np.ndarray], prompt: str) -> Any:
        """Prepare every clip alone, and cut its features into the encoder's chunks; see `ChatTarget.inputs`.

        The encoder would pad chunks to the longest of the batch, and what is beyond the end of a shorter one reaches
        its last tokens. In any batch with a clip of a second or more that is the full chunk; here it always is.
        """
        batch = super().inputs(audios, prompt)
        width = 2 * self.model.config.audio_config.n_window
        frames, lengths = chunks(batch["input_features"], batch["feature_attention_mask"], width)
        batch.update({"audio_padded_feature": frames, "audio_chunk_lengths": lengths})
        return batch


class Qwen3AsrTarget(QwenTarget):
    """Qwen3-ASR; the prompt is its context (names and words to expect), empty by default.

    The model writes ``language English<asr_text>`` and then what was said. Naming the language is part of reading a
    clip here: the model names it, greedily, and what is written, scored or given is the text after it. Where the model
    names none in that form, the text begins at once.
    """

    alone = True

    @classmethod
    def load(cls, source: Source, family: Family, placement: Placement) -> ChatTarget:
        """Load processor and model; `InputError` says what is missing, or which other checkpoint to take."""
        from transformers import PreTrainedConfig

        config, _ = PreTrainedConfig.get_config_dict(source.location, **source.where)
        if "thinker_config" in config:
            raise InputError(
                f"{source.id}: its files are laid out for the package qwen-asr; the same models for transformers have "
                f"names that end in -hf, such as {family.example}"
            )
        if "Qwen3ASRForTokenClassification" in (config.get("architectures") or []):
            raise InputError(f"{source.id}: it aligns a given text with audio and writes none")
        return super().load(source, family, placement)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.naming = self.tokenizer("language", add_special_tokens=False).input_ids[0]
        self.named = self.tokenizer.convert_tokens_to_ids("<asr_text>")

    def conversation(self, audio: np.ndarray, prompt: str) -> list[dict[str, Any]]:
        """Put the context into the system turn, and the audio alone into the user's."""
        return [
            {"role": "system", "content": [{"type": "text", "text": prompt}]},
            {"role": "user", "content": [{"type": "audio", "audio": audio}]},
        ]

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Run context and audio through the model, and let it name the language."""
        import torch

        state = super().read(audios, prompt)
        logits, width = state.logits, state.mask.shape[1]
        done = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        going = logits.argmax(-1) == self.naming
        for _ in range(LANGUAGE_TOKENS):
            if not going.any():
                break
            chosen = state.logits.argmax(-1)
            following = self.step(state, chosen[:, None], going[:, None])[:, -1]
            state.logits = torch.where(going[:, None], following, state.logits)
            done |= going & (chosen == self.named)
            going &= chosen != self.named
        # Of a row that named none, all that was read is forgotten: masked positions do not count as positions either.
        state.logits = torch.where(done[:, None], state.logits, logits)
        state.mask[:, width:] *= done[:, None]
        return state


def joined(rows: Sequence[Any], padding: int) -> Any:
    """Put clips that were prepared one by one into a batch: text is padded on the left, audio on the right.

    Parameters
    ----------
    rows : sequence of transformers.BatchFeature
        Of one clip each, with the same names; features [shape=(1, n_mels, n_frames)].
    padding : int
        Token on the left of shorter prompts; all else is padded with zeros.

    Returns
    -------
    transformers.BatchFeature
    """
    import torch
    from torch.nn.functional import pad
    from transformers import BatchFeature

    batch = {}
    for name in rows[0]:
        longest = max(row[name].shape[-1] for row in rows)
        missing = [longest - row[name].shape[-1] for row in rows]
        sides = [(n, 0) if name in ("input_ids", "attention_mask") else (0, n) for n in missing]
        value = padding if name == "input_ids" else 0
        batch[name] = torch.cat([pad(row[name], side, value=value) for row, side in zip(rows, sides, strict=True)])
    return BatchFeature(batch)


def chunks(features: torch.Tensor, mask: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut the real frames of every clip into chunks of one width, the last of a clip filled up with zeros.

    Parameters
    ----------
    features : torch.Tensor [shape=(n, n_mels, n_frames)]
        0 where a frame is padding.
    mask : torch.Tensor [shape=(n, n_frames)]
        1 where a frame is real; padding is on the right.
    width : int
        Frames of a chunk.

    Returns
    -------
    tuple of torch.Tensor
        Chunks [shape=(n_chunks, n_mels, width)], clip by clip, and how many frames of each are real
        [shape=(n_chunks,)].
    """
    from torch.nn.functional import pad

    missing = -features.shape[-1] % width
    lengths = pad(mask, (0, missing)).unflatten(1, (-1, width)).sum(-1)
    pieces = pad(features, (0, missing)).unflatten(2, (-1, width)).transpose(1, 2)
    real = lengths > 0
    return pieces[real], lengths[real]
