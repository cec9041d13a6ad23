"""The embedded caption engine: synthetic sound scenes and instrument notes, computed from what a caption says."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.conditions.voices.base import Voice, read_options
from precompute.conditions.voices.programs import no_place

CORPORA = {"sound": "precompute.corpora.scenes", "music": "precompute.corpora.notes"}
"""Task to the module whose ``render_caption(caption, seed)`` makes its sound, of version ``VERSION``."""


class CaptionEngine:
    """An `Engine` that renders captions of the embedded corpora; a voice's name is the task.

    A caption that names no sound they know is refused, one clip at a time.
    """

    def identity(self) -> dict[str, str]:
        """Versions of both corpora; see `Engine.identity`."""
        return {"engine": " ".join(f"{task} {_corpus(task).VERSION}" for task in CORPORA)}

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Render a caption; see `Engine.render`."""
        return np.asarray(_corpus(voice.name).render_caption(text, voice.seed), dtype=np.float32), SAMPLE_RATE

    def close(self) -> None:
        """Nothing to free."""


def _corpus(task: str) -> ModuleType:
    """Import the corpus that renders a task's captions."""
    if task not in CORPORA:
        raise InputError(f"rendered: it renders captions of {' and '.join(CORPORA)}, not of {task!r}")
    return importlib.import_module(CORPORA[task])


def open_engine(where: str, options: tuple[str, ...], device: str) -> CaptionEngine:
    """Give the `Engine`."""
    no_place("rendered", where)
    read_options("rendered", options, {})
    return CaptionEngine()
