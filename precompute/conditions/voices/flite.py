"""The statistical synthesizer flite: English only, closer to a human voice, the same bits every time."""

from __future__ import annotations

import numpy as np

from precompute.conditions.voices.programs import ProgramEngine, no_place, spoken
from precompute.conditions.voices.programs import version as program_version

PACKAGE = "flite"


def speak(text: str, name: str, options: tuple[str, ...] = ()) -> tuple[np.ndarray, int]:
    """Speak an English text.

    Parameters
    ----------
    text : str
    name : str
        One of ``slt``, ``rms``, ``awb``, ``kal``, ``kal16``; flite takes its default for any other.
    options : tuple of str
        Further arguments.

    Returns
    -------
    tuple of np.ndarray [shape=(n,)] and int
        Mono float32 samples and their rate in Hz (16,000).

    Raises
    ------
    InputError
        If the program is missing or writes no audio.
    """
    return spoken(
        "flite",
        PACKAGE,
        " ".join(text.split()),
        # From a file: as an argument a long text would exceed what a command line may hold.
        lambda folder: ["-voice", name, *options, "-f", str(folder / "text.txt"), "-o", str(folder / "speech.wav")],
    )


def version() -> str:
    """Version of the installed program."""
    return program_version("flite", PACKAGE)


def open_engine(where: str, options: tuple[str, ...], device: str) -> ProgramEngine:
    """Give the `Engine`; `options` are each voice's own, and a program runs on no device."""
    no_place("flite", where)
    return ProgramEngine(speak, version)
