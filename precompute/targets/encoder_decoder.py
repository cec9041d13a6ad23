"""Encoder-decoders: an encoder hears a clip once, and a decoder that attends to what was heard writes the text.

Moonshine, Speech2Text, Cohere Transcribe and Canary; Whisper has a file of its own.

Greedy decoding and teacher forcing are those of `ChatTarget`. What such a model is asked is no sentence but the first
tokens of the answer: they are forced and never scored.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError, content_hash
from precompute.indicators import TokenStats
from precompute.targets import base
from precompute.targets.base import ChatTarget, checked
from precompute.targets.prefill import Prefill

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class EncoderDecoderTarget(ChatTarget):
    """An encoder-decoder that is asked nothing: its answer begins with the start token alone.

    Every clip is encoded without padding, together only with clips of the very same length: convolutions and
    normalisation over time look past the end of a clip, so padding would change what is heard (Moonshine normalises
    over the whole input, padding included). The decoder never attends to the padding of what was heard.
    """

    extraction: ClassVar[Mapping[str, Any]] = {"padding": True}
    """How the feature extractor is called."""
    masked = True
    """Whether the decoder takes a mask of what was heard; without one all clips must be heard at one length."""
    least = 1
    """Fewest samples that make a frame; shorter audio is followed by silence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heard: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    @property
    def longest(self) -> int | None:
        """Most samples that can be heard; longer audio is cut, and a line in the log says so. None is no limit."""
        return None

    @property
    def room(self) -> int | None:
        """Positions of the decoder, forced ones included; None is no limit."""
        return None

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Decode greedily from raw logits; see `Target.generate`.

        Raises
        ------
        InputError
            If the decoder has fewer positions than tokens are asked for.
        """
        left = self._room_after(prompt)
        if left is not None and max_new_tokens > left:
            raise InputError(f"{self.id}: its decoder has room for {left} tokens, not for {max_new_tokens}")
        return super().generate(audios, prompt, max_new_tokens)

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        """Teacher-force given ids; see `Target.score`.

        A text with more tokens than the decoder has positions gives statistics of no token, as what cannot be scored
        does everywhere: it is excluded, and counted, later. A line in the log says so.
        """
        left = self._room_after(prompt)
        if left is not None and any(len(ids) > left for ids in token_ids):
            log.warning("%s: a text of over %d tokens has no room in its decoder and is not scored", self.id, left)
            token_ids = [ids if len(ids) <= left else [] for ids in token_ids]
        return super().score(audios, prompt, token_ids)

    def prefill(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Let the model read (audio, prompt) for a batch; what the encoder heard of recent clips is remembered.

        Not so the decoder's keys and values of it, which for the large sizes are sixty times as large and cheap to
        make again.
        """
        import torch

        with torch.inference_mode():
            return self.read(audios, prompt)

    def forget(self) -> None:
        """Free the memory of what was heard."""
        super().forget()
        self._heard.clear()

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Encode what is not remembered of a batch, and let the decoder read the forced tokens."""
        import torch

        context = self.listen(audios)
        ids = self.forced(context, prompt)
        mask = torch.ones_like(ids)
        hidden, cache = self._decoder(ids, mask, context)
        return Prefill(self._head(hidden[:, -1]), cache, mask, context)

    def step(self, state: Prefill, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Read further tokens of a batch; see `ChatTarget.step`."""
        state.read(real)
        hidden, _ = self._decoder(ids, state.mask, state.context, state.cache)
        return self._head(hidden)

    def listen(self, audios: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Hear a batch; every clip is encoded once.

        Parameters
        ----------
        audios : sequence of np.ndarray [shape=(n_samples,)]

        Returns
        -------
        dict of str to torch.Tensor
            ``encoder`` (n, n_frames, width), padded on the right, and ``heard`` (n, n_frames), 1 where a frame is real.
        """
        from torch.nn.utils.rnn import pad_sequence

        hashes = [content_hash(audio) for audio in audios]
        missing = {one: audio for one, audio in zip(hashes, audios, strict=True) if one not in self._heard}
        self._heard.update(zip(missing, self.encode_audio(list(missing.values())), strict=True))
        for one in hashes:
            self._heard.move_to_end(one)
        frames, real = zip(*(self._heard[one] for one in hashes), strict=True)
        while sum(part.nbytes for clip in self._heard.values() for part in clip) > base.PREFILL_BYTES:
            self._heard.popitem(last=False)
        parts = {"encoder": list(frames), "heard": list(real)}
        return {name: pad_sequence(rows, batch_first=True) for name, rows in parts.items()}

    def encode_audio(self, audios: Sequence[np.ndarray]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Run the encoder on clips, those of one length together.

        Parameters
        ----------
        audios : sequence of np.ndarray [shape=(n_samples,)]

        Returns
        -------
        list of tuple of torch.Tensor
            Frames (n_frames, width) of each clip, and 1 where one is real (n_frames,).
        """
        import torch

        fitted = [self.fit(checked(audio)) for audio in audios]
        device = self.model.device
        result: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for rows in _equal([len(audio) for audio in fitted]):
            inputs = self.features([fitted[row] for row in rows]).to(device, self.model.dtype)
            output = self.model.get_encoder()(**inputs)
            mask = self.real_frames(output, inputs).to(device, torch.long)
            parts = zip(output.last_hidden_state.to(device), mask, strict=True)
            result |= dict(zip(rows, parts, strict=True))
        return [result[row] for row in range(len(fitted))]

    def real_frames(self, output: Any, inputs: Any) -> torch.Tensor:
        """Tell the frames of clips of one length that the decoder may attend to, shape (n, n_frames): 1, else 0.

        Parameters
        ----------
        output : transformers.utils.ModelOutput
            Of the encoder; where it says nothing, all are.
        inputs : transformers.BatchFeature
            What the encoder read.
        """
        import torch

        mask = getattr(output, "attention_mask", None)
        return torch.ones(output.last_hidden_state.shape[:2]) if mask is None else mask

    def features(self, audios: Sequence[np.ndarray]) -> Any:
        """Turn fitted audio of one length into what the encoder reads, by the model's own feature extractor."""
        extractor = self.processor.feature_extractor
        return extractor(list(audios), sampling_rate=SAMPLE_RATE, return_tensors="pt", **self.extraction)

    def forced(self, context: dict[str, torch.Tensor], prompt: str) -> torch.Tensor:
        """Put together the tokens every answer of a batch begins with.

        Parameters
        ----------
        context : dict of str to torch.Tensor
            From `listen`.
        prompt : str

        Returns
        -------
        torch.Tensor [shape=(n, k)], int
        """
        import torch

        device = context["encoder"].device
        return torch.tensor([self.asked(prompt)], device=device).repeat(len(context["encoder"]), 1)

    def asked(self, prompt: str) -> list[int]:
        """Translate a prompt into the tokens that every answer begins with.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        list of int

        Raises
        ------
        InputError
            If the family cannot be asked that.
        """
        if prompt:
            raise InputError(f"{self.id}: models of type {self.family} take no prompt, so {prompt!r} cannot be asked")
        return [self.start_id]

    @property
    def start_id(self) -> int:
        """Token that starts every answer."""
        configs = (self.model.generation_config, self.model.config)
        return next(one for config in configs if (one := getattr(config, "decoder_start_token_id", None)) is not None)

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Follow audio that is too short by silence, and cut audio that is too long."""
        if self.longest is not None and len(audio) > self.longest:
            log.warning("%s: only the first %.0f s of a clip are heard", self.id, self.longest / SAMPLE_RATE)
            return audio[: self.longest]
        return np.pad(audio, (0, max(0, self.least - len(audio))))

    def _room_after(self, prompt: str) -> int | None:
        return None if self.room is None else self.room - len(self.asked(prompt))

    def _decoder(
        self, ids: torch.Tensor, mask: torch.Tensor, context: dict[str, torch.Tensor], cache: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Run the decoder on further tokens; the cache holds what the earlier ones and the audio left."""
        heard = {"encoder_attention_mask": context["heard"]} if self.masked else {}
        output = self.model.get_decoder()(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=context["encoder"],
            past_key_values=cache,
            use_cache=True,
            **heard,
        )
        return output.last_hidden_state, output.past_key_values

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model.get_output_embeddings()(hidden).to(self.model.device)


class MoonshineTarget(EncoderDecoderTarget):
    """Moonshine; its three convolutions need 895 samples for one frame (Jeffries et al. 2024, arXiv 2410.15608)."""

    least = 895


class MoonshineStreamingTarget(EncoderDecoderTarget):
    """Moonshine Streaming, whose frames are cut from whole multiples of the samples in one."""

    @property
    def longest(self) -> int:
        """Audio of as many frames as have a position; four input frames make one."""
        return 4 * self._frame * self.model.config.max_position_embeddings

    @property
    def _frame(self) -> int:
        config = self.model.config.encoder_config
        return round(config.sample_rate * config.frame_ms / 1000)

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Complete the last frame with silence."""
        audio = super().fit(audio)
        return np.pad(audio, (0, -len(audio) % self._frame))


class SpeechToTextTarget(EncoderDecoderTarget):
    """Speech2Text (fairseq S2T); a multilingual model is asked for a language, for instance ``fr``."""

    least = 400 + 160
    """Two frames: features are divided by their deviation over time."""

    def features(self, audios: Sequence[np.ndarray]) -> Any:
        """Extract features; where one never changes (digital silence) it is 0, and not 0 / 0."""
        import torch

        with np.errstate(divide="ignore", invalid="ignore"):
            inputs = super().features(audios)
        values = inputs["input_features"]
        inputs["input_features"] = torch.where(torch.isfinite(values), values, 0.0)
        return inputs

    def asked(self, prompt: str) -> list[int]:
        """Start, then the language where there is a choice; an empty prompt takes the tokenizer's own."""
        languages = self.tokenizer.lang_code_to_id
        if not languages:
            return super().asked(prompt)
        language = prompt or self.tokenizer.tgt_lang
        if language not in languages:
            raise InputError(f"{self.id}: {prompt!r} is no language it writes; choose one of {', '.join(languages)}")
        return [self.start_id, languages[language]]

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; where the vocabulary lacks capitals, those of the text without them."""
        ids = super().encode(text)
        return ids if self.tokenizer.unk_token_id not in ids else super().encode(text.lower())


class SeamlessTarget(EncoderDecoderTarget):
    """SeamlessM4T, either version, from speech to text; the prompt is the language to write, by its ISO 639-3 code."""

    least = 400 + 3 * 160
    """Four frames, which are joined by twos and divided by their deviation over time."""

    def real_frames(self, output: Any, inputs: Any) -> torch.Tensor:
        """Leave out what the adapter made of a frame that only completes a pair."""
        import torch

        lengths = self.model._compute_sub_sample_lengths_from_attention_mask(inputs["attention_mask"])
        frames = torch.arange(output.last_hidden_state.shape[1], device=lengths.device)
        return frames < lengths[:, None]

    def asked(self, prompt: str) -> list[int]:
        """Start, then the language."""
        languages = self.model.generation_config.text_decoder_lang_to_code_id
        if prompt not in languages:
            raise InputError(f"{self.id}: {prompt!r} is no language it writes; choose one of {', '.join(languages)}")
        return [self.start_id, languages[prompt]]


class CohereAsrTarget(EncoderDecoderTarget):
    """Cohere Transcribe; the prompt is the language spoken, by its ISO 639-1 code."""

    least = 480
    """Three frames: features are divided by their deviation over time."""

    @property
    def longest(self) -> int:
        """One window: longer audio would be split, and each part answered on its own."""
        extractor = self.processor.feature_extractor
        return int((extractor.max_audio_clip_s - extractor.overlap_chunk_second) * SAMPLE_RATE)

    @property
    def room(self) -> int:
        """Positions that have an embedding."""
        return self.model.config.max_position_embeddings

    def features(self, audios: Sequence[np.ndarray]) -> Any:
        """Extract features, without the note of which window belongs to which clip."""
        inputs = super().features(audios)
        inputs.pop("audio_chunk_index")
        return inputs

    def asked(self, prompt: str) -> list[int]:
        """Give the processor's own request for a transcript with punctuation."""
        try:
            return self.processor.get_decoder_prompt_ids(language=prompt)
        except ValueError as error:
            raise InputError(f"{self.id}: {prompt!r} is no language it writes ({error})") from error


class CanaryTarget(EncoderDecoderTarget):
    """Canary; the prompt is the language spoken, by its ISO 639-1 code."""

    least = 480
    """Three frames: features are divided by their deviation over time."""

    @property
    def room(self) -> int:
        """Positions that have an embedding."""
        return self.model.config.decoder_config.max_position_embeddings

    def asked(self, prompt: str) -> list[int]:
        """Give the chat template's own request for a transcript with punctuation."""
        silence = np.zeros(SAMPLE_RATE, dtype=np.float32)
        try:
            (request,) = self.processor.apply_transcription_request([silence], source_language=prompt, tokenize=False)
        except ValueError as error:
            raise InputError(f"{self.id}: {prompt!r} is no language it writes ({error})") from error
        return self.tokenizer(request).input_ids


def _equal(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of equal lengths, one length after the other."""
    for length in dict.fromkeys(lengths):
        yield [index for index, one in enumerate(lengths) if one == length]
