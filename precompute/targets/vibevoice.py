"""VibeVoice-ASR, which writes a transcript as a JSON list of segments: start, end, speaker and content."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from precompute.clips import SAMPLE_RATE, resample
from precompute.targets.base import ChatTarget, checked, positions
from precompute.targets.prefill import Prefill

CLOSED = "}]"
"""What follows the content of the last segment."""
CONTENT = re.compile(r'(?:\A|"Content":")((?:[^"\\]|\\.)*)', re.DOTALL)
"""Content of the segment an answer begins in, and of every later one."""


class VibeVoiceTarget(ChatTarget):
    """VibeVoice-ASR; the prompt is its extra information (names and words to expect), empty by default.

    An answer begins with the frame that the model writes before what was said: one segment over the whole clip, of one
    speaker. It is forced and not scored, so what is scored is the transcript and what closes it. The model's acoustic
    tokenizer can add noise to what it hears, by a draw for every batch; here it adds none (``sample=False``).

    Format of the request and of the answer: ``VibeVoiceAsrProcessor`` and its documentation; VibeVoice-ASR Technical
    Report, arXiv 2601.18184.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The turn is closed before the text is: a line feed and the end of text follow, the same for all clips.
        self.end_ids = [self.tokenizer.convert_tokens_to_ids("<|im_end|>"), *self.end_ids]

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Run request, audio and frame through the model; see `ChatTarget.read`."""
        inputs = self.inputs(audios, prompt).to(self.model.device, self.model.dtype)
        mask = inputs["attention_mask"]
        output = self.model(**inputs, sample=False, position_ids=positions(mask), use_cache=True, logits_to_keep=1)
        return Prefill(output.logits[:, -1], output.past_key_values, mask)

    def inputs(self, audios: Sequence[np.ndarray], prompt: str) -> Any:
        """Prepare a batch with the model's own request for a transcript, followed by the frame of the answer."""
        self.check_prompt(prompt)
        fitted = [self.fit(checked(audio)) for audio in audios]
        context = [prompt or None] * len(fitted)
        requests = self.processor.apply_transcription_request(fitted, prompt=context, tokenize=False)
        rate = self.processor.feature_extractor.sampling_rate
        texts = [request + frame(len(audio) / rate) for request, audio in zip(requests, fitted, strict=True)]
        return self.processor(text=texts, audio=fitted)

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Resample to the rate of the acoustic tokenizer (24 kHz)."""
        audio = resample(audio, SAMPLE_RATE, self.processor.feature_extractor.sampling_rate)
        return np.pad(audio, (0, max(0, 1 - len(audio))))

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text` as a JSON string, and of what closes it."""
        return super().encode(json.dumps(text, ensure_ascii=False)[1:] + CLOSED)

    def text_of(self, ids: Sequence[int]) -> str:
        """Read what an answer says: the content of its segments."""
        return " ".join(map(_unescaped, CONTENT.findall(super().text_of(ids))))


def frame(seconds: float) -> str:
    """Write what the model writes before the transcript of a clip that is one segment.

    Parameters
    ----------
    seconds : float
        Duration of the clip.

    Returns
    -------
    str
        Up to the quotation mark after which the content begins.
    """
    end = f"{seconds:.2f}".rstrip("0").rstrip(".")
    return f'<|im_start|>assistant\n[{{"Start":0,"End":{end},"Speaker":0,"Content":"'


def _unescaped(content: str) -> str:
    try:
        return json.loads(f'"{content}"', strict=False)
    except ValueError:  # an escape that JSON does not know
        return content
