"""CosyVoice2, run by its own environment's Python: another voice's speech, with real seeds."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from precompute.conditions.voices.base import EngineFailed, Voice, read_options
from precompute.conditions.voices.cosyvoice import LOWEST_RATE
from precompute.conditions.voices.models import folder_content
from precompute.conditions.voices.processes import WORKERS, Worker, find_python
from precompute.conditions.voices.references import borrowed, wav_bytes
from precompute.conditions.voices.studio import ENGINES

VARIABLE = "COSYVOICE_PYTHON"
"""Environment variable that names the Python where the user does not."""


class CosyVoiceProcess:
    """An `Engine` whose worker borrows voices.

    Parameters
    ----------
    worker : Worker
    model : str
        Folder of the model, or id in the hub that CosyVoice downloads from.
    """

    def __init__(self, worker: Worker, model: str) -> None:
        self._worker = worker
        self._model = model
        self._references = tempfile.TemporaryDirectory(prefix="references-")

    def identity(self) -> dict[str, str]:
        """Hash of the package's code and of the model's folder; see `Engine.identity`."""
        return {**self._worker.identity(), "model": self.model_revision}

    @functools.cached_property
    def model_revision(self) -> str:
        """Hash of the model's folder; where CosyVoice fetches the model itself, its id."""
        folder = Path(self._model)
        return folder_content(folder) if folder.is_dir() else self._model

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Have a text spoken; see `Engine.render`."""
        if voice.reference is None:
            raise EngineFailed("cosyvoice-process borrows a voice: name reference voices with --reference-voices")
        wav = Path(self._references.name) / f"{voice.reference.content}.wav"
        if not wav.exists():
            wav.write_bytes(wav_bytes(*borrowed(voice.reference, LOWEST_RATE)))
        return self._worker.render(
            {"text": text, "reference": str(wav), "reference_text": voice.reference.text, "seed": voice.seed}
        )

    def close(self) -> None:
        """End the worker and delete the copies of the references."""
        self._worker.close()
        self._references.cleanup()


def open_engine(where: str, options: tuple[str, ...], device: str) -> CosyVoiceProcess:
    """Give the `Engine`; `where` is a Python, and the worker chooses its device itself."""
    chosen = read_options("cosyvoice-process", options, ENGINES["cosyvoice-process"].options)
    python = find_python("cosyvoice-process", where, VARIABLE)
    command = [python, str(WORKERS / "cosyvoice_worker.py"), "--model", chosen["model"], "--repo", chosen["repo"]]
    return CosyVoiceProcess(Worker("cosyvoice-process", command), chosen["model"])
