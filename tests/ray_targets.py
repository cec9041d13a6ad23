"""Targets for tests of the ray engine: one that loads in no time, and ways to lose the worker that holds a target."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from precompute.clips import InputError
from precompute.engine.worker import WorkerTarget
from precompute.indicators import STATISTICS, TokenStats

DEADLY, BAD, BUG = 0.25, 0.5, 0.75
"""First sample of audio that ends the process that hears it, of audio that is refused, and of audio that is a bug."""


class SumTarget:
    """Writes the rounded sum of the audio, one token per digit; scores any text by the mean of the audio."""

    id, revision, dtype, family, access = "sum", "1", "float32", "sum", "weights"

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        return [self._stats(audio, [int(c) for c in f"{abs(audio.sum()):.0f}"][:max_new_tokens]) for audio in audios]

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        return [self._stats(audio, list(ids)) for audio, ids in zip(audios, token_ids, strict=True)]

    def _stats(self, audio: np.ndarray, ids: list[int]) -> TokenStats:
        first = audio[0]
        if first == np.float32(DEADLY):
            os.kill(os.getpid(), signal.SIGKILL)
        if first == np.float32(BAD):
            raise InputError("this clip cannot be heard")
        if first == np.float32(BUG):
            raise ZeroDivisionError("a mistake in the code")
        numbers = np.outer(np.asarray(ids, dtype=np.float32) + audio.mean(), np.arange(1, len(STATISTICS) + 1))
        pieces = tuple(str(i) for i in ids)
        return TokenStats.from_numbers(np.asarray(ids), numbers.astype(np.float32), pieces, "".join(pieces))


@dataclass(frozen=True)
class SumWorker(WorkerTarget):
    """How a worker gets a `SumTarget`."""

    name: str = "sum"
    revision: str = "1"
    dtype: str = "float32"
    deadly: bool = False

    def load(self) -> Any:
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return SumTarget()


@dataclass(frozen=True)
class Doomed(WorkerTarget):
    """How a worker gets a target with which it is lost, once, in the middle of its work.

    Parameters
    ----------
    marker : str
        File that the lost worker leaves behind, so that no other is lost.
    machine : bool
        Whether the worker's machine is lost with it: the process that runs the machine's part of the cluster.
    quick : bool
        Whether the target is a `SumTarget`.
    """

    marker: str = ""
    machine: bool = False
    quick: bool = False

    def load(self) -> Any:
        return _Mortal(SumTarget() if self.quick else super().load(), Path(self.marker), self.machine)


class _Mortal:
    """Ends its process when it is asked to write for the second time, unless another did so before."""

    def __init__(self, target: Any, marker: Path, machine: bool) -> None:
        self._target, self._marker, self._machine, self._calls = target, marker, machine, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def generate(self, *arguments: Any) -> list[TokenStats]:
        self._calls += 1
        if self._calls == 2 and self._first():
            if self._machine:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return self._target.generate(*arguments)

    def _first(self) -> bool:
        try:
            self._marker.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
