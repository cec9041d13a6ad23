"""TangoFlux, run by its own environment's Python: captions to sound, with real seeds."""

from __future__ import annotations

import numpy as np

from precompute.conditions.voices.base import Voice, number, read_options
from precompute.conditions.voices.processes import WORKERS, Worker, find_python
from precompute.conditions.voices.studio import ENGINES

VARIABLE = "TANGOFLUX_PYTHON"
"""Environment variable that names the Python where the user does not."""


class TangoFlux:
    """An `Engine` whose worker renders captions at 44.1 kHz.

    Every caption gets the same number of seconds, so that a clip's length is not carried over.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def identity(self) -> dict[str, str]:
        """Hash of the package's code and the model's commit; see `Engine.identity`."""
        return self._worker.identity()

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Have a caption rendered; see `Engine.render`."""
        return self._worker.render({"text": text, "seed": voice.seed})

    def close(self) -> None:
        """End the worker."""
        self._worker.close()


def open_engine(where: str, options: tuple[str, ...], device: str) -> TangoFlux:
    """Give the `Engine`; `where` is a Python, and the worker chooses its device itself."""
    chosen = read_options("tangoflux", options, ENGINES["tangoflux"].options)
    seconds = number("tangoflux", chosen, "seconds", 1, 30)
    steps = number("tangoflux", chosen, "steps", 1, 1000)
    # At a guidance of 1 and below TangoFlux calls a function with an argument it does not take.
    guidance = number("tangoflux", chosen, "guidance", 1.001, 100)
    python = find_python("tangoflux", where, VARIABLE)
    arguments = ["--model", chosen["model"], "--seconds", f"{seconds:g}", "--steps", f"{steps:.0f}"]
    command = [python, str(WORKERS / "tangoflux_worker.py"), *arguments, "--guidance", f"{guidance:g}"]
    return TangoFlux(Worker("tangoflux", command))
