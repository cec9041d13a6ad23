"""Targets for tests of the ray engine that load in no time: what they answer is worked out from the audio itself."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from precompute.clips import InputError
from precompute.engine.worker import WorkerTarget
from precompute.indicators import STATISTICS, TokenStats

DEADLY, BAD = 0.25, 0.5
"""First sample of audio that ends the process that hears it, and of audio that is refused."""


class SumTarget:
    """Writes the rounded sum of the audio, one token per digit."""

    id, revision, dtype, family, access = "sum", "1", "float32", "sum", "weights"

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        return [self._stats(audio, [int(c) for c in f"{abs(audio.sum()):.0f}"][:max_new_tokens]) for audio in audios]

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        return [self._stats(audio, list(ids)) for audio, ids in zip(audios, token_ids, strict=True)]

    def _stats(self, audio: np.ndarray, ids: list[int]) -> TokenStats:
        if audio[0] == np.float32(DEADLY):
            os.kill(os.getpid(), signal.SIGKILL)
        if audio[0] == np.float32(BAD):
            raise InputError("this clip cannot be heard")
        numbers = np.outer(np.asarray(ids, dtype=np.float32) + audio.mean(), np.arange(1, len(STATISTICS) + 1))
        pieces = tuple(str(i) for i in ids)
        return TokenStats.from_numbers(np.asarray(ids), numbers.astype(np.float32), pieces, "".join(pieces))


@dataclass(frozen=True)
class SumWorker(WorkerTarget):
    """How a worker gets a `SumTarget`."""

    name: str = "sum"
    revision: str = "1"
    dtype: str = "float32"
    problem: str = field(default="")

    def load(self) -> SumTarget:
        if self.problem == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.problem:
            raise InputError(self.problem)
        return SumTarget()
