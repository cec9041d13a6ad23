"""The formant synthesizer espeak-ng: about a hundred languages, robotic, the same bits every time."""

from __future__ import annotations

import functools

import numpy as np

from precompute.conditions.voices.programs import ProgramEngine, no_place, run_program, spoken
from precompute.conditions.voices.programs import version as program_version

PACKAGE = "espeak-ng"


def speak(text: str, name: str, options: tuple[str, ...] = ()) -> tuple[np.ndarray, int]:
    """Speak a text.

    Parameters
    ----------
    text : str
    name : str
        Voice and variant, for instance ``fr+f2``.
    options : tuple of str
        Further arguments, for instance ``("-p", "55")`` for the pitch, 0 to 99.

    Returns
    -------
    tuple of np.ndarray [shape=(n,)] and int
        Mono float32 samples and their rate in Hz (22,050).

    Raises
    ------
    InputError
        If the program is missing, has no such voice, or writes no audio.
    """
    # Two opening brackets would switch espeak-ng from text to phoneme codes.
    plain = " ".join(text.replace("[[", "[").split())
    return spoken(
        "espeak-ng",
        PACKAGE,
        plain,
        lambda folder: ["-v", name, *options, "-b", "1", "-w", str(folder / "speech.wav"), "--stdin"],
    )


def version() -> str:
    """Version of the installed program."""
    return program_version("espeak-ng", PACKAGE)


def open_engine(where: str, options: tuple[str, ...], device: str) -> ProgramEngine:
    """Give the `Engine`; `options` are each voice's own, and a program runs on no device."""
    no_place("espeak-ng", where)
    return ProgramEngine(speak, version)


@functools.cache
def speaks(language: str) -> bool:
    """Say whether espeak-ng has a voice of its own for an ISO 639-1 code.

    The ``mb/`` voices it also lists need a program that is not free and not installed; they do not count.
    """
    listing = run_program("espeak-ng", PACKAGE, [f"--voices={language}"]).stdout.decode(errors="replace")
    return any("mb/" not in line for line in listing.splitlines()[1:])
